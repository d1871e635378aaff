/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bvisor-init: the first process of a sandbox that is used by way of the broker.  It starts what the
 * broker asks for, each in a session of its own, and says how it ended.  When the broker's socket closes
 * it ends, and the sandbox with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "serve/agent.h"

#define MAX_FDS 4

static const char *program; /* our own path, as we were called */

struct child {
	struct child *next;
	pid_t pid;
	uint32_t id;
};

static const int resource_of[AGENT_LIMITS] = {RLIMIT_CPU, RLIMIT_AS, RLIMIT_NPROC, RLIMIT_NOFILE,
                                              RLIMIT_FSIZE};

static void tell(int to, const struct agent_message *m, int fd)
{
	struct iovec iov = {(void *)(uintptr_t)m, sizeof(*m)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
	                      .cmsg_level = SOL_SOCKET,
	                      .cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.room,
	                     .msg_controllen = sizeof(control.room)};

	if (fd < 0) { /* write(2) is not trapped; SIGPIPE is ignored */
		while (write(to, m, sizeof(*m)) < 0 && errno == EINTR)
			continue;
		return;
	}
	memcpy(CMSG_DATA(&control.head), &fd, sizeof(fd));
	while (sendmsg(to, &msg, MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

struct request {
	struct agent_message m;
	char payload[AGENT_INLINE]; /* where it comes with the message; aligned like m */
	size_t size;
	int fd[MAX_FDS];
	unsigned n;
};

/* One message and its descriptors: 1; 0 at the end. */
static int receive(int from, struct request *q)
{
	struct iovec iov = {q, offsetof(struct request, size)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.room,
	                     .msg_controllen = sizeof(control.room)};
	ssize_t got;

	do
		got = recvmsg(from, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	q->n = 0;
	if (got < (ssize_t)sizeof(q->m))
		return 0;
	q->size = (size_t)got - sizeof(q->m);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
			q->n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));
			memcpy(q->fd, CMSG_DATA(c), q->n * sizeof(int));
		}
	return 1;
}

/* ---- starting ---- */

struct start {
	const struct agent_exec *e;
	const char *cwd;
	char **argv, **env; /* env: ours with the changes that were asked for */
	int in[3], tty; /* tty: the slave, or -1 */
	int report; /* errno and stage, unless the exec succeeds */
};

/* A copy of our own environment, with room for so many more. */
static char **environment(size_t more)
{
	size_t n = 0;

	while (environ[n])
		n++;
	char **env = calloc(n + more + 1, sizeof(char *));
	if (env)
		memcpy(env, environ, n * sizeof(char *));
	return env;
}

/* "NAME=VALUE" sets, "NAME" removes. */
static void change(char **env, char *word)
{
	size_t len = strcspn(word, "="), at = 0;

	while (env[at] && (strncmp(env[at], word, len) != 0 || env[at][len] != '='))
		at++;
	if (word[len]) {
		env[at] = word;
	} else if (env[at]) {
		size_t last = at;

		while (env[last + 1])
			last++;
		env[at] = env[last];
		env[last] = NULL;
	}
}

/* Splits the payload's words: false when they are not all there. */
static bool parse(struct start *s, const char *bytes, size_t size)
{
	const struct agent_exec *e = (const void *)bytes;
	const char *at = bytes + sizeof(*e), *end = bytes + size;

	if (size < sizeof(*e) + 1 || end[-1] != '\0' || !e->argc || e->argc > size ||
	    e->envc > size)
		return false;
	s->e = e;
	s->argv = calloc(e->argc + 1u, sizeof(char *));
	s->env = environment(e->envc);
	if (!s->argv || !s->env)
		return false;
	s->cwd = at;
	at += strlen(at) + 1;
	for (uint32_t i = 0; i < e->argc + e->envc; i++) {
		if (at >= end)
			return false;
		if (i < e->argc)
			s->argv[i] = (char *)(uintptr_t)at;
		else
			change(s->env, (char *)(uintptr_t)at);
		at += strlen(at) + 1;
	}
	return at == end;
}

static _Noreturn void give_up(const struct start *s, int stage)
{
	int word[2] = {errno, stage};

	(void)!write(s->report, word, sizeof(word));
	_exit(127);
}

static void limit(const struct start *s)
{
	for (int i = 0; i < AGENT_LIMITS; i++) {
		uint64_t value = s->e->limit[i];
		struct rlimit old, lim = {value, value};

		if (value == AGENT_NO_LIMIT)
			continue;
		if (resource_of[i] == RLIMIT_CPU) /* SIGXCPU tells of it, SIGKILL would not */
			lim.rlim_max++;
		if (getrlimit((__rlimit_resource_t)resource_of[i], &old) == 0 &&
		    old.rlim_max < lim.rlim_max)
			lim = (struct rlimit){old.rlim_max < value ? old.rlim_max : value,
			                      old.rlim_max};
		if (setrlimit((__rlimit_resource_t)resource_of[i], &lim) < 0)
			give_up(s, STAGE_LIMITS);
	}
}

/* Ourselves, who work on files (files.h), but where guests do not see bvisor's programs: what we were started from
 * is still what /proc/self/exe leads to, which after a change of user only the dumpable may follow (proc(5)). */
static void exec_self(const struct start *s)
{
	int err = errno;

	if (err == ENOENT && strcmp(s->argv[0], program) == 0) {
		prctl(PR_SET_DUMPABLE, 1);
		execv("/proc/self/exe", s->argv);
	}
	errno = err;
}

/* What the sandbox sends to everybody is not for us; the others are at their default, as commands want them. */
static void set_signals(void (*handler)(int))
{
	static const int common[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGPIPE,
	                             SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN, SIGTTOU};

	for (size_t i = 0; i < sizeof(common) / sizeof(common[0]); i++)
		signal(common[i], handler);
}

/* In our own memory (vfork(2)): it changes nothing there. */
static _Noreturn void child(const struct start *s)
{
	sigset_t none;

	setsid();
	if (s->tty >= 0 && ioctl(s->tty, TIOCSCTTY, 0) < 0)
		give_up(s, STAGE_TERMINAL);
	for (int i = 0; i < 3; i++)
		if (dup2(s->tty >= 0 ? s->tty : s->in[i], i) < 0)
			give_up(s, STAGE_REQUEST);
	set_signals(SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	limit(s);
	if ((s->e->flags & AGENT_USER) &&
	    (setgroups(0, NULL) < 0 || setgid(s->e->gid) < 0 || setuid(s->e->uid) < 0))
		give_up(s, STAGE_USER);
	if (*s->cwd && chdir(s->cwd) < 0)
		give_up(s, STAGE_CWD);
	execvp(s->argv[0], s->argv);
	exec_self(s);
	give_up(s, STAGE_EXEC);
}

/* Forks and waits for the exec: the pid; -1 with errno and *stage. */
static pid_t spawn(struct start *s, int *stage)
{
	int pair[2], word[2];
	char **own = environ;

	*stage = STAGE_FORK;
	if (pipe2(pair, O_CLOEXEC) < 0)
		return -1;
	s->report = pair[1];
	environ = s->env; /* where execvp(3) finds PATH */
	pid_t pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): child() is made for it */
	if (pid == 0)
		child(s); /* NOLINT(clang-analyzer-unix.Vfork) */
	int err = errno;
	environ = own;
	close(pair[1]);
	ssize_t n = pid < 0 ? 0 : read(pair[0], word, sizeof(word));
	close(pair[0]);
	if (n == sizeof(word)) {
		waitpid(pid, NULL, 0);
		err = word[0];
		*stage = word[1];
		pid = -1;
	}
	errno = err;
	return pid;
}

/* What does not go with a message is in a file, the first descriptor. */
static void *map_payload(const struct request *q, size_t *size)
{
	struct stat st;

	if (q->n < 1 || fstat(q->fd[0], &st) < 0 || st.st_size <= 0 || st.st_size > AGENT_MAX)
		return MAP_FAILED;
	*size = (size_t)st.st_size;
	return mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_PRIVATE, q->fd[0], 0);
}

