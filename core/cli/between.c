/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process may have children when it executes bvisor (`sleep 9 & exec bvisor run ...`, process
 * substitution).  The front kills all its children if the supervisor dies, so in that case it is
 * made a child of its own, and what is left here is a process that stands between it and the
 * caller: it waits, passes on signals, stops when the front stops, and exits as it does.
 */
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "front.h"

bool between_needed(void)
{
	siginfo_t si;

	return waitid(P_ALL, 0, &si, WEXITED | WSTOPPED | WNOHANG | WNOWAIT) == 0;
}

static bool goes_on(void *arg)
{
	siginfo_t si = {0};

	return waitid(P_PID, *(const id_t *)arg, &si, WCONTINUED | WEXITED | WNOHANG | WNOWAIT) ==
	               0 &&
	       si.si_pid != 0;
}

struct between {
	pid_t front;
	bool front_stopped;
	bool was_stopped; /* with the front, and no SIGCONT was read since */
};

/* The front's exit code, or -1 as long as it lives. */
static int look(struct between *b)
{
	id_t id = (id_t)b->front;
	int status;

	while (waitpid(b->front, &status, WNOHANG | WUNTRACED | WCONTINUED) == b->front) {
		if (WIFEXITED(status))
			return WEXITSTATUS(status);
		if (WIFSIGNALED(status))
			return EXIT_SIGNAL + WTERMSIG(status);
		b->front_stopped = WIFSTOPPED(status);
		if (b->front_stopped && front_stop_self(goes_on, &id))
			b->was_stopped = true;
	}
	return -1;
}

/* What the terminal sends has reached the front as well, and so has the SIGCONT a shell's fg sends
 * to the group, if the front goes on; it may even have been stopped again since the last look. */
static bool is_for_front(struct between *b, int sig, const siginfo_t *from)
{
	siginfo_t si = {0};
	bool was_stopped = b->was_stopped;

	if (sig == SIGCONT)
		b->was_stopped = false;
	if (sig == SIGCHLD || from->si_code == SI_KERNEL || from->si_pid == b->front)
		return false;
	if (sig != SIGCONT)
		return true;
	if (waitid(P_PID, (id_t)b->front, &si, WSTOPPED | WCONTINUED | WNOHANG | WNOWAIT) < 0 ||
	    si.si_pid)
		return false;
	return b->front_stopped || !was_stopped;
}

static int wait_for(pid_t front, const sigset_t *set)
{
	struct between b = {.front = front};
	int code;

	cli_release_stdio();
	while ((code = look(&b)) < 0) {
		siginfo_t si;
		int sig = sigwaitinfo(set, &si);

		if (sig > 0 && is_for_front(&b, sig, &si))
			kill(front, sig);
	}
	return code;
}

int between_run(struct run_options *o, const sigset_t *set)
{
	pid_t self = getpid(), front = fork();

	if (front < 0)
		return cli_fail(o->cmd, "fork: %s", strerror(errno));
	if (front > 0)
		return wait_for(front, set);
	/* As if the caller had killed it, so that the supervisor sees its end. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != self)
		_exit(EXIT_BVISOR);
	o->between = self;
	return front_main(o, set);
}
