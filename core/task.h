/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TASK_H
#define CORE_TASK_H
/*
 * Guest processes and their threads, as met by their trapped calls.  Loop thread only.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uthash.h>

#include <bvisor/task.h>

struct ncall;
struct redirect;
struct sandbox;

/* A thread that made a trapped call.  A leader's entry lives as long as its task. */
struct thread {
	pid_t tid;
	struct bv_task *task;
	int proc_fd;               /* O_PATH of /proc/TID; of a leader also -1: not asked for yet, or given back for want of descriptors */
	int pidfd;                 /* of a thread that is no leader (PIDFD_THREAD); -1 */
	unsigned busy;             /* deferred calls that borrow proc_fd */
	uint64_t used;             /* tick of the last call, for giving back the oldest */
	struct bv_creds *creds;    /* as last read; NULL: read again */
	struct redirect *redirect; /* in progress: its second notification is expected */
	struct ncall *replay;      /* before Linux 5.19: a finished call whose answer got lost */
	struct thread *prev, *next;
	UT_hash_handle hh;
};
struct bv_task {
	pid_t pid;
	int pidfd;      /* -1: given back for want of descriptors; then this tells whether it lives: */
	uint64_t start; /* start time, proc(5) */
	struct sandbox *box;
	struct thread *threads;
	pid_t watch_exec; /* the thread whose exec may have succeeded: compare image; 0: none */
	bool exec_seen;  /* an exec did succeed: the hooks are due */
	unsigned char image[16];
	UT_hash_handle hh;
	void *slot[]; /* one per module */
};
struct task_table {
	struct sandbox *box;
	struct bv_task *by_pid;
	struct thread *by_tid, *last; /* last: the most recent find */
	unsigned n_threads, n_tasks, sweep_at;
	unsigned fd_cap; /* descriptors the table may hold */
	unsigned n_fds;
	uint64_t tick;
	int epfd;          /* where pidfds are watched */
	uint64_t epoll_tag; /* or'ed with the pid into epoll_event.data */
	bool hooks_new, hooks_exec;
};

void task_table_init(struct task_table *t, struct sandbox *box, int epfd, uint64_t epoll_tag);
void task_table_fini(struct task_table *t);
/* The entry of the thread that made notification id, new if need be: 0, -ESRCH when it is gone,
 * -ENOMEM, -EMFILE.  Runs the modules' task_new. */
int task_thread(struct task_table *t, pid_t tid, uint64_t id, struct thread **out);
/* The entry of a process, or NULL. */
struct bv_task *task_find(struct task_table *t, pid_t pid);
/* Whether this number is a living guest known here. */
bool task_known(struct task_table *t, pid_t pid);
/* The process is dead: runs task_exit, forgets it and its threads. */
void task_gone(struct task_table *t, pid_t pid);
/* Before answering a call that may exec; and at the next call: did it?  Runs task_exec. */
void task_exec_begin(struct task_table *t, struct thread *thread);
void task_exec_check(struct task_table *t, struct thread *thread);
/* Forgets what an exec or an identity change may have altered. */
void task_forget_creds(struct bv_task *task);
/* Gives back descriptors of the threads used least lately: whether any was. */
bool task_shed(struct task_table *t);
/* O_PATH of its /proc directory, opened if need be; stays the table's.  -ESRCH, -EMFILE. */
int task_proc_fd(struct task_table *t, struct thread *thread);
/* A descriptor for pidfd_getfd(2) that means this very thread where the kernel can. */
int task_pidfd(struct task_table *t, struct thread *thread);
/* Whether pid descends from `root` (which itself does not count). */
bool task_descends(struct task_table *t /* may be NULL */, pid_t pid, pid_t root);

#endif