static void start(int ctl, struct child **children, const struct request *q)
{
	struct start s = {.tty = -1};
	struct agent_message m = {
		.kind = AGENT_FAILED, .id = q->m.id, .a = EINVAL, .b = STAGE_REQUEST};
	unsigned first = q->size ? 0 : 1; /* of the streams */
	size_t size = q->size;
	int master = -1;
	void *mapped = size ? MAP_FAILED : map_payload(q, &size);
	const char *bytes = q->size ? q->payload : mapped;

	bool good = bytes != MAP_FAILED && parse(&s, bytes, size);
	bool tty = good && (s.e->flags & AGENT_TTY);
	struct child *c = good && q->n == first + (tty ? 0u : 3u) ? malloc(sizeof(*c)) : NULL;
	if (c && tty) {
		struct winsize window = {.ws_row = s.e->rows, .ws_col = s.e->cols};

		m.b = STAGE_TERMINAL;
		if (openpty(&master, &s.tty, NULL, NULL, &window) < 0)
			m.a = errno;
		else
			(void)fcntl(master, F_SETFD, FD_CLOEXEC),
				(void)fcntl(s.tty, F_SETFD, FD_CLOEXEC);
	}
	for (int i = 0; c && !tty && i < 3; i++)
		s.in[i] = q->fd[first + (unsigned)i];
	if (c && (!tty || s.tty >= 0)) {
		int stage;
		pid_t pid = spawn(&s, &stage);

		if (pid > 0) {
			*c = (struct child){*children, pid, q->m.id};
			*children = c;
			c = NULL;
			m = (struct agent_message){.kind = AGENT_STARTED, .id = q->m.id, .a = pid};
		} else {
			m.a = errno;
			m.b = stage;
		}
	}
	tell(ctl, &m, m.kind == AGENT_STARTED ? master : -1);
	free(c);
	free(s.argv);
	free(s.env);
	if (mapped != MAP_FAILED)
		munmap(mapped, size);
	if (master >= 0)
		close(master);
	if (s.tty >= 0)
		close(s.tty);
}

