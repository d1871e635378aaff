/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signals between the processes of one program: whom they meet, in which order errors are found,
 * and what the receiver sees.  Outputs must be equal.
 */
#include "t.h"

#include <pthread.h>
#include <sys/prctl.h>

static volatile sig_atomic_t got_sig, got_code, got_pid_ok, got_value;
static pid_t expected;

static void on_signal(int sig, siginfo_t *info, void *ctx)
{
	(void)ctx;
	got_sig = sig;
	got_code = info->si_code;
	got_pid_ok = info->si_pid == expected;
	got_value = info->si_value.sival_int;
}

static void hook(int sig)
{
	struct sigaction sa = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};

	MUST(sigaction(sig, &sa, NULL) == 0);
}

static void report(const char *what)
{
	SAY("  %s: signal %d code %d from the right pid %d value %d\n", what, (int)got_sig, (int)got_code,
	    (int)got_pid_ok, (int)got_value);
	got_sig = got_code = got_pid_ok = got_value = 0;
}

static void to_self(void)
{
	expected = getpid();
	hook(SIGUSR1);
	hook(SIGRTMIN + 1);
	T(kill(getpid(), 0));
	T(kill(getpid(), SIGUSR1));
	report("kill");
	T(raise(SIGUSR1));
	report("raise");
	T(syscall(SYS_tkill, (int)syscall(SYS_gettid), SIGUSR1));
	report("tkill");
	T(syscall(SYS_tgkill, getpid(), (int)syscall(SYS_gettid), SIGUSR1));
	report("tgkill");
	T(sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = 77}));
	report("sigqueue");
	T(kill(getpid(), 65));
	T(kill(getpid(), -1));
	T(syscall(SYS_tkill, 0, 0));
	T(syscall(SYS_tkill, -1, 0));
	T(syscall(SYS_tgkill, 0, 1, 0));
	T(syscall(SYS_tgkill, getpid(), 0, 0));
	T(syscall(SYS_rt_sigqueueinfo, getpid(), SIGRTMIN + 1, t_bad));
}

/* A child that reports over the pipe which signal it got, from whom, and ends. */
static pid_t listener(int out[2], bool own_group)
{
	int ready[2];
	char c;
	pid_t pid;

	MUST(pipe(out) == 0 && pipe(ready) == 0);
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		sigset_t set;
		siginfo_t info;

		if (own_group)
			MUST(setpgid(0, 0) == 0);
		sigfillset(&set);
		sigprocmask(SIG_BLOCK, &set, NULL);
		MUST(write(ready[1], "r", 1) == 1);
		while (sigwaitinfo(&set, &info) < 0)
			;
		/* si_code is SI_USER where the kernel sends and SI_QUEUE where it is relayed. */
		dprintf(out[1], "signal %d by user %d from parent %d uid %d\n", info.si_signo, info.si_code <= 0,
		        info.si_pid == getppid() || info.si_pid == expected, info.si_uid == getuid());
		_exit(info.si_signo);
	}
	MUST(read(ready[0], &c, 1) == 1);
	close(ready[0]);
	close(ready[1]);
	close(out[1]);
	return pid;
}

static void heard(int fd)
{
	char b[200];
	ssize_t n = read(fd, b, sizeof(b));

	SAY("  child: %.*s", n > 0 ? (int)n : 0, b);
	close(fd);
}

static void to_child(void)
{
	int out[2];
	pid_t pid;

	expected = getpid();
	pid = listener(out, false);
	T(kill(pid, 0));
	T(kill(pid, SIGTERM));
	heard(out[0]);
	t_wait(pid);
	T(kill(pid, 0));
	T(kill(pid, SIGTERM));
	T(syscall(SYS_tgkill, pid, pid, SIGTERM));

	pid = listener(out, false);
	T(syscall(SYS_tgkill, pid, pid, SIGUSR2));
	heard(out[0]);
	t_wait(pid);

	pid = listener(out, false);
	T(syscall(SYS_tkill, pid, SIGUSR2));
	heard(out[0]);
	t_wait(pid);

	pid = listener(out, false);
	T(sigqueue(pid, SIGRTMIN + 2, (union sigval){.sival_int = 5}));
	heard(out[0]);
	t_wait(pid);

	pid = listener(out, true);
	T(kill(-pid, SIGHUP));
	heard(out[0]);
	t_wait(pid);
	T(kill(-pid, 0));

	/* A forged origin is refused for everybody but oneself. */
	pid = listener(out, false);
	siginfo_t info = {.si_code = SI_USER, .si_pid = 1};
	T(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
	info.si_code = SI_TKILL;
	T(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, &info));
	T(syscall(SYS_rt_sigqueueinfo, pid, SIGUSR1, t_bad));
	T(kill(pid, 99));
	T(kill(pid, SIGKILL));
	t_wait(pid);
	close(out[0]);

	/* A zombie can be signalled. */
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0)
		_exit(3);
	siginfo_t si;
	MUST(waitid(P_PID, (id_t)pid, &si, WEXITED | WNOWAIT) == 0);
	T(kill(pid, 0));
	T(kill(pid, SIGTERM));
	t_wait(pid);
	T(kill(INT_MIN, 0));
	T(kill(INT_MAX, 0));
	T(kill(-INT_MAX, 0));
}

static void ignore(int sig)
{
	(void)sig;
}

