/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shells that take EINTR from stat(2) for a missing program.  A signal that arrives after a guest has made a
 * call and before the supervisor has received it takes the guest out of its wait (seccomp_unotify(2)), and a
 * handler without SA_RESTART makes an EINTR of that which Linux never gives.  SIGCHLD meets a shell so when a
 * part of a pipeline ends while it looks for the next one's program.  Its handler gets SA_RESTART, which
 * changes nothing for sigsuspend(2), by which these shells wait, nor for select(2) and poll(2).
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "procns.h"

/* The beginning of the kernel's struct, which is the same everywhere (asm/signal.h). */
struct action {
	uint64_t handler, flags;
};

static bool is_listed(struct procns *p, struct bv_call *call)
{
	static const char deleted[] = " (deleted)";
	char exe[4096];
	int proc = p->host->proc_fd(call);
	ssize_t n = proc < 0 ? -1 : readlinkat(proc, "exe", exe, sizeof(exe) - 1);

	if (n <= 0)
		return false;
	exe[n] = '\0';
	const size_t mark = sizeof(deleted) - 1;
	if ((size_t)n > mark && strcmp(exe + n - mark, deleted) == 0)
		exe[(size_t)n - mark] = '\0';
	const char *slash = strrchr(exe, '/');
	for (size_t i = 0; slash && i < p->conf->restarting.n; i++)
		if (strcmp(slash + 1, p->conf->restarting.item[i]) == 0)
			return true;
	return false;
}

/* The filter lets all but the setting of SIGCHLD's without a place for the old one pass. */
BV_SYSCALL(rt_sigaction)
{
	struct procns *p = self;
	struct action a;

	if (p->host->mem_read(call, &a, call->arg[1], sizeof(a)) == 0 &&
	    a.handler > 1 /* SIG_DFL, SIG_IGN */ && !(a.flags & SA_RESTART) && is_listed(p, call)) {
		a.flags |= SA_RESTART;
		/* In libc's own copy, as a rule.  Where it cannot be written all stays as it was. */
		(void)p->host->mem_write(call, call->arg[1] + offsetof(struct action, flags),
		                         &a.flags, sizeof(a.flags));
	}
	/* What the kernel reads now may be something else: whatever it is, it is a handler of the guest's own. */
	return BV_CONTINUE;
}

const struct bv_handler restart_handlers[] = {
	BV_ON(rt_sigaction, BV_SERVE),
	{0},
};
