/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals reach the sandbox's own processes only.  Two ways to send one:
 *
 * - Scoped: Landlock (ABI 6, Linux 6.12, LANDLOCK_SCOPE_SIGNAL) confines the guest's signals to
 *   its sandbox.  The kernel then runs the call itself, which keeps si_pid, groups and permission
 *   exact; a pid reused between our look and the kernel's meets EPERM.
 * - Relayed: without that wall a pid number must not go to the kernel twice, so the supervisor
 *   signals by pidfd.  The receiver sees si_code SI_QUEUE with the sender's pid and uid, because
 *   the kernel lets nobody claim SI_USER for another (rt_sigqueueinfo(2)).
 *
 * A signal to the caller's own process needs neither: its pid cannot be reused while it calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "procns.h"

#define MAX_PASSES 8

/* check_kill_permission() of the kernel: kill(2), "Errors". */
int may_signal(const struct bv_creds *who, const struct pid_status *whom, bool cont_in_session)
{
	if (who->cap_effective & (UINT64_C(1) << CAP_KILL))
		return 0;
	if (who->euid == whom->suid || who->euid == whom->uid || who->uid == whom->suid || who->uid == whom->uid)
		return 0;
	return cont_in_session ? 0 : -EPERM;
}

struct relay {
	struct procns *p;
	struct bv_call *call;
	struct bv_creds who;
	siginfo_t info;
	int sig;
	int32_t pgid;        /* group sends: this group; -1: everybody but the caller */
	struct inode_set done;
	int sent, last;      /* group sends: signalled so far, last error */
	bool grew;
};

static int relay_init(struct relay *r, struct procns *p, struct bv_call *call, int sig)
{
	memset(r, 0, sizeof(*r));
	r->p = p;
	r->call = call;
	r->sig = sig;
	r->info.si_signo = sig;
	r->info.si_code = SI_QUEUE;
	r->info.si_pid = p->host->task_pid(call->task);
	int got = p->host->creds(call, &r->who);
	r->info.si_uid = r->who.uid;
	return got;
}

/*
 * Sends to one process or, with thread, to one thread of it.  The pidfd comes first: as long as its
 * process lives, the number is that process's, so what is looked up by number afterwards is about
 * the same one; once it is dead, sending fails.
 */
static int relay_one(struct relay *r, int32_t tgid, int32_t tid, bool thread)
{
	bv_autofd int pidfd = (int)syscall(SYS_pidfd_open, tgid, 0);
	struct pid_status whom;
	int got;

	if (pidfd < 0)
		return -ESRCH;
	bv_autofd int pinned = pid_pin(r->p, r->call, tgid);
	if (pinned < 0)
		return pinned;
	got = pid_status(pinned, &whom);
	if (got < 0)
		return got;
	if (r->sig < 0 || r->sig > 64)
		return -EINVAL;
	got = may_signal(&r->who, &whom, r->sig == SIGCONT && getsid(tgid) == getsid(r->call->tid));
	if (got < 0 || r->sig == 0)
		return got;
	if (!thread)
		return syscall(SYS_pidfd_send_signal, pidfd, r->sig, &r->info, 0) < 0 ? -errno : 0;
	/* The kernel wants tid to be in tgid, which is alive: no guest can make this gap wider. */
	if (syscall(SYS_pidfd_send_signal, pidfd, 0, NULL, 0) < 0)
		return -errno;
	return syscall(SYS_rt_tgsigqueueinfo, tgid, tid, r->sig, &r->info) < 0 ? -errno : 0;
}

static int relay_each(void *arg, int32_t tgid)
{
	struct relay *r = arg;
	int got;

	for (size_t i = 0; i < r->done.n; i++)
		if (r->done.item[i] == (uint64_t)tgid)
			return 0;
	if (r->pgid == -1 ? tgid == r->p->host->task_pid(r->call->task) : getpgid(tgid) != r->pgid)
		return 0;
	inode_set_add(&r->done, (uint64_t)tgid);
	r->grew = true;
	got = relay_one(r, tgid, 0, false);
	if (got == -ESRCH)
		return 0;
	r->sent += got == 0;
	if (got != -EPERM || r->pgid != -1)
		r->last = got;
	return 0;
}

/* Passes repeat until no new process turns up, since the kernel would have held all forks still. */
static enum bv_verdict relay_group(struct procns *p, struct bv_call *call, int32_t pgid, int sig)
{
	struct relay r;
	int got = relay_init(&r, p, call, sig);

	r.pgid = pgid;
	for (int pass = 0; got == 0 && pass < MAX_PASSES; pass++) {
		r.grew = false;
		got = pid_each(p, relay_each, &r);
		if (!r.grew)
			break;
	}
	if (got == 0 && r.done.failed)
		got = -ENOMEM;
	if (got == 0 && !r.done.n)
		got = -ESRCH;
	if (got == 0)
		got = r.sent ? 0 : r.last;
	inode_set_fini(&r.done);
	return REPLY(p, call, got);
}

