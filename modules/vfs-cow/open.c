/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The open family.  The guest gets real descriptors: of the lower for reading, of the upper after
 * a copy-up for writing.  Devices only from /dev's allowlist; FIFOs of the host never.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "device.h"
#include "fetch.h"
#include "quota.h"
#include "watch.h"
#include "who.h"

/* VALID_OPEN_FLAGS of the kernel; open(2) ignores others, openat2(2) refuses them.  O_LARGEFILE is
 * always in force on 64-bit kernels. */
#define KNOWN_FLAGS                                                                              \
	(O_ACCMODE | O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_APPEND | O_NONBLOCK | O_SYNC | O_DSYNC |  \
	 FASYNC | O_DIRECT | O_DIRECTORY | O_NOFOLLOW | O_NOATIME |    \
	 O_CLOEXEC | O_PATH | O_TMPFILE)
#define TMPFILE_BIT (O_TMPFILE & ~O_DIRECTORY)

struct request {
	struct vfs *v;
	struct bv_call *call;
	bv_handler_fn *handler;
	int flags;
	mode_t mode;
	unsigned walk; /* RESOLVE_* as W_* */
	bool in_registers; /* the flags are: no second read of them */
};

static bool wants_write(int flags)
{
	return (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
}

static enum bv_verdict give(const struct request *q, int fd)
{
	if (fd < 0)
		return REPLY(q->v, q->call, fd);
	watch_look(q->v);
	return q->v->host->reply_fd(q->call, fd, (unsigned)q->flags & O_CLOEXEC);
}

/* ---- opens that may block: FIFOs, by a worker ---- */

struct slow_open {
	struct request q;
	struct bv_creds creds;
	int object, flags, result;
};

static void slow_work(void *arg)
{
	struct slow_open *s = arg;
	char path[FD_PATH_MAX];

	s->result = s->q.v->host->as_creds(&s->creds);
	if (s->result < 0)
		return;
	real_fd_path(path, s->object);
	s->result = open(path, s->flags | O_CLOEXEC);
	if (s->result < 0)
		s->result = -errno;
}

static enum bv_verdict slow_done(struct bv_call *call, void *arg)
{
	struct slow_open *s = arg;
	struct request q = s->q;
	int fd = s->result;

	close(s->object);
	free(s);
	if (!call) {
		if (fd >= 0)
			close(fd);
		return BV_PASS;
	}
	q.call = call;
	return give(&q, fd);
}

/* Takes object, an O_PATH descriptor of a FIFO or pipe. */
static enum bv_verdict open_slowly(const struct request *q, int object)
{
	struct slow_open *s = calloc(1, sizeof(*s));
	int r = s ? q->v->host->creds(q->call, &s->creds) : -ENOMEM;

	if (r < 0) {
		close(object);
		free(s);
		return REPLY(q->v, q->call, r);
	}
	s->q = *q;
	s->object = object;
	s->flags = q->flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW | O_DIRECTORY);
	/* Whoever opened the other end has been let in by this open: it must not be taken back. */
	return q->v->host->defer(q->call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, slow_work, slow_done, s);
}

/*
 * Somebody may hold a lease on a regular file (fcntl(2), F_SETLEASE): an open that would wait until that
 * is given up is for a worker.  O_NONBLOCK, which else means nothing there, tells.
 */
static int awake(int fd, int flags)
{
	if (fd >= 0 && !(flags & O_NONBLOCK))
		(void)fcntl(fd, F_SETFL, flags & (O_APPEND | O_DIRECT | O_NOATIME));
	return fd;
}

static int open_now(const char *path, int flags)
{
	int fd = open(path, flags | O_NONBLOCK);

	return fd < 0 ? -errno : awake(fd, flags);
}

static bool leased(const struct request *q, int fd)
{
	return fd == -EWOULDBLOCK && !(q->flags & O_NONBLOCK);
}

