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
 * back.  A process without its pidfd is told from a later one of the same number by its start
 * time (10 ms apart at the closest, and a number takes longer than that to come round).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <unistd.h>
#include <utlist.h>

#include <cleanup.h>

#include "bvisor.h"
#include "guest_mem.h"
#include "kernel.h"
#include "loop.h"
#include "notify.h"
#include "proc.h"
#include "task.h"

#define FD_RESERVE 256 /* descriptors left to handlers */
#define SWEEP_FIRST 512

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

static bool task_dead(const struct bv_task *task)
{
	struct pollfd p = {.fd = task->pidfd, .events = POLLIN};

	return task->pidfd >= 0 ? poll(&p, 1, 0) != 0 : proc_start(task->pid) != task->start;
}

/* Gives back the pidfd; the start time stands in for it. */
static bool unpin(struct task_table *t, struct bv_task *task)
{
	uint64_t start = proc_start(task->pid);

	/* The pidfd vouches for what was read; if it is dead its event is about to come. */
	if (task->pidfd < 0 || start == 0 || task_dead(task))
		return false;
	task->start = start;
	drop_fd(t, &task->pidfd);
	return true;
}

/* Gives back what the threads last used before `limit` hold: first what is opened again easily. */
static bool shed(struct task_table *t, uint64_t limit, bool pidfds)
{
	struct thread *th, *next;
	bool any = false;

	HASH_ITER(hh, t->by_tid, th, next) {
		if (th->used > limit || th->busy || th->redirect)
			continue;
		if (th->tid != th->task->pid) {
			thread_drop(t, th);
			any = true;
			continue;
		}
		if (th->proc_fd >= 0) {
			drop_fd(t, &th->proc_fd);
			any = true;
		}
		if (pidfds)
			any |= unpin(t, th->task);
	}
	return any;
}

bool task_shed(struct task_table *t)
{
	struct thread *th, *next;
	uint64_t oldest = t->tick;

	HASH_ITER(hh, t->by_tid, th, next)
		if (th->used < oldest && (th->proc_fd >= 0 || th->task->pidfd >= 0))
			oldest = th->used;
	/* The older half by age: a single pass without sorting, amortised over many calls. */
	uint64_t middle = oldest + (t->tick - oldest) / 2;
	return shed(t, middle, false) || shed(t, middle, true) || shed(t, t->tick - 1, true);
}

/* Forgets threads and unwatched processes that are no more, whenever the table has doubled since
 * the last time. */
