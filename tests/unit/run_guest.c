/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs inside for run.c: one role per test, named by the first argument.  Exit status 0 when
 * everything was as it should be, else the line of the first surprise (modulo 200).
 */
#include <errno.h>
#include <grp.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "run_calls.h"

extern char **environ;

#define EXPECT(ok)                                                                               \
	do {                                                                                     \
		if (!(ok))                                                                       \
			_exit(__LINE__ % 200 + 1);                                               \
	} while (0)

static long trapped(long what, long arg)
{
	return syscall(SYS_getpriority, what, arg);
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int run_child(void (*body)(void))
{
	int status;
	pid_t pid = fork();

	EXPECT(pid >= 0);
	if (pid == 0) {
		body();
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid);
	return status;
}

/* ---- what a redirected program looks like from inside ---- */
static void role_shown(int argc, char **argv)
{
	char comm[17] = "";
	sigset_t mask;

	EXPECT(argc == 4 && strcmp(argv[2], "a b") == 0 && strcmp(argv[3], "") == 0);
	EXPECT(strcmp((const char *)getauxval(AT_EXECFN), CALL_PROG) == 0);
	EXPECT(prctl(PR_GET_NAME, comm) == 0 && strcmp(comm, "prog") == 0);
	EXPECT(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
	/* As the one who exec'ed had it. */
	EXPECT(sigismember(&mask, SIGUSR1) && !sigismember(&mask, SIGTERM) && !sigismember(&mask, SIGALRM));
	EXPECT(getppid() == CALL_PPID);
	_exit(77);
}

static char *const shown[] = {(char *)"prog", (char *)"shown", (char *)"a b", (char *)"", NULL};

static void exec_shown(void)
{
	execve(CALL_PROG, shown, environ);
	_exit(199);
}

static void *thread_exec(void *arg)
{
	(void)arg;
	exec_shown();
	return NULL;
}

static void exec_by_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, thread_exec, NULL);
	pthread_join(t, NULL);
}

static void exec_by_all(void)
{
	pthread_t t;

	for (int i = 0; i < 3; i++)
		pthread_create(&t, NULL, thread_exec, NULL);
	exec_shown();
}

/* Pages of address space in use. */
static long own_mappings(void)
{
	FILE *f = fopen("/proc/self/statm", "r");
	long pages = -1;

	EXPECT(f && fscanf(f, "%ld", &pages) == 1);
	fclose(f);
	return pages;
}

/* What role_shown is to find. */
static void block_usr1(void)
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	EXPECT(sigprocmask(SIG_SETMASK, &mask, NULL) == 0);
}

static void role_redirect(void)
{
	int status;
	pid_t pid;

	block_usr1();
	EXPECT(run_child(exec_shown) == 77 << 8);
	EXPECT(run_child(exec_by_thread) == 77 << 8);
	for (int i = 0; i < 30; i++)
		EXPECT(run_child(exec_by_all) == 77 << 8);
	pid = vfork();
	if (pid == 0) {
		execve(CALL_PROG, shown, environ);
		_exit(1);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && status == 77 << 8);
	/* A stack that is not the main thread's: scratch memory must come from elsewhere. */
	EXPECT(posix_spawn(&pid, CALL_PROG, NULL, NULL, shown, environ) == 0);
	EXPECT(waitpid(pid, &status, 0) == pid && status == 77 << 8);
	/* And be found again there: the parent, whose memory that is, does not grow. */
	long before = own_mappings();
	for (int i = 0; i < 200; i++) {
		EXPECT(posix_spawn(&pid, CALL_PROG, NULL, NULL, shown, environ) == 0);
		EXPECT(waitpid(pid, &status, 0) == pid && status == 77 << 8);
	}
	EXPECT(own_mappings() - before < 32);
	/* With a signal storm on top. */
	for (int i = 0; i < 100; i++) {
		pid = fork();
		if (pid == 0)
			exec_shown();
		for (int k = 0; k < 20; k++) {
			kill(pid, k % 2 ? SIGSTOP : SIGCONT);
			kill(pid, SIGWINCH);
			usleep(20);
		}
		kill(pid, SIGCONT);
		EXPECT(waitpid(pid, &status, 0) == pid && status == 77 << 8);
	}
}

static void exec_wrong(void)
{
	execl(CALL_WRONG, "x", NULL);
	_exit(1);
}

