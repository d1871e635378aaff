/* SPDX-License-Identifier: Apache-2.0 */
/* Hard links and symlinks, and reading them. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "entry.h"

/* Where the old name leads: an object of its own, so it is the descriptor that is linked. */
static int make_link(int dir, const char *name, const void *arg)
{
	char path[FD_PATH_MAX];

	real_fd_path(path, *(const int *)arg);
	return linkat(AT_FDCWD, path, dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

/* proc(5), fs.protected_hardlinks: what one does not own and may not write, one may not link. */
static int check_protected(struct vfs *v, struct bv_call *call, struct entry *from)
{
	const struct stat *st = &from->l.st;
	char on = '1';

	if (perm_owner(v, call, st) == 0)
		return 0;
	bv_autofd int fd = open("/proc/sys/fs/protected_hardlinks", O_RDONLY | O_CLOEXEC);
	if (fd >= 0 && read(fd, &on, 1) == 1 && on == '0')
		return 0;
	if (!S_ISREG(st->st_mode) || (st->st_mode & S_ISUID) ||
	    (st->st_mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP))
		return -EPERM;
	return perm_access(v, call, &from->l, R_OK | W_OK) < 0 ? -EPERM : 0;
}

/* May the object behind `from` have a name at `to`, as far as layers and mounts are concerned? */
static int check_sides(const struct loc *from, const struct loc *to)
{
	switch (from->view) {
	case V_LOWER:
	case V_UPPER:
	case V_MERGED:
		return to->dir_view == V_RW || to->dir_view == V_RO || to->dir_view == V_SYNTH ? -EXDEV : 0;
	case V_RW:
		return to->dir_view == V_RW && from->mount == to->mount ? 0 : -EXDEV;
	case V_ANON:
		/*
		 * Without a name: an O_TMPFILE of the upper or, which the host kernel tells apart,
		 * of an rw mount.  A host file that is only hidden here has its name still.  A directory
		 * that was removed here is refused as every directory is.
		 */
		if (from->ours || S_ISDIR(from->st.st_mode))
			return to->dir_view == V_RW ? -EXDEV : 0;
		return to->dir_view == V_RW && from->st.st_nlink == 0 && from->fd_writable ? 0 : -EXDEV;
	default:
		return -EXDEV;
	}
}

/* The kernel's order (do_linkat and vfs_link of fs/namei.c). */
static int may_link(struct vfs *v, struct bv_call *call, struct entry *from, struct entry *to)
{
	int r = entry_check_new(v, call, to, false);

	/* What the new place lacks comes after what is wrong with the pair. */
	if (r == 0 || r == -EACCES || r == -EPERM) {
		int sides = check_sides(&from->l, &to->l);

		r = sides < 0 ? sides : r;
		if (r == 0 || r == -EACCES) {
			int guarded = check_protected(v, call, from);

			r = guarded < 0 ? guarded : r;
		}
	}
	return r == 0 && S_ISDIR(from->l.st.st_mode) ? -EPERM : r;
}

static int do_make_link(struct vfs *v, struct bv_call *call, struct entry *from, struct entry *to)
{
	struct stat lower = from->l.st;
	bool copied = from->l.view == V_LOWER;

	if (copied) {
		int r = copyup(v, call, &from->l, 0);

		if (r != 0)
			return r;
		/* From here on the copy is meant, not the descriptor that led to the host's file. */
		if (from->l.fd >= 0)
			close(from->l.fd);
		from->l.fd = -1;
	}
	bv_autofd int fd = loc_open_path(v, &from->l);
	if (fd < 0)
		return fd;
	if (copied)
		identity_note(v, fd, &lower);
	return entry_place(v, call, &to->l, make_link, &fd);
}

/* The old name; like the kernel, following it only when asked to. */
static int find_old(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, int flags, struct entry *from)
{
	int r = vfs_walk_guest(v, call, dirfd, ptr,
	                       W_PROBE | (flags & AT_SYMLINK_FOLLOW ? 0 : W_NOFOLLOW) |
	                           (flags & AT_EMPTY_PATH ? W_EMPTY : 0),
	                       &from->l);

	/* AT_EMPTY_PATH: how the descriptor itself was opened. */
	if (r == 0 && from->l.fd >= 0 && !from->l.magic) {
		int mode = fcntl(from->l.fd, F_GETFL);

		from->l.fd_writable = mode >= 0 && !(mode & O_PATH) && (mode & O_ACCMODE) != O_RDONLY;
	}
	return r;
}

static enum bv_verdict do_link(struct vfs *v, struct bv_call *call, int from_fd, uint64_t from_ptr, int to_fd,
                               uint64_t to_ptr, int flags, bv_handler_fn *handler)
{
	struct entry from, to;

	if (flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH))
		return REPLY(v, call, -EINVAL);
	int r = find_old(v, call, from_fd, from_ptr, flags, &from);
	if (r < 0)
		return REPLY(v, call, r);
	r = entry_walk(v, call, to_fd, to_ptr, W_CREATE, &to);
	if (r < 0) {
		loc_fini(&from.l);
		return REPLY(v, call, r);
	}
	r = may_link(v, call, &from, &to);
	if (r == 0)
		r = do_make_link(v, call, &from, &to);
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &from.l, handler) : REPLY(v, call, r);
	loc_fini(&from.l);
	loc_fini(&to.l);
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

static int make_symlink(int dir, const char *name, const void *arg)
{
	return symlinkat(arg, dir, name) < 0 ? -errno : 0;
}

static int do_symlink(struct vfs *v, struct bv_call *call, uint64_t text_ptr, int dirfd, uint64_t ptr)
{
	char text[PATH_MAX];
	struct entry e;
	ssize_t n = v->host->mem_read_str(call, text, text_ptr, sizeof(text));

	if (n <= 0)
		return n ? (int)n : -ENOENT;
	int r = entry_walk(v, call, dirfd, ptr, W_CREATE, &e);
	if (r < 0)
		return r;
	r = entry_check_new(v, call, &e, false);
	if (r == 0)
		r = entry_make(v, call, &e.l, false, make_symlink, text);
	loc_fini(&e.l);
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
	static const char instead[] = "/memfd:" INSTEAD_NAME;
	if (strncmp(real, instead, sizeof(instead) - 1) == 0) {
		n -= (ssize_t)sizeof(instead) - 1;
		memcpy(out, real + sizeof(instead) - 1, (size_t)n + 1);
	} else if (strncmp(real, v->upper.root, v->upper_len) == 0 && real[v->upper_len] == '/') {
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
	int r = vfs_walk(v, call, dirfd, path, W_NOFOLLOW | W_PROBE | (dirfd != AT_FDCWD ? W_EMPTY : 0), &l);
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
