/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of functions given to modules: thin glue over the files that do the work.  What each
 * promises is said in include/bvisor/host.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "bvisor.h"
#include "creds.h"
#include "exec_redirect.h"
#include "guest_mem.h"
#include "kernel.h"
#include "landlock.h"
#include "loop.h"
#include "notify.h"

/* The owner of routes that core itself needs. */
const struct bv_module core_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "core",
	.version = "builtin",
};

static struct ncall *ncall_of(struct bv_call *call)
{
	return (struct ncall *)call; /* its first member */
}

/* What was read is the caller's memory only if the call still waits: a thread id is reused, a
 * notification id never. */
static int still(struct bv_call *call, int r)
{
	if (r == -ESRCH || r == -EPERM)
		return -ESRCH;
	return notify_valid(ncall_of(call)->loop, ncall_of(call)->id) ? r : -ESRCH;
}

static int mem_read(struct bv_call *call, void *to, uint64_t from, size_t n)
{
	return still(call, guest_mem_read(call->tid, to, from, n));
}

static int mem_write(struct bv_call *call, uint64_t to, const void *from, size_t n)
{
	int r = still(call, 0);

	if (r == 0)
		r = guest_mem_write(call->tid, to, from, n);
	return r == -EPERM ? -ESRCH : r;
}

static ssize_t mem_read_str(struct bv_call *call, char *to, uint64_t from, size_t size)
{
	ssize_t n = guest_mem_read_str(call->tid, to, from, size);
	int r = still(call, n < 0 ? (int)n : 0);

	return r < 0 ? r : n;
}

static ssize_t mem_gather(struct bv_call *call, void *to, size_t cap, uint64_t iov, uint64_t n_iov)
{
	ssize_t n = guest_mem_gather(call->tid, to, cap, iov, n_iov);
	int r = still(call, n < 0 ? (int)n : 0);

	return r < 0 ? r : n;
}

/* A later answer of the same handler replaces the earlier one. */
static void drop_answer(struct ncall *nc)
{
	if (nc->answer == ANSWER_FD && nc->fd >= 0)
		close(nc->fd);
	nc->fd = -1;
}

static enum bv_verdict reply(struct bv_call *call, int64_t r)
{
	struct ncall *nc = ncall_of(call);

	drop_answer(nc);
	nc->answer = ANSWER_VALUE;
	nc->value = r;
	return BV_REPLIED;
}

static enum bv_verdict reply_fd(struct bv_call *call, int fd, unsigned flags)
{
	struct ncall *nc = ncall_of(call);

	if (fd < 0)
		return reply(call, fd == -1 ? -EBADF : fd);
	drop_answer(nc);
	nc->answer = ANSWER_FD;
	nc->fd = fd;
	nc->fd_flags = flags & O_CLOEXEC;
	return BV_REPLIED;
}

static enum bv_verdict defer(struct bv_call *call, unsigned flags, void (*work)(void *arg),
                             enum bv_verdict (*done)(struct bv_call *call, void *arg), void *arg)
{
	return defer_call(ncall_of(call), flags, work, done, arg);
}

static enum bv_verdict redirect(struct bv_call *call, const struct bv_redirect *r)
{
	return exec_redirect_start(ncall_of(call), r);
}

static int get_fd(struct bv_call *call, int guest_fd)
{
	struct ncall *nc = ncall_of(call);
	int fd;

	if (guest_fd < 0)
		return -EBADF;
	do
		fd = (int)syscall(SYS_pidfd_getfd, task_pidfd(&nc->loop->tasks, nc->thread), guest_fd, 0);
	while (fd < 0 && (errno == EMFILE || errno == ENFILE) && task_shed(&nc->loop->tasks));
	return fd < 0 ? -errno : fd;
}

static int add_fd(struct bv_call *call, int fd, int at, unsigned flags)
{
	struct ncall *nc = ncall_of(call);
	struct seccomp_notif_addfd a = {
		.id = nc->id,
		.flags = at >= 0 ? SECCOMP_ADDFD_FLAG_SETFD : 0,
		.srcfd = (uint32_t)fd,
		.newfd = at >= 0 ? (uint32_t)at : 0,
		.newfd_flags = flags & O_CLOEXEC,
	};
	int r;

	do
		r = notify_ioctl(nc->loop, SECCOMP_IOCTL_NOTIF_ADDFD, &a);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return r;
}

static int32_t task_pid(const struct bv_task *task)
{
	return task->pid;
}

static void **slot(struct bv_task *task, struct bv_self *self)
{
	return &task->slot[self->index];
}

static int is_guest(struct bv_self *self, int32_t pid)
{
	struct loop *l = self->box->loop;

	if (pid <= 0)
		return 0;
	if (pid == self->box->first_pid || (l && task_known(&l->tasks, pid)))
		return 1;
	return task_descends(l ? &l->tasks : NULL, pid, getpid());
}

static int32_t first_pid(struct bv_self *self)
{
	return self->box->first_pid;
}

static int creds_cached(struct ncall *nc, const struct bv_creds **out)
{
	struct thread *th = nc->thread;

	if (!nc->loop->creds_vary) {
		*out = &nc->loop->base_creds;
		return 0;
	}
	if (!th->creds) {
		struct bv_creds *c = malloc(sizeof(*c));
		int r = c ? task_proc_fd(&nc->loop->tasks, th) : -ENOMEM;

		if (r >= 0)
			r = creds_read(r, c);
		if (r < 0) {
			free(c);
			return r;
		}
		th->creds = c;
	}
	*out = th->creds;
	return 0;
}

