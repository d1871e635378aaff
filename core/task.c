/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest processes (thread groups) and their threads, found by the thread id of a notification.
 *
 * Staleness.  A process is watched by its pidfd and forgotten before the loop looks at the next
 * notification, so a reused pid never meets the old entry.  Threads other than the leader die
 * unannounced: their entry's /proc directory, which is bound to the thread and not to the
 * number, is asked at each use.
 *
 * Descriptors.  Up to fd_cap are kept; beyond it, the entries used least lately give theirs
 * back and open them again when needed.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include <cleanup.h>

#include "bvisor.h"
#include "guest_mem.h"
#include "kernel.h"
#include "notify.h"
#include "task.h"

#define FD_RESERVE 256 /* descriptors left to handlers */
#define SWEEP_FIRST 512

static int open_pidfd(pid_t pid, unsigned flags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	return fd < 0 ? -errno : fd;
}

void task_table_init(struct task_table *t, struct sandbox *box, int epfd, uint64_t epoll_tag)
{
	struct rlimit lim;

	*t = (struct task_table){.box = box, .epfd = epfd, .epoll_tag = epoll_tag};
	t->sweep_at = SWEEP_FIRST;
	t->fd_cap = 512;
	if (getrlimit(RLIMIT_NOFILE, &lim) == 0) {
		/* The guest has its own copy of the limit by now (getrlimit(2): inherited at fork). */
		if (lim.rlim_cur < lim.rlim_max) {
			lim.rlim_cur = lim.rlim_max;
			if (setrlimit(RLIMIT_NOFILE, &lim) < 0)
				getrlimit(RLIMIT_NOFILE, &lim);
		}
		t->fd_cap = lim.rlim_cur > 1u << 20      ? 1u << 20 :
		            lim.rlim_cur > 2 * FD_RESERVE ? (unsigned)lim.rlim_cur - FD_RESERVE :
		                                            (unsigned)lim.rlim_cur / 2;
	}
	for (size_t i = 0; i < box->n_modules; i++) {
		t->hooks_new |= box->module[i]->desc->task_new != NULL;
		t->hooks_exec |= box->module[i]->desc->task_exec != NULL;
	}
}

static void drop_fd(struct task_table *t, int *fd)
{
	if (*fd < 0)
		return;
	close(*fd);
	*fd = -1;
	t->n_fds--;
}

static void thread_drop(struct task_table *t, struct thread *th)
{
	if (t->last == th)
		t->last = NULL;
	HASH_DEL(t->by_tid, th);
	DL_DELETE(th->task->threads, th);
	drop_fd(t, &th->proc_fd);
	drop_fd(t, &th->pidfd);
	if (th->replay)
		ncall_free(th->replay);
	free(th->creds);
	free(th);
	t->n_threads--;
}

/* True while the thread the entry was made for exists: its /proc directory is bound to it, and a
 * dead one has no entries any more whatever became of the number. */
static bool thread_alive(const struct thread *th)
{
	return faccessat(th->proc_fd, "comm", F_OK, 0) == 0;
}

bool task_shed(struct task_table *t)
{
	struct thread *th, *next, *oldest = NULL;
	uint64_t limit;
	bool any = false;

	/* Give back the older half: a single pass without sorting, amortised over many calls. */
	HASH_ITER(hh, t->by_tid, th, next)
		if (!oldest || th->used < oldest->used)
			oldest = th;
	if (!oldest)
		return false;
	limit = oldest->used + (t->tick - oldest->used) / 2;
	HASH_ITER(hh, t->by_tid, th, next) {
		if (th->used > limit || th->busy || th->redirect)
			continue;
		if (th->tid != th->task->pid) {
			thread_drop(t, th);
			any = true;
		} else if (th->proc_fd >= 0) {
			drop_fd(t, &th->proc_fd);
			any = true;
		}
	}
	return any;
}

/* Forgets threads that are no more, whenever the table has doubled since the last time. */
static void sweep(struct task_table *t)
{
	struct thread *th, *next;

	if (t->n_threads < t->sweep_at)
		return;
	HASH_ITER(hh, t->by_tid, th, next)
		if (th->tid != th->task->pid && !th->busy && !th->redirect && !thread_alive(th))
			thread_drop(t, th);
	t->sweep_at = t->n_threads * 2 > SWEEP_FIRST ? t->n_threads * 2 : SWEEP_FIRST;
}

/* Runs `fd = expr`, making room when descriptors are short. */
#define WITH_ROOM(t, fd, expr)                                                                   \
	do {                                                                                     \
		if ((t)->n_fds + 2 > (t)->fd_cap)                                                \
			task_shed(t);                                                            \
		(fd) = (expr);                                                                   \
	} while (((fd) == -EMFILE || (fd) == -ENFILE) && task_shed(t))

static int open_proc(pid_t tid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", (int)tid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return fd;
}

