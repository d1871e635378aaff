/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_HOST_H
#define BVISOR_HOST_H
/*
 * What the host offers a module.  Functions return >= 0 or -errno and never set errno.  Unless a
 * comment says otherwise: call on the loop thread only, does not block, since 1.0.
 */
#include <bvisor/abi.h>
#include <bvisor/call.h>
#include <bvisor/log.h>
#include <bvisor/task.h>

/*
 * An exec or chdir that the host kernel must run with another path (design: transient ptrace).
 * All pointers are copied before redirect() returns.
 */
struct bv_redirect {
	struct bv_head head;
	const char *path;  /* absolute host path the kernel is to use */
	const char *shown; /* exec: what AT_EXECFN shall read, at most as long as path; NULL: leave */
	/* exec of a #! script: these replace argv[0]; the guest's argv[1..] follow.  n_argv 0: leave. */
	const char *const *argv;
	size_t n_argv;
	uint64_t dev, ino; /* exec: /proc/PID/exe must be this file at the exec event, else SIGKILL */
};

#define BV_DEFER_SIGNALS 1u /* a deliverable signal of the guest cancels the call (ERESTARTSYS) */
/*
 * With BV_DEFER_SIGNALS, for work that others see, as of a FIFO's two ends: a signal may come when
 * it has succeeded already.  `done` gets the call then too and answers it as usual; -EINTR becomes
 * ERESTARTSYS.  Not to be deferred again.
 */
#define BV_DEFER_KEEP 2u
/* For work that waits for something outside, as a server: it takes no worker from work that computes. */
#define BV_DEFER_WAITS 4u

struct bv_host {
	struct bv_head head;

	/*
	 * Guest memory.  Every read re-checks that the notification is still valid before bytes
	 * are returned.  Copy once, then decide on the copy.
	 */
	/* All n bytes, or -EFAULT; -ESRCH when the guest is gone. */
	int (*mem_read)(struct bv_call *call, void *to, uint64_t from, size_t n);
	int (*mem_write)(struct bv_call *call, uint64_t to, const void *from, size_t n);
	/* A C string with its NUL: its length; -EFAULT; -ENAMETOOLONG when no NUL within size. */
	ssize_t (*mem_read_str)(struct bv_call *call, char *to, uint64_t from, size_t size);
	/* Gathers what a guest iovec array describes: bytes copied (<= cap), -EFAULT, -EINVAL. */
	ssize_t (*mem_gather)(struct bv_call *call, void *to, size_t cap, uint64_t iov, uint64_t n_iov);

	/* Answers.  r < 0 is -errno.  reply_fd takes fd (closed on every outcome). */
	enum bv_verdict (*reply)(struct bv_call *call, int64_t r);
	/* Installs fd in the guest and answers with its number; flags: O_CLOEXEC or 0. */
	enum bv_verdict (*reply_fd)(struct bv_call *call, int fd, unsigned flags);
	/*
	 * Answers later.  `work` runs on a worker thread (its own fs umask and credentials, reset
	 * after it) and sees only arg; blocking system calls in it fail with EINTR when the call is
	 * cancelled and it must then return soon.  `done` runs on the loop thread exactly once
	 * afterwards: with the call, to give the verdict (BV_REPLIED, BV_CONTINUE or BV_DEFERRED
	 * again), or with call == NULL when the guest died or a signal interrupted it (just free
	 * arg; its result is ignored).  Returns BV_DEFERRED.
	 */
	enum bv_verdict (*defer)(struct bv_call *call, unsigned flags, void (*work)(void *arg),
	                         enum bv_verdict (*done)(struct bv_call *call, void *arg), void *arg);
	/* Re-runs an execve/execveat/chdir with another path.  Returns BV_DEFERRED. */
	enum bv_verdict (*redirect)(struct bv_call *call, const struct bv_redirect *r);

	/* Descriptors of the calling guest. */
	/* A CLOEXEC duplicate of the guest's descriptor, owned by the caller; -EBADF. */
	int (*get_fd)(struct bv_call *call, int guest_fd);
	/* Installs a copy of fd (borrowed) at number `at` (replacing), or lowest free when at is -1. */
	int (*add_fd)(struct bv_call *call, int fd, int at, unsigned flags);