static void role_redirect_fails(void)
{
	sigset_t before, after;
	char cwd[4096];

	sigemptyset(&before);
	sigaddset(&before, SIGUSR2);
	EXPECT(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
	EXPECT(execl(CALL_GONE, "x", NULL) == -1 && errno == ENOENT);
	EXPECT(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
	EXPECT(sigismember(&after, SIGUSR2) && !sigismember(&after, SIGTERM));
	/* A program that is not the promised one does not live to run. */
	int status = run_child(exec_wrong);
	EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	EXPECT(syscall(SYS_execve, CALL_SCRIPT, 1L, environ) == -1 && errno == EFAULT);
	EXPECT(chdir(CALL_DIR) == 0);
	EXPECT(getcwd(cwd, sizeof(cwd)) && strcmp(strrchr(cwd, '/'), "/dir") == 0);
}

static void exec_script(void)
{
	/* run.c runs: env A=1 sh -c 'test ...' then these arguments from the second on. */
	execl(CALL_SCRIPT, "zero", "one", "two three", NULL);
	_exit(1);
}

static void role_script(void)
{
	EXPECT(run_child(exec_script) == 33 << 8);
}

/* ---- killed while held ---- */
static void role_kill_redirect(void)
{
	int status;

	block_usr1();

	for (int i = 0; i < 300; i++) {
		pid_t pid = fork();

		if (pid == 0)
			exec_shown();
		usleep((useconds_t)(i * 7 % 500));
		kill(pid, SIGKILL);
		EXPECT(waitpid(pid, &status, 0) == pid);
		EXPECT(status == SIGKILL || status == 77 << 8);
	}
}

/* ---- deferred calls and signals ---- */
static volatile sig_atomic_t caught;

static void on_signal(int sig)
{
	(void)sig;
	caught++;
}

static void alarm_in(int ms, int flags)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = flags};
	struct itimerval it = {.it_value = {0, ms * 1000}};

	caught = 0;
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
}

static void *sit(void *arg)
{
	for (;;)
		pause();
	return arg;
}

static void role_signals(void)
{
	pthread_t t;

	for (int threads = 0; threads < 2; threads++) {
		uint64_t start = now_ms();

		alarm_in(100, 0);
		errno = 0;
		EXPECT(trapped(CALL_SLOW, 5000) == -1 && errno == EINTR && caught == 1);
		EXPECT(now_ms() - start < 2000);
		start = now_ms();
		alarm_in(100, SA_RESTART);
		EXPECT(trapped(CALL_SLOW, 500) == CALL_SLOW_RESULT && caught == 1);
		EXPECT(now_ms() - start >= 490);
		/* The same where an answer is kept; one that came after all is not thrown away. */
		alarm_in(100, 0);
		EXPECT(trapped(CALL_SLOW_KEPT, 5000) == -1 && errno == EINTR && caught == 1);
		alarm_in(100, SA_RESTART);
		EXPECT(trapped(CALL_SLOW_KEPT, 300) == CALL_SLOW_RESULT && caught == 1);
		alarm_in(100, 0);
		EXPECT(trapped(CALL_DONE_KEPT, 300) == CALL_SLOW_RESULT && caught == 1);
		/* Held back: the call runs to its end, the signal comes after. */
		sigset_t block, old;
		sigemptyset(&block);
		sigaddset(&block, SIGALRM);
		sigprocmask(SIG_BLOCK, &block, &old);
		alarm_in(50, 0);
		EXPECT(trapped(CALL_SLOW, 300) == CALL_SLOW_RESULT);
		EXPECT(caught == threads); /* the other thread takes it at once */
		sigprocmask(SIG_SETMASK, &old, NULL);
		EXPECT(caught == 1);
		/* Not asked to listen to signals: it does not.  (Before Linux 5.19 it cannot help it.) */
		alarm_in(50, SA_RESTART);
		EXPECT(trapped(CALL_SLOW_DEAF, 300) == CALL_SLOW_RESULT && caught == 1);
		pthread_create(&t, NULL, sit, NULL);
	}
}

/* Each call is carried out once, whatever interrupts it. */
static void role_once(void)
{
	struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	struct itimerval it = {.it_value = {0, 300}, .it_interval = {0, 300}};

	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	for (int i = 1; i <= 5000; i++)
		EXPECT(trapped(CALL_COUNT, 0) == i);
	for (int i = 1; i <= 300; i++) {
		int fd = open(CALL_FILE, O_RDONLY);

		EXPECT(fd == 3 && close(fd) == 0);
	}
	EXPECT(caught > 10);
}