static int creds(struct bv_call *call, struct bv_creds *out)
{
	const struct bv_creds *c;
	int r = creds_cached(ncall_of(call), &c);

	if (r == 0)
		*out = *c;
	return r;
}

static int proc_fd(struct bv_call *call)
{
	struct ncall *nc = ncall_of(call);

	return task_proc_fd(&nc->loop->tasks, nc->thread);
}

static int guest_umask(struct bv_call *call)
{
	int fd = proc_fd(call);

	return fd < 0 ? fd : creds_umask(fd);
}

/* Only root's guests can have become someone else, and only after a call that says so. */
static int as_guest(struct bv_call *call)
{
	const struct bv_creds *c;
	int r;

	if (!ncall_of(call)->loop->creds_vary)
		return 0;
	r = creds_cached(ncall_of(call), &c);
	return r < 0 ? r : creds_assume(c);
}

static int as_creds(const struct bv_creds *c)
{
	if (!c) {
		creds_restore();
		return 0;
	}
	/* An unprivileged supervisor's guests are itself; it could not be anyone else either. */
	return geteuid() == 0 ? creds_assume(c) : 0;
}

static int route(struct bv_self *self, const struct bv_handler *row)
{
	return self->box->frozen ? -EBUSY : router_add(self->box->router, self, row);
}

static int rule(struct bv_self *self, const struct bv_rule *row)
{
	return self->box->frozen ? -EBUSY : router_rule(self->box->router, self, row);
}

static int deny(struct bv_self *self, const char *syscall_name, int err)
{
	return self->box->frozen ? -EBUSY : router_deny(self->box->router, self, syscall_name, err);
}

static int provide(struct bv_self *self, const char *service, const struct bv_head *ops)
{
	struct sandbox *box = self->box;

	if (!ops || ops->magic != BV_MAGIC_SERVICE || ops->size < sizeof(*ops))
		return -EINVAL;
	if (loader_service(box, service))
		return -EEXIST;
	void *grown = realloc(box->service, (box->n_services + 1) * sizeof(box->service[0]));
	if (!grown)
		return -ENOMEM;
	box->service = grown;
	box->service[box->n_services++] = (struct service){service, ops, self};
	return 0;
}

static const struct bv_head *service(struct bv_self *self, const char *name)
{
	return loader_service(self->box, name);
}

static void log_text(struct bv_self *self, int level, const char *text)
{
	log_line(level, self->desc->name, "%s", text);
}

static void fail(struct bv_self *self, const char *text)
{
	snprintf(self->fail, sizeof(self->fail), "%s", text);
}

static int landlock_write(struct bv_self *self, const char *path, unsigned what)
{
	struct sandbox *box = self->box;

	if (!path || path[0] != '/' || !what || (what & ~(BV_WRITE_ALL | BV_WRITE_FILES | BV_WRITE_DIRS)))
		return -EINVAL;
	if (box->frozen)
		return -EBUSY;
	struct own_write *grown = reallocarray(box->own_write, box->n_own_writes + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	box->own_write = grown;
	char *own = strdup(path);
	if (!own)
		return -ENOMEM;
	grown[box->n_own_writes++] = (struct own_write){own, what};
	return 0;
}

static int landlock_read(struct bv_self *self, const char *path)
{
	struct sandbox *box = self->box;

	if (!path || path[0] != '/')
		return -EINVAL;
	if (box->frozen)
		return -EBUSY;
	void *grown = realloc(box->landlock_path, (box->n_landlock + 1) * sizeof(box->landlock_path[0]));
	if (!grown)
		return -ENOMEM;
	box->landlock_path = grown;
	char *own = strdup(path);
	if (!own)
		return -ENOMEM;
	box->landlock_path[box->n_landlock++] = own;
	return 0;
}

static const char *where(struct bv_self *self, const char *key)
{
	const char *w = self->options ? option_where(self->options, key) : NULL;

	return w ? w : "default";
}

static unsigned features(struct bv_self *self)
{
	return (landlock_abi() > 0 ? BV_FEATURE_LANDLOCK : 0) |
	       (self->box->audit.fd >= 0 ? BV_FEATURE_AUDIT : 0);
}

static void report(struct bv_self *self, struct bv_call *call, unsigned kind, int err,
                   const char *what)
{
	audit_report(&self->box->audit, self->desc->name, call, kind, err, what);
}

static int on_readable(struct bv_self *self, int fd, void (*fn)(void *self))
{
	return self->box->loop ? loop_watch_module(self->box->loop, self, fd, fn) : -EAGAIN;
}

const struct bv_host host_table = {
	.head = BV_HEAD(HOST, struct bv_host),
	.mem_read = mem_read,
	.mem_write = mem_write,
	.mem_read_str = mem_read_str,
	.mem_gather = mem_gather,
	.reply = reply,
	.reply_fd = reply_fd,
	.defer = defer,
	.redirect = redirect,
	.get_fd = get_fd,
	.add_fd = add_fd,
	.task_pid = task_pid,
	.slot = slot,
	.is_guest = is_guest,
	.first_pid = first_pid,
	.creds = creds,
	.umask = guest_umask,
	.as_guest = as_guest,
	.as_creds = as_creds,
	.route = route,
	.rule = rule,
	.deny = deny,
	.provide = provide,
	.service = service,
	.log = log_text,
	.fail = fail,
	.landlock_read = landlock_read,
	.option_where = where,
	.features = features,
	.proc_fd = proc_fd,
	.landlock_write = landlock_write,
	.report = report,
	.on_readable = on_readable,
};
