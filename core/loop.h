/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_LOOP_H
#define CORE_LOOP_H
/* The running sandbox: what loop, notify, defer, host and exec_redirect share. */
#include <stdbool.h>
#include <stdint.h>

#include "bvisor.h"
#include "task.h"
#include "worker.h"

enum answer { ANSWER_NONE, ANSWER_VALUE, ANSWER_FD, ANSWER_SENT };

/* A call from its notification to its answer. */
struct ncall {
	struct bv_call call; /* first: what modules hold is a pointer to this */
	struct loop *loop;
	struct thread *thread; /* NULL once the process is gone */
	uint64_t id;
	int nr;
	enum answer answer;
	int64_t value;
	int fd; /* owned; ANSWER_FD */
	unsigned fd_flags;
	/* While deferred: */
	struct job job;
	enum bv_verdict (*done)(struct bv_call *call, void *arg);
	unsigned defer_flags;
	unsigned shared_polls; /* how often in a row a signal was pending for the process */
	unsigned lost_polls; /* before Linux 5.19: and the guest did not wait any more */
	bool deferred, interrupted;
	bool redirect; /* exec_redirect.c's */
	struct ncall *prev, *next;
};

/* Filters with a listener of their own at the same time: the first process and those that joined. */
#define LISTENERS_MAX 64u

/* A module's descriptor that the loop looks at. */
struct watched {
	struct bv_self *module; /* NULL: free */
	int fd;
	void (*fn)(void *self);
};
#define WATCHED_MAX 16u

struct loop {
	struct sandbox *box;
	/* The first process's, and those of who joined later (join.c); -1: free.  Workers look through
	 * them, so none moves. */
	_Atomic int listener[LISTENERS_MAX];
	unsigned n_listeners; /* all behind these are free; the loop's alone */
	int control, epfd, sigfd, timerfd;
	struct join *joins;
	struct watched watched[WATCHED_MAX];
	bool killable; /* WAIT_KILLABLE_RECV is in force */
	struct pool *pool;
	struct task_table tasks;
	struct ncall *spare; /* the record the next call uses */
	struct ncall *deferred; /* list */
	const char **name; /* syscall names by number, filled as met */
	int n_names;
	struct bv_creds base_creds; /* everybody's, until creds_vary */
	bool creds_vary;
	bool timer_on;
	unsigned redirects; /* in progress: they own the wait status of their tracee */
	uint64_t scratch_used; /* exec_scratch's slots, a bit each */
	unsigned char scratch_cookie[16];
	pid_t first;
	int first_status, first_stops; /* how often it was stopped */
	bool first_stopped, first_done, no_children, die, wait_all;
};

/* A child of ours was waited for, by the loop or by a redirect. */
void loop_reaped(struct loop *l, pid_t pid, int status);
/* Watches fd for input: one of who joins (join.c). */
int loop_watch_join(struct loop *l, int fd);
/* As the host's on_readable(). */
int loop_watch_module(struct loop *l, struct bv_self *module, int fd, void (*fn)(void *self));
/* A process is dead: its calls are cancelled, its entry goes. */
void loop_task_end(struct loop *l, pid_t pid);

/* ---- defer.c ---- */
enum bv_verdict defer_call(struct ncall *nc, unsigned flags, void (*work)(void *),
                           enum bv_verdict (*done)(struct bv_call *, void *), void *arg);
/* Finished jobs: their done, their answers. */
void defer_complete(struct loop *l);
/* Every DEFER_TICK_MS while calls are deferred: deaths, signals, late pokes. */
void defer_tick(struct loop *l);
/* Before Linux 5.19 a signal takes a guest out of its wait, and it makes the call again: whether
 * this is such a call, whose first making is still at work and takes the new notification over. */
bool defer_adopt(struct loop *l, const struct thread *thread, int nr, const uint64_t *arg,
                 uint64_t id);
/* The process is gone: cancels its calls and cuts them off its thread records. */
void defer_task_gone(struct loop *l, const struct bv_task *task);
/* Cancels everything and waits until each done has run. */
void defer_drain(struct loop *l);
#define DEFER_TICK_MS 20

#endif