static void slow_forever(void)
{
	trapped(CALL_SLOW, 60000);
}

static void role_death(void)
{
	int status;
	uint64_t start = now_ms();
	pid_t pid[8];

	for (int i = 0; i < 8; i++) {
		pid[i] = fork();
		if (pid[i] == 0) {
			slow_forever();
			_exit(1);
		}
	}
	usleep(50000);
	for (int i = 0; i < 8; i++) {
		kill(pid[i], SIGKILL);
		EXPECT(waitpid(pid[i], &status, 0) == pid[i] && status == SIGKILL);
	}
	EXPECT(now_ms() - start < 2000);
	/* Their workers are free again: more than there are would otherwise wait for a minute. */
	EXPECT(trapped(CALL_SLOW, 10) == CALL_SLOW_RESULT);
	EXPECT(now_ms() - start < 4000);
}

/* Deferred twice, and answered by the second. */
static void role_twice(void)
{
	EXPECT(trapped(CALL_TWICE, 1) == 2);
}

/* ---- descriptors ---- */
static void role_fds(void)
{
	struct rlimit lim = {8, 8};
	char text[16] = "";
	int fd[2];

	fd[0] = open(CALL_FILE, O_RDONLY);
	EXPECT(fd[0] == 3 && read(fd[0], text, sizeof(text)) == 5 && strcmp(text, "inner") == 0);
	EXPECT((fcntl(fd[0], F_GETFD) & FD_CLOEXEC) == 0);
	fd[1] = open(CALL_FILE, O_RDONLY | O_CLOEXEC);
	EXPECT(fd[1] == 4 && (fcntl(fd[1], F_GETFD) & FD_CLOEXEC) != 0);
	/* The supervisor takes a copy of one of ours and tells how big it is. */
	EXPECT(trapped(CALL_FD_SIZE, fd[0]) == 5);
	errno = 0;
	EXPECT(trapped(CALL_FD_SIZE, 99) == -1 && errno == EBADF);
	EXPECT(trapped(CALL_FD_PLACE, 7) == 7);
	EXPECT(lseek(7, 0, SEEK_SET) == 0 && read(7, text, sizeof(text)) == 5);
	EXPECT(setrlimit(RLIMIT_NOFILE, &lim) == 0);
	while (open(CALL_FILE, O_RDONLY) >= 0)
		continue;
	EXPECT(errno == EMFILE);
	for (int i = 3; i < 8; i++)
		EXPECT(fcntl(i, F_GETFD) >= 0);
}

/* ---- identity ---- */
static void *thread_is_guest(void *arg)
{
	(void)arg;
	EXPECT(trapped(CALL_IS_GUEST, (long)syscall(SYS_gettid)) == 1);
	return NULL;
}

static void role_guests(void)
{
	pthread_t t;
	pid_t pid = fork();

	if (pid == 0) {
		if (fork() > 0)
			_exit(0);
		setsid();
		/* An orphan that never made a trapped call before. */
		usleep(50000);
		EXPECT(trapped(CALL_IS_GUEST, getpid()) == 1);
		sleep(30);
	}
	EXPECT(trapped(CALL_IS_GUEST, pid) == 1);
	waitpid(pid, NULL, 0);
	EXPECT(trapped(CALL_IS_GUEST, getpid()) == 1);
	pthread_create(&t, NULL, thread_is_guest, NULL);
	pthread_join(t, NULL);
	EXPECT(trapped(CALL_IS_GUEST, 1) == 0);
	EXPECT(trapped(CALL_IS_GUEST, 0x7fffffff) == 0);
	EXPECT(trapped(CALL_SUPERVISOR_IS_GUEST, 0) == 0);
	umask(027);
	EXPECT(trapped(CALL_UMASK, 0) == 027);
}

/* Whatever a handler gets wrong, the host is not written. */
static void role_breach(void)
{
	EXPECT(trapped(CALL_BREACH, 0) == -1 && errno == EACCES); /* a new file */
	EXPECT(trapped(CALL_BREACH, 1) == -1 && errno == EACCES); /* an old one, for writing */
	EXPECT(trapped(CALL_BREACH, 2) == -1 && errno == EACCES); /* removed */
	EXPECT(trapped(CALL_BREACH, 3) == 0);       /* for reading */
	EXPECT(trapped(CALL_BREACH, 4) == 0);       /* where it may write */
}