/* ---- ending ---- */

static void reap(int ctl, struct child **children)
{
	struct rusage u;
	int status;
	pid_t pid;

	while ((pid = wait4(-1, &status, WNOHANG, &u)) > 0)
		for (struct child **at = children; *at; at = &(*at)->next) {
			struct child *c = *at;

			if (c->pid != pid)
				continue;
			struct agent_message m = {
				.kind = AGENT_EXITED,
				.id = c->id,
				.a = status,
				.user_us = (uint64_t)u.ru_utime.tv_sec * 1000000u +
			                   (uint64_t)u.ru_utime.tv_usec,
				.system_us = (uint64_t)u.ru_stime.tv_sec * 1000000u +
			                     (uint64_t)u.ru_stime.tv_usec,
				.max_rss_kb = (uint64_t)u.ru_maxrss,
			};
			*at = c->next;
			free(c);
			tell(ctl, &m, -1);
			break;
		}
}

static void send_signal(const struct child *children, const struct agent_message *m)
{
	for (const struct child *c = children; c; c = c->next)
		if (c->id == m->id)
			(void)kill(m->b ? -c->pid : c->pid, m->a);
}

static int serve(int ctl)
{
	struct child *children = NULL;
	struct request q = {.m.kind = AGENT_READY};
	int sigfd;
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	for (int sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	set_signals(SIG_IGN);
	tell(ctl, &q.m, -1);
	for (;;) {
		struct pollfd p[2] = {{.fd = ctl, .events = POLLIN},
		                      {.fd = sigfd, .events = POLLIN}};

		if (sigfd < 0 || (poll(p, 2, -1) < 0 && errno != EINTR))
			return 1;
		if (p[1].revents) {
			struct signalfd_siginfo si;

			(void)!read(sigfd, &si, sizeof(si));
			reap(ctl, &children);
		}
		if (!p[0].revents)
			continue;
		if (!receive(ctl, &q))
			return 0;
		if (q.m.kind == AGENT_EXEC)
			start(ctl, &children, &q);
		else if (q.m.kind == AGENT_SIGNAL)
			send_signal(children, &q.m);
		while (q.n > 0)
			close(q.fd[--q.n]);
		reap(ctl, &children); /* a SIGCHLD may have told of several */
	}
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return files_main(argc - 1, argv + 1);
	program = argv[0];
	prctl(PR_SET_NAME, "bvisor-init"); /* a copy without a name has another */
	/* The socket came as standard input; descriptors 0 to 2 are nobody's from now on. */
	int ctl = fcntl(0, F_DUPFD_CLOEXEC, 10), null = open("/dev/null", O_RDWR);

	if (ctl < 0 || null < 0)
		return 1;
	for (int i = 0; i < 3; i++)
		dup2(null, i);
	if (null > 2)
		close(null);
	return serve(ctl);
}