static ssize_t read_at(int dir, const char *name, char *buf, size_t size)
{
	bv_autofd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

static pid_t thread_group(int proc_fd)
{
	char buf[512];

	if (read_at(proc_fd, "status", buf, sizeof(buf)) < 0)
		return -ESRCH;
	const char *tgid = strstr(buf, "\nTgid:");
	return tgid ? (pid_t)strtol(tgid + 6, NULL, 10) : -ESRCH;
}

pid_t task_parent(pid_t pid)
{
	char path[40], buf[512];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	if (read_at(AT_FDCWD, path, buf, sizeof(buf)) < 0)
		return -ESRCH;
	/* "pid (comm) state ppid": comm may hold anything, so count from the last parenthesis. */
	const char *at = strrchr(buf, ')');
	if (!at || at[1] != ' ' || at[2] == '\0')
		return -ESRCH;
	return (pid_t)strtol(at + 3, NULL, 10);
}

bool task_descends(struct task_table *t, pid_t pid, pid_t root)
{
	/* A process reparents once at most while we climb, hence a second try. */
	for (int try = 0; try < 2; try++) {
		pid_t at = pid;

		while (at > 1) {
			at = task_parent(at);
			if (at == root)
				return true;
			if (t && at > 1 && task_find(t, at))
				return true;
		}
		if (at >= 0)
			break;
	}
	return false;
}

struct bv_task *task_find(struct task_table *t, pid_t pid)
{
	struct bv_task *task;

	HASH_FIND(hh, t->by_pid, &pid, sizeof(pid), task);
	return task;
}

static struct thread *thread_find(struct task_table *t, pid_t tid)
{
	struct thread *th;

	if (t->last && t->last->tid == tid)
		return t->last;
	HASH_FIND(hh, t->by_tid, &tid, sizeof(tid), th);
	return th;
}

/* takes proc_fd */
static struct thread *thread_add(struct task_table *t, struct bv_task *task, pid_t tid, int proc_fd)
{
	struct thread *th = calloc(1, sizeof(*th));

	if (!th) {
		close(proc_fd);
		return NULL;
	}
	th->tid = tid;
	th->task = task;
	th->proc_fd = proc_fd;
	th->pidfd = -1;
	HASH_ADD(hh, t->by_tid, tid, sizeof(tid), th);
	DL_APPEND(task->threads, th);
	t->n_threads++;
	t->n_fds++;
	return th;
}

static void hooks_new(struct task_table *t, struct bv_task *task)
{
	struct bv_task *parent = NULL;

	if (!t->hooks_new)
		return;
	pid_t ppid = task_parent(task->pid);
	if (ppid > 0)
		parent = task_find(t, ppid);
	for (size_t i = 0; i < t->box->n_modules; i++) {
		struct bv_self *m = t->box->module[i];

		if (m->desc->task_new && m->desc->task_new(m->state, parent, task) < 0)
			log_line(BV_LOG_WARN, "core", "%s: task_new failed for process %d", m->desc->name,
			         (int)task->pid);
	}
}

/* takes pidfd */
static struct bv_task *task_add(struct task_table *t, pid_t pid, int pidfd)
{
	size_t slots = t->box->n_modules * sizeof(void *);
	struct bv_task *task = calloc(1, sizeof(*task) + slots);
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = t->epoll_tag | (uint32_t)pid};

	if (!task || epoll_ctl(t->epfd, EPOLL_CTL_ADD, pidfd, &ev) < 0) {
		free(task);
		close(pidfd);
		return NULL;
	}
	task->pid = pid;
	task->pidfd = pidfd;
	task->box = t->box;
	HASH_ADD(hh, t->by_pid, pid, sizeof(pid), task);
	t->n_tasks++;
	t->n_fds++;
	hooks_new(t, task);
	return task;
}

/* A thread not in the table yet. */
static int meet(struct task_table *t, pid_t tid, uint64_t id, struct thread **out)
{
	struct bv_task *task;
	pid_t pid = tid;
	int proc_fd, pidfd;

	sweep(t);
	WITH_ROOM(t, proc_fd, open_proc(tid));
	if (proc_fd < 0)
		return proc_fd;
	task = task_find(t, tid);
	if (!task) {
		WITH_ROOM(t, pidfd, open_pidfd(tid, 0));
		/* Not a leader: EINVAL, since Linux 6.9 ENOENT (pidfd_open(2)). */
		if (pidfd == -EINVAL || pidfd == -ENOENT) {
			pid = thread_group(proc_fd);
			task = pid > 0 ? task_find(t, pid) : NULL;
			if (pid > 0 && !task)
				WITH_ROOM(t, pidfd, open_pidfd(pid, 0));
		}
		/* Only while the call waits are tid and what was opened by it the caller's. */
		if (!task && pidfd >= 0 && !notify_valid(t->box->loop, id)) {
			close(pidfd);
			pidfd = -ESRCH;
		}
		if (!task && pidfd >= 0) {
			task = task_add(t, pid, pidfd);
			pidfd = -ENOMEM;
		}
		if (!task) {
			close(proc_fd);
			return pid < 0 ? pid : pidfd;
		}
	}
	if (!notify_valid(t->box->loop, id)) {
		close(proc_fd);
		return -ESRCH;
	}
	struct thread *th = thread_add(t, task, tid, proc_fd);
	if (!th)
		return -ENOMEM;
	*out = th;
	return 0;
}

