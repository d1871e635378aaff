/* SPDX-License-Identifier: Apache-2.0 */
/* Hard links and symlinks, and reading them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

/* Makes a name for the very object behind fd: O_TMPFILE's files, descriptors of the upper. */
static int link_fd(int fd, int dir, const char *name)
{
	char path[FD_PATH_MAX];

	real_fd_path(path, fd);
	return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static int may_link(struct vfs *v, struct bv_call *call, struct loc *from, struct loc *to)
{
	if (to->probed || to->dotted)
		return -EEXIST;
	if (to->must_dir)
		return -ENOENT;
	if (S_ISDIR(from->st.st_mode))
		return -EPERM;
	if (from->view == V_SYNTH || to->dir_view == V_SYNTH || from->view == V_RO)
		return -EXDEV;
	if (from->view == V_ANON && !from->ours)
		return -EXDEV;
	if ((from->view == V_RW) != (to->dir_view == V_RW) || (from->view == V_RW && from->mount != to->mount))
		return -EXDEV;
	return perm_create(v, call, to);
}

static int make_link(struct vfs *v, struct bv_call *call, struct loc *from, struct loc *to)
{
	const char *name, *old;

	v->host->as_creds(NULL);
	bv_autofd int dir = upper_parent_fd(v, to, &name);
	if (dir < 0)
		return dir;
	if (to->dir_view == V_RW)
		v->host->as_guest(call);
	int r;
	if (from->fd >= 0) {
		r = link_fd(from->fd, dir, name);
	} else {
		bv_autofd int old_dir = real_parent(v, from, from->view, O_PATH, &old);

		r = old_dir < 0 ? old_dir : linkat(old_dir, old, dir, name, 0) < 0 ? -errno : 0;
	}
	v->host->as_creds(NULL);
	return r < 0 ? r : upper_created(v, to, false);
}

static enum bv_verdict do_link(struct vfs *v, struct bv_call *call, int from_fd, uint64_t from_ptr, int to_fd,
                               uint64_t to_ptr, int flags, bv_handler_fn *handler)
{
	struct loc from, to;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return REPLY(v, call, -EINVAL);
	int r = vfs_walk_guest(v, call, from_fd, from_ptr,
	                       W_PROBE | (flags & AT_SYMLINK_FOLLOW ? 0 : W_NOFOLLOW) |
	                           (flags & AT_EMPTY_PATH ? W_EMPTY : 0),
	                       &from);
	if (r < 0)
		return REPLY(v, call, r);
	r = vfs_walk_guest(v, call, to_fd, to_ptr, W_NOFOLLOW | W_CREATE, &to);
	if (r < 0) {
		loc_fini(&from);
		return REPLY(v, call, r);
	}
	enum bv_verdict verdict;
	r = may_link(v, call, &from, &to);
	if (r == 0 && from.view == V_LOWER) {
		r = copyup(v, call, &from, 0);
		/* From here on the copy is meant, not the descriptor that led to the host's file. */
		if (r == 0 && from.fd >= 0) {
			close(from.fd);
			from.fd = -1;
		}
	}
	if (r == COPYUP_LATER) {
		verdict = copyup_defer(v, call, &from, handler);
	} else {
		if (r == 0)
			r = make_link(v, call, &from, &to);
		verdict = REPLY(v, call, r);
	}
	loc_fini(&from);
	loc_fini(&to);
	return verdict;
}

BV_SYSCALL(link)
{
	return do_link(self, call, AT_FDCWD, call->arg[0], AT_FDCWD, call->arg[1], 0, sys_link);
}

BV_SYSCALL(linkat)
{
	return do_link(self, call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3], (int)call->arg[4],
	               sys_linkat);
}

static int make_symlink(struct vfs *v, struct bv_call *call, struct loc *l, const char *text)
{
	const char *name;

	v->host->as_creds(NULL);
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	if (dir < 0)
		return dir;
	if (l->dir_view == V_RW)
		v->host->as_guest(call);
	int r = symlinkat(text, dir, name) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	if (r == 0 && l->dir_view != V_RW)
		r = upper_own(v, call, dir, name);
	return r < 0 ? r : upper_created(v, l, false);
}

