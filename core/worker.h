/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_WORKER_H
#define CORE_WORKER_H
/*
 * Threads for work that may block.  Everything but the work itself is called on the loop thread.
 */
#include <stdbool.h>

struct worker;
struct pool;

enum job_state { JOB_IDLE, JOB_QUEUED, JOB_RUNNING, JOB_DONE };
struct job {
	void (*work)(void *arg);
	void *arg;
	enum job_state state; /* guarded by the pool's lock */
	bool cancelled;       /* likewise */
	bool ran;             /* likewise; false: cancelled before its turn */
	bool waits;           /* may take for ever: does not count against the pool's size */
	struct worker *worker;
	struct job *prev, *next;
};

/* A pool that grows to max threads as needed, plus one for each job that `waits`: a guest that opens
 * many FIFOs must not keep the one from running that would open their other ends.  None is
 * started before the first job. */
int pool_new(struct pool **out, unsigned max);
/* Readable when pool_take has something to give. */
int pool_fd(const struct pool *p);
/* Queues a job (borrowed until pool_take returned it).  -errno when no thread could be had. */
int pool_submit(struct pool *p, struct job *job);
/* Puts a job that pool_submit refused among the finished ones. */
void pool_give_back(struct pool *p, struct job *job);
/* Asks for an early end: a queued job is finished without having run, a running one's blocking
 * system call is interrupted.  Either way pool_take gives it back. */
void pool_cancel(struct pool *p, struct job *job);
/* Interrupts cancelled jobs that still run; call it every few milliseconds. */
void pool_poke(struct pool *p);
/* The next finished job, or NULL; its cancelled flag is final. */
struct job *pool_take(struct pool *p);
/* Cancels all, waits for the threads.  Jobs not yet taken are forgotten: take them before. */
void pool_free(struct pool *p);

#endif