/* Root only: the supervisor sees who we have become and acts so. */
static void role_creds(void)
{
	const gid_t group[2] = {2001, 2002};

	EXPECT(trapped(CALL_UID, 0) == 0);
	EXPECT(setgroups(2, group) == 0 && setgid(1001) == 0);
	EXPECT(trapped(CALL_GROUPS, 0) == 2);
	EXPECT(trapped(CALL_ACT, 0) == 0);
	EXPECT(setuid(1001) == 0);
	EXPECT(trapped(CALL_UID, 0) == 1001);
	EXPECT(trapped(CALL_ACT, 0) == 1001);
	EXPECT(trapped(CALL_UID, 0) == 1001);
	errno = 0;
	EXPECT(setuid(0) == -1 && errno == EPERM);
	gid_t many[65] = {0};
	EXPECT(syscall(SYS_setgroups, 65, many) == -1 && errno == EPERM);
}

/* ---- many ---- */
static pthread_barrier_t barrier;
static _Atomic int wrong;

static void *thread_calls(void *arg)
{
	wrong += getppid() != CALL_PPID;
	pthread_barrier_wait(&barrier);
	wrong += getppid() != CALL_PPID;
	return arg;
}

static void role_many(int n)
{
	pthread_t *t = calloc((size_t)n, sizeof(*t));
	pthread_attr_t attr;
	int gate[2], status;
	char byte;

	EXPECT(t && pipe(gate) == 0);
	for (int i = 0; i < n; i++) {
		pid_t pid = fork();

		EXPECT(pid >= 0);
		if (pid == 0) {
			close(gate[1]);
			EXPECT(getppid() == CALL_PPID);
			EXPECT(read(gate[0], &byte, 1) == 0);
			EXPECT(getppid() == CALL_PPID);
			_exit(0);
		}
	}
	close(gate[1]);
	for (int i = 0; i < n; i++)
		EXPECT(wait(&status) > 0 && status == 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 65536);
	pthread_barrier_init(&barrier, NULL, (unsigned)n);
	for (int i = 0; i < n; i++)
		EXPECT(pthread_create(&t[i], &attr, thread_calls, NULL) == 0);
	for (int i = 0; i < n; i++)
		pthread_join(t[i], NULL);
	EXPECT(wrong == 0);
}

static void role_daemons(int n)
{
	for (int i = 0; i < n; i++)
		if (fork() == 0) {
			setsid();
			if (fork() > 0)
				_exit(0);
			signal(SIGTERM, SIG_IGN);
			sleep(60);
		}
	while (wait(NULL) > 0)
		continue;
	_exit(3);
}

int main(int argc, char **argv)
{
	const char *role = argc > 1 ? argv[1] : "";
	int n = argc > 2 ? atoi(argv[2]) : 0;

	if (strcmp(role, "shown") == 0)
		role_shown(argc, argv);
	else if (strcmp(role, "redirect") == 0)
		role_redirect();
	else if (strcmp(role, "redirect_fails") == 0)
		role_redirect_fails();
	else if (strcmp(role, "script") == 0)
		role_script();
	else if (strcmp(role, "kill_redirect") == 0)
		role_kill_redirect();
	else if (strcmp(role, "signals") == 0)
		role_signals();
	else if (strcmp(role, "death") == 0)
		role_death();
	else if (strcmp(role, "once") == 0)
		role_once();
	else if (strcmp(role, "twice") == 0)
		role_twice();
	else if (strcmp(role, "fds") == 0)
		role_fds();
	else if (strcmp(role, "guests") == 0)
		role_guests();
	else if (strcmp(role, "breach") == 0)
		role_breach();
	else if (strcmp(role, "creds") == 0)
		role_creds();
	else if (strcmp(role, "many") == 0)
		role_many(n);
	else if (strcmp(role, "daemons") == 0)
		role_daemons(n);
	else if (strcmp(role, "signalled") == 0)
		raise(SIGTERM);
	else if (strcmp(role, "wait") == 0)
		sleep((unsigned)n);
	else
		_exit(198);
	_exit(0);
}
