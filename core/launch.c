/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts the guest's first process.
 *
 * The child is made by clone(CLONE_VM) on a stack of its own: no copy of our memory, and the
 * parent goes on at once, as it must, since the child's execve traps to it.  Sharing memory and
 * libc's thread pointer with us, the child makes raw system calls only and writes nothing but its
 * own stack and struct child.
 *
 * It takes the kernel longer to compile the filter than us to set up the loop, so the two go side
 * by side: launch_spawn() does not wait, launch_listener() does.
 *
 * Between the filter's installation and the moment the parent has the listener the child makes
 * one call, futex(2); should that trap, it waits for an answer while the parent needs nothing of
 * it but the descriptor number it has stored before.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "arch/regs.h"
#include "bvisor.h"
#include "kernel.h"
#include "landlock.h"
#include "launch.h"

#define STACK_SIZE (64 * 1024)
#define N_SIGNALS 64
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* The sanitizer's marks on a stack that is left by exec would meet the next one to be there. */
#define ON_CHILD __attribute__((no_sanitize("address")))

enum { STARTING, HAS_LISTENER, HANDED_OVER, FAILED };

/* Seen by both sides.  The strings and arrays are made by the parent before. */
struct launch_state {
	struct launch l; /* argv and envp are the caller's */
	const struct sock_fprog *filter;
	char **path;       /* candidates for execve, NULL-terminated */
	char **sh_argv;    /* for a script without #!: "/bin/sh", place for the path, argv[1..] */
	int ruleset;       /* Landlock, or -1 */
	/* Written by the child: */
	_Atomic uint32_t phase;
	int listener, failure;
	bool killable;     /* the filter has WAIT_KILLABLE_RECV */
	const char *doing; /* what failed */
	/* The parent's: */
	pid_t pid;
	_Atomic int exec_errno;
	void *stack;
};

#define SYS(nr, ...) SYS_(nr, __VA_ARGS__, 0, 0, 0, 0, 0)
#define SYS_(nr, a, b, c, d, e, ...)                                                             \
	arch_syscall(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e))

ON_CHILD static void wake(_Atomic uint32_t *word)
{
	SYS(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1);
}

ON_CHILD __attribute__((noreturn)) static void child_fail(struct launch_state *s, const char *doing, long err)
{
	s->doing = doing;
	s->failure = (int)-err;
	atomic_store(&s->phase, FAILED);
	wake(&s->phase);
	for (;;)
		SYS(SYS_exit_group, 125);
}

#define MUST(s, doing, call)                                                                     \
	do {                                                                                     \
		long must_r = (call);                                                            \
		if (must_r < 0)                                                                  \
			child_fail(s, doing, must_r);                                            \
	} while (0)

/* Every signal to its default and unblocked, as a shell starts a command. */
ON_CHILD static void child_signals(struct launch_state *s)
{
	struct {
		void (*handler)(int);
		unsigned long flags;
		void *restorer;
		uint64_t mask;
	} act = {SIG_DFL, 0, NULL, 0}; /* the kernel's struct; aarch64 has the same layout */
	uint64_t none = 0;

	for (int sig = 1; sig <= N_SIGNALS; sig++) {
		act.handler = s->l.ignore >> (sig - 1) & 1 ? SIG_IGN : SIG_DFL;
		if (sig != SIGKILL && sig != SIGSTOP)
			SYS(SYS_rt_sigaction, sig, &act, NULL, 8);
	}
	MUST(s, "unblock signals", SYS(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, 8));
}

ON_CHILD static void child_stdio(struct launch_state *s)
{
	int high[3];

	/* First out of the way, so that no target overwrites a source still needed. */
	for (int i = 0; i < 3; i++) {
		high[i] = -1;
		if (s->l.stdio[i] < 0 || s->l.stdio[i] == i)
			continue;
		high[i] = (int)SYS(SYS_fcntl, s->l.stdio[i], F_DUPFD_CLOEXEC, 3);
		MUST(s, "duplicate a standard descriptor", high[i]);
	}
	for (int i = 0; i < 3; i++)
		if (high[i] >= 0)
			MUST(s, "set up a standard descriptor", SYS(SYS_dup3, high[i], i, 0));
}

ON_CHILD static void child_session(struct launch_state *s)
{
	const struct launch *l = &s->l;

	if (l->tty >= 0 || l->session) {
		MUST(s, "start a session", SYS(SYS_setsid, 0));
		if (l->tty >= 0)
			MUST(s, "take the terminal", SYS(SYS_ioctl, l->tty, TIOCSCTTY, 0));
	} else if (SYS(SYS_getpgid, 0) != l->pgid) {
		MUST(s, "join the process group", SYS(SYS_setpgid, 0, l->pgid));
	}
}