/* The leader's directory, given back before, once more.  The pidfd tells that the number is
 * still the process it was. */
static int reopen(struct task_table *t, struct thread *th)
{
	struct pollfd dead = {.fd = th->task->pidfd, .events = POLLIN};
	int fd;

	WITH_ROOM(t, fd, open_proc(th->tid));
	if (fd < 0)
		return fd;
	if (poll(&dead, 1, 0) != 0) {
		close(fd);
		return -ESRCH;
	}
	th->proc_fd = fd;
	t->n_fds++;
	return 0;
}

int task_thread(struct task_table *t, pid_t tid, uint64_t id, struct thread **out)
{
	struct thread *th = thread_find(t, tid);
	int r = 0;

	if (th && tid != th->task->pid && !thread_alive(th)) {
		if (th->busy || th->redirect)
			return -ESRCH; /* its deferred calls end first; cannot happen before the number wraps */
		thread_drop(t, th);
		th = NULL;
	}
	if (!th)
		r = meet(t, tid, id, &th);
	else if (th->proc_fd < 0)
		r = reopen(t, th);
	if (r < 0)
		return r;
	th->used = ++t->tick;
	t->last = th;
	*out = th;
	return 0;
}

static void task_free(struct task_table *t, struct bv_task *task)
{
	struct thread *th, *next;

	for (size_t i = t->box->n_modules; i-- > 0;) {
		struct bv_self *m = t->box->module[i];

		if (m->desc->task_exit)
			m->desc->task_exit(m->state, task);
	}
	DL_FOREACH_SAFE(task->threads, th, next)
		thread_drop(t, th);
	HASH_DEL(t->by_pid, task);
	t->n_tasks--;
	drop_fd(t, &task->pidfd); /* leaves the epoll set with it: nobody else holds the file */
	free(task);
}

void task_gone(struct task_table *t, pid_t pid)
{
	struct bv_task *task = task_find(t, pid);

	if (task)
		task_free(t, task);
}

void task_table_fini(struct task_table *t)
{
	struct bv_task *task, *next;

	HASH_ITER(hh, t->by_pid, task, next)
		task_free(t, task);
}

int task_pidfd(struct task_table *t, struct thread *th)
{
	if (th->tid == th->task->pid)
		return th->task->pidfd;
	if (th->pidfd < 0) {
		int fd;

		WITH_ROOM(t, fd, open_pidfd(th->tid, PIDFD_THREAD));
		if (fd < 0) /* before Linux 6.9; threads share their leader's descriptors, mostly */
			return th->task->pidfd;
		th->pidfd = fd;
		t->n_fds++;
	}
	return th->pidfd;
}

void task_forget_creds(struct bv_task *task)
{
	struct thread *th;

	DL_FOREACH(task->threads, th) {
		free(th->creds);
		th->creds = NULL;
	}
}

/* What tells one program image from another: the random bytes the kernel gives each
 * (getauxval(3), AT_RANDOM) and where it put them. */
static int image_of(const struct thread *th, unsigned char out[16])
{
	bv_autofd int fd = openat(th->proc_fd, "auxv", O_RDONLY | O_CLOEXEC);
	uint64_t v[2 * 64];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, v, sizeof(v));
	for (size_t i = 0; n > 0 && i + 1 < (size_t)n / sizeof(v[0]); i += 2) {
		if (v[i] != 25 /* AT_RANDOM */)
			continue;
		int r = guest_mem_read(th->tid, out, v[i + 1], 16);
		for (size_t b = 0; r == 0 && b < sizeof(v[1]); b++)
			out[b] ^= (unsigned char)(v[i + 1] >> (8 * b));
		return r;
	}
	return -ESRCH;
}

void task_exec_begin(struct task_table *t, struct thread *th)
{
	struct bv_task *task = th->task;

	if (!t->hooks_exec)
		return;
	task->watch_exec = th->tid;
	if (image_of(th, task->image) < 0)
		memset(task->image, 0, sizeof(task->image));
}

void task_exec_check(struct task_table *t, struct thread *th)
{
	struct bv_task *task = th->task;
	unsigned char now[16];

	if (task->watch_exec) {
		if (image_of(th, now) == 0 && memcmp(now, task->image, sizeof(now)) != 0)
			task->exec_seen = true;
		/* Another thread's call says nothing about an exec that is still under way. */
		if (task->exec_seen || task->watch_exec == th->tid)
			task->watch_exec = 0;
	}
	if (!task->exec_seen)
		return;
	task->exec_seen = false;
	for (size_t i = 0; i < t->box->n_modules; i++) {
		struct bv_self *m = t->box->module[i];

		if (m->desc->task_exec)
			m->desc->task_exec(m->state, task);
	}
}
