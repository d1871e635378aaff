/* SPDX-License-Identifier: Apache-2.0 */
/* Making and removing names: mkdir, mknod, rmdir, unlink. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"

/* Is the last component "." or ".."?  They have errnos of their own (path_resolution(7)). */
static int last_dots(const char *path)
{
	size_t n = strlen(path);

	while (n && path[n - 1] == '/')
		n--;
	if (n && path[n - 1] == '.') {
		if (n == 1 || path[n - 2] == '/')
			return 1;
		if (path[n - 2] == '.' && (n == 2 || path[n - 3] == '/'))
			return 2;
	}
	return 0;
}

/* What mkdir and mknod share: l names a place where something new may be made. */
static int make_ready(struct vfs *v, struct bv_call *call, struct loc *l, int *dir, const char **name)
{
	if (l->probed || l->dotted)
		return -EEXIST;
	if (l->view == V_SYNTH)
		return -ENOENT; /* as procfs says: nothing can be made there */
	int r = perm_create(v, call, l);
	if (r < 0)
		return r;
	v->host->as_creds(NULL);
	*dir = upper_parent_fd(v, l, name);
	if (*dir < 0)
		return *dir;
	if (l->dir_view == V_RW)
		v->host->as_guest(call);
	return 0;
}

static int make_done(struct vfs *v, struct bv_call *call, struct loc *l, int dir, const char *name, bool is_dir)
{
	int r = l->dir_view == V_RW ? 0 : upper_own(v, call, dir, name);

	if (r == 0)
		r = upper_created(v, l, is_dir);
	if (r < 0)
		(void)unlinkat(dir, name, is_dir ? AT_REMOVEDIR : 0);
	return r;
}

static int make_node(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, mode_t mode)
{
	struct loc l;
	const char *name;
	bool is_dir = S_ISDIR(mode);
	int r = vfs_walk_guest(v, call, dirfd, ptr, W_NOFOLLOW | W_CREATE, &l);

	if (r < 0)
		return r;
	bv_autofd int dir = -1;
	r = make_ready(v, call, &l, &dir, &name);
	if (r == 0 && l.must_dir && !is_dir)
		r = -ENOENT;
	int mask = r < 0 ? r : v->host->umask(call);
	if (mask < 0)
		r = mask;
	if (r == 0) {
		mode_t old = umask((mode_t)mask);

		/* The parent was resolved and the name holds no slash: nothing is followed. */
		r = is_dir ? mkdirat(dir, name, mode & 07777) : mknodat(dir, name, mode, 0);
		r = r < 0 ? -errno : 0;
		umask(old);
		if (r == 0)
			r = make_done(v, call, &l, dir, name, is_dir);
	}
	loc_fini(&l);
	return r;
}

BV_SYSCALL(mkdirat)
{
	return REPLY((struct vfs *)self, call,
	             make_node(self, call, (int)call->arg[0], call->arg[1], S_IFDIR | ((mode_t)call->arg[2] & 01777)));
}

BV_SYSCALL(mkdir)
{
	return REPLY((struct vfs *)self, call,
	             make_node(self, call, AT_FDCWD, call->arg[0], S_IFDIR | ((mode_t)call->arg[1] & 01777)));
}

static int do_mknod(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, mode_t mode)
{
	switch (mode & S_IFMT) {
	case 0:
		mode |= S_IFREG;
		break;
	case S_IFREG:
	case S_IFIFO:
	case S_IFSOCK:
		break;
	case S_IFDIR:
		return -EPERM;
	case S_IFCHR:
	case S_IFBLK:
		return -EPERM; /* no guest has CAP_MKNOD */
	default:
		return -EINVAL;
	}
	return make_node(v, call, dirfd, ptr, mode & (S_IFMT | 07777));
}

BV_SYSCALL(mknodat)
{
	return REPLY((struct vfs *)self, call, do_mknod(self, call, (int)call->arg[0], call->arg[1], (mode_t)call->arg[2]));
}

BV_SYSCALL(mknod)
{
	return REPLY((struct vfs *)self, call, do_mknod(self, call, AT_FDCWD, call->arg[0], (mode_t)call->arg[1]));
}

