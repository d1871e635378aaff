/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few calls that the filter alone cannot refuse: what they ask for is in memory, or the answer
 * is a lie told for the guest's own good.  All of them are rare.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <sys/timex.h>
#include <time.h>

#include "blocklist.h"

/*
 * A process that is not dumpable cannot be read by an unprivileged supervisor
 * (ptrace(2) "Ptrace access mode checking"), so the flag is only pretended.
 */
BV_SYSCALL(prctl)
{
	struct blocklist *m = self;
	const struct bv_host *host = m->host;
	long pid = (long)call->arg[1];

	switch ((int)call->arg[0]) {
	case PR_SET_DUMPABLE:
		return host->reply(call, call->arg[1] <= 1 ? 0 : -EINVAL);
	case PR_GET_DUMPABLE:
		return host->reply(call, 1);
	case PR_SET_PTRACER:
		/* Nobody may trace here, so that naming a tracer changes nothing; but only own
		 * processes can be named, lest the answer tells which foreign ones exist. */
		if (pid == 0 || pid == (long)PR_SET_PTRACER_ANY || (int)pid == -1)
			return host->reply(call, 0);
		return host->reply(call, host->is_guest(m->self, (int32_t)pid) > 0 ? 0 : -EINVAL);
	default:
		return BV_PASS;
	}
}

/* Reading the clock's state is everybody's right; setting it needs CAP_SYS_TIME (adjtimex(2)). */
static enum bv_verdict adjust(struct blocklist *m, struct bv_call *call, uint64_t at)
{
	const struct bv_host *host = m->host;
	struct timex t;
	int r = host->mem_read(call, &t, at, sizeof(t)), state;

	if (r < 0)
		return host->reply(call, r);
	if (t.modes != 0 && t.modes != ADJ_OFFSET_SS_READ)
		return host->reply(call, -EPERM);
	state = adjtimex(&t);
	if (state < 0)
		return host->reply(call, -errno);
	r = host->mem_write(call, at, &t, sizeof(t));
	return host->reply(call, r < 0 ? r : state);
}

BV_SYSCALL(adjtimex)
{
	return adjust(self, call, call->arg[0]);
}

BV_SYSCALL(clock_adjtime)
{
	struct blocklist *m = self;
	int clock = (int)call->arg[0];

	if (clock == CLOCK_REALTIME)
		return adjust(m, call, call->arg[1]);
	/* Negative numbers are descriptors of clock devices or processes; the rest cannot be adjusted. */
	return m->host->reply(call, clock < 0 || clock > CLOCK_TAI ? -EINVAL : -EOPNOTSUPP);
}

/* Commands that a rule hands to other modules and none of them wanted. */
BV_SYSCALL(ioctl)
{
	struct blocklist *m = self;

	return m->host->reply(call, -ENOTTY);
}

const struct bv_handler calls_handlers[CALLS_N_HANDLERS] = {
	BV_ON(prctl, BV_SERVE),
	BV_ON(adjtimex, BV_SERVE),
	BV_ON(clock_adjtime, BV_SERVE),
	BV_ON(ioctl, BV_FALLBACK),
};
