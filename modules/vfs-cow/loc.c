/* SPDX-License-Identifier: Apache-2.0 */
/* A resolved place: its beginning and end, its metadata, a descriptor of it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

bool path_is_normal(const char *path)
{
	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	if (!path[1])
		return true;
	while (*path) {
		path++;
		size_t len = strcspn(path, "/");
		if (!len || len > NAME_MAX || (len == 1 && path[0] == '.') ||
		    (len == 2 && path[0] == '.' && path[1] == '.'))
			return false;
		path += len;
	}
	return true;
}

void loc_let_go(struct loc *l)
{
	if (l->path_fd >= 0)
		close(l->path_fd);
	l->path_fd = -1;
}

void loc_fini(struct loc *l)
{
	if (l->fd >= 0)
		close(l->fd);
	if (l->path_fd >= 0)
		close(l->path_fd);
	free(l->syn);
	l->fd = l->path_fd = -1;
	l->syn = NULL;
}

void loc_init(struct loc *l)
{
	l->len = 0;
	l->path[0] = '\0';
	l->view = l->dir_view = V_NONE;
	l->node = NULL;
	l->mount = NULL;
	l->must_dir = l->dotted = l->magic = l->probed = l->ours = l->stale = l->gone =
		l->fd_writable = false;
	l->native = true;
	l->fd = l->path_fd = -1;
	l->syn = NULL;
}

int vfs_walk_guest(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned flags, struct loc *l)
{
	char path[PATH_MAX];
	ssize_t n = v->host->mem_read_str(call, path, ptr, sizeof(path));

	if (n < 0)
		return (int)n;
	return vfs_walk(v, call, dirfd, path, flags, l);
}

int vfs_loc_fd(struct vfs *v, struct bv_call *call, int guest_fd, struct loc *l)
{
	loc_init(l);
	v->actor = call->tid;
	l->native = false;
	l->fd = v->host->get_fd(call, guest_fd);
	if (l->fd < 0)
		return l->fd;
	int r = loc_from_fd(v, l);
	if (r < 0)
		loc_fini(l);
	return r;
}

/*
 * A merged directory is its lower self, so that its identity never changes while entries come and
 * go; what was set inside (mode, owner, times) is in the upper copy.
 */
static void overlay_meta(struct vfs *v, struct loc *l, struct stat *st)
{
	struct stat up;
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0 || fstat(fd, &up) < 0)
		return;
	if (l->node && l->node->meta) {
		st->st_mode = up.st_mode;
		st->st_uid = up.st_uid;
		st->st_gid = up.st_gid;
		st->st_atim = up.st_atim;
		st->st_mtim = up.st_mtim;
		st->st_ctim = up.st_ctim;
	} else if (l->node && l->node->gen) {
		st->st_mtim = up.st_mtim;
		st->st_ctim = up.st_ctim;
	}
}

int loc_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st)
{
	if (!l->probed) {
		bv_autofd int fd = loc_open_path(v, l);

		if (fd < 0)
			return fd;
		if (fstat(fd, &l->st) < 0)
			return -errno;
		l->probed = true;
	}
	*st = l->st;
	if (l->view == V_MERGED)
		overlay_meta(v, l, st);
	else if (v->instead && l->view == V_LOWER && !st->st_nlink &&
	         instead_fd(v, l->path, l->len) >= 0)
		st->st_nlink = 1; /* a memory file has no name */
	return 0;
}

int loc_open_path(struct vfs *v, struct loc *l)
{
	int fd;

	if (l->fd >= 0 || l->path_fd >= 0) {
		fd = fcntl(l->fd >= 0 ? l->fd : l->path_fd, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? -errno : fd;
	}
	if (l->view == V_SYNTH) {
		if (l->syn && l->syn->kind == BV_VFS_HOST)
			return real_openat(AT_FDCWD, l->syn->target, O_PATH | O_NOFOLLOW, 0);
		return -EACCES;
	}
	if (l->view == V_NONE || l->view == V_HIDE || l->view == V_ANON)
		return -ENOENT;
	return real_open(v, l, l->view, O_PATH | O_NOFOLLOW, 0);
}
