/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seccomp listener (seccomp_unotify(2)).  One thread receives; a call is dispatched and, as a
 * rule, answered before the next is received.  ENOENT from the kernel means that the guest thread
 * went away meanwhile, which is nothing to report.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include <cleanup.h>

#include "arch/regs.h"
#include "creds.h"
#include "exec_redirect.h"
#include "kernel.h"
#include "loop.h"
#include "notify.h"
#include "router.h"

/* Room for the kernel's idea of the structs, should they grow. */
union request {
	struct seccomp_notif n;
	char room[512];
};
union response {
	struct seccomp_notif_resp r;
	char room[512];
};

int notify_setup(struct loop *l)
{
	struct seccomp_notif_sizes sizes;

	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return -errno;
	if (sizes.seccomp_notif > sizeof(union request) || sizes.seccomp_notif_resp > sizeof(union response))
		return -E2BIG;
	l->n_names = names_max() + 1;
	l->name = calloc((size_t)l->n_names, sizeof(l->name[0]));
	return l->name ? 0 : -ENOMEM;
}

/* A free place, or LISTENERS_MAX. */
static unsigned room(const struct loop *l)
{
	unsigned i = 0;

	while (i < LISTENERS_MAX && l->listener[i] >= 0)
		i++;
	return i;
}

bool notify_room(const struct loop *l)
{
	return room(l) < LISTENERS_MAX;
}