/* Opens exactly the object that fd (O_PATH, ours) names. */
static int reopen(const struct request *q, int fd)
{
	char path[FD_PATH_MAX];

	real_fd_path(path, fd);
	int r = q->v->host->as_guest(q->call);
	return r < 0 ? r
	             : open_now(path, (q->flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NOCTTY |
	                                      O_CLOEXEC);
}

static enum bv_verdict reopen_any(const struct request *q, struct loc *l, int fd)
{
	if (S_ISFIFO(l->st.st_mode) && !(q->flags & O_NONBLOCK)) {
		int object = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		return object < 0 ? REPLY(q->v, q->call, -errno) : open_slowly(q, object);
	}
	int got = reopen(q, fd);
	if (leased(q, got)) {
		int object = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		return object < 0 ? REPLY(q->v, q->call, -errno) : open_slowly(q, object);
	}
	return give(q, got);
}

/* ---- O_PATH ---- */

/*
 * A listener cannot inject an O_PATH descriptor (seccomp_unotify(2): EBADF... ADDFD refuses
 * FMODE_PATH), so the guest gets the strongest thing that can be injected and stays usable for the
 * same calls: a read-only descriptor of the directory or file.
 */
static enum bv_verdict open_path(const struct request *q, struct loc *l)
{
	struct request as = *q;

	/*
	 * There is no such thing for a symlink.  The errno is what the C library's emulation of
	 * fchmodat(AT_SYMLINK_NOFOLLOW) hands on, and what tar and its like know as "not for links".
	 */
	if (S_ISLNK(l->st.st_mode))
		return REPLY(q->v, q->call, -EOPNOTSUPP);
	if (S_ISSOCK(l->st.st_mode))
		return REPLY(q->v, q->call, -ENXIO);
	if (fetch_needed(q->v, l)) /* what it gets can be read */
		return fetch_defer(q->v, q->call, l, q->handler);
	as.flags = (q->flags & (O_DIRECTORY | O_CLOEXEC)) | O_RDONLY | O_NONBLOCK | O_NOCTTY;
	if (l->view == V_SYNTH)
		return give(&as, synth_open(q->v, q->call, l, as.flags));
	bv_autofd int fd = loc_open_path(q->v, l);
	if (fd < 0)
		return REPLY(q->v, q->call, fd);
	return give(&as, reopen(&as, fd));
}

/* ---- what exists ---- */

/* Through /proc/self/fd/N and its like: the object behind a descriptor that some guest holds. */
static enum bv_verdict open_magic(const struct request *q, struct loc *l)
{
	bool write = wants_write(q->flags);

	if (S_ISDIR(l->st.st_mode) && write)
		return REPLY(q->v, q->call, -EISDIR);
	/*
	 * What was opened for writing may be opened so again: nothing is gained by it, and a
	 * redirected stdout stays the file the user meant.
	 */
	if (write && l->view == V_ANON && !l->ours && !l->fd_writable)
		return REPLY(q->v, q->call, -EACCES);
	if (write && l->view == V_UPPER)
		who_note(q->v, l->path);
	return reopen_any(q, l, l->fd);
}

static enum bv_verdict open_existing(const struct request *q, struct loc *l)
{
	struct vfs *v = q->v;
	bool write = wants_write(q->flags);
	int r;

	if ((q->flags & O_CREAT) && (q->flags & O_EXCL))
		return REPLY(v, q->call, -EEXIST);
	if ((q->flags & O_DIRECTORY) && !S_ISDIR(l->st.st_mode))
		return REPLY(v, q->call, -ENOTDIR);
	if (S_ISLNK(l->st.st_mode) && !(q->flags & O_PATH))
		return REPLY(v, q->call, -ELOOP); /* O_NOFOLLOW */
	if (q->flags & O_PATH)
		return open_path(q, l);
	if (S_ISDIR(l->st.st_mode) && (write || (q->flags & O_CREAT)))
		return REPLY(v, q->call, -EISDIR);
	/* A read-only descriptor of what may not be written here is no way to write it. */
	if (l->view == V_ANON)
		return open_magic(q, l);
	if (l->magic && (!write || (l->view != V_LOWER && l->view != V_RO) || l->fd_writable))
		return open_magic(q, l);
	if (l->view == V_SYNTH)
		return give(q, synth_open(v, q->call, l, q->flags & ~(O_CREAT | O_EXCL)));
	if (S_ISCHR(l->st.st_mode) || S_ISBLK(l->st.st_mode)) {
		int fd = device_open(v, q->call, l, q->flags);

		if (fd == -EACCES)
			vfs_refused(v, q->call, EACCES, l);
		return give(q, fd);
	}
	if (S_ISFIFO(l->st.st_mode) && l->view == V_LOWER) {
		/* A FIFO of the host would reach its processes: the sandbox gets its own. */
		r = copyup(v, q->call, l, 0);
		if (r < 0)
			return REPLY(v, q->call, r);
		r = loc_stat(v, q->call, l, &l->st);
		if (r < 0)
			return REPLY(v, q->call, r);
	}
	if (S_ISFIFO(l->st.st_mode)) {
		bv_autofd int fd = loc_open_path(v, l);

		return fd < 0 ? REPLY(v, q->call, fd) : reopen_any(q, l, fd);
	}
	if (write && l->view == V_RO)
		return REPLY(v, q->call, -EROFS);
	if (fetch_needed(v, l))
		return fetch_defer(v, q->call, l, q->handler);
	if (write && l->view == V_LOWER) {
		r = perm_access(v, q->call, l, W_OK | ((q->flags & O_ACCMODE) == O_RDWR ? R_OK : 0));
		if (r < 0)
			return REPLY(v, q->call, r);
		r = copyup(v, q->call, l, q->flags & O_TRUNC ? COPYUP_NODATA : 0);
		if (r == COPYUP_LATER)
			return copyup_defer(v, q->call, l, q->handler);
		if (r < 0)
			return REPLY(v, q->call, r);
	}
	int flags = (q->flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NOCTTY, fd;
	r = v->host->as_guest(q->call);
	if (r < 0)
		return REPLY(v, q->call, r);
	if (l->path_fd < 0 && l->view == V_LOWER && l->probed)
		l->path_fd = loc_open_path(v, l);
	if (l->path_fd >= 0) {
		char path[FD_PATH_MAX];

		/* The descriptor that resolution left behind: no second walk, and no second answer. */
		real_fd_path(path, l->path_fd);
		fd = open_now(path, flags | O_CLOEXEC);
	} else {
		fd = awake(real_open(v, l, l->view, flags | O_NONBLOCK, 0), flags);
	}
	if (leased(q, fd)) {
		int object = loc_open_path(v, l);

		return object < 0 ? REPLY(v, q->call, object) : open_slowly(q, object);
	}
	if (fd >= 0 && write && l->view == V_UPPER) {
		if (q->flags & O_TRUNC)
			quota_freed(v);
		v->host->as_creds(NULL);
		who_note(v, l->path);
	}
	return give(q, fd);
}

/* ---- what does not ---- */

static enum bv_verdict create(const struct request *q, struct loc *l)
{
	struct vfs *v = q->v;
	const char *name;
	int flags = q->flags & ~(O_DIRECTORY | O_NOFOLLOW);

	if (l->must_dir)
		return REPLY(v, q->call, -EISDIR);
	if (l->view == V_SYNTH)
		return REPLY(v, q->call, -ENOENT);
	int r = perm_create(v, q->call, l);
	if (r < 0)
		return REPLY(v, q->call, r);
	int mask = v->host->umask(q->call);
	if (mask < 0)
		return REPLY(v, q->call, mask);
	v->host->as_creds(NULL);
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	if (dir < 0)
		return REPLY(v, q->call, dir);
	bool rw = l->dir_view == V_RW;
	r = quota_take(v, 0, !rw);
	/* In an rw mount the host's own checks decide, as the guest; the upper is ours. */
	if (r == 0 && rw)
		r = v->host->as_guest(q->call);
	if (r < 0)
		return REPLY(v, q->call, r);
	if (!rw)
		flags |= O_EXCL;
	mode_t old = umask((mode_t)mask);
	bv_autofd int fd = real_openat(dir, name, flags | O_CREAT | O_NOFOLLOW, q->mode);
	umask(old);
	if (fd < 0) {
		quota_give(v, 0, !rw);
		return v->host->reply(q->call, fd);
	}
	if (!rw) {
		r = upper_own(v, q->call, dir, name);
		if (r == 0)
			r = upper_created(v, l, false);
		if (r < 0) {
			(void)unlinkat(dir, name, 0);
			quota_give(v, 0, 1);
			return REPLY(v, q->call, r);
		}
	}
	/* A guest without a free number has made nothing: the kernel looks for one first. */
	int n = v->host->add_fd(q->call, fd, -1, (unsigned)q->flags & O_CLOEXEC);
	if (n == -EMFILE && !rw) {
		quota_give(v, 0, 1);
		(void)unlinkat(dir, name, 0);
		(void)upper_removed(v, l);
	}
	if (n >= 0)
		watch_made(v, l, false);
	return REPLY(v, q->call, n);
}

static enum bv_verdict open_tmpfile(const struct request *q, struct loc *l)
{
	struct vfs *v = q->v;
	int r;

	if (!S_ISDIR(l->st.st_mode))
		return REPLY(v, q->call, -ENOTDIR);
	if (l->view == V_SYNTH)
		return REPLY(v, q->call, -EOPNOTSUPP);
	r = perm_access(v, q->call, l, W_OK | X_OK);
	int mask = r < 0 ? r : v->host->umask(q->call);
	if (mask < 0)
		return REPLY(v, q->call, mask);
	v->host->as_creds(NULL);
	r = upper_dir(v, l);
	bool counts = l->view != V_RW;
	if (r == 0)
		r = quota_take(v, 0, counts);
	if (r < 0)
		return REPLY(v, q->call, r);
	mode_t old = umask((mode_t)mask);
	int fd = real_open(v, l, l->view == V_MERGED ? V_UPPER : l->view, q->flags & ~O_NOFOLLOW, q->mode);
	umask(old);
	if (fd >= 0 && geteuid() == 0) {
		struct bv_creds c;

		if (v->host->creds(q->call, &c) == 0 && (c.fsuid || c.fsgid))
			(void)!fchown(fd, c.fsuid, c.fsgid);
	}
	if (fd < 0)
		quota_give(v, 0, counts);
	else if (counts && quota_nameless(v, fd) < 0) {
		close(fd);
		fd = -ENOSPC;
	}
	return give(q, fd);
}

/*
 * May the kernel open it itself?  A descriptor that we inject costs two wake-ups more, and they go
 * from CPU to CPU.
 */
static bool kernel_opens(const struct request *q, const struct loc *l)
{
	const struct vfs *v = q->v;

	return v->landlock && v->conf->kernel_opens && q->in_registers && l->probed && l->native && !l->magic &&
	       !wants_write(q->flags) && !(q->flags & (O_CREAT | O_PATH | TMPFILE_BIT)) &&
	       (S_ISREG(l->st.st_mode) || S_ISDIR(l->st.st_mode)) && wall_allows(v, l->path);
}

static enum bv_verdict do_open(struct request *q, int dirfd, uint64_t ptr)
{
	struct vfs *v = q->v;
	struct loc l;
	unsigned w = q->walk;

	if (q->flags & O_PATH)
		q->flags &= O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	if ((q->flags & TMPFILE_BIT) &&
	    (!(q->flags & O_DIRECTORY) || (q->flags & O_ACCMODE) == O_RDONLY || (q->flags & O_CREAT)))
		return REPLY(v, q->call, -EINVAL);
	/* O_CREAT|O_DIRECTORY is EINVAL since Linux 6.4 (43b450632676). */
	if ((q->flags & (O_CREAT | O_DIRECTORY)) == (O_CREAT | O_DIRECTORY))
		return REPLY(v, q->call, -EINVAL);
	if ((q->flags & O_NOFOLLOW) || ((q->flags & O_CREAT) && (q->flags & O_EXCL)))
		w |= W_NOFOLLOW;
	w |= q->flags & O_CREAT ? W_CREATE | W_NO_DIR : W_PROBE;
	int r = vfs_walk_guest(v, q->call, dirfd, ptr, w, &l);
	if (r < 0)
		return REPLY(v, q->call, r);
	enum bv_verdict verdict;
	if (kernel_opens(q, &l))
		/*
		 * The path is read again.  Whatever stands there then, the flags are registers, so it is
		 * opened for reading only and created never, and Landlock lets no path outside the read
		 * policy be opened: a lie gets the guest the host's state of something it may see.
		 */
		verdict = BV_CONTINUE;
	else if (q->flags & TMPFILE_BIT)
		verdict = open_tmpfile(q, &l);
	else if (l.probed)
		verdict = open_existing(q, &l);
	else
		verdict = create(q, &l);
	loc_fini(&l);
	return verdict;
}

BV_SYSCALL(openat)
{
	struct request q = {self, call, sys_openat, (int)call->arg[2] & KNOWN_FLAGS, (mode_t)call->arg[3] & 07777, 0, true};

	return do_open(&q, (int)call->arg[0], call->arg[1]);
}

BV_SYSCALL(open)
{
	struct request q = {self, call, sys_open, (int)call->arg[1] & KNOWN_FLAGS, (mode_t)call->arg[2] & 07777, 0, true};

	return do_open(&q, AT_FDCWD, call->arg[0]);
}

BV_SYSCALL(creat)
{
	struct request q = {self,    call, sys_creat, O_CREAT | O_WRONLY | O_TRUNC, (mode_t)call->arg[1] & 07777, 0, true};

	return do_open(&q, AT_FDCWD, call->arg[0]);
}

static int check_how(const struct open_how *how, unsigned *walk)
{
	static const struct {
		uint64_t bit;
		unsigned walk;
	} map[] = {
	    {RESOLVE_NO_SYMLINKS, W_NO_SYMLINKS | W_NO_MAGIC},
	    {RESOLVE_NO_MAGICLINKS, W_NO_MAGIC},
	    {RESOLVE_BENEATH, W_BENEATH},
	    {RESOLVE_IN_ROOT, W_IN_ROOT},
	    {RESOLVE_NO_XDEV, W_NO_XDEV},
	};
	uint64_t left = how->resolve & ~(uint64_t)RESOLVE_CACHED;

	*walk = 0;
	for (size_t i = 0; i < BV_ROWS_OF(map); i++)
		if (left & map[i].bit) {
			*walk |= map[i].walk;
			left &= ~map[i].bit;
		}
	if (left || (how->flags & ~(uint64_t)KNOWN_FLAGS))
		return -EINVAL;
	if ((how->resolve & RESOLVE_BENEATH) && (how->resolve & RESOLVE_IN_ROOT))
		return -EINVAL;
	if ((how->flags & (O_CREAT | TMPFILE_BIT)) ? how->mode & ~07777ull : how->mode != 0)
		return -EINVAL;
	if ((how->flags & O_PATH) && (how->flags & ~(uint64_t)(O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)))
		return -EINVAL;
	/* openat2(2): a lookup that cannot be done from caches alone may always say EAGAIN. */
	return how->resolve & RESOLVE_CACHED ? -EAGAIN : 0;
}

BV_SYSCALL(openat2)
{
	struct vfs *v = self;
	struct open_how how;
	unsigned char tail[4096];
	uint64_t size = call->arg[3];
	int r;

	if (size < sizeof(how))
		return REPLY(v, call, -EINVAL);
	if (size > sizeof(tail))
		return REPLY(v, call, -E2BIG);
	r = v->host->mem_read(call, tail, call->arg[2], size);
	if (r < 0)
		return REPLY(v, call, r);
	memcpy(&how, tail, sizeof(how));
	for (size_t i = sizeof(how); i < size; i++)
		if (tail[i])
			return REPLY(v, call, -E2BIG);
	struct request q = {self, call, sys_openat2, 0, 0, 0, false};
	r = check_how(&how, &q.walk);
	if (r < 0)
		return REPLY(v, call, r);
	q.flags = (int)how.flags;
	q.mode = (mode_t)how.mode;
	return do_open(&q, (int)call->arg[0], call->arg[1]);
}

const struct bv_handler open_handlers[] = {
    BV_ON(openat, BV_SERVE),
    BV_ON(open, BV_SERVE),
    BV_ON(creat, BV_SERVE),
    BV_ON(openat2, BV_SERVE),
    {0},
};
