/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A negative clock id names the CPU clock of a process: it holds ~pid (clock_getcpuclockid(3)), so
 * it would tell whether a foreign pid exists and how much it works.  The filter lets every other
 * clock through.
 */
#include <errno.h>

#include "procns.h"

/* linux/posix-timers.h: bits 0-1 which clock, 3 = a descriptor's; bit 2 per thread. */
#define CLOCK_KIND(id) ((uint32_t)(id) & 7u)
#define CLOCK_KIND_FD 3u

static enum bv_verdict by_clock(struct procns *p, struct bv_call *call)
{
	int32_t id = (int32_t)call->arg[0];
	int32_t pid = ~(id >> 3);

	if (id >= 0 || CLOCK_KIND(id) == CLOCK_KIND_FD || pid <= 0 || pid_own(p, call, pid))
		return BV_CONTINUE; /* the clock is named by the register alone */
	return REPLY(p, call, -EINVAL);
}

BV_SYSCALL(clock_gettime)
{
	return by_clock(self, call);
}

BV_SYSCALL(clock_getres)
{
	return by_clock(self, call);
}

BV_SYSCALL(clock_nanosleep)
{
	return by_clock(self, call);
}

BV_SYSCALL(timer_create)
{
	return by_clock(self, call);
}

const struct bv_handler clock_handlers[] = {
	BV_ON(clock_gettime, BV_SERVE),
	BV_ON(clock_getres, BV_SERVE),
	BV_ON(clock_nanosleep, BV_SERVE),
	BV_ON(timer_create, BV_SERVE),
	{0},
};