/*
 * Keeps of our capabilities those in caps_keep, everywhere.  Without CAP_SETPCAP the bounding set
 * cannot be reduced, but under no_new_privs nothing can be gained from it by exec either
 * (capabilities(7)).
 */
ON_CHILD static void child_caps(struct launch_state *s)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct cap[2] = {{0}};

	MUST(s, "read capabilities", SYS(SYS_capget, &head, cap));
	if ((cap[0].permitted | cap[1].permitted) == 0)
		return;
	for (int c = 0; c < 64; c++)
		if (!(s->l.caps_keep >> c & 1) && SYS(SYS_prctl, PR_CAPBSET_DROP, c) == -EINVAL)
			break; /* past the last one this kernel knows */
	SYS(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int i = 0; i < 2; i++) {
		cap[i].permitted &= (uint32_t)(s->l.caps_keep >> (32 * i));
		cap[i].effective &= cap[i].permitted;
		cap[i].inheritable = 0;
	}
	MUST(s, "drop capabilities", SYS(SYS_capset, &head, cap));
}

ON_CHILD static void child_filter(struct launch_state *s)
{
	unsigned flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	long fd;

	MUST(s, "set no_new_privs", SYS(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	if (s->ruleset >= 0)
		MUST(s, "enter the Landlock domain", SYS(SYS_landlock_restrict_self, s->ruleset, 0));
	MUST(s, "close descriptors", SYS(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC));
	fd = SYS(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, s->filter);
	s->killable = fd >= 0;
	if (fd == -EINVAL) /* before Linux 5.19 */
		fd = SYS(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, s->filter);
	MUST(s, "install the system call filter", fd);
	s->listener = (int)fd;
	atomic_store(&s->phase, HAS_LISTENER);
	wake(&s->phase);
	while (atomic_load(&s->phase) == HAS_LISTENER)
		SYS(SYS_futex, &s->phase, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, HAS_LISTENER, NULL);
}

/* As execvp(3): the first candidate that exists; EACCES is remembered but the search goes on. */
ON_CHILD static int child_exec(struct launch_state *s)
{
	int err = ENOENT;

	if (s->l.program)
		return (int)-SYS(SYS_execveat, s->l.program, "", s->l.argv, s->l.envp,
		                 AT_EMPTY_PATH);
	for (char **path = s->path; *path; path++) {
		long r = SYS(SYS_execve, *path, s->l.argv, s->l.envp);

		if (r == -ENOEXEC) {
			s->sh_argv[1] = *path;
			r = SYS(SYS_execve, s->sh_argv[0], s->sh_argv, s->l.envp);
		}
		if (r == -EACCES)
			err = EACCES;
		else if (r != -ENOENT && r != -ENOTDIR && r != -ESTALE && r != -ENODEV && r != -ETIMEDOUT)
			return (int)-r;
	}
	return err;
}

ON_CHILD static int child_main(void *arg)
{
	struct launch_state *s = arg;

	child_signals(s);
	child_session(s);
	child_stdio(s);
	MUST(s, "enter the working directory", SYS(SYS_chdir, s->l.cwd));
	child_caps(s);
	child_filter(s);
	atomic_store(&s->exec_errno, child_exec(s));
	for (;;)
		SYS(SYS_exit_group, 127);
}

static const char *env_path(char *const *envp)
{
	for (; *envp; envp++)
		if (strncmp(*envp, "PATH=", 5) == 0)
			return *envp + 5;
	return DEFAULT_PATH;
}

static int candidates(struct launch_state *s)
{
	const char *name = s->l.argv[0], *at = env_path(s->l.envp);
	size_t n = 2, argc = 0;

	for (const char *c = at; *c; c++)
		n += *c == ':';
	while (s->l.argv[argc])
		argc++;
	s->path = calloc(n + 1, sizeof(s->path[0]));
	s->sh_argv = calloc(argc + 3, sizeof(s->sh_argv[0]));
	if (!s->path || !s->sh_argv)
		return -ENOMEM;
	s->sh_argv[0] = (char *)"/bin/sh";
	for (size_t i = 1; i < argc; i++)
		s->sh_argv[1 + i] = s->l.argv[i];
	if (strchr(name, '/') || name[0] == '\0') {
		s->path[0] = strdup(name);
		return s->path[0] ? 0 : -ENOMEM;
	}
	for (n = 0;; at++) {
		size_t len = strcspn(at, ":");

		/* An empty entry is the current directory (execvp(3)). */
		if (asprintf(&s->path[n], "%.*s%s%s", (int)len, at, len ? "/" : "", name) < 0) {
			s->path[n] = NULL;
			return -ENOMEM;
		}
		n++;
		at += len;
		if (*at == '\0')
			return 0;
	}
}

void launch_free(struct launch_state *s)
{
	if (!s)
		return;
	for (char **p = s->path; p && *p; p++)
		free(*p);
	free(s->path);
	free(s->sh_argv);
	if (s->stack)
		munmap(s->stack, STACK_SIZE);
	free(s);
}

bool launch_killable(const struct launch_state *s)
{
	return s->killable;
}

int launch_exec_errno(const struct launch_state *s)
{
	return s ? atomic_load(&s->exec_errno) : 0;
}

/* Waits until the child has its listener and takes a copy of it. */
static int take_listener(struct launch_state *s, int *listener, struct bv_error *err)
{
	const struct timespec while_alive = {.tv_nsec = 100000000};
	uint32_t phase;
	int status;

	while ((phase = atomic_load(&s->phase)) == STARTING) {
		/* Only a child killed from outside fails to say anything. */
		if (waitpid(s->pid, &status, WNOHANG) == s->pid) {
			s->pid = 0; /* the number may be another's from now on */
			return error_set(err, ECHILD, "the first process was killed while it started");
		}
		syscall(SYS_futex, &s->phase, FUTEX_WAIT | FUTEX_PRIVATE_FLAG, STARTING, &while_alive);
	}
	if (phase == FAILED)
		return error_set(err, s->failure, "cannot %s: %s", s->doing, strerror(s->failure));
	bv_autofd int pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
	if (pidfd < 0)
		return error_set(err, errno, "pidfd_open: %s", strerror(errno));
	int fd = (int)syscall(SYS_pidfd_getfd, pidfd, s->listener, 0);
	if (fd < 0)
		return error_set(err, errno, "cannot take over the seccomp listener: %s", strerror(errno));
	atomic_store(&s->phase, HANDED_OVER);
	wake(&s->phase);
	*listener = fd;
	return 0;
}

/* Of a child that cannot be used. */
static void put_away(const struct launch_state *s)
{
	if (s->pid <= 0)
		return;
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

static int spawn(struct launch_state *s, struct bv_error *err)
{
	sigset_t all, old;
	int pid;

	s->stack = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (s->stack == MAP_FAILED) {
		s->stack = NULL;
		return error_set(err, ENOMEM, "out of memory");
	}
	/* No handler of ours may run in the child, which shares our memory. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	pid = clone(child_main, (char *)s->stack + STACK_SIZE, CLONE_VM | SIGCHLD, s);
	if (pid < 0)
		pid = error_set(err, errno, "clone: %s", strerror(errno));
	sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}

/* The child of a state whose l and filter are set. */
static int begin(struct sandbox *box, struct launch_state *s, struct bv_error *err)
{
	if (candidates(s) < 0)
		return error_set(err, ENOMEM, "out of memory");
	bv_autofd int ruleset = landlock_ruleset(box->landlock_path, box->n_landlock);
	if (ruleset < 0 && ruleset != -ENOSYS)
		return error_set(err, -ruleset, "Landlock: %s", strerror(-ruleset));
	s->ruleset = ruleset < 0 ? -1 : ruleset;
	int pid = spawn(s, err);
	s->pid = pid;
	return pid;
}

int launch_spawn(struct sandbox *box, const struct launch *l, struct bv_error *err)
{
	struct launch_state *s = calloc(1, sizeof(*s));
	int pid;

	if (!s)
		return error_set(err, ENOMEM, "out of memory");
	*s = (struct launch_state){.l = *l, .filter = &box->filter, .ruleset = -1};
	launch_free(box->launch);
	box->launch = s;
	/* Orphans of the guest come to us and not to init, so that none gets away. */
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
		return error_set(err, errno, "PR_SET_CHILD_SUBREAPER: %s", strerror(errno));
	/* First, so that guests' domains lie within ours: only then may we read and trace them. */
	pid = box->confined ? 0 : landlock_confine(box->own_write, box->n_own_writes);
	if (pid < 0 && pid != -ENOSYS)
		return error_set(err, -pid, "Landlock for the supervisor: %s", strerror(-pid));
	box->confined = true;
	pid = begin(box, s, err);
	if (pid > 0)
		box->first_pid = pid;
	return pid;
}

int launch_join(struct sandbox *box, const struct launch *l, struct launch_state **out,
                int *listener, struct bv_error *err)
{
	struct launch_state *s = calloc(1, sizeof(*s));

	if (!s)
		return error_set(err, ENOMEM, "out of memory");
	*s = (struct launch_state){.l = *l, .filter = &box->filter, .ruleset = -1};
	s->l.caps_keep = box->launch->l.caps_keep;
	int pid = begin(box, s, err), r = pid < 0 ? pid : take_listener(s, listener, err);
	if (r == 0) {
		*out = s;
		return pid;
	}
	put_away(s);
	launch_free(s);
	return r;
}

int launch_listener(struct sandbox *box, int *listener, struct bv_error *err)
{
	struct launch_state *s = box->launch;
	int r = take_listener(s, listener, err);

	if (r < 0)
		put_away(s);
	return r;
}
