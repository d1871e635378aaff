/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stat and access families.  A path's answer and that of a fresh descriptor agree, because
 * both come from the descriptor that represents the object.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "vfs.h"

/*
 * stat by descriptor needs no path unless a merged directory's metadata differs.  CONTINUE is out
 * of the question: the kernel would read the (pointed-to) empty path again, and another thread
 * may have made it the path of a hidden file by then.
 */
static int stat_fd(struct vfs *v, struct bv_call *call, int guest_fd, struct stat *st)
{
	struct loc l;
	bv_autofd int fd = v->host->get_fd(call, guest_fd);

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	if (S_ISREG(st->st_mode))
		identity_apply(v, fd, st);
	if (!S_ISDIR(st->st_mode) || v->root->state != N_MERGED)
		return 0;
	int r = vfs_loc_fd(v, call, guest_fd, &l);
	if (r < 0)
		return r;
	if (l.view == V_MERGED)
		r = loc_stat(v, call, &l, st);
	else if (l.stale)
		*st = l.st; /* renamed inside: the copy, as a path says it */
	loc_fini(&l);
	return r;
}

static int stat_path(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned w, struct stat *st)
{
	char path[PATH_MAX];
	struct loc l;
	ssize_t n;

	/* Linux 6.11: a NULL path with AT_EMPTY_PATH means the empty one. */
	if (!ptr && (w & W_EMPTY))
		path[0] = '\0';
	else if ((n = v->host->mem_read_str(call, path, ptr, sizeof(path))) < 0)
		return (int)n;
	if (!*path && (w & W_EMPTY) && dirfd != AT_FDCWD)
		return stat_fd(v, call, dirfd, st);
	int r = vfs_walk(v, call, dirfd, path, w | W_PROBE, &l);
	if (r < 0)
		return r;
	r = loc_stat(v, call, &l, st);
	if (r == 0 && l.view == V_UPPER)
		identity_apply(v, l.path_fd, st);
	loc_fini(&l);
	return r;
}

static enum bv_verdict answer_stat(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned w, uint64_t to)
{
	struct stat st;
	int r = stat_path(v, call, dirfd, ptr, w, &st);

	/* struct stat is the kernel's own layout on both architectures (asm/stat.h). */
	if (r == 0)
		r = v->host->mem_write(call, to, &st, sizeof(st));
	return REPLY(v, call, r);
}

BV_SYSCALL(newfstatat)
{
	struct vfs *v = self;
	int flags = (int)call->arg[3];

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000 /* AT_STATX_SYNC_TYPE */))
		return REPLY(v, call, -EINVAL);
	return answer_stat(v, call, (int)call->arg[0], call->arg[1],
	                   (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? W_EMPTY : 0),
	                   call->arg[2]);
}

BV_SYSCALL(stat)
{
	return answer_stat(self, call, AT_FDCWD, call->arg[0], 0, call->arg[1]);
}

BV_SYSCALL(lstat)
{
	return answer_stat(self, call, AT_FDCWD, call->arg[0], W_NOFOLLOW, call->arg[1]);
}

static struct statx_timestamp stamp(struct timespec t)
{
	return (struct statx_timestamp){.tv_sec = t.tv_sec, .tv_nsec = (uint32_t)t.tv_nsec};
}

/* What the guest shall see of st wins over the real object's statx. */
static void overlay_statx(struct statx *x, const struct stat *st)
{
	x->stx_mode = (uint16_t)st->st_mode;
	x->stx_uid = st->st_uid;
	x->stx_gid = st->st_gid;
	x->stx_nlink = (uint32_t)st->st_nlink;
	x->stx_ino = st->st_ino;
	x->stx_size = (uint64_t)st->st_size;
	x->stx_blocks = (uint64_t)st->st_blocks;
	x->stx_blksize = (uint32_t)st->st_blksize;
	x->stx_atime = stamp(st->st_atim);
	x->stx_mtime = stamp(st->st_mtim);
	x->stx_ctime = stamp(st->st_ctim);
	x->stx_dev_major = major(st->st_dev);
	x->stx_dev_minor = minor(st->st_dev);
	x->stx_rdev_major = major(st->st_rdev);
	x->stx_rdev_minor = minor(st->st_rdev);
}

