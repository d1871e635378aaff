/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that name another process by number.  A foreign pid is ESRCH, an own one is left to the
 * host kernel: whom such a call meets is in registers alone, and what its pointers lead to is the
 * data it works on, never the choice of a process.  Between our look and the kernel's a dead
 * guest's number would have to come round the whole pid space and fall to a host process of the
 * same user; what could then be read or written is behind Landlock's ptrace rule, so those calls
 * are refused where that wall is missing, and the rest could only shift a priority or a limit.
 */
#include <errno.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "procns.h"

static enum bv_verdict by_pid(struct procns *p, struct bv_call *call, unsigned index)
{
	int32_t pid = (int32_t)call->arg[index];

	/* 0 is the caller; a negative number is nobody, and the kernel knows the errno for it. */
	if (pid <= 0 || pid_own(p, call, pid))
		return BV_CONTINUE;
	return pid_foreign(p, call, pid);
}

/* The same for calls that look into or write the other's memory. */
static enum bv_verdict by_pid_inside(struct procns *p, struct bv_call *call, unsigned index)
{
	int32_t pid = (int32_t)call->arg[index];

	if (pid > 0 && !pid_own(p, call, pid))
		return pid_foreign(p, call, pid);
	if (pid <= 0 || pid == call->tid || pid == p->host->task_pid(call->task))
		return BV_CONTINUE;
	return p->traced ? BV_CONTINUE : REPLY(p, call, -EPERM); /* Landlock: no ptrace access outwards */
}

BV_SYSCALL(sched_setaffinity)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_getaffinity)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_setscheduler)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_getscheduler)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_setparam)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_getparam)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_setattr)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_getattr)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(sched_rr_get_interval)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(prlimit64)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(getsid)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(getpgid)
{
	return by_pid(self, call, 0);
}

BV_SYSCALL(get_robust_list)
{
	return by_pid_inside(self, call, 0);
}

BV_SYSCALL(move_pages)
{
	return by_pid_inside(self, call, 0);
}

BV_SYSCALL(migrate_pages)
{
	return by_pid_inside(self, call, 0);
}

BV_SYSCALL(process_vm_readv)
{
	return by_pid_inside(self, call, 0);
}

BV_SYSCALL(process_vm_writev)
{
	return by_pid_inside(self, call, 0);
}

BV_SYSCALL(kcmp)
{
	struct procns *p = self;
	int32_t a = (int32_t)call->arg[0], b = (int32_t)call->arg[1];

	if (!pid_own(p, call, a) || !pid_own(p, call, b))
		return REPLY(p, call, -ESRCH);
	/* Both are looked into; Landlock's ptrace rule holds for each. */
	return p->traced ? BV_CONTINUE : REPLY(p, call, -EPERM);
}

/*
 * The kernel only takes the caller or a child of it, which is always a guest; so the group is
 * what needs a look: one that has no process of the sandbox in it does not exist.
 */
BV_SYSCALL(setpgid)
{
	struct procns *p = self;
	int32_t pid = (int32_t)call->arg[0], pgid = (int32_t)call->arg[1];

	if (pgid <= 0 || pgid == pid || p->host->is_guest(p->self, pgid) == 1 || pid_group_own(p, pgid))
		return BV_CONTINUE; /* plain numbers in registers; joining a group changes nobody else */
	return REPLY(p, call, -EPERM);
}

BV_SYSCALL(getppid)
{
	struct procns *p = self;
	int32_t tgid = p->host->task_pid(call->task);
	bv_autostrbuf struct strbuf b = {0};
	struct pid_stat s;
	int r;

	if (tgid == p->host->first_pid(p->self))
		return REPLY(p, call, 0);
	int proc_fd = p->host->proc_fd(call);
	r = proc_fd < 0 ? proc_fd : read_whole(proc_fd, "stat", &b);
	if (r == 0)
		r = pid_stat_parse(b.data, &s);
	return REPLY(p, call, r < 0 ? r : pid_parent(p, tgid, proc_fd, s.ppid));
}

/*
 * capget(2) takes the pid from memory, so it is answered here: what the kernel would read a second
 * time could be a foreign pid.
 */
BV_SYSCALL(capget)
{
	struct procns *p = self;
	struct __user_cap_header_struct head;
	struct __user_cap_data_struct data[2] = {{0}};
	uint32_t asked;
	int r = p->host->mem_read(call, &head, call->arg[0], sizeof(head));

	if (r < 0)
		return REPLY(p, call, r);
	asked = head.version;
	if (head.pid > 0 && !pid_own(p, call, head.pid))
		return REPLY(p, call, -ESRCH);
	if (head.pid == 0)
		head.pid = call->tid;
	r = syscall(SYS_capget, &head, data) < 0 ? -errno : 0;
	if (head.version != asked) {
		/* An unknown version: the kernel answers with the one it prefers; with no place for
		 * data that is all that was asked for. */
		r = p->host->mem_write(call, call->arg[0], &head.version, sizeof(head.version));
		return REPLY(p, call, r < 0 ? r : call->arg[1] ? -EINVAL : 0);
	}
	if (r == 0 && call->arg[1])
		r = p->host->mem_write(call, call->arg[1], data,
		                       (asked == _LINUX_CAPABILITY_VERSION_1 ? 1 : 2) * sizeof(data[0]));
	return REPLY(p, call, r);
}

const struct bv_handler target_handlers[] = {
	BV_ON(sched_setaffinity, BV_SERVE),
	BV_ON(sched_getaffinity, BV_SERVE),
	BV_ON(sched_setscheduler, BV_SERVE),
	BV_ON(sched_getscheduler, BV_SERVE),
	BV_ON(sched_setparam, BV_SERVE),
	BV_ON(sched_getparam, BV_SERVE),
	BV_ON(sched_setattr, BV_SERVE),
	BV_ON(sched_getattr, BV_SERVE),
	BV_ON(sched_rr_get_interval, BV_SERVE),
	BV_ON(prlimit64, BV_SERVE),
	BV_ON(getsid, BV_SERVE),
	BV_ON(getpgid, BV_SERVE),
	BV_ON(get_robust_list, BV_SERVE),
	BV_ON(move_pages, BV_SERVE),
	BV_ON(migrate_pages, BV_SERVE),
	BV_ON(process_vm_readv, BV_SERVE),
	BV_ON(process_vm_writev, BV_SERVE),
	BV_ON(kcmp, BV_SERVE),
	BV_ON(setpgid, BV_SERVE),
	BV_ON(getppid, BV_SERVE),
	BV_ON(capget, BV_SERVE),
	{0},
};
