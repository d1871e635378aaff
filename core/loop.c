/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's one loop: notifications, process deaths, finished work, the control socket.
 *
 * The thread sleeps in poll(2) on two descriptors only, the listener and an epoll instance with
 * everything else.  Not in epoll_wait: the kernel's hint to wake the supervisor on the guest's
 * CPU (SYNC_WAKE_UP, Linux 6.6) passes through poll but not through epoll.  In each round what
 * happened to processes comes before the next notification, so a reused pid is never taken for
 * the process that had it.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>

#include "control.h"
#include "creds.h"
#include "join.h"
#include "killall.h"
#include "launch.h"
#include "loop.h"
#include "notify.h"

#define EVENTS 64
#define KILL_TIMEOUT_MS 10000

/* In the upper half of epoll_event.data. */
enum source {
	SOURCE_PID = 1,
	SOURCE_JOBS,
	SOURCE_CHILD,
	SOURCE_TIMER,
	SOURCE_CONTROL,
	SOURCE_JOIN,
	SOURCE_MODULE
};

static uint64_t tag(enum source s)
{
	return (uint64_t)s << 32;
}

void loop_task_end(struct loop *l, pid_t pid)
{
	struct bv_task *task = task_find(&l->tasks, pid);

	if (!task)
		return;
	defer_task_gone(l, task);
	task_gone(&l->tasks, pid);
}

void loop_reaped(struct loop *l, pid_t pid, int status)
{
	if (!WIFEXITED(status) && !WIFSIGNALED(status))
		return;
	if (pid == l->first && !l->first_done) {
		l->first_status = status;
		l->first_done = true;
	}
	join_reaped(l, pid, status);
	loop_task_end(l, pid); /* its number may be given to another from now on */
}

static void reap(struct loop *l)
{
	int status;
	pid_t pid;

	/*
	 * A child of ours that a worker traces would hand its ptrace stops to us as well: for the
	 * kernel tracer and parent are the same process (wait(2) knows no way to say no).  Wait
	 * until the redirect is over.
	 */
	if (l->redirects)
		return;
	do {
		pid = waitpid(-1, &status, WNOHANG | WUNTRACED | WCONTINUED | __WALL | __WNOTHREAD);
		if (pid == l->first && WIFSTOPPED(status)) {
			l->first_stopped = true;
			control_send(l->control, CONTROL_STOPPED, ++l->first_stops);
		} else if (pid == l->first && WIFCONTINUED(status)) {
			l->first_stopped = false;
			if (l->control < 0)
				continue;
			control_send(l->control, CONTROL_CONTINUED, 0);
			kill(getppid(), SIGCONT);
		} else if (pid > 0 && (WIFSTOPPED(status) || WIFCONTINUED(status))) {
			join_stopped(l, pid, WIFSTOPPED(status));
		} else if (pid > 0) {
			loop_reaped(l, pid, status);
		}
	} while (pid > 0);
	l->no_children = pid < 0 && errno == ECHILD;
}

/*
 * A pidfd says that its process is dead.  If it is a child of ours, collect it now: reap may wait
 * long while redirects follow one another, but the dead have no stops to steal.
 */
static void died(struct loop *l, pid_t pid)
{
	struct bv_task *task = task_find(&l->tasks, pid);
	siginfo_t si = {0};

	if (task &&
	    waitid(P_PIDFD, (id_t)task->pidfd, &si, WEXITED | WNOHANG | __WALL | __WNOTHREAD) ==
	            0 &&
	    si.si_pid == pid)
		loop_reaped(l, pid,
		            si.si_code == CLD_EXITED
		                    ? W_EXITCODE(si.si_status, 0)
		                    : si.si_status | (si.si_code == CLD_DUMPED ? WCOREFLAG : 0));
	else
		loop_task_end(l, pid);
}

/* Whether the front's SIGCONT is news to the guest. */
static bool cont_is_due(struct loop *l, const struct control_cont *c)
{
	reap(l); /* what it has been through by now */
	return l->first_stopped ? c->stop == l->first_stops : !c->was_stopped;
}

static void control(struct loop *l)
{
	union {
		unsigned char sig; /* CONTROL_GO, 0, means nothing here */
		struct control_cont cont;
	} m;
	ssize_t n = recv(l->control, &m, sizeof(m), MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		l->die = true;
		return;
	}
	if (n < 1 || m.sig == 0 || m.sig > SIGRTMAX)
		return;
	if (m.sig == SIGCONT && (n < (ssize_t)sizeof(m.cont) || !cont_is_due(l, &m.cont)))
		return;
	if (l->first_done)
		return;
	/* A worker that traces it may have reaped it just now: the descriptor still means it. */
	const struct bv_task *task = task_find(&l->tasks, l->first);
	if (task && task->pidfd >= 0)
		(void)syscall(SYS_pidfd_send_signal, task->pidfd, m.sig, NULL, 0);
	else
		kill(l->first, m.sig);
}