BV_SYSCALL(kill)
{
	struct procns *p = self;
	int32_t pid = (int32_t)call->arg[0];
	int sig = (int)call->arg[1];
	enum bv_verdict verdict;
	struct relay r;
	int32_t tgid;
	int got;

	if (pid <= 0) {
		if (pid == INT32_MIN)
			return REPLY(p, call, -ESRCH);
		/* Landlock's scope leaves what the kernel finds outside the sandbox unsignalled. */
		if (p->scoped && (pid >= -1 || pid_group_own(p, -pid)))
			return BV_CONTINUE;
		if (p->scoped)
			return REPLY(p, call, -ESRCH);
		return relay_group(p, call, pid == 0 ? getpgid(call->tid) : pid == -1 ? -1 : -pid, sig);
	}
	/* Registers alone say whom it meets, and the caller's own process is there for sure. */
	if (pid == call->tid || pid == p->host->task_pid(call->task))
		return BV_CONTINUE;
	if (!pid_own(p, call, pid))
		return pid_foreign(p, call, pid);
	if (fatal_kill(p, call, pid, sig, &verdict))
		return verdict;
	if (p->scoped)
		return BV_CONTINUE; /* a number reused since then meets Landlock's signal scope */
	/* kill(2) takes thread ids too and signals their process. */
	tgid = pid_group(p, call, pid);
	got = tgid < 0 ? tgid : relay_init(&r, p, call, sig);
	return REPLY(p, call, got < 0 ? got : relay_one(&r, tgid, 0, false));
}

/* tkill when tgid is 0. */
static enum bv_verdict to_thread(struct procns *p, struct bv_call *call, int32_t tgid, int32_t tid, int sig,
                                 const siginfo_t *info)
{
	int32_t group;
	struct relay r;
	int got;

	if (tid <= 0 || tgid < 0)
		return REPLY(p, call, -EINVAL);
	group = pid_group(p, call, tid);
	if (group < 0 || (tgid && group != tgid))
		return group < 0 ? pid_foreign(p, call, tid) : REPLY(p, call, -ESRCH);
	/*
	 * Threads of the caller: the kernel checks that tid is in tgid; for tkill a reused tid would
	 * have to be another process's, and only Landlock keeps that one safe.
	 */
	if (p->scoped || (tgid && group == p->host->task_pid(call->task)) || tid == call->tid)
		return BV_CONTINUE;
	got = relay_init(&r, p, call, sig);
	if (got == 0 && info)
		r.info = *info;
	if (got == 0 && sig == 0)
		return REPLY(p, call, relay_one(&r, group, tid, false));
	return REPLY(p, call, got < 0 ? got : relay_one(&r, group, tid, true));
}

BV_SYSCALL(tkill)
{
	int32_t tid = (int32_t)call->arg[0];

	return tid <= 0 ? REPLY((struct procns *)self, call, -EINVAL)
	                : to_thread(self, call, 0, tid, (int)call->arg[1], NULL);
}

BV_SYSCALL(tgkill)
{
	struct procns *p = self;
	int32_t tgid = (int32_t)call->arg[0], tid = (int32_t)call->arg[1];

	if (tgid <= 0 || tid <= 0)
		return REPLY(p, call, -EINVAL);
	return to_thread(p, call, tgid, tid, (int)call->arg[2], NULL);
}

/*
 * The caller's siginfo for a relay.  The kernel lets nobody forge si_code >= 0 or SI_TKILL for a
 * process other than the caller's.
 */
static int take_info(struct procns *p, struct bv_call *call, uint64_t from, int sig, siginfo_t *out)
{
	int r = p->host->mem_read(call, out, from, sizeof(*out));

	if (r < 0)
		return r;
	out->si_signo = sig;
	return out->si_code >= 0 || out->si_code == SI_TKILL ? -EPERM : 0;
}

BV_SYSCALL(rt_sigqueueinfo)
{
	struct procns *p = self;
	int32_t pid = (int32_t)call->arg[0], tgid;
	int sig = (int)call->arg[1], got;
	struct relay r;
	siginfo_t info;

	if (pid > 0 && (pid == call->tid || pid == p->host->task_pid(call->task)))
		return BV_CONTINUE; /* what the pointer leads to does not change whom it meets */
	if (!pid_own(p, call, pid))
		return REPLY(p, call, -ESRCH);
	if (p->scoped)
		return BV_CONTINUE; /* Landlock's signal scope; the kernel itself checks the siginfo */
	got = take_info(p, call, call->arg[2], sig, &info);
	if (got < 0)
		return REPLY(p, call, got);
	tgid = pid_group(p, call, pid);
	got = tgid < 0 ? tgid : relay_init(&r, p, call, sig);
	if (got == 0) {
		r.info = info;
		got = relay_one(&r, tgid, 0, false);
	}
	return REPLY(p, call, got);
}

