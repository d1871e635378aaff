/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small pool of worker threads.  A thread has its own umask and working directory
 * (CLONE_FS is undone) and may take on a guest's credentials; both are reset after each job.
 *
 * Cancelling interrupts a blocking system call with a real-time signal.  One signal can arrive
 * just before the call begins, so it is sent again until the job is over.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utlist.h>

#include "creds.h"
#include "worker.h"

#define STACK_SIZE (512 * 1024)
#define POKE_NS 2000000L
#define HARD_MAX 2048 /* threads, whatever the guests do */

struct worker {
	pthread_t thread;
};
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake, ended;
	struct job *queue, *running, *finished;
	unsigned max, n, idle, queued, waiting; /* waiting: queued or running jobs that may wait */
	int event;
	bool stop;
};

static int poke_signal(void)
{
	return SIGRTMIN + 3;
}

static void on_poke(int sig)
{
	(void)sig;
}

/* The calling thread's job is over: hand it back.  With the lock held. */
static void finish(struct pool *p, struct job *job)
{
	uint64_t one = 1;

	job->state = JOB_DONE;
	job->worker = NULL;
	p->waiting -= job->waits;
	DL_APPEND(p->finished, job);
	/* An eventfd counter cannot be full with a few jobs in flight: this never blocks or fails. */
	if (write(p->event, &one, sizeof(one)) < 0)
		return;
}

static unsigned limit(const struct pool *p)
{
	return p->max + p->waiting < HARD_MAX ? p->max + p->waiting : HARD_MAX;
}

/* Runs the oldest job.  With the lock held, which is released meanwhile. */
static void run_one(struct pool *p, struct worker *self)
{
	struct job *job = p->queue;

	DL_DELETE(p->queue, job);
	p->queued--;
	job->state = JOB_RUNNING;
	job->ran = true;
	job->worker = self;
	DL_APPEND(p->running, job);
	pthread_mutex_unlock(&p->lock);
	job->work(job->arg);
	creds_restore();
	pthread_mutex_lock(&p->lock);
	DL_DELETE(p->running, job);
	finish(p, job);
}

static void *worker_main(void *arg)
{
	struct worker self = {pthread_self()};
	struct pool *p = arg;
	sigset_t set;
	mode_t mask;

	sigfillset(&set);
	sigdelset(&set, poke_signal());
	pthread_sigmask(SIG_SETMASK, &set, NULL);
	/* Without its own fs struct a worker's umask would change everybody's. */
	bool own_fs = unshare(CLONE_FS) == 0;
	mask = umask(0);
	umask(mask);
	pthread_mutex_lock(&p->lock);
	while (p->queue || (!p->stop && p->n <= limit(p))) {
		if (p->queue) {
			run_one(p, &self);
			if (own_fs)
				umask(mask);
			continue;
		}
		p->idle++;
		pthread_cond_wait(&p->wake, &p->lock);
		p->idle--;
	}
	p->n--;
	pthread_cond_signal(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_new(struct pool **out, unsigned max)
{
	struct sigaction sa = {.sa_handler = on_poke}; /* no SA_RESTART: it is there to interrupt */
	struct pool *p;

	if (max < 1)
		max = 1;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->event < 0 || sigaction(poke_signal(), &sa, NULL) < 0) {
		int err = errno;

		if (p->event >= 0)
			close(p->event);
		free(p);
		return -err;
	}
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	pthread_cond_init(&p->ended, NULL);
	p->max = max;
	*out = p;
	return 0;
}

int pool_fd(const struct pool *p)
{
	return p->event;
}

/* Starts one more thread, with every signal blocked so that none is handled on it. */
static int grow(struct pool *p)
{
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;
	int r;

	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&thread, &attr, worker_main, p);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (r == 0)
		p->n++;
	return -r;
}

int pool_submit(struct pool *p, struct job *job)
{
	int r = 0;

	pthread_mutex_lock(&p->lock);
	p->waiting += job->waits;
	/* Woken threads count as idle until they run, hence the comparison with the queue. */
	if (p->queued >= p->idle && p->n < limit(p))
		r = grow(p);
	if (p->n == 0) {
		p->waiting -= job->waits;
		job->waits = false;
		pthread_mutex_unlock(&p->lock);
		return r;
	}
	job->state = JOB_QUEUED;
	job->cancelled = job->ran = false;
	job->worker = NULL;
	DL_APPEND(p->queue, job);
	p->queued++;
	pthread_cond_signal(&p->wake);
	pthread_mutex_unlock(&p->lock);
	return 0;
}

void pool_give_back(struct pool *p, struct job *job)
{
	pthread_mutex_lock(&p->lock);
	finish(p, job);
	pthread_mutex_unlock(&p->lock);
}

static void poke(struct job *job)
{
	if (job->worker)
		pthread_kill(job->worker->thread, poke_signal());
}

void pool_cancel(struct pool *p, struct job *job)
{
	pthread_mutex_lock(&p->lock);
	if (job->state == JOB_QUEUED) {
		DL_DELETE(p->queue, job);
		p->queued--;
		job->cancelled = true;
		finish(p, job);
	} else if (job->state == JOB_RUNNING) {
		job->cancelled = true;
		poke(job);
	}
	pthread_mutex_unlock(&p->lock);
}

void pool_poke(struct pool *p)
{
	struct job *job;

	pthread_mutex_lock(&p->lock);
	DL_FOREACH(p->running, job)
		if (job->cancelled)
			poke(job);
	pthread_mutex_unlock(&p->lock);
}

struct job *pool_take(struct pool *p)
{
	struct job *job;
	uint64_t n;

	pthread_mutex_lock(&p->lock);
	job = p->finished;
	if (job)
		DL_DELETE(p->finished, job);
	else if (read(p->event, &n, sizeof(n)) < 0)
		n = 0; /* EAGAIN: nothing was signalled */
	pthread_mutex_unlock(&p->lock);
	return job;
}

void pool_free(struct pool *p)
{
	struct job *job, *next;

	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	DL_FOREACH_SAFE(p->queue, job, next) {
		DL_DELETE(p->queue, job);
		p->queued--;
		job->cancelled = true;
		finish(p, job);
	}
	while (p->n > 0) {
		struct timespec soon;

		DL_FOREACH(p->running, job) {
			job->cancelled = true;
			poke(job);
		}
		pthread_cond_broadcast(&p->wake);
		clock_gettime(CLOCK_REALTIME, &soon);
		soon.tv_nsec += POKE_NS;
		if (soon.tv_nsec >= 1000000000L) {
			soon.tv_nsec -= 1000000000L;
			soon.tv_sec++;
		}
		pthread_cond_timedwait(&p->ended, &p->lock, &soon);
	}
	pthread_mutex_unlock(&p->lock);
	pthread_cond_destroy(&p->wake);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->lock);
	close(p->event);
	free(p);
}
