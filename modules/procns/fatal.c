/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kill(2) of a child that the signal will end, by a parent that catches SIGCHLD.
 *
 * A signal that arrives after a call was made and before the supervisor has received it ends the
 * call with EINTR when the handler is one without SA_RESTART (seccomp_unotify(2),
 * "Interaction with SA_RESTART signal handlers").  A shell that
 * kills two children asks for just that: the first one's end interrupts the second kill(2).  So
 * the answer waits until the child is dead, and the parent's SIGCHLD arrives while its call is in
 * our hands, where only deadly signals count.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "procns.h"

/* Longer than it takes to tear down a large process; who is stuck in a driver dies later. */
#define WAIT_MS 20

#define BIT(sig) (UINT64_C(1) << ((sig)-1))
/* signal(7), "Standard signals": what is left by default, stops, or continues does not end anyone. */
#define HARMLESS                                                                                   \
	(BIT(SIGCHLD) | BIT(SIGURG) | BIT(SIGWINCH) | BIT(SIGCONT) | BIT(SIGSTOP) | BIT(SIGTSTP) | \
	 BIT(SIGTTIN) | BIT(SIGTTOU))

struct fatal {
	struct procns *p;
	int pidfd;
};

static void wait_end(void *arg)
{
	struct fatal *f = arg;
	struct pollfd end = {.fd = f->pidfd, .events = POLLIN};

	poll(&end, 1, WAIT_MS); /* EINTR: the caller died */
}

static enum bv_verdict wait_done(struct bv_call *call, void *arg)
{
	struct fatal *f = arg;
	struct procns *p = f->p;

	close(f->pidfd);
	free(f);
	return call ? REPLY(p, call, 0) : BV_PASS;
}

/* By default, at once: a traced process stops for its tracer instead. */
static bool ends(const struct pid_status *whom, int sig)
{
	if (whom->tracer || (HARMLESS & BIT(sig)))
		return false;
	return sig == SIGKILL || !((whom->blocked | whom->ignored | whom->caught) & BIT(sig));
}

/* A process's own mask is its threads' matter; its leader's says enough, the wait has an end. */
static bool applies(struct procns *p, struct bv_call *call, int32_t pid, int pinned, int sig,
                    struct bv_creds *creds)
{
	struct pid_status who, whom;

	if (pid_status(pinned, &whom) < 0 || whom.tgid != pid ||
	    whom.ppid != p->host->task_pid(call->task) || !ends(&whom, sig))
		return false;
	bv_autofd int own = pid_pin(p, call, call->tid);
	if (own < 0 || pid_status(own, &who) < 0 || !(who.caught & BIT(SIGCHLD)))
		return false;
	return p->host->creds(call, creds) == 0 && may_signal(creds, &whom, false) == 0;
}

bool fatal_kill(struct procns *p, struct bv_call *call, int32_t pid, int sig, enum bv_verdict *out)
{
	struct bv_creds creds;

	if (sig < 1 || sig >= 32)
		return false;
	bv_autofd int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		return false;
	/* After the pidfd: as long as that process is not reaped, the number is its own. */
	bv_autofd int pinned = pid_pin(p, call, pid);
	if (pinned < 0 || !applies(p, call, pid, pinned, sig, &creds))
		return false;
	struct fatal *f = malloc(sizeof(*f));
	if (!f)
		return false;
	/* Whom it ends does not read who sent it; one who catches it since our look sees SI_QUEUE, not SI_USER. */
	siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
	info.si_pid = p->host->task_pid(call->task);
	info.si_uid = creds.uid;
	if (syscall(SYS_pidfd_send_signal, pidfd, sig, &info, 0) < 0) {
		free(f);
		return false;
	}
	*f = (struct fatal){.p = p, .pidfd = bv_take_fd(&pidfd)};
	*out = p->host->defer(call, BV_DEFER_WAITS, wait_end, wait_done, f);
	return true;
}