BV_SYSCALL(rt_tgsigqueueinfo)
{
	struct procns *p = self;
	int32_t tgid = (int32_t)call->arg[0], tid = (int32_t)call->arg[1];
	int sig = (int)call->arg[2], got;
	siginfo_t info;

	if (tgid <= 0 || tid <= 0)
		return REPLY(p, call, -EINVAL);
	if (p->scoped || tgid == p->host->task_pid(call->task))
		return to_thread(p, call, tgid, tid, sig, NULL);
	got = take_info(p, call, call->arg[3], sig, &info);
	return got < 0 ? REPLY(p, call, got) : to_thread(p, call, tgid, tid, sig, &info);
}

BV_SYSCALL(pidfd_send_signal)
{
	struct procns *p = self;
	int sig = (int)call->arg[1], got;
	unsigned flags = (unsigned)call->arg[3];
	bv_autofd int pidfd = p->host->get_fd(call, (int)call->arg[0]);
	struct relay r;
	int32_t pid, tgid;

	if (pidfd < 0)
		return REPLY(p, call, pidfd);
	pid = pidfd_target(pidfd);
	if (pid < 0)
		return REPLY(p, call, pid);
	if (!pid_own(p, call, pid))
		return REPLY(p, call, -ESRCH);
	/* Another pidfd put at that number since then could only come from outside, and Landlock's
	 * signal scope stops what it is used for. */
	if (p->scoped)
		return BV_CONTINUE;
	/* Threads and groups by pidfd came with 6.9, where a relay cannot tell them apart safely. */
	if (flags)
		return REPLY(p, call, -EINVAL);
	tgid = pid_group(p, call, pid);
	got = tgid < 0 ? tgid : relay_init(&r, p, call, sig);
	if (got == 0 && call->arg[2]) {
		siginfo_t info;

		got = p->host->mem_read(call, &info, call->arg[2], sizeof(info));
		if (got == 0 && info.si_signo != sig)
			got = -EINVAL;
		if (got == 0 && (info.si_code >= 0 || info.si_code == SI_TKILL) && tgid != p->host->task_pid(call->task))
			got = -EPERM;
		if (got == 0 && info.si_code < 0 && info.si_code != SI_TKILL)
			r.info = info;
	}
	return REPLY(p, call, got < 0 ? got : relay_one(&r, tgid, 0, false));
}

/*
 * Without Landlock: the owner belongs to the open file, so it can be set on a duplicate here.  It
 * would be signalled with our rights, hence only the caller itself.
 */
static enum bv_verdict own_to_self(struct procns *p, struct bv_call *call, const struct f_owner_ex *owner)
{
	bv_autofd int fd = p->host->get_fd(call, (int)call->arg[0]);
	bool self = (owner->type == F_OWNER_PID && owner->pid == p->host->task_pid(call->task)) ||
	            (owner->type == F_OWNER_TID && owner->pid == call->tid);

	if (fd < 0)
		return REPLY(p, call, fd);
	if (owner->pid && !self)
		return REPLY(p, call, -EPERM);
	return REPLY(p, call, fcntl(fd, F_SETOWN_EX, owner) < 0 ? -errno : 0);
}

/*
 * F_SETOWN and F_SETOWN_EX choose who is signalled when a descriptor becomes ready, with any
 * signal (F_SETSIG).  Everything else of fcntl never traps.
 */
BV_SYSCALL(fcntl)
{
	struct procns *p = self;
	int cmd = (int)call->arg[1];
	int32_t pid;

	if (cmd == F_SETOWN) {
		pid = (int32_t)call->arg[2];
		if (pid == 0 || pid == p->host->task_pid(call->task))
			return BV_CONTINUE; /* nobody, or the caller, which is there for sure */
		if (pid == INT32_MIN)
			return REPLY(p, call, -EINVAL);
		if (!(pid > 0 ? pid_own(p, call, pid) : pid_group_own(p, -pid)))
			return REPLY(p, call, -ESRCH);
		/* A number reused before the kernel looks meets Landlock's signal scope, or nothing. */
		return p->scoped ? BV_CONTINUE : REPLY(p, call, -EPERM);
	}
	if (cmd == F_SETOWN_EX) {
		struct f_owner_ex owner;
		int r = p->host->mem_read(call, &owner, call->arg[2], sizeof(owner));

		if (r < 0)
			return REPLY(p, call, r);
		if (owner.pid && (owner.type == F_OWNER_PGRP ? !pid_group_own(p, owner.pid) : !pid_own(p, call, owner.pid)))
			return REPLY(p, call, -ESRCH);
		/* The kernel reads the owner again; whatever it reads, Landlock's signal scope, which
		 * covers SIGIO too, keeps the signal inside. */
		return p->scoped ? BV_CONTINUE : own_to_self(p, call, &owner);
	}
	return BV_CONTINUE; /* not reached: the filter lets every other command through */
}

const struct bv_handler signal_handlers[] = {
	BV_ON(kill, BV_SERVE),
	BV_ON(tkill, BV_SERVE),
	BV_ON(tgkill, BV_SERVE),
	BV_ON(rt_sigqueueinfo, BV_SERVE),
	BV_ON(rt_tgsigqueueinfo, BV_SERVE),
	BV_ON(pidfd_send_signal, BV_SERVE),
	BV_ON(fcntl, BV_SERVE),
	{0},
};