static void sweep(struct task_table *t)
{
	struct thread *th, *next;
	struct bv_task *task, *next_task;

	if (t->n_threads < t->sweep_at)
		return;
	HASH_ITER(hh, t->by_pid, task, next_task)
		if (task->pidfd < 0 && task_dead(task))
			loop_task_end(t->box->loop, task->pid);
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

bool task_descends(struct task_table *t, pid_t pid, pid_t root)
{
	/* A process reparents once at most while we climb, hence a second try. */
	for (int try = 0; try < 2; try++) {
		pid_t at = pid;

		while (at > 1) {
			at = proc_parent(at);
			if (at == root)
				return true;
			if (t && at > 1 && task_known(t, at))
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

/* The same, once an unwatched one that has died is out of the way. */
static struct bv_task *task_current(struct task_table *t, pid_t pid)
{
	struct bv_task *task = task_find(t, pid);

	if (task && task->pidfd < 0 && task_dead(task)) {
		loop_task_end(t->box->loop, pid);
		task = NULL;
	}
	return task;
}

bool task_known(struct task_table *t, pid_t pid)
{
	struct bv_task *task = task_find(t, pid);

	/* With its pidfd watched, an entry is gone before its number can mean another process. */
	return task && (task->pidfd >= 0 || !task_dead(task));
}

static struct thread *thread_find(struct task_table *t, pid_t tid)
{
	struct thread *th;

	if (t->last && t->last->tid == tid)
		return t->last;
	HASH_FIND(hh, t->by_tid, &tid, sizeof(tid), th);
	return th;
}

/* takes proc_fd, which may be -1 */
static struct thread *thread_add(struct task_table *t, struct bv_task *task, pid_t tid, int proc_fd)
{
	struct thread *th = calloc(1, sizeof(*th));

	if (!th) {
		if (proc_fd >= 0)
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
	t->n_fds += proc_fd >= 0;
	return th;
}

/* The process that pidfd, a live one of pid, has for its parent. */
static pid_t parent_of(int pidfd, pid_t pid)
{
	struct kernel_pidfd_info info = {.mask = KERNEL_PIDFD_INFO_PID};

	/* Linux 6.13; reading /proc takes ten times as long. */
	if (ioctl(pidfd, KERNEL_PIDFD_GET_INFO, &info) == 0 && (info.mask & KERNEL_PIDFD_INFO_PID))
		return (pid_t)info.ppid;
	return proc_parent(pid);
}

static void hooks_new(struct task_table *t, struct bv_task *task)
{
	struct bv_task *parent = NULL;

	if (!t->hooks_new)
		return;
	pid_t ppid = parent_of(task->pidfd, task->pid);
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

/*
 * A thread not in the table yet.  Of one that is not its process's leader the /proc directory is
 * what vouches for it later (thread_alive); a leader's, whom the pidfd vouches for, is only opened
 * when somebody asks.
 */
static int meet(struct task_table *t, pid_t tid, uint64_t id, struct thread **out)
{
	struct bv_task *task;
	pid_t pid = tid;
	int pidfd;
	bv_autofd int proc_fd = -1;

	sweep(t);
	task = task_current(t, tid);
	if (!task) {
		WITH_ROOM(t, pidfd, proc_pidfd(tid, 0));
		/* Not a leader: EINVAL, since Linux 6.9 ENOENT (pidfd_open(2)). */
		if (pidfd == -EINVAL || pidfd == -ENOENT) {
			WITH_ROOM(t, proc_fd, proc_open(tid));
			pid = proc_fd < 0 ? proc_fd : proc_group(proc_fd);
			task = pid > 0 ? task_current(t, pid) : NULL;
			if (pid > 0 && !task)
				WITH_ROOM(t, pidfd, proc_pidfd(pid, 0));
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
		if (!task)
			return pid < 0 ? pid : pidfd;
	}
	if (!notify_valid(t->box->loop, id))
		return -ESRCH;
	struct thread *th = thread_add(t, task, tid, proc_fd);
	if (!th)
		return -ENOMEM;
	(void)bv_take_fd(&proc_fd);
	*out = th;
	return 0;
}

int task_proc_fd(struct task_table *t, struct thread *th)
{
	int fd;

	if (th->proc_fd >= 0)
		return th->proc_fd;
	/* Only a leader has none; the task vouches for the number. */
	WITH_ROOM(t, fd, proc_open(th->tid));
	if (fd < 0)
		return fd;
	if (task_dead(th->task)) {
		close(fd);
		return -ESRCH;
	}
	t->n_fds++;
	return th->proc_fd = fd;
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
	if (th && tid == th->task->pid && !task_current(t, tid))
		th = NULL;
	if (!th)
		r = meet(t, tid, id, &th);
	if (r < 0)
		return r;
	th->used = ++t->tick;
	t->last = th;
	*out = th;
	return 0;
}

/* The pidfd, opened and watched again if need be. */
static int pin(struct task_table *t, struct bv_task *task)
{
	struct epoll_event ev = {.events = EPOLLIN, .data.u64 = t->epoll_tag | (uint32_t)task->pid};
	int fd;

	if (task->pidfd >= 0)
		return task->pidfd;
	WITH_ROOM(t, fd, proc_pidfd(task->pid, 0));
	if (fd < 0)
		return fd;
	if (task_dead(task) || epoll_ctl(t->epfd, EPOLL_CTL_ADD, fd, &ev) < 0) {
		close(fd);
		return -ESRCH;
	}
	t->n_fds++;
	return task->pidfd = fd;
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
		return pin(t, th->task);
	if (th->pidfd < 0) {
		int fd;

		WITH_ROOM(t, fd, proc_pidfd(th->tid, PIDFD_THREAD));
		if (fd < 0) /* before Linux 6.9; threads share their leader's descriptors, mostly */
			return pin(t, th->task);
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

void task_exec_begin(struct task_table *t, struct thread *th)
{
	struct bv_task *task = th->task;

	if (!t->hooks_exec)
		return;
	task->watch_exec = th->tid;
	int fd = task_proc_fd(t, th);
	if (fd < 0 || proc_image(fd, th->tid, task->image) < 0)
		memset(task->image, 0, sizeof(task->image));
}

void task_exec_check(struct task_table *t, struct thread *th)
{
	struct bv_task *task = th->task;
	unsigned char now[16];

	if (task->watch_exec) {
		int fd = task_proc_fd(t, th);

		if (fd >= 0 && proc_image(fd, th->tid, now) == 0 && memcmp(now, task->image, sizeof(now)) != 0)
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