static pid_t paused_child(int sig, bool block)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid)
		return pid;
	signal(SIGCHLD, SIG_DFL);
	if (block) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, sig);
		sigprocmask(SIG_BLOCK, &set, NULL);
	}
	for (;;)
		pause();
}

/*
 * A shell's `kill $a $b`: the end of the first child interrupts nothing, whatever the signal that
 * ends it, also for a SIGCHLD handler without SA_RESTART.
 */
static void to_children(void)
{
	static const int with[] = {SIGKILL, SIGTERM, SIGHUP, SIGUSR1};
	struct sigaction sa = {.sa_handler = ignore}, old;
	int failed = 0, other = 0, st;

	MUST(sigaction(SIGCHLD, &sa, &old) == 0);
	signal(SIGTERM, SIG_DFL);
	signal(SIGHUP, SIG_DFL);
	signal(SIGUSR1, SIG_DFL);
	for (int i = 0; i < 300; i++) {
		int sig = with[i % 4];
		pid_t a = paused_child(sig, false), b = paused_child(sig, false);

		failed += kill(a, sig) != 0;
		failed += kill(b, sig) != 0;
		while (waitpid(a, &st, 0) < 0)
			MUST(errno == EINTR);
		other += !WIFSIGNALED(st) || WTERMSIG(st) != sig;
		while (waitpid(b, &st, 0) < 0)
			MUST(errno == EINTR);
		other += !WIFSIGNALED(st) || WTERMSIG(st) != sig;
	}
	SAY("of 600: %d not sent, %d ended otherwise\n", failed, other);

	/* One who is stopped, or does not take it now, is not waited for. */
	pid_t pid = paused_child(SIGTERM, true);
	usleep(50000);
	T(kill(pid, SIGTERM));
	T(waitpid(pid, NULL, WNOHANG));
	T(kill(pid, SIGSTOP));
	MUST(waitpid(pid, NULL, WUNTRACED) == pid);
	T(kill(pid, SIGHUP));
	T(waitpid(pid, NULL, WNOHANG));
	T(kill(pid, SIGCONT));
	t_wait(pid);
	MUST(sigaction(SIGCHLD, &old, NULL) == 0);
}

/* kill(0): everybody in the group, and nobody else. */
static void to_group(void)
{
	int outer_out[2];
	pid_t outsider = listener(outer_out, true), leader = fork();

	MUST(leader >= 0);
	if (leader == 0) {
		int a[2], b[2];

		MUST(setpgid(0, 0) == 0);
		expected = getpid();
		pid_t one = listener(a, false), two = listener(b, false);
		MUST(signal(SIGUSR1, SIG_IGN) != SIG_ERR);
		T(kill(0, 0));
		T(kill(0, SIGUSR1));
		heard(a[0]);
		heard(b[0]);
		t_wait(one);
		t_wait(two);
		T(kill(-getpgrp(), SIGUSR1));
		_exit(0);
	}
	t_wait(leader);
	T(kill(outsider, SIGTERM));
	heard(outer_out[0]);
	t_wait(outsider);
	/* A group whose leader has ended. */
	leader = fork();
	MUST(leader >= 0);
	if (leader == 0) {
		int a[2];

		MUST(setpgid(0, 0) == 0);
		expected = getppid();
		pid_t member = listener(a, false);
		MUST(member > 0);
		_exit(0);
	}
	t_wait(leader);
	T(kill(-leader, 0));
	T(kill(-leader, SIGKILL));
}

static void *sleeper(void *arg)
{
	*(pid_t *)arg = (pid_t)syscall(SYS_gettid);
	pause();
	return NULL;
}

static void to_thread(void)
{
	volatile pid_t tid = 0;
	pthread_t t;

	expected = getpid();
	hook(SIGUSR1);
	MUST(pthread_create(&t, NULL, sleeper, (void *)&tid) == 0);
	while (!tid)
		usleep(1000);
	T(syscall(SYS_tgkill, getpid(), tid, 0));
	T(kill(tid, 0)); /* kill(2) takes thread ids */
	T(syscall(SYS_tgkill, tid, tid, 0));
	T(pthread_kill(t, SIGUSR1));
	usleep(50000);
	report("pthread_kill");
	pthread_join(t, NULL);
	T(pthread_kill(pthread_self(), 0));
}

static void owner_of_fd(void)
{
	int p[2];
	struct f_owner_ex ex = {F_OWNER_PID, getpid()};

	MUST(pipe(p) == 0);
	T(fcntl(p[0], F_SETOWN, getpid()));
	T(fcntl(p[0], F_GETOWN) == getpid());
	T(fcntl(p[0], F_SETOWN, 0));
	T(fcntl(p[0], F_GETOWN));
	T(fcntl(p[0], F_SETOWN, INT_MIN));
	T(fcntl(p[0], F_SETOWN, INT_MAX));
	T(fcntl(p[0], F_SETOWN_EX, &ex));
	T(fcntl(p[0], F_SETOWN_EX, t_bad));
	ex.pid = INT_MAX;
	T(fcntl(p[0], F_SETOWN_EX, &ex));
	T(fcntl(p[0], F_GETFL));
	T(fcntl(p[0], F_SETFL, O_NONBLOCK));
	T(fcntl(p[0], 4711));
	close(p[0]);
	close(p[1]);
}

int main(void)
{
	to_self();
	to_child();
	to_children();
	to_group();
	to_thread();
	owner_of_fd();
	return 0;
}
