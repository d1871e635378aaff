/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making and removing names: mkdir, mknod, rmdir, unlink.  Device nodes cannot be made, since one
 * in the upper would be a door to the host's device.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "entry.h"
#include "watch.h"

/* ---- making ---- */

static int make_dir(int dir, const char *name, const void *arg)
{
	const mode_t *mode = arg;

	return mkdirat(dir, name, *mode) < 0 ? -errno : 0;
}

static int do_mkdir(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, uint64_t raw)
{
	mode_t mode = (mode_t)raw & 01777; /* mkdir(2): no set-id bits */
	struct entry e;
	int r = entry_walk(v, call, dirfd, ptr, W_CREATE, &e);

	if (r < 0)
		return r;
	r = entry_check_new(v, call, &e, true);
	if (r == 0)
		r = entry_make(v, call, &e.l, true, make_dir, &mode);
	loc_fini(&e.l);
	return r;
}

BV_SYSCALL(mkdir)
{
	return REPLY((struct vfs *)self, call, do_mkdir(self, call, AT_FDCWD, call->arg[0], call->arg[1]));
}

BV_SYSCALL(mkdirat)
{
	return REPLY((struct vfs *)self, call, do_mkdir(self, call, (int)call->arg[0], call->arg[1], call->arg[2]));
}

static int make_node(int dir, const char *name, const void *arg)
{
	const mode_t *mode = arg;

	return mknodat(dir, name, *mode, 0) < 0 ? -errno : 0;
}

static int do_mknod(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, uint64_t raw)
{
	mode_t mode = (mode_t)(raw & 0xffff); /* umode_t is 16 bits wide */
	struct entry e;

	switch (mode & S_IFMT) {
	case 0:
		mode |= S_IFREG;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
	case S_IFCHR:
	case S_IFBLK:
		break;
	case S_IFDIR:
		return -EPERM;
	default:
		return -EINVAL;
	}
	int r = entry_walk(v, call, dirfd, ptr, W_CREATE, &e);
	if (r < 0)
		return r;
	r = entry_check_new(v, call, &e, false);
	if (r == 0 && (S_ISCHR(mode) || S_ISBLK(mode)))
		r = -EPERM; /* no guest has CAP_MKNOD */
	if (r == 0)
		r = entry_make(v, call, &e.l, false, make_node, &mode);
	loc_fini(&e.l);
	return r;
}

BV_SYSCALL(mknod)
{
	return REPLY((struct vfs *)self, call, do_mknod(self, call, AT_FDCWD, call->arg[0], call->arg[1]));
}

BV_SYSCALL(mknodat)
{
	return REPLY((struct vfs *)self, call, do_mknod(self, call, (int)call->arg[0], call->arg[1], call->arg[2]));
}

/* ---- removing ---- */

static int do_unlink(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr)
{
	struct entry e;
	int r = entry_walk(v, call, dirfd, ptr, W_PROBE, &e);

	if (r < 0)
		return r;
	bool dir = S_ISDIR(e.l.st.st_mode);
	if (e.last != LAST_NORM)
		r = -EISDIR;
	else if (e.slashed)
		r = dir ? -EISDIR : -ENOTDIR;
	else
		r = perm_delete(v, call, &e.l);
	if (dir && (r == 0 || r == -EBUSY))
		r = -EISDIR; /* Linux's own errno where POSIX says EPERM, unlink(2) */
	if (r == 0)
		r = entry_unlink(v, call, &e.l);
	if (r == 0)
		watch_gone(v, &e.l, false);
	loc_fini(&e.l);
	return r;
}

static int do_rmdir(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr)
{
	static const int refused[] = {[LAST_DOT] = -EINVAL, [LAST_DOTDOT] = -ENOTEMPTY, [LAST_ROOT] = -EBUSY};
	struct entry e;
	int r = entry_walk(v, call, dirfd, ptr, W_PROBE, &e);

	if (r < 0)
		return r;
	bool dir = S_ISDIR(e.l.st.st_mode);
	r = e.last != LAST_NORM ? refused[e.last] : perm_delete(v, call, &e.l);
	if (!dir && (r == 0 || r == -EBUSY))
		r = -ENOTDIR;
	if (r == 0)
		r = entry_rmdir(v, call, &e.l);
	if (r == 0)
		watch_gone(v, &e.l, true);
	loc_fini(&e.l);
	return r;
}

BV_SYSCALL(unlink)
{
	return REPLY((struct vfs *)self, call, do_unlink(self, call, AT_FDCWD, call->arg[0]));
}

BV_SYSCALL(rmdir)
{
	return REPLY((struct vfs *)self, call, do_rmdir(self, call, AT_FDCWD, call->arg[0]));
}

BV_SYSCALL(unlinkat)
{
	struct vfs *v = self;
	int flags = (int)call->arg[2];

	if (flags & ~AT_REMOVEDIR)
		return REPLY(v, call, -EINVAL);
	return REPLY(v, call, flags ? do_rmdir(v, call, (int)call->arg[0], call->arg[1])
	                            : do_unlink(v, call, (int)call->arg[0], call->arg[1]));
}

const struct bv_handler dir_handlers[] = {
    BV_ON(mkdir, BV_SERVE),  BV_ON(mkdirat, BV_SERVE), BV_ON(mknod, BV_SERVE),    BV_ON(mknodat, BV_SERVE),
    BV_ON(unlink, BV_SERVE), BV_ON(rmdir, BV_SERVE),   BV_ON(unlinkat, BV_SERVE), {0},
};