static int do_symlink(struct vfs *v, struct bv_call *call, uint64_t text_ptr, int dirfd, uint64_t ptr)
{
	char text[PATH_MAX];
	struct loc l;
	ssize_t n = v->host->mem_read_str(call, text, text_ptr, sizeof(text));

	if (n <= 0)
		return n ? (int)n : -ENOENT;
	int r = vfs_walk_guest(v, call, dirfd, ptr, W_NOFOLLOW | W_CREATE, &l);
	if (r < 0)
		return r;
	if (l.probed || l.dotted)
		r = -EEXIST;
	else if (l.must_dir || l.view == V_SYNTH)
		r = -ENOENT;
	else
		r = perm_create(v, call, &l);
	if (r == 0)
		r = make_symlink(v, call, &l, text);
	loc_fini(&l);
	return r;
}

BV_SYSCALL(symlink)
{
	return REPLY((struct vfs *)self, call, do_symlink(self, call, call->arg[0], AT_FDCWD, call->arg[1]));
}

BV_SYSCALL(symlinkat)
{
	return REPLY((struct vfs *)self, call, do_symlink(self, call, call->arg[0], (int)call->arg[1], call->arg[2]));
}

/* A magic link's text as the guest shall see it: the virtual path, never one of the run directory. */
static ssize_t magic_text(struct vfs *v, const char *link, char out[PATH_MAX])
{
	static const char deleted[] = " (deleted)";
	const size_t mark = sizeof(deleted) - 1;
	char real[PATH_MAX + 1];
	enum view view;
	ssize_t n = readlink(link, real, sizeof(real) - 1);

	if (n < 0)
		return -errno;
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	real[n] = '\0';
	if (real[0] != '/') { /* pipe:[1], socket:[2], anon_inode:... */
		memcpy(out, real, (size_t)n + 1);
		return n;
	}
	ssize_t len = real_shown(v, real, out, &view);
	if (len >= 0)
		return len;
	if (strncmp(real, v->upper.root, v->upper_len) == 0 && real[v->upper_len] == '/') {
		n -= (ssize_t)v->upper_len;
		memcpy(out, real + v->upper_len, (size_t)n + 1);
	} else {
		memcpy(out, real, (size_t)n + 1);
	}
	/* What is hidden or shadowed keeps the name it was opened by, marked as Linux marks it. */
	if ((size_t)n + mark < PATH_MAX && ((size_t)n < mark || strcmp(out + n - mark, deleted) != 0)) {
		memcpy(out + n, deleted, mark + 1);
		n += (ssize_t)mark;
	}
	return n;
}

static ssize_t link_text(struct vfs *v, struct loc *l, char text[PATH_MAX])
{
	ssize_t n;

	if (l->view == V_SYNTH && l->syn->kind == BV_VFS_MAGIC)
		return magic_text(v, l->syn->target, text);
	if (l->view == V_SYNTH && l->syn->kind == BV_VFS_LINK) {
		n = (ssize_t)strnlen(l->syn->target, PATH_MAX - 1);
		memcpy(text, l->syn->target, (size_t)n);
		return n;
	}
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	n = readlinkat(fd, "", text, PATH_MAX);
	return n < 0 ? -errno : n;
}

static int do_readlink(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, uint64_t buf, int size)
{
	char path[PATH_MAX], text[PATH_MAX];
	struct loc l;
	ssize_t n;

	if (size <= 0)
		return -EINVAL;
	n = v->host->mem_read_str(call, path, ptr, sizeof(path));
	if (n < 0)
		return (int)n;
	v->host->as_guest(call);
	int r = vfs_walk(v, call, dirfd, path, W_NOFOLLOW | W_PROBE | (dirfd != AT_FDCWD ? W_EMPTY : 0), &l);
	v->host->as_creds(NULL);
	if (r < 0)
		return r;
	if (!S_ISLNK(l.st.st_mode))
		n = *path ? -EINVAL : -ENOENT;
	else
		n = link_text(v, &l, text);
	loc_fini(&l);
	if (n > size)
		n = size;
	r = n > 0 ? v->host->mem_write(call, buf, text, (size_t)n) : 0;
	return r < 0 ? r : (int)n;
}

BV_SYSCALL(readlink)
{
	return REPLY((struct vfs *)self, call,
	             do_readlink(self, call, AT_FDCWD, call->arg[0], call->arg[1], (int)call->arg[2]));
}

BV_SYSCALL(readlinkat)
{
	return REPLY((struct vfs *)self, call,
	             do_readlink(self, call, (int)call->arg[0], call->arg[1], call->arg[2], (int)call->arg[3]));
}

const struct bv_handler link_handlers[] = {
    BV_ON(link, BV_SERVE),     BV_ON(linkat, BV_SERVE),     BV_ON(symlink, BV_SERVE), BV_ON(symlinkat, BV_SERVE),
    BV_ON(readlink, BV_SERVE), BV_ON(readlinkat, BV_SERVE), {0},
};
