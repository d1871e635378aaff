/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor-options: -o procns.restart_sigchld=proc_restart */
/*
 * SIGCHLD while the parent looks at files, as in a shell that makes a pipeline: natively no such call ever
 * fails for it, whatever its handler's flags are.
 */
#include "t.h"
#include <poll.h>
#include <sys/time.h>

#define ROUNDS 2000

static volatile sig_atomic_t children, alarms;

static void on_child(int sig)
{
	(void)sig;
	children++;
}

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

static void child_in(int us)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		if (us)
			usleep((useconds_t)us);
		_exit(0);
	}
}

static void busy(void)
{
	struct stat st;
	int interrupted = 0;

	for (int i = 0; i < ROUNDS; i++) {
		int before = children;

		child_in(0);
		while (children == before)
			if (stat("a.txt", &st) < 0 || stat("dir/../dir", &st) < 0 ||
			    access("a.txt", R_OK) < 0)
				interrupted += errno == EINTR;
		MUST(wait(NULL) > 0);
	}
	SAY("interrupted: %d\n", interrupted);
}

/* What must be interrupted is. */
static void waits(void)
{
	sigset_t chld, old;
	struct pollfd none = {.fd = -1};
	int p[2];
	char c;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	MUST(sigprocmask(SIG_BLOCK, &chld, &old) == 0);
	child_in(20000);
	T(sigsuspend(&old));
	MUST(sigprocmask(SIG_SETMASK, &old, NULL) == 0 && wait(NULL) > 0);
	child_in(20000);
	T(poll(&none, 1, 5000));
	MUST(wait(NULL) > 0 && pipe(p) == 0);
	/* Another signal's handler is as it was set. */
	struct itimerval soon = {.it_value.tv_usec = 20000};
	MUST(setitimer(ITIMER_REAL, &soon, NULL) == 0);
	T(read(p[0], &c, 1));
	SAY("alarms %d\n", alarms);
}

int main(void)
{
	struct sigaction sa = {.sa_handler = on_child}, was = {0};

	T(sigaction(SIGCHLD, &sa, NULL));
	sa.sa_handler = on_alarm;
	T(sigaction(SIGALRM, &sa, &was));
	T(sigaction(SIGCHLD, NULL, &was));
	SAY("%d\n", was.sa_handler == on_child);
	T(syscall(SYS_rt_sigaction, SIGCHLD, t_bad, NULL, 8));
	T(syscall(SYS_rt_sigaction, SIGCHLD, &sa, NULL, 7));
	busy();
	waits();
	sa.sa_handler = SIG_DFL;
	T(sigaction(SIGCHLD, &sa, &was));
	SAY("%d\n", was.sa_handler == on_child);
	return 0;
}