void notify_listen(struct loop *l, int listener)
{
	unsigned i = room(l);

	/* Linux 6.6; without it only slower. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	l->listener[i] = listener;
	if (i >= l->n_listeners)
		l->n_listeners = i + 1;
}

void notify_unlisten(struct loop *l, unsigned which)
{
	int listener = l->listener[which];

	l->listener[which] = -1;
	while (l->n_listeners && l->listener[l->n_listeners - 1] < 0)
		l->n_listeners--;
	if (listener >= 0)
		close(listener);
}

/*
 * A call's id means something to the listener it came from only.  Each begins to count at a number of 64
 * random bits, so to the others it is ENOENT; nearly always there is one.
 */
int notify_ioctl(const struct loop *l, unsigned long what, void *arg)
{
	int r = -1;

	errno = ENOENT;
	for (unsigned i = 0; i < LISTENERS_MAX && r < 0 && errno == ENOENT; i++) {
		int listener = l->listener[i];

		if (listener >= 0)
			r = ioctl(listener, what, arg);
	}
	return r;
}

bool notify_valid(const struct loop *l, uint64_t id)
{
	return notify_ioctl(l, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

static int send_response(const struct loop *l, const struct seccomp_notif_resp *r)
{
	union response out = {.r = *r};

	return notify_ioctl(l, SECCOMP_IOCTL_NOTIF_SEND, &out.r) < 0 ? -errno : 0;
}

int notify_send(const struct loop *l, uint64_t id, int64_t value)
{
	struct seccomp_notif_resp r = {.id = id};

	if (value < 0 && value >= -4095)
		r.error = (int)value;
	else
		r.val = value;
	return send_response(l, &r);
}

static int send_continue(const struct loop *l, uint64_t id)
{
	struct seccomp_notif_resp r = {.id = id, .flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE};

	return send_response(l, &r);
}

/* Installs the answer's descriptor and wakes the guest with its number in one step. */
static int send_fd(const struct loop *l, const struct ncall *nc)
{
	struct seccomp_notif_addfd a = {
		.id = nc->id,
		.flags = SECCOMP_ADDFD_FLAG_SEND,
		.srcfd = (uint32_t)nc->fd,
		.newfd_flags = nc->fd_flags,
	};
	int r;

	do
		r = notify_ioctl(l, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
	while (r < 0 && errno == EINTR);
	if (r >= 0)
		return 0;
	r = -errno;
	/* EMFILE and the like are the guest's own limits; ENOENT: it is gone. */
	return r == -ENOENT ? r : notify_send(l, nc->id, r);
}

void ncall_free(struct ncall *nc)
{
	if (nc->answer == ANSWER_FD && nc->fd >= 0)
		close(nc->fd);
	free(nc);
}

void notify_recycle(struct ncall *nc)
{
	struct loop *l = nc->loop;

	if (nc->answer == ANSWER_FD && nc->fd >= 0)
		close(nc->fd);
	nc->answer = ANSWER_NONE;
	if (l->spare)
		free(nc);
	else
		l->spare = nc;
}

/* Calls after which what is known of a thread's identity or program may be wrong. */
static bool is_exec(int nr)
{
	return nr == SYS_execve || nr == SYS_execveat;
}

void notify_finish(struct ncall *nc, enum bv_verdict verdict)
{
	struct loop *l = nc->loop;
	int r = 0;

	if (verdict == BV_DEFERRED && nc->deferred)
		return;
	if (verdict == BV_REPLIED && nc->answer == ANSWER_VALUE) {
		r = notify_send(l, nc->id, nc->value);
	} else if (verdict == BV_REPLIED && nc->answer == ANSWER_FD) {
		r = send_fd(l, nc);
	} else if (verdict == BV_CONTINUE) {
		if (nc->thread && is_exec(nc->nr))
			task_exec_begin(&l->tasks, nc->thread);
		if (nc->thread && l->creds_vary)
			task_forget_creds(nc->thread->task);
		r = send_continue(l, nc->id);
	} else if (verdict != BV_REPLIED || nc->answer != ANSWER_SENT) {
		log_line(BV_LOG_ERROR, "core", "%s: a handler gave no answer", nc->call.name);
		r = notify_send(l, nc->id, -ENOSYS);
	}
	/*
	 * Before Linux 5.19 a signal takes the guest out of its wait although the call has been
	 * carried out, and it makes the same call again: it shall get this answer, not a second
	 * execution.
	 */
	if (r == -ENOENT && !l->killable && verdict == BV_REPLIED && nc->thread && nc->answer != ANSWER_SENT) {
		if (nc->thread->replay)
			ncall_free(nc->thread->replay);
		nc->thread->replay = nc;
		return;
	}
	notify_recycle(nc);
}

/* The lost answer to the same call, if there is one: true when it was given. */
static bool replay(struct ncall *nc)
{
	struct ncall *old = nc->thread->replay;

	if (!old)
		return false;
	nc->thread->replay = NULL;
	if (old->nr != nc->nr || memcmp(old->call.arg, nc->call.arg, sizeof(nc->call.arg)) != 0) {
		ncall_free(old);
		return false;
	}
	nc->answer = old->answer;
	nc->value = old->value;
	nc->fd = old->fd;
	nc->fd_flags = old->fd_flags;
	free(old);
	notify_finish(nc, BV_REPLIED);
	return true;
}

static const char *name_of(struct loop *l, int nr)
{
	if (nr < 0 || nr >= l->n_names)
		return "unknown";
	if (!l->name[nr]) {
		const char *name = names_name(nr);

		l->name[nr] = name ? name : "unknown";
	}
	return l->name[nr];
}

static enum bv_verdict set_value(struct bv_call *call, int64_t r)
{
	return host_table.reply(call, r);
}

/* What the filter would have refused by itself, if nobody had asked to be told. */
static bool refuse(struct loop *l, struct ncall *nc)
{
	const char *by;
	int err = router_audited(l->box->router)
	                  ? router_refused(l->box->router, nc->nr, nc->call.arg, &by)
	                  : 0;

	if (!err)
		return false;
	if (router_is_refusal(err))
		audit_report(&l->box->audit, by, &nc->call, BV_REPORT_DENIED, err, NULL);
	notify_finish(nc, host_table.reply(&nc->call, -err));
	return true;
}

static void handle(struct loop *l, struct ncall *nc)
{
	enum bv_verdict verdict;

	if (!l->killable && replay(nc))
		return;
	if (refuse(l, nc))
		return;
	if (nc->thread->task->watch_exec || nc->thread->task->exec_seen)
		task_exec_check(&l->tasks, nc->thread);
	verdict = router_dispatch(l->box->router, nc->nr, &nc->call, set_value);
	creds_restore();
	notify_finish(nc, verdict);
}

int notify_next(struct loop *l, int listener)
{
	union request in;
	struct ncall *nc = l->spare;
	struct thread *th;
	int r;

	memset(&in, 0, sizeof(in)); /* the kernel insists (EINVAL otherwise) */
	if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &in.n) < 0)
		return -errno;
	/* Fail closed: the filter lets no other architecture's calls trap, and a process outside our
	 * pid namespace cannot be judged. */
	if (in.n.data.arch != ARCH_AUDIT || in.n.pid == 0) {
		notify_send(l, in.n.id, -ENOSYS);
		return 0;
	}
	r = task_thread(&l->tasks, (pid_t)in.n.pid, in.n.id, &th);
	if (r == 0 && th->redirect && exec_redirect_reentry(th->redirect, &in.n.data)) {
		/*
		 * The path this exec points to was written by us after the thread entered the call.  If
		 * another thread changes it nevertheless, the program that starts is not the expected one
		 * and the redirect kills it before its first instruction.
		 */
		send_continue(l, in.n.id);
		return 0;
	}
	if (r == 0 && l->redirects)
		exec_redirect_met(l, th->task);
	if (r == 0 && !l->killable && l->deferred &&
	    defer_adopt(l, th, in.n.data.nr, (const uint64_t *)in.n.data.args, in.n.id))
		return 0;
	if (r == 0 && !nc) {
		nc = calloc(1, sizeof(*nc));
		if (!nc)
			r = -ENOMEM;
	}
	if (r < 0) {
		notify_send(l, in.n.id, r == -ESRCH ? -EAGAIN : r);
		return 0;
	}
	l->spare = NULL;
	nc->call = (struct bv_call){
		.head = BV_HEAD(CALL, struct bv_call),
		.name = name_of(l, in.n.data.nr),
		.task = th->task,
		.tid = th->tid,
	};
	memcpy(nc->call.arg, in.n.data.args, sizeof(nc->call.arg));
	nc->loop = l;
	nc->thread = th;
	nc->id = in.n.id;
	nc->nr = in.n.data.nr;
	nc->answer = ANSWER_NONE;
	nc->deferred = nc->redirect = false;
	handle(l, nc);
	return 0;
}
