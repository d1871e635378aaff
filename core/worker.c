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
#include <unistd.h>
#include <utlist.h>

#include "creds.h"
#include "worker.h"

#define STACK_SIZE (512 * 1024)

struct worker {
	struct pool *pool;
	struct job *job;
	pthread_t thread;
};
struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	struct job *queue, *running, *finished;
	unsigned max, n, idle, queued;
	int event;
	bool stop;
	struct worker worker[];
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
	DL_APPEND(p->finished, job);
	/* An eventfd counter cannot be full with a few jobs in flight: this never blocks or fails. */
	if (write(p->event, &one, sizeof(one)) < 0)
		return;
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct pool *p = w->pool;
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
	while (!p->stop || p->queue) {
		struct job *job = p->queue;

		if (!job) {
			p->idle++;
			pthread_cond_wait(&p->wake, &p->lock);
			p->idle--;
			continue;
		}
		DL_DELETE(p->queue, job);
		p->queued--;
		job->state = JOB_RUNNING;
		job->worker = w;
		w->job = job;
		DL_APPEND(p->running, job);
		pthread_mutex_unlock(&p->lock);
		job->work(job->arg);
		creds_restore();
		if (own_fs)
			umask(mask);
		pthread_mutex_lock(&p->lock);
		DL_DELETE(p->running, job);
		w->job = NULL;
		finish(p, job);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

int pool_new(struct pool **out, unsigned max)
{
	struct sigaction sa = {.sa_handler = on_poke}; /* no SA_RESTART: it is there to interrupt */
	struct pool *p;

	if (max < 1)
		max = 1;
	p = calloc(1, sizeof(*p) + max * sizeof(p->worker[0]));
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
	p->max = max;
	*out = p;
	return 0;
}

int pool_fd(const struct pool *p)
{
	return p->event;
}

/* Starts one more thread with every signal blocked, so that none is handled on it. */
static int grow(struct pool *p)
{
	struct worker *w = &p->worker[p->n];
	pthread_attr_t attr;
	sigset_t all, old;
	int r;

	w->pool = p;
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(&w->thread, &attr, worker_main, w);
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
	/* Woken threads count as idle until they run, hence the comparison with the queue. */
	if (p->queued >= p->idle && p->n < p->max)
		r = grow(p);
	if (p->n == 0) {
		pthread_mutex_unlock(&p->lock);
		return r;
	}
	job->state = JOB_QUEUED;
	job->cancelled = false;
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
	const struct timespec pause = {.tv_nsec = 2000000};
	struct job *job, *next;
	bool busy;

	if (!p)
		return;
	do {
		pthread_mutex_lock(&p->lock);
		p->stop = true;
		DL_FOREACH_SAFE(p->queue, job, next) {
			DL_DELETE(p->queue, job);
			p->queued--;
			job->cancelled = true;
			finish(p, job);
		}
		DL_FOREACH(p->running, job) {
			job->cancelled = true;
			poke(job);
		}
		busy = p->running != NULL;
		pthread_cond_broadcast(&p->wake);
		pthread_mutex_unlock(&p->lock);
		if (busy)
			nanosleep(&pause, NULL);
	} while (busy);
	for (unsigned i = 0; i < p->n; i++)
		pthread_join(p->worker[i].thread, NULL);
	pthread_cond_destroy(&p->wake);
	pthread_mutex_destroy(&p->lock);
	close(p->event);
	free(p);
}
