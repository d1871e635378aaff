/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Copy-up: a lower object becomes an upper one before its first change.  A regular file appears
 * whole or not at all: it is filled without a name (O_TMPFILE) or under a private one and only
 * then put in place.  Reflink where the filesystem can, else copy_file_range with holes kept;
 * what is big is copied by a worker, since nobody else's call may wait for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "origin.h"
#include "quota.h"
#include "watch.h"
#include "whiteout.h"

/* A file being filled. */
struct blank {
	int dir, fd; /* owned */
	char temp[64]; /* private name, or "" for O_TMPFILE */
};

static void blank_fini(struct blank *b)
{
	if (b->temp[0] && b->dir >= 0)
		(void)unlinkat(b->dir, b->temp, 0);
	if (b->fd >= 0)
		close(b->fd);
	if (b->dir >= 0)
		close(b->dir);
	b->fd = b->dir = -1;
}

static int blank_open(struct blank *b)
{
	b->temp[0] = '\0';
	b->fd = openat(b->dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (b->fd >= 0)
		return 0;
	if (errno != EOPNOTSUPP && errno != EISDIR)
		return -errno;
	for (unsigned i = 0;; i++) { /* a filesystem without O_TMPFILE */
		snprintf(b->temp, sizeof(b->temp), WHITEOUT_TEMP_PREFIX "%d.%u", getpid(), i);
		b->fd = openat(b->dir, b->temp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (b->fd >= 0)
			return 0;
		if (errno != EEXIST) {
			b->temp[0] = '\0';
			return -errno;
		}
	}
}

static int blank_place(struct blank *b, const char *name)
{
	char path[FD_PATH_MAX];

	if (b->temp[0]) {
		if (renameat(b->dir, b->temp, b->dir, name) < 0)
			return -errno;
		b->temp[0] = '\0';
		return 0;
	}
	real_fd_path(path, b->fd);
	return linkat(AT_FDCWD, path, b->dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int copy_range(int from, int to, off_t at, off_t end)
{
	while (at < end) {
		off_t in = at, out = at;
		ssize_t n = copy_file_range(from, &in, to, &out, (size_t)(end - at), 0);

		if (n < 0 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS)) {
			char buf[65536];
			size_t want = (size_t)(end - at) < sizeof(buf) ? (size_t)(end - at) : sizeof(buf);

			n = pread(from, buf, want, at);
			if (n > 0)
				n = pwrite(to, buf, (size_t)n, at);
		}
		if (n < 0 && errno == EINTR)
			return -EINTR;
		if (n < 0)
			return -errno;
		if (n == 0)
			break; /* the host truncated it under us: what is there is what we got */
		at += n;
	}
	return 0;
}

int file_copy(int from, int to, off_t size)
{
	off_t at = 0;

	while (at < size) {
		off_t data = lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0) {
			data = at;
			hole = size;
		} else {
			hole = lseek(from, data, SEEK_HOLE);
			if (hole < 0)
				hole = size;
		}
		int r = copy_range(from, to, data, hole < size ? hole : size);
		if (r < 0)
			return r;
		at = hole;
	}
	return ftruncate(to, size) < 0 ? -errno : 0;
}

/* Puts a filled blank at l's place, with the lower's metadata. */
static int settle(struct vfs *v, struct loc *l, struct blank *b, int src, const struct stat *st)
{
	const char *name = strrchr(l->path, '/') + 1;

	upper_copy_meta(src, b->fd, st);
	int r = blank_place(b, name);
	if (r < 0)
		return r;
	origin_note(v, l->path, st);
	r = upper_created(v, l, false);
	if (r == 0 && l->node)
		l->node->copied = true;
	l->probed = false;
	loc_let_go(l);
	if (r == 0)
		watch_copied(v, l);
	return r;
}

static int prepare(struct vfs *v, struct loc *l, struct blank *b, int *src, struct stat *st)
{
	const char *name;

	b->fd = -1;
	b->temp[0] = 0;
	*src = real_open(v, l, V_LOWER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	b->dir = *src < 0 ? -1 : upper_parent_fd(v, l, &name);
	if (*src < 0)
		return *src;
	if (b->dir < 0)
		return b->dir;
	if (fstat(*src, st) < 0)
		return -errno;
	if (!S_ISREG(st->st_mode))
		return -EPERM;
	return blank_open(b);
}

static int copyup_file(struct vfs *v, struct loc *l, unsigned flags)
{
	struct blank b;
	struct stat st;
	bv_autofd int src = -1;
	int r = prepare(v, l, &b, &src, &st);
	uint64_t size = r == 0 && !(flags & COPYUP_NODATA) ? quota_size((uint64_t)st.st_size) : 0;

	if (r == 0)
		r = quota_take(v, size, 1);
	if (r < 0) {
		blank_fini(&b);
		return r;
	}
	if (!(flags & COPYUP_NODATA) && st.st_size > 0 && ioctl(b.fd, FICLONE, src) < 0) {
		if ((uint64_t)st.st_size > v->conf->copyup_inline)
			r = COPYUP_LATER;
		else
			r = file_copy(src, b.fd, st.st_size);
	}
	if (r == 0)
		r = settle(v, l, &b, src, &st);
	if (r != 0)
		quota_give(v, size, 1);
	blank_fini(&b);
	return r;
}

int special_copy(int src, const struct stat *st, int dir, const char *name)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	char text[PATH_MAX];

	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(src, "", text, sizeof(text) - 1);

		if (n < 0)
			return -errno;
		text[n] = '\0';
		if (symlinkat(text, dir, name) < 0)
			return -errno;
	} else if (mknodat(dir, name, st->st_mode & (S_IFMT | 0777), st->st_rdev) < 0) {
		return -errno;
	}
	if (fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 && geteuid() == 0)
		return -errno;
	if (!S_ISLNK(st->st_mode))
		(void)fchmodat(dir, name, st->st_mode & 07777, 0);
	(void)utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

/* Symlinks, FIFOs and sockets: made anew. */
static int copyup_special(struct vfs *v, struct loc *l, const struct stat *st)
{
	const char *name;
	bv_autofd int src = real_open(v, l, V_LOWER, O_PATH | O_NOFOLLOW, 0);

	if (src < 0)
		return src;
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	int r = dir < 0 ? dir : quota_take(v, 0, 1);
	if (r < 0)
		return r;
	r = special_copy(src, st, dir, name);
	if (r < 0) {
		quota_give(v, 0, 1);
		return r;
	}
	l->probed = false;
	loc_let_go(l);
	r = upper_created(v, l, false);
	if (r == 0)
		watch_copied(v, l);
	return r;
}

int copyup(struct vfs *v, struct bv_call *call, struct loc *l, unsigned flags)
{
	struct stat st;
	int r = 0;

	switch (l->view) {
	case V_LOWER:
		break;
	case V_UPPER:
	case V_MERGED:
	case V_RW:
		return 0;
	case V_RO:
		return -EROFS;
	case V_ANON:
		return l->ours ? 0 : -EACCES; /* a host file without a place cannot be copied to one */
	case V_SYNTH:
		return -EPERM;
	default:
		return -ENOENT;
	}
	if (!real_lower_has(v, l, &st))
		return -ENOENT;
	/* Who may do this was decided before; the copy itself is the supervisor's business. */
	v->host->as_creds(NULL);
	watch_quiet(v);
	switch (st.st_mode & S_IFMT) {
	case S_IFDIR:
		r = upper_dir(v, l);
		break;
	case S_IFREG:
		r = copyup_file(v, l, flags);
		break;
	case S_IFLNK:
	case S_IFIFO:
	case S_IFSOCK:
		r = copyup_special(v, l, &st);
		break;
	default:
		r = -EPERM; /* a device: the host's alone */
	}
	watch_heard(v, l->path, IN_ATTRIB | IN_CLOSE_WRITE);
	return r;
}

struct job {
	struct vfs *v;
	bv_handler_fn *handler;
	struct blank blank;
	int src, result;
	struct stat st;
	char path[PATH_MAX];
};

static void job_work(void *arg)
{
	struct job *j = arg;

	j->result = file_copy(j->src, j->blank.fd, j->st.st_size);
}

static void job_settled(struct job *j)
{
	blank_fini(&j->blank);
	if (j->src >= 0)
		close(j->src);
}

static void job_free(struct job *j)
{
	job_settled(j);
	free(j);
}

static enum bv_verdict job_done(struct bv_call *call, void *arg)
{
	struct job *j = arg;
	struct vfs *v = j->v;
	bv_handler_fn *handler = j->handler;
	int r = j->result;

	/* What is not put in place is given back. */
	uint64_t size = quota_size((uint64_t)j->st.st_size);
	bool placed = false;

	v->copies--;
	if (!call) {
		quota_give(v, size, 1);
		job_free(j);
		return BV_PASS;
	}
	watch_quiet(v);
	if (r == 0) {
		struct loc l;

		r = vfs_walk(v, call, AT_FDCWD, j->path, W_NOFOLLOW | W_PROBE, &l);
		if (r == 0) {
			/* Somebody else's copy may have come first: then ours is not needed. */
			if (l.view == V_LOWER && S_ISREG(l.st.st_mode) && l.st.st_ino == j->st.st_ino)
				placed = (r = settle(v, &l, &j->blank, j->src, &j->st)) == 0;
			loc_fini(&l);
		} else {
			r = 0; /* it went away: the handler, run again, will say so */
		}
	}
	if (!placed)
		quota_give(v, size, 1);
	job_settled(j);
	watch_heard(v, j->path, IN_ATTRIB | IN_CLOSE_WRITE);
	free(j);
	return r < 0 ? REPLY(v, call, r) : handler(v, call);
}

enum bv_verdict copyup_defer(struct vfs *v, struct bv_call *call, struct loc *l, bv_handler_fn *handler)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return REPLY(v, call, -ENOMEM);
	v->host->as_creds(NULL);
	j->v = v;
	j->handler = handler;
	memcpy(j->path, l->path, l->len + 1);
	watch_quiet(v);
	int r = prepare(v, l, &j->blank, &j->src, &j->st);
	watch_heard(v, NULL, 0);
	if (r == 0)
		r = quota_take(v, quota_size((uint64_t)j->st.st_size), 1);
	if (r < 0) {
		job_free(j);
		return REPLY(v, call, r);
	}
	v->copies++;
	return v->host->defer(call, 0, job_work, job_done, j);
}
