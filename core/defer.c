/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Deferred calls: handed to a worker, answered when it is done, cancelled when the guest dies or
 * a signal wants it back.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/poll.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include <utlist.h>

#include <cleanup.h>

#include "creds.h"
#include "kernel.h"
#include "loop.h"
#include "notify.h"

#define LOST_POLLS 10 /* a handler of the guest's may run so long before the call is made again */

static void set_timer(struct loop *l, bool on)
{
	struct itimerspec t = {0};

	if (on == l->timer_on)
		return;
	if (on)
		t.it_interval.tv_nsec = t.it_value.tv_nsec = DEFER_TICK_MS * 1000000L;
	timerfd_settime(l->timerfd, 0, &t, NULL);
	l->timer_on = on;
}

enum bv_verdict defer_call(struct ncall *nc, unsigned flags, void (*work)(void *),
                           enum bv_verdict (*done)(struct bv_call *, void *), void *arg)
{
	struct loop *l = nc->loop;

	/* What a signal may end has no other end, perhaps. */
	nc->job = (struct job){
		.work = work, .arg = arg, .waits = flags & (BV_DEFER_SIGNALS | BV_DEFER_WAITS)};
	nc->done = done;
	nc->defer_flags = flags;
	nc->shared_polls = nc->lost_polls = 0;
	nc->interrupted = false;
	nc->deferred = true;
	if (nc->thread)
		nc->thread->busy++;
	DL_APPEND(l->deferred, nc);
	if (pool_submit(l->pool, &nc->job) < 0) {
		/* No thread to be had: the promise of exactly one done holds, with the call cancelled. */
		nc->job.cancelled = true;
		pool_give_back(l->pool, &nc->job);
	}
	set_timer(l, true);
	return BV_DEFERRED;
}

static void cancel(struct ncall *nc)
{
	pool_cancel(nc->loop->pool, &nc->job);
}

static void complete(struct ncall *nc)
{
	struct loop *l = nc->loop;
	enum bv_verdict verdict;
	/* It may have succeeded although a signal came, and that cannot be undone. */
	bool kept = nc->interrupted && (nc->defer_flags & BV_DEFER_KEEP) && nc->job.ran;

	DL_DELETE(l->deferred, nc);
	nc->deferred = false;
	if (nc->thread)
		nc->thread->busy--;
	/* Where a guest comes back for a lost answer, there must be one. */
	if (!nc->thread || (nc->job.cancelled && !kept) || (l->killable && !notify_valid(l, nc->id))) {
		nc->done(NULL, nc->job.arg);
		creds_restore();
		/*
		 * A signal is pending for the thread: on its way to user mode the kernel makes this a
		 * restart of the call or EINTR, as the handler's SA_RESTART says (signal(7)).
		 */
		notify_send(l, nc->id, nc->interrupted ? -KERNEL_ERESTARTSYS : -ENOMEM);
		notify_recycle(nc);
		return;
	}
	verdict = nc->done(&nc->call, nc->job.arg);
	creds_restore();
	if (kept && verdict == BV_REPLIED && nc->answer == ANSWER_VALUE && nc->value == -EINTR)
		nc->value = -KERNEL_ERESTARTSYS; /* as above */
	notify_finish(nc, verdict);
}

void defer_complete(struct loop *l)
{
	struct job *job;

	while ((job = pool_take(l->pool)) != NULL)
		complete((struct ncall *)((char *)job - offsetof(struct ncall, job)));
	if (!l->deferred)
		set_timer(l, false);
}

static uint64_t mask_field(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? strtoull(at + strlen(key), NULL, 16) : 0;
}

/*
 * Whether a signal waits that this very thread will take once it leaves the call.  One sent to
 * the thread is certain.  One sent to the process goes to the leader if that does not block it
 * (kernel: complete_signal), or to the only thread; answering ERESTARTSYS to a thread that the
 * kernel did not choose would show it errno 512, so for others it stays pending.  Another thread
 * may take a process's signal at any time: it must have lasted two polls.
 */
static bool signal_waits(struct ncall *nc)
{
	char buf[4096];
	int dir = task_proc_fd(&nc->loop->tasks, nc->thread);
	bv_autofd int fd = dir < 0 ? -1 : openat(dir, "status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return false;
	buf[n] = '\0';
	const char *threads = strstr(buf, "\nThreads:");
	uint64_t open = ~(mask_field(buf, "\nSigBlk:") | mask_field(buf, "\nSigIgn:"));
	if (mask_field(buf, "\nSigPnd:") & open)
		return true;
	bool chosen = nc->call.tid == nc->thread->task->pid || (threads && atoi(threads + 9) == 1);
	if (!chosen || !(mask_field(buf, "\nShdPnd:") & open)) {
		nc->shared_polls = 0;
		return false;
	}
	return ++nc->shared_polls >= 2;
}

bool defer_adopt(struct loop *l, const struct thread *thread, int nr, const uint64_t *arg, uint64_t id)
{
	struct ncall *nc;

	DL_FOREACH(l->deferred, nc) {
		if (nc->thread != thread || nc->nr != nr || nc->job.cancelled ||
		    memcmp(nc->call.arg, arg, sizeof(nc->call.arg)) != 0)
			continue;
		/* A redirect that is over has let the thread run: the call is a new one. */
		if (nc->redirect && nc->job.arg != thread->redirect)
			continue;
		nc->id = id;
		nc->lost_polls = 0;
		return true;
	}
	return false;
}

void defer_tick(struct loop *l)
{
	struct ncall *nc;
	uint64_t n;

	if (read(l->timerfd, &n, sizeof(n)) < 0)
		return;
	pool_poke(l->pool);
	DL_FOREACH(l->deferred, nc) {
		if (nc->interrupted || !nc->thread)
			continue;
		if (nc->redirect)
			continue; /* answers its call early and watches its guest itself */
		if (!notify_valid(l, nc->id)) {
			if (l->killable || ++nc->lost_polls >= LOST_POLLS)
				cancel(nc);
		} else if ((nc->defer_flags & BV_DEFER_SIGNALS) && signal_waits(nc)) {
			nc->interrupted = true;
			cancel(nc);
		}
	}
}

void defer_task_gone(struct loop *l, const struct bv_task *task)
{
	struct ncall *nc;

	DL_FOREACH(l->deferred, nc) {
		if (!nc->thread || nc->thread->task != task)
			continue;
		nc->thread = NULL;
		nc->call.task = NULL;
		cancel(nc);
	}
}

void defer_drain(struct loop *l)
{
	struct pollfd p = {.fd = pool_fd(l->pool), .events = POLLIN};
	struct ncall *nc;

	DL_FOREACH(l->deferred, nc)
		cancel(nc);
	while (l->deferred) {
		/* A redirect's worker ends when its killed tracee does; the others at a poke. */
		if (poll(&p, 1, 2) <= 0)
			pool_poke(l->pool);
		defer_complete(l);
		DL_FOREACH(l->deferred, nc)
			cancel(nc);
	}
}
