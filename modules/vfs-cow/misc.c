/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by path that fit nowhere else: truncate, statfs. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "fetch.h"
#include "quota.h"

/* ---- truncate ---- */

struct cut {
	struct vfs *v;
	struct bv_creds creds;
	off_t length;
	int object, result;
};

static void cut_work(void *arg)
{
	struct cut *c = arg;
	char path[FD_PATH_MAX];

	c->result = c->v->host->as_creds(&c->creds);
	if (c->result < 0)
		return;
	real_fd_path(path, c->object);
	c->result = truncate(path, c->length) < 0 ? -errno : 0;
}

static enum bv_verdict cut_done(struct bv_call *call, void *arg)
{
	struct cut *c = arg;
	struct vfs *v = c->v;
	int r = c->result;

	quota_freed(v);
	close(c->object);
	free(c);
	return call ? REPLY(v, call, r) : BV_PASS;
}

/* By a worker, who waits for whoever holds a lease on it (fcntl(2), F_SETLEASE). */
static enum bv_verdict cut_later(struct vfs *v, struct bv_call *call, struct loc *l, off_t length)
{
	struct cut *c = calloc(1, sizeof(*c));
	int r = c ? v->host->creds(call, &c->creds) : -ENOMEM;

	if (r == 0)
		r = c->object = loc_open_path(v, l);
	if (r < 0) {
		free(c);
		return REPLY(v, call, r);
	}
	c->v = v;
	c->length = length;
	return v->host->defer(call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, cut_work, cut_done, c);
}

/* -EWOULDBLOCK: there is a lease on it.  Without one nobody shall see it opened (inotify(7)). */
static int cut_now(const char *path, off_t length, bool leases)
{
	if (!leases)
		return truncate(path, length) < 0 ? -errno : 0;
	bv_autofd int fd = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

	return fd < 0 || ftruncate(fd, length) < 0 ? -errno : 0;
}

/* Exactly the object that was found and checked, as the guest; a path could be another by now. */
static int set_length(struct vfs *v, struct bv_call *call, struct loc *l, off_t length)
{
	char path[FD_PATH_MAX];

	if (l->view != V_UPPER && l->view != V_RW && !(l->view == V_ANON && l->ours))
		return -EACCES; /* nobody's but the host's: hidden, replaced, or a module's */
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	struct stat st;
	if (fstat(fd, &st) < 0)
		return -errno;
	uint64_t old = quota_counted(&st), new = quota_size((uint64_t)length);
	bool counts = l->view != V_RW && S_ISREG(st.st_mode);
	int r = counts && new > old ? quota_take(v, new - old, 0) : 0;
	if (r == 0)
		r = v->host->as_guest(call);
	if (r == 0)
		r = cut_now(path, length, v->leases || l->view != V_UPPER);
	v->host->as_creds(NULL);
	if (counts && (new < old || r < 0))
		quota_freed(v);
	return r;
}

BV_SYSCALL(truncate)
{
	struct vfs *v = self;
	struct loc l;
	off_t length = (off_t)call->arg[1];

	if (length < 0)
		return REPLY(v, call, -EINVAL);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], W_PROBE, &l);
	if (r < 0)
		return REPLY(v, call, r);
	if (S_ISDIR(l.st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(l.st.st_mode))
		r = -EINVAL;
	else if (l.view == V_SYNTH)
		r = -EACCES;
	else
		r = perm_access(v, call, &l, W_OK);
	if (r == 0 && l.view == V_LOWER) {
		r = l.fd_writable ? -EACCES : copyup(v, call, &l, length == 0 ? COPYUP_NODATA : 0);
		/* From here on the copy is meant, not the descriptor that led to the host's file. */
		if (r == 0 && l.fd >= 0) {
			close(l.fd);
			l.fd = -1;
		}
	}
	enum bv_verdict verdict;
	bool fetch = r == 0 && fetch_needed(v, &l);
	if (r == 0 && !fetch)
		r = set_length(v, call, &l, length);
	if (fetch)
		verdict = fetch_defer(v, call, &l, sys_truncate);
	else if (r == COPYUP_LATER)
		verdict = copyup_defer(v, call, &l, sys_truncate);
	else if (r == -EWOULDBLOCK)
		verdict = cut_later(v, call, &l, length);
	else
		verdict = REPLY(v, call, r);
	loc_fini(&l);
	return verdict;
}

/* A module's tree passes for the file system that the host has at its place. */
static int statfs_fd(struct vfs *v, struct loc *l)
{
	if (l->view == V_SYNTH && l->fd < 0 && l->syn && l->syn->kind != BV_VFS_HOST)
		return l->mount->fd >= 0 ? fcntl(l->mount->fd, F_DUPFD_CLOEXEC, 3) : synth_dir_fd(v, l, O_PATH);
	return loc_open_path(v, l);
}

static int statfs_of(struct vfs *v, struct loc *l, struct statfs *st)
{
	bv_autofd int fd = statfs_fd(v, l);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, st) < 0)
		return -errno;
	/* A module's file is a memfd of ours. */
	if (l->view == V_SYNTH && st->f_type == TMPFS_MAGIC && l->mount->fd >= 0 &&
	    fstatfs(l->mount->fd, st) < 0)
		return -errno;
	/* What may be written is decided here and not by the host's mount flags. */
	if (l->view == V_RO)
		st->f_flags |= ST_RDONLY;
	else if (l->view == V_LOWER || l->view == V_MERGED)
		st->f_flags &= ~ST_RDONLY;
	/* What may still be written goes to the store, wherever the place is. */
	struct statfs store;
	if ((l->view == V_LOWER || l->view == V_MERGED ||
	     (v->quota && (l->view == V_UPPER || (l->view == V_ANON && l->ours)))) &&
	    fstatfs(v->upper.root_fd, &store) == 0)
		quota_statfs(v, &store, st);
	return 0;
}

BV_SYSCALL(fstatfs)
{
	struct vfs *v = self;
	struct statfs st;
	struct loc l;

	if (quota_unsure(v, call))
		return quota_measure(v, call);
	int r = vfs_loc_fd(v, call, (int)call->arg[0], &l);
	if (r < 0)
		return REPLY(v, call, r);
	r = statfs_of(v, &l, &st);
	loc_fini(&l);
	if (r == 0)
		r = v->host->mem_write(call, call->arg[1], &st, sizeof(st));
	return REPLY(v, call, r);
}

BV_SYSCALL(statfs)
{
	struct vfs *v = self;
	struct statfs st;
	struct loc l;

	if (quota_unsure(v, call))
		return quota_measure(v, call);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], W_PROBE, &l);
	if (r < 0)
		return REPLY(v, call, r);
	r = statfs_of(v, &l, &st);
	loc_fini(&l);
	if (r == 0)
		r = v->host->mem_write(call, call->arg[1], &st, sizeof(st));
	return REPLY(v, call, r);
}

const struct bv_handler misc_handlers[] = {
	BV_ON(truncate, BV_SERVE),
	BV_ON(statfs, BV_SERVE),
	BV_ON(fstatfs, BV_SERVE),
	{0},
};
