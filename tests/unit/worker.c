/* SPDX-License-Identifier: Apache-2.0 */
/* core/worker.c: every job comes back once, cancelled or not, and blocking calls are interrupted. */
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Waits for the next finished job as the loop does. */
static struct job *next(struct pool *p)
{
	struct pollfd fd = {.fd = pool_fd(p), .events = POLLIN};
	struct job *job;

	while ((job = pool_take(p)) == NULL)
		if (poll(&fd, 1, 20) == 0)
			pool_poke(p);
	return job;
}

static void count(void *arg)
{
	atomic_fetch_add((_Atomic int *)arg, 1);
}

Test(worker, each_job_once)
{
	struct job job[200] = {{0}};
	_Atomic int n = 0;
	struct pool *p;

	cr_assert_eq(pool_new(&p, 4), 0);
	for (int i = 0; i < 200; i++) {
		job[i] = (struct job){.work = count, .arg = (void *)&n};
		cr_assert_eq(pool_submit(p, &job[i]), 0);
	}
	for (int i = 0; i < 200; i++) {
		struct job *done = next(p);

		cr_assert_eq(done->state, JOB_DONE);
		cr_assert_not(done->cancelled);
		done->state = JOB_IDLE; /* seen */
	}
	cr_assert_null(pool_take(p));
	cr_assert_eq(n, 200);
	pool_free(p);
}

struct sleeper {
	_Atomic bool begun;
	int result;
};

static void sleep_long(void *arg)
{
	struct sleeper *s = arg;
	struct timespec t = {.tv_sec = 30};

	s->begun = true;
	s->result = nanosleep(&t, NULL) < 0 ? -errno : 0;
}

Test(worker, cancel_interrupts_a_running_job)
{
	struct sleeper s = {.result = 1};
	struct job job = {.work = sleep_long, .arg = &s};
	uint64_t start = now_ms();
	struct pool *p;

	cr_assert_eq(pool_new(&p, 1), 0);
	cr_assert_eq(pool_submit(p, &job), 0);
	while (!s.begun)
		usleep(100);
	pool_cancel(p, &job);
	cr_assert_eq(next(p), &job);
	cr_assert(job.cancelled);
	cr_assert_eq(s.result, -EINTR);
	cr_assert_lt(now_ms() - start, 5000);
	pool_free(p);
}

Test(worker, cancel_of_a_waiting_job_does_not_run_it)
{
	struct sleeper s = {0};
	_Atomic int n = 0;
	struct job busy = {.work = sleep_long, .arg = &s}, waiting = {.work = count, .arg = (void *)&n};
	struct pool *p;

	cr_assert_eq(pool_new(&p, 1), 0);
	cr_assert_eq(pool_submit(p, &busy), 0);
	while (!s.begun)
		usleep(100);
	cr_assert_eq(pool_submit(p, &waiting), 0);
	pool_cancel(p, &waiting);
	cr_assert_eq(next(p), &waiting);
	cr_assert(waiting.cancelled);
	cr_assert_eq(n, 0);
	pool_free(p); /* interrupts the other */
	cr_assert_eq(s.result, -EINTR);
}

Test(worker, jobs_that_wait_do_not_use_the_pool_up)
{
	struct sleeper s[40] = {{0}};
	struct job waiting[40] = {{0}}, job;
	_Atomic int n = 0;
	struct pool *p;

	cr_assert_eq(pool_new(&p, 1), 0);
	for (int i = 0; i < 40; i++) {
		waiting[i] = (struct job){.work = sleep_long, .arg = &s[i], .waits = true};
		cr_assert_eq(pool_submit(p, &waiting[i]), 0);
	}
	job = (struct job){.work = count, .arg = (void *)&n};
	cr_assert_eq(pool_submit(p, &job), 0);
	cr_assert_eq(next(p), &job);
	for (int i = 0; i < 40; i++)
		while (!s[i].begun)
			usleep(100);
	for (int i = 0; i < 40; i++)
		pool_cancel(p, &waiting[i]);
	for (int i = 0; i < 40; i++)
		cr_assert(next(p)->cancelled);
	pool_free(p);
}

static void change_umask(void *arg)
{
	*(int *)arg = (int)umask(0123);
}

Test(worker, umask_is_the_workers_own_and_reset)
{
	int seen[2] = {-1, -1};
	struct job job = {.work = change_umask, .arg = &seen[0]};
	struct pool *p;

	umask(022);
	cr_assert_eq(pool_new(&p, 1), 0);
	for (int i = 0; i < 2; i++) {
		job.arg = &seen[i];
		cr_assert_eq(pool_submit(p, &job), 0);
		cr_assert_eq(next(p), &job);
	}
	cr_assert_eq(seen[0], 022);
	cr_assert_eq(seen[1], 022);
	cr_assert_eq(umask(022), 022, "ours is untouched");
	pool_free(p);
}