	/* Tasks. */
	int32_t (*task_pid)(const struct bv_task *task); /* thread-group id */
	void **(*slot)(struct bv_task *task, struct bv_self *self); /* module's per-process pointer */
	/* 1 when pid (a process or thread id) belongs to this sandbox, 0 when not. */
	int (*is_guest)(struct bv_self *self, int32_t pid);
	int32_t (*first_pid)(struct bv_self *self); /* the sandbox's first process; 0 before it starts */
	int (*creds)(struct bv_call *call, struct bv_creds *out);
	int (*umask)(struct bv_call *call); /* the guest's umask, 0..0777; -ESRCH */
	/*
	 * Acts as the calling guest (fsuid, fsgid, groups, and capabilities through them) on this
	 * thread until the handler returns; free when the guest has the supervisor's own identity.
	 * -errno: still the supervisor, and the call must fail.
	 */
	int (*as_guest)(struct bv_call *call) __attribute__((warn_unused_result));
	/* The same from a worker, with creds copied before; undone when work returns.  NULL: back to
	 * the supervisor's own identity, also on the loop.  Any thread. */
	int (*as_creds)(const struct bv_creds *creds);

	/* Routes; only during init.  -EINVAL for a name no architecture knows, unless BV_MAYBE. */
	int (*route)(struct bv_self *self, const struct bv_handler *row);
	int (*rule)(struct bv_self *self, const struct bv_rule *row);
	int (*deny)(struct bv_self *self, const char *syscall, int err);

	/* Services.  provide: the ops outlive the module; service: NULL when nobody provides it. */
	int (*provide)(struct bv_self *self, const char *service, const struct bv_head *ops);
	const struct bv_head *(*service)(struct bv_self *self, const char *service);

	/* One line of text without newline.  Any thread. */
	void (*log)(struct bv_self *self, int level, const char *text);
	/* Sets the text of a failed init: "FILE:LINE: key: why"; then return -errno from init. */
	void (*fail)(struct bv_self *self, const char *text);
	/* Absolute paths that the kernel itself may read and execute (Landlock); during init. */
	int (*landlock_read)(struct bv_self *self, const char *path);
	/* Where an option was set, for messages: "bvisor.ini:12" or "default"; never NULL. */
	const char *(*option_where)(struct bv_self *self, const char *key);
	/* What stands behind this sandbox on this kernel: BV_FEATURE_* bits.  During init too. */
	unsigned (*features)(struct bv_self *self);

	/*
	 * An O_PATH descriptor of the caller's /proc/<tid>, for readlinkat(fd, "cwd") and the like.
	 * Borrowed: it is the host's, and good until the call is answered.  Most calls never need it,
	 * so it is opened when first asked for.  -ESRCH: the caller is gone; -EMFILE.  Loop thread.
	 */
	int (*proc_fd)(struct bv_call *call);

	/*
	 * Absolute paths that the supervisor itself must be able to write at or below, for this module;
	 * during init.  From the guest's start on it can write nothing else (Landlock), whatever a
	 * handler gets wrong.  what: BV_WRITE_*.
	 */
	int (*landlock_write)(struct bv_self *self, const char *path, unsigned what);

	/*
	 * Tells whoever audits the sandbox that policy refused the call (BV_REPORT_DENIED), or that it met a
	 * limit (BV_REPORT_LIMIT), and with which errno.  what: the path, address or the like that it was
	 * about, for a person to read, or NULL.  Only told: the answer is still to be given.  Nothing when
	 * nobody listens (BV_FEATURE_AUDIT); records that come too fast are counted only.  Loop thread.
	 */
	void (*report)(struct bv_self *self, struct bv_call *call, unsigned kind, int err,
	               const char *what);

	/*
	 * Calls fn with the module's self, on the loop, whenever fd (poll(2)) can be read, and before
	 * calls that were made after that; fn reads it, without blocking.  fn NULL: no more, to be said
	 * before fd is closed.  fd is borrowed.  From the guest's start on; one module has few.  -EAGAIN:
	 * not started; -ENOSPC: too many.  Loop thread.
	 */
	int (*on_readable)(struct bv_self *self, int fd, void (*fn)(void *self));
};

#define BV_REPORT_DENIED 1u
#define BV_REPORT_LIMIT 2u

#define BV_WRITE_ALL 1u   /* everything: files, names, directories */
#define BV_WRITE_FILES 2u /* the bytes of what is there */
#define BV_WRITE_DIRS 4u  /* make and remove directories */

#define BV_FEATURE_AUDIT 2u /* somebody listens to report */
#define BV_FEATURE_LANDLOCK 1u /* the guest will be Landlocked: kernel-run lookups stay within landlock_read */

#endif
