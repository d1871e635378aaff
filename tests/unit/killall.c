/* SPDX-License-Identifier: Apache-2.0 */
/* core/killall.c: nothing that descends from us survives, whatever it does; nobody else is hit. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "killall.h"

static void setup(void)
{
	cr_assert_eq(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
}

TestSuite(killall, .init = setup);

static void count(void *arg, pid_t pid, int status)
{
	(void)pid;
	*(int *)arg += WIFEXITED(status) || WIFSIGNALED(status);
}

static void stubborn(void)
{
	for (int sig = 1; sig < 32; sig++)
		signal(sig, sig == SIGCHLD ? SIG_DFL : SIG_IGN); /* ignoring it would reap by itself */
	for (;;)
		pause();
}

Test(killall, no_children)
{
	int n = 0;

	cr_assert_eq(killall(1000, count, &n), 0);
	cr_assert_eq(n, 0);
}

Test(killall, a_chain_in_sessions_of_its_own)
{
	int n = 0, ready[2];
	char byte;

	cr_assert_eq(pipe(ready), 0);
	if (fork() == 0) {
		for (int depth = 0; depth < 20; depth++) {
			setsid();
			if (fork() > 0)
				stubborn();
		}
		cr_assert_eq(write(ready[1], "x", 1), 1);
		stubborn();
	}
	cr_assert_eq(read(ready[0], &byte, 1), 1);
	cr_assert_eq(killall(10000, count, &n), 0);
	cr_assert_eq(n, 21);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_assert_eq(errno, ECHILD);
}

Test(killall, stopped_ones_too)
{
	int n = 0, status;
	pid_t pid = fork();

	if (pid == 0)
		stubborn();
	kill(pid, SIGSTOP);
	cr_assert_eq(waitpid(pid, &status, WUNTRACED), pid);
	cr_assert_eq(killall(5000, count, &n), 0);
	cr_assert_eq(n, 1);
}

Test(killall, a_bounded_fork_storm)
{
	int n = 0;

	/* Each generation forks and ends, as fast as it can: there is always a young one. */
	for (int i = 0; i < 8; i++)
		if (fork() == 0)
			for (;;)
				if (fork() > 0)
					_exit(0);
	usleep(20000);
	cr_assert_eq(killall(10000, count, &n), 0);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_assert_eq(errno, ECHILD);
	cr_assert_geq(n, 8);
}

Test(killall, spares_a_process_that_is_none_of_ours)
{
	int up[2], down[2], n = 0;
	char byte = 0;
	pid_t stranger;

	/* A sibling of the process that does the killing. */
	cr_assert_eq(pipe(up), 0);
	cr_assert_eq(pipe(down), 0);
	stranger = fork();
	if (stranger == 0) {
		(void)!read(down[0], &byte, 1);
		_exit(byte == 'k' ? 42 : 1);
	}
	pid_t killer = fork();
	if (killer == 0) {
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (fork() == 0)
			stubborn();
		_exit(killall(5000, count, &n) == 0 && n == 1 ? 0 : 1);
	}
	int status;
	cr_assert_eq(waitpid(killer, &status, 0), killer);
	cr_assert_eq(status, 0);
	cr_assert_eq(write(down[1], "k", 1), 1);
	cr_assert_eq(waitpid(stranger, &status, 0), stranger);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 42);
}
