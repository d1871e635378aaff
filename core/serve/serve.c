/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor serve: the broker's process. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "config.h"
#include "killall.h"
#include "review_jobs.h"
#include "temp.h"

#define EVENTS 64
#define FILES_MAX 65536
#define KILL_TIMEOUT_MS 3000

struct garbage {
	struct garbage *next;
	void *memory;
};

int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int source_watch(struct broker *b, struct source *s, uint32_t events)
{
	struct epoll_event ev = {.events = events, .data.ptr = s};

	if (s->fd < 0 || s->events == events)
		return 0;
	int op = !s->events ? EPOLL_CTL_ADD : events ? EPOLL_CTL_MOD : EPOLL_CTL_DEL;
	s->events = events;
	return epoll_ctl(b->epfd, op, s->fd, &ev) < 0 ? -errno : 0;
}

void source_close(struct broker *b, struct source *s)
{
	if (s->fd < 0)
		return;
	source_watch(b, s, 0);
	close(s->fd);
	s->fd = -1;
}

void broker_free_later(struct broker *b, void *memory)
{
	struct garbage *g = malloc(sizeof(*g));

	if (!g)
		return; /* better lost than used */
	*g = (struct garbage){b->garbage, memory};
	b->garbage = g;
}

static void collect(struct broker *b)
{
	while (b->garbage) {
		struct garbage *g = b->garbage;

		b->garbage = g->next;
		free(g->memory);
		free(g);
	}
}

static int timers(struct broker *b)
{
	int64_t now = now_ms(), next = -1;

	for (struct client *c = b->clients; c; c = c->next) {
		box_spare(c, now, &next);
		for (struct box *box = c->boxes; box; box = box->next)
			box_timers(box, now, &next);
	}
	return next < 0 ? -1 : next > now ? (int)(next - now < 60000 ? next - now : 60000) : 0;
}

static void run(struct broker *b)
{
	struct epoll_event ev[EVENTS];

	while (!b->stop && (b->listener.fd >= 0 || b->clients)) {
		int n = epoll_wait(b->epfd, ev, EVENTS, timers(b));

		for (int i = 0; i < n; i++) {
			struct source *s = ev[i].data.ptr;

			if (s->fd >= 0 && s->events)
				s->ready(s, ev[i].events);
		}
		/* Those that said farewell, or nonsense, in this round. */
		for (struct client *c = b->clients, *next; c; c = next) {
			next = c->next;
			if (c->dead)
				client_end(c);
		}
		collect(b);
	}
}

/* Children, and what they left behind: as a subreaper we are given that. */
static void on_child(struct source *s, uint32_t events)
{
	struct broker *b = (struct broker *)((char *)s - offsetof(struct broker, children));
	struct signalfd_siginfo si;
	int status;
	pid_t pid;

	(void)events;
	while (read(s->fd, &si, sizeof(si)) == sizeof(si))
		b->stop |= si.ssi_signo != SIGCHLD;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		if (!review_reaped(b, pid, status))
			box_reaped(b, pid);
		temp_reaped(b, pid);
	}
}

static int watch_signals(struct broker *b)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGHUP};
	sigset_t chld;

	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	for (size_t i = 0; i < BV_ROWS_OF(ends); i++)
		sigaddset(&chld, ends[i]);
	sigprocmask(SIG_BLOCK, &chld, NULL);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	b->children = (struct source){.fd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK),
	                              .ready = on_child};
	return b->children.fd < 0 ? -errno : source_watch(b, &b->children, EPOLLIN);
}

static void forget(void *arg, pid_t pid, int status)
{
	(void)arg;
	(void)pid;
	(void)status;
}

static void on_connect(struct source *s, uint32_t events)
{
	struct broker *b = (struct broker *)((char *)s - offsetof(struct broker, listener));
	int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd >= 0)
		(void)client_new(b, fd);
}

/* Binds fd to a name of our own beside path, and gives it that one when it listens: who waits for path to
 * appear can connect at once. */