/* Removes the upper part of a merged directory that is empty to guests: only whiteouts are left. */
static int remove_merged(int parent, const char *name)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d)
		return -errno;
	while ((e = readdir(d)))
		if (strncmp(e->d_name, ".wh.", 4) == 0)
			(void)unlinkat(fd, e->d_name, 0);
	closedir(d);
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

int change_rmdir(struct vfs *v, struct bv_call *call, struct loc *l)
{
	const char *name;

	if (tree_has_mount(l->node))
		return -EBUSY;
	if (l->view == V_LOWER || l->view == V_MERGED) {
		int empty = listing_is_empty(v, call, l);

		if (empty <= 0)
			return empty < 0 ? empty : -ENOTEMPTY;
	}
	v->host->as_creds(NULL);
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	if (dir < 0)
		return dir;
	int r = 0;
	if (l->view == V_RW)
		v->host->as_guest(call);
	if (l->view == V_MERGED)
		r = remove_merged(dir, name);
	else if (l->view == V_UPPER || l->view == V_RW)
		r = unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	return r < 0 ? r : upper_removed(v, l);
}

static int do_rmdir(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr)
{
	char path[PATH_MAX];
	struct loc l;
	ssize_t n = v->host->mem_read_str(call, path, ptr, sizeof(path));

	if (n < 0)
		return (int)n;
	int r = vfs_walk(v, call, dirfd, path, W_NOFOLLOW | W_PROBE, &l);
	if (r < 0)
		return r;
	int dots = last_dots(path);
	if (dots)
		r = dots == 1 ? -EINVAL : -ENOTEMPTY;
	else if (l.dotted)
		r = -EBUSY; /* the root */
	else if (!S_ISDIR(l.st.st_mode))
		r = -ENOTDIR;
	else if (l.view == V_SYNTH)
		r = -EPERM;
	else
		r = perm_delete(v, call, &l);
	if (r == 0)
		r = change_rmdir(v, call, &l);
	loc_fini(&l);
	return r;
}

int change_unlink(struct vfs *v, struct bv_call *call, struct loc *l)
{
	const char *name;

	if (tree_has_mount(l->node))
		return -EBUSY;
	if (l->view == V_UPPER || l->view == V_RW) {
		v->host->as_creds(NULL);
		bv_autofd int dir = upper_parent_fd(v, l, &name);

		if (dir < 0)
			return dir;
		if (l->view == V_RW)
			v->host->as_guest(call);
		int r = unlinkat(dir, name, 0) < 0 ? -errno : 0;
		v->host->as_creds(NULL);
		if (r < 0)
			return r;
	}
	return upper_removed(v, l);
}

static int do_unlink(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr)
{
	struct loc l;
	int r = vfs_walk_guest(v, call, dirfd, ptr, W_NOFOLLOW | W_PROBE, &l);

	if (r < 0)
		return r;
	if (S_ISDIR(l.st.st_mode) || l.dotted)
		r = -EISDIR; /* Linux's own errno where POSIX says EPERM, unlink(2) */
	else if (l.view == V_SYNTH)
		r = -EPERM;
	else
		r = perm_delete(v, call, &l);
	if (r == 0)
		r = change_unlink(v, call, &l);
	loc_fini(&l);
	return r;
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

BV_SYSCALL(unlink)
{
	return REPLY((struct vfs *)self, call, do_unlink(self, call, AT_FDCWD, call->arg[0]));
}

BV_SYSCALL(rmdir)
{
	return REPLY((struct vfs *)self, call, do_rmdir(self, call, AT_FDCWD, call->arg[0]));
}

const struct bv_handler dir_handlers[] = {
    BV_ON(mkdir, BV_SERVE),    BV_ON(mkdirat, BV_SERVE), BV_ON(mknod, BV_SERVE), BV_ON(mknodat, BV_SERVE),
    BV_ON(unlink, BV_SERVE), BV_ON(unlinkat, BV_SERVE), BV_ON(rmdir, BV_SERVE), {0},
};
