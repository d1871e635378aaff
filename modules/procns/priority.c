/* SPDX-License-Identifier: Apache-2.0 */
/*
 * get/setpriority and ioprio_get/set.  For one process they are a matter of its pid; for a group
 * or a user the kernel would walk over host processes too, so these forms are done here, process
 * by process, over the sandbox's own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "procns.h"

/* ioprio_set(2); linux/ioprio.h is too young to rely on. */
#define IO_WHO_PROCESS 1
#define IO_WHO_PGRP 2
#define IO_WHO_USER 3
#define IO_CLASS(value) ((unsigned)(value) >> 13 & 7)
#define IO_CLASS_RT 1

struct sweep {
	struct procns *p;
	struct bv_call *call;
	struct bv_creds who;
	bool io, set, group;
	int32_t pgid; /* group */
	uint32_t uid; /* not group */
	int value, result;
};

static int better_io(int a, int b)
{
	/* ioprio_best(): class 0 counts as best-effort; the lower number wins. */
	unsigned ca = IO_CLASS(a) ? IO_CLASS(a) : 2, cb = IO_CLASS(b) ? IO_CLASS(b) : 2;

	if (ca != cb)
		return ca < cb ? a : b;
	return a < b ? a : b;
}

/* set_one_prio(): who may, and how far up.  No guest has CAP_SYS_NICE. */
static int set_nice(const struct sweep *s, int32_t tgid, const struct pid_status *whom)
{
	struct rlimit limit;
	int now;

	if (whom->uid != s->who.euid && whom->euid != s->who.euid)
		return -EPERM;
	errno = 0;
	now = getpriority(PRIO_PROCESS, (id_t)tgid);
	if (now == -1 && errno)
		return -ESRCH;
	if (s->value < now && (prlimit(tgid, RLIMIT_NICE, NULL, &limit) < 0 || (rlim_t)(20 - s->value) > limit.rlim_cur))
		return -EACCES;
	return setpriority(PRIO_PROCESS, (id_t)tgid, s->value) < 0 ? -errno : 0;
}

static int set_io(const struct sweep *s, int32_t tgid, const struct pid_status *whom)
{
	if (IO_CLASS(s->value) == IO_CLASS_RT)
		return -EPERM;
	if (whom->uid != s->who.euid && whom->uid != s->who.uid)
		return -EPERM;
	return syscall(SYS_ioprio_set, IO_WHO_PROCESS, tgid, s->value) < 0 ? -errno : 0;
}

static int sweep_each(void *arg, int32_t tgid)
{
	struct sweep *s = arg;
	struct pid_status whom;
	int r;

	if (s->group && getpgid(tgid) != s->pgid)
		return 0;
	bv_autofd int pinned = pid_pin(s->p, s->call, tgid);
	if (pinned < 0 || pid_status(pinned, &whom) < 0)
		return 0;
	if (!s->group && whom.uid != s->uid)
		return 0;
	if (s->set) {
		r = s->io ? set_io(s, tgid, &whom) : set_nice(s, tgid, &whom);
		if (r == -ESRCH)
			return 0;
		/* The kernel keeps the last failure, and success only while there was none. */
		if (r < 0 || s->result == -ESRCH)
			s->result = r;
		return 0;
	}
	if (s->io) {
		r = (int)syscall(SYS_ioprio_get, IO_WHO_PROCESS, tgid);
		if (r >= 0)
			s->result = s->result < 0 ? r : better_io(s->result, r);
		return 0;
	}
	errno = 0;
	r = getpriority(PRIO_PROCESS, (id_t)tgid);
	/* The raw call answers 20 - nice, 1 to 40, and the highest priority of all. */
	if ((r != -1 || !errno) && 20 - r > s->result)
		s->result = 20 - r;
	return 0;
}

static enum bv_verdict sweep(struct procns *p, struct bv_call *call, bool io, bool set, bool group)
{
	struct sweep s = {.p = p, .call = call, .io = io, .set = set, .group = group, .result = -ESRCH};
	int32_t id = (int32_t)call->arg[1];
	int r = p->host->creds(call, &s.who);

	if (r < 0)
		return REPLY(p, call, r);
	s.value = (int)call->arg[2];
	if (set && !io)
		s.value = s.value < -20 ? -20 : s.value > 19 ? 19 : s.value;
	if (group)
		s.pgid = id ? id : getpgid(call->tid);
	else
		s.uid = id ? (uint32_t)id : s.who.uid;
	r = pid_each(p, sweep_each, &s);
	return REPLY(p, call, r < 0 ? r : s.result);
}

/* One process: only registers say which, as in target.c. */
static enum bv_verdict one(struct procns *p, struct bv_call *call)
{
	int32_t pid = (int32_t)call->arg[1];

	if (pid <= 0 || pid_own(p, call, pid))
		return BV_CONTINUE;
	return REPLY(p, call, -ESRCH);
}

static enum bv_verdict nice_call(struct procns *p, struct bv_call *call, bool set)
{
	switch ((int)call->arg[0]) {
	case PRIO_PROCESS:
		return one(p, call);
	case PRIO_PGRP:
		return sweep(p, call, false, set, true);
	case PRIO_USER:
		return sweep(p, call, false, set, false);
	}
	return REPLY(p, call, -EINVAL);
}

static enum bv_verdict io_call(struct procns *p, struct bv_call *call, bool set)
{
	/* Class and level are checked before the targets, by the kernel too. */
	if (set && IO_CLASS(call->arg[2]) > 3)
		return REPLY(p, call, -EINVAL);
	switch ((int)call->arg[0]) {
	case IO_WHO_PROCESS:
		return one(p, call);
	case IO_WHO_PGRP:
		return sweep(p, call, true, set, true);
	case IO_WHO_USER:
		return sweep(p, call, true, set, false);
	}
	return REPLY(p, call, -EINVAL);
}

BV_SYSCALL(getpriority)
{
	return nice_call(self, call, false);
}

BV_SYSCALL(setpriority)
{
	return nice_call(self, call, true);
}

BV_SYSCALL(ioprio_get)
{
	return io_call(self, call, false);
}

BV_SYSCALL(ioprio_set)
{
	return io_call(self, call, true);
}

const struct bv_handler priority_handlers[] = {
	BV_ON(getpriority, BV_SERVE),
	BV_ON(setpriority, BV_SERVE),
	BV_ON(ioprio_get, BV_SERVE),
	BV_ON(ioprio_set, BV_SERVE),
	{0},
};