static int bind_ready(int fd, const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	const char *slash = strrchr(path, '/');
	bv_autofree char *dir_name =
		slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	bv_autofd int dir = dir_name ? open(dir_name, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
	char temp[32];

	if (dir < 0)
		return -errno;
	snprintf(temp, sizeof(temp), ".bvisor-serve-%d", (int)getpid());
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, temp);
	(void)unlinkat(dir, temp, 0); /* of one that had our number and was killed */
	mode_t old = umask(0177); /* for nobody else */
	int r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	umask(old);
	if (r < 0)
		return r;
	if (listen(fd, 64) < 0 || linkat(dir, temp, AT_FDCWD, path, 0) < 0)
		r = errno == EEXIST ? -EADDRINUSE : -errno;
	(void)unlinkat(dir, temp, 0);
	return r;
}

static int listen_at(struct broker *b, const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path) ? -ENAMETOOLONG
	        : fd < 0                                                    ? -errno
	                                                                    : bind_ready(fd, path);

	if (r < 0)
		return cli_fail("serve", "--socket: '%s': %s", path, strerror(-r));
	b->listener = (struct source){.fd = fd, .ready = on_connect};
	return source_watch(b, &b->listener, EPOLLIN);
}

static char *beside(const char *installed, const char *built)
{
	char *path;

	return config_beside_exe(installed, &path) == 0 || config_beside_exe(built, &path) == 0
	               ? path
	               : NULL;
}

static struct rlimit files_given;

/* A sandbox with a process takes five descriptors here: hundreds need more than a shell's usual 1,024. */
static void take_files(void)
{
	struct rlimit most;

	if (getrlimit(RLIMIT_NOFILE, &files_given) < 0)
		return;
	most = files_given;
	most.rlim_cur = most.rlim_max < FILES_MAX ? most.rlim_max : FILES_MAX;
	if (most.rlim_cur > files_given.rlim_cur)
		(void)setrlimit(RLIMIT_NOFILE, &most);
}

void broker_give_back_files(void)
{
	if (files_given.rlim_cur)
		(void)setrlimit(RLIMIT_NOFILE, &files_given);
}

/* Sandboxes are forked from us: what they load is theirs without loading.  Each says itself what is
 * wrong with its configuration. */
static void preload(void)
{
	const struct settings none = {0};
	struct config *config;
	struct bv_error err;

	if (settings_load(&none, &config, &err) == 0)
		sandbox_preload(config);
}

static int serve(struct broker *b, int fd, const char *path)
{
	if (!b->init)
		return cli_fail("serve", "the program bvisor-init is not installed beside bvisor");
	if (b->epfd < 0 || watch_signals(b) < 0)
		return cli_fail("serve", "epoll: %s", strerror(errno));
	take_files();
	preload();
	if (path) {
		int code = listen_at(b, path);

		if (code)
			return code;
	} else {
		(void)fcntl(fd, F_SETFD, FD_CLOEXEC);
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
		if (!client_new(b, fd))
			return cli_fail("serve", "out of memory");
	}
	run(b);
	if (path)
		(void)unlink(path);
	while (b->clients)
		client_end(b->clients);
	(void)killall(KILL_TIMEOUT_MS, forget, NULL);
	review_fini(b);
	temp_fini(b);
	return 0;
}

int serve_command(int argc, char **argv)
{
	static const struct option options[] = {{"fd", required_argument, NULL, 'f'},
	                                        {"socket", required_argument, NULL, 's'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {0}};
	struct broker b = {.listener = {.fd = -1}, .children = {.fd = -1}};
	const char *path = NULL;
	char *end;
	int fd = -1, c;

	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == 'f') {
			long n = strtol(optarg, &end, 10);

			if (*end || end == optarg || n < 0 || n > 1 << 20 ||
			    fcntl((int)n, F_GETFD) < 0)
				return cli_misuse("serve", "--fd: '%s' is no open descriptor",
				                  optarg);
			fd = (int)n;
		} else if (c == 's') {
			path = optarg;
		} else if (c == 'h') {
			return cli_help("serve");
		} else {
			return cli_bad_option("serve", argv, c);
		}
	}
	if (optind < argc || (fd >= 0) == !!path)
		return cli_misuse("serve", "either --fd N or --socket PATH, and nothing else");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, "bvisor-serve");
	b.init = beside(INIT_BESIDE, "bvisor-init");
	b.epfd = epoll_create1(EPOLL_CLOEXEC);
	c = serve(&b, fd, path);
	source_close(&b, &b.listener);
	source_close(&b, &b.children);
	collect(&b);
	if (b.epfd >= 0)
		close(b.epfd);
	free(b.init);
	return c;
}