static int statx_of(struct vfs *v, struct bv_call *call, struct loc *l, int flags, unsigned mask, struct statx *x)
{
	struct stat st;
	int r = loc_stat(v, call, l, &st);

	if (r < 0)
		return r;
	memset(x, 0, sizeof(*x));
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | (flags & 0x6000), mask, x) < 0) {
		x->stx_mask = STATX_BASIC_STATS;
		overlay_statx(x, &st);
	} else if (l->view == V_UPPER && v->identities) {
		identity_apply(v, fd, &st);
		overlay_statx(x, &st);
	} else if (l->view == V_MERGED || l->view == V_SYNTH) {
		overlay_statx(x, &st);
	} else if (l->view == V_LOWER) {
		x->stx_nlink = (uint32_t)st.st_nlink; /* instead.c */
	}
	return 0;
}

BV_SYSCALL(statx)
{
	struct vfs *v = self;
	int dirfd = (int)call->arg[0], flags = (int)call->arg[2];
	unsigned mask = (unsigned)call->arg[3];
	char path[PATH_MAX];
	struct statx x;
	struct loc l;
	ssize_t n = 0;

	if ((mask & STATX__RESERVED) || (flags & 0x6000) == 0x6000 ||
	    (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | 0x6000)))
		return REPLY(v, call, -EINVAL);
	if (!call->arg[1] && (flags & AT_EMPTY_PATH))
		path[0] = '\0';
	else
		n = v->host->mem_read_str(call, path, call->arg[1], sizeof(path));
	if (n < 0)
		return REPLY(v, call, n);
	int r = vfs_walk(v, call, dirfd, path,
	                 W_PROBE | (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) |
	                     (flags & AT_EMPTY_PATH ? W_EMPTY : 0), &l);
	if (r == 0) {
		r = statx_of(v, call, &l, flags, mask, &x);
		loc_fini(&l);
	}
	if (r == 0)
		r = v->host->mem_write(call, call->arg[4], &x, sizeof(x));
	return REPLY(v, call, r);
}

/* ---- access ---- */

static enum bv_verdict do_access(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, int mode, int flags)
{
	struct loc l;

	if ((mode & ~(R_OK | W_OK | X_OK)) || (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		return REPLY(v, call, -EINVAL);
	int r = vfs_walk_guest(v, call, dirfd, ptr,
	                       W_PROBE | (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) |
	                           (flags & AT_EMPTY_PATH ? W_EMPTY : 0), &l);
	if (r < 0)
		return REPLY(v, call, r);
	if (mode)
		r = perm_access(v, call, &l, mode);
	loc_fini(&l);
	return REPLY(v, call, r);
}

BV_SYSCALL(access)
{
	return do_access(self, call, AT_FDCWD, call->arg[0], (int)call->arg[1], 0);
}

BV_SYSCALL(faccessat)
{
	return do_access(self, call, (int)call->arg[0], call->arg[1], (int)call->arg[2], 0);
}

BV_SYSCALL(faccessat2)
{
	return do_access(self, call, (int)call->arg[0], call->arg[1], (int)call->arg[2], (int)call->arg[3]);
}

const struct bv_handler stat_handlers[] = {
    BV_ON(newfstatat, BV_SERVE), BV_ON(stat, BV_SERVE),      BV_ON(lstat, BV_SERVE),      BV_ON(statx, BV_SERVE),
    BV_ON(access, BV_SERVE),     BV_ON(faccessat, BV_SERVE), BV_ON(faccessat2, BV_SERVE), {0},
};