static struct watched *watched_find(struct loop *l, const struct bv_self *module, int fd)
{
	for (struct watched *w = l->watched; w < l->watched + WATCHED_MAX; w++)
		if (w->module == module && w->fd == fd)
			return w;
	return NULL;
}

static void module_event(struct loop *l, int fd)
{
	for (const struct watched *w = l->watched; w < l->watched + WATCHED_MAX; w++)
		if (w->module && w->fd == fd)
			w->fn(w->module->state);
}

static void event(struct loop *l, enum source source, int fd)
{
	struct signalfd_siginfo si;

	switch (source) {
	case SOURCE_JOBS:
		defer_complete(l);
		reap(l); /* what a redirect held up */
		break;
	case SOURCE_CHILD:
		if (read(l->sigfd, &si, sizeof(si)) > 0)
			reap(l);
		break;
	case SOURCE_TIMER:
		defer_tick(l);
		break;
	case SOURCE_CONTROL:
		control(l);
		break;
	case SOURCE_JOIN:
		join_event(l, fd);
		break;
	case SOURCE_MODULE:
		module_event(l, fd);
		break;
	case SOURCE_PID:
		break;
	}
}

/* Everything but notifications; deaths first. */
static void events(struct loop *l)
{
	struct epoll_event ev[EVENTS];
	int n;

	do {
		n = epoll_wait(l->epfd, ev, EVENTS, 0);
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64 >> 32 == SOURCE_PID)
				died(l, (pid_t)(uint32_t)ev[i].data.u64);
		for (int i = 0; i < n; i++)
			if (ev[i].data.u64 >> 32 != SOURCE_PID)
				event(l, (enum source)(ev[i].data.u64 >> 32),
				      (int)(uint32_t)ev[i].data.u64);
	} while (n == EVENTS);
}

static bool over(const struct loop *l)
{
	return l->die || l->no_children || (l->first_done && !l->wait_all);
}

/* One call of a listener that has some; false when no more can come of any. */
static bool serve(struct loop *l, int listener)
{
	int r = notify_next(l, listener);

	if (r == 0 || r == -ENOENT || r == -EINTR)
		return true;
	log_line(BV_LOG_ERROR, "core", "cannot receive calls: %s", strerror(-r));
	return false;
}

static void run(struct loop *l)
{
	/* In this order: poll looks at the listeners first, so a death that preceded what it found
	 * there is found too. */
	struct pollfd fd[LISTENERS_MAX + 1];

	reap(l); /* before SIGCHLD was watched */
	while (!over(l)) {
		unsigned n = l->n_listeners;

		for (unsigned i = 0; i < n; i++)
			fd[i] = (struct pollfd){.fd = l->listener[i], .events = POLLIN};
		fd[n] = (struct pollfd){.fd = l->epfd, .events = POLLIN};
		if (poll(fd, n + 1, -1) < 0)
			continue; /* EINTR */
		if (fd[n].revents)
			events(l); /* a listener may come in here that was not polled */
		for (unsigned i = 0, served = 0; i < n; i++) {
			if (fd[i].revents & POLLIN) {
				if (served++)
					events(l); /* who died while the one before was served */
				if (!serve(l, fd[i].fd))
					return;
			} else if (fd[i].revents & (POLLHUP | POLLERR)) {
				notify_unlisten(l, i); /* no process uses the filter any more */
			}
		}
	}
}

static int watch(struct loop *l, int fd, enum source source)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = tag(source) | (uint32_t)fd};

	return epoll_ctl(l->epfd, EPOLL_CTL_ADD, fd, &ev) < 0 ? -errno : 0;
}

int loop_watch_join(struct loop *l, int fd)
{
	return watch(l, fd, SOURCE_JOIN);
}

int loop_watch_module(struct loop *l, struct bv_self *module, int fd, void (*fn)(void *self))
{
	struct watched *w = watched_find(l, module, fd), *slot = w ? w : watched_find(l, NULL, 0);

	if (!fn) {
		if (!w)
			return -ENOENT;
		*w = (struct watched){0};
		return epoll_ctl(l->epfd, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
	}
	int r = w ? 0 : slot ? watch(l, fd, SOURCE_MODULE) : -ENOSPC;
	if (r == 0)
		*slot = (struct watched){module, fd, fn};
	return r;
}

static int setup(struct loop *l)
{
	sigset_t chld;
	int64_t workers = l->box->conf.workers;
	int r = notify_setup(l);

	if (r < 0)
		return r;
	if (getrandom(l->scratch_cookie, sizeof(l->scratch_cookie), 0) < 0)
		return -errno;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	l->epfd = epoll_create1(EPOLL_CLOEXEC);
	l->sigfd = signalfd(-1, &chld, SFD_CLOEXEC | SFD_NONBLOCK);
	l->timerfd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->epfd < 0 || l->sigfd < 0 || l->timerfd < 0)
		return -errno;
	r = pool_new(&l->pool, workers > 0 && workers < 1024 ? (unsigned)workers : 16);
	if (r == 0)
		r = watch(l, pool_fd(l->pool), SOURCE_JOBS);
	if (r == 0)
		r = watch(l, l->sigfd, SOURCE_CHILD);
	if (r == 0)
		r = watch(l, l->timerfd, SOURCE_TIMER);
	if (r == 0 && l->control >= 0)
		r = watch(l, l->control, SOURCE_CONTROL);
	if (r == 0 && l->box->join_fd >= 0)
		r = watch(l, l->box->join_fd, SOURCE_JOIN);
	return r;
}

/* What every guest is until one changes: the first process has dropped what it must by now. */
static int base_creds(struct loop *l)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", (int)l->first);
	bv_autofd int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = fd < 0 ? -errno : creds_read(fd, &l->base_creds);

	return r == -ENOENT ? -ESRCH : r;
}

static void reaped(void *arg, pid_t pid, int status)
{
	loop_reaped(arg, pid, status);
}

static void finish(struct loop *l)
{
	bool alone = false;

	/* Redirects hold their tracee's wait status and end when it is dead: kill first. */
	reap(l);
	if (!l->no_children)
		killall_signal();
	if (l->pool)
		defer_drain(l);
	pool_free(l->pool);
	/* From here on trapped calls of a survivor fail with ENOSYS. */
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		notify_unlisten(l, i);
	alone = killall(KILL_TIMEOUT_MS, reaped, l) == 0;
	if (!alone)
		log_line(BV_LOG_WARN, "core",
		         "a guest process does not die (uninterruptible sleep)");
	join_fini(l);
	if (l->tasks.box)
		task_table_fini(&l->tasks);
	if (l->spare)
		ncall_free(l->spare);
	free(l->name);
	if (l->epfd >= 0)
		close(l->epfd);
	if (l->sigfd >= 0)
		close(l->sigfd);
	if (l->timerfd >= 0)
		close(l->timerfd);
}

/* While the child installs its filter all is made ready; then it is taken over and served. */
static int take_over(struct loop *l, struct bv_error *err)
{
	int listener, r = setup(l);

	if (r < 0)
		return error_set(err, -r, "the supervisor's loop: %s", strerror(-r));
	task_table_init(&l->tasks, l->box, l->epfd, tag(SOURCE_PID));
	r = launch_listener(l->box, &listener, err);
	if (r < 0)
		return r;
	notify_listen(l, listener);
	l->killable = launch_killable(l->box->launch);
	if (l->control >= 0)
		control_send(l->control, CONTROL_STARTED, l->first);
	r = base_creds(l);
	/* It may have been killed already: that is a result, not an error. */
	return r == -ESRCH || r == 0 ? 0
	                             : error_set(err, -r, "the first process: %s", strerror(-r));
}

int loop_run(struct sandbox *box, pid_t first, int control_fd, bool wait_all,
             struct run_result *out, struct bv_error *err)
{
	struct loop *l = calloc(1, sizeof(*l));
	sigset_t chld, old;
	int r;

	if (!l)
		return error_set(err, ENOMEM, "out of memory");
	*l = (struct loop){
		.box = box,
		.control = control_fd,
		.epfd = -1,
		.sigfd = -1,
		.timerfd = -1,
		.first = first,
		.wait_all = wait_all,
	};
	for (unsigned i = 0; i < LISTENERS_MAX; i++)
		l->listener[i] = -1;
	sigemptyset(&chld);
	sigaddset(&chld, SIGCHLD);
	sigprocmask(SIG_BLOCK, &chld, &old);
	box->loop = l;
	box->first_pid = first;
	r = take_over(l, err);
	if (r == 0)
		run(l);
	finish(l);
	*out = (struct run_result){
		.status = l->first_status,
		.exec_errno = launch_exec_errno(box->launch),
		.stops = l->first_stops,
	};
	box->loop = NULL;
	free(l);
	sigprocmask(SIG_SETMASK, &old, NULL);
	return r;
}
