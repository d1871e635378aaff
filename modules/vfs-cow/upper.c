/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The upper tree: directories mirrored from the lower, whiteouts, and keeping the tree of nodes
 * in step with what is on disk.  All of it acts as the supervisor; who may do what was decided
 * before (perm.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "origin.h"
#include "quota.h"
#include "watch.h"
#include "whiteout.h"
#include "who.h"

/* Makes the lower directory at l exist in the upper: l->view becomes V_MERGED. */
static int mirror_one(struct vfs *v, struct loc *l, struct node *parent, const char *name)
{
	struct stat st;
	bv_autofd int lower = real_open(v, l, V_LOWER, O_PATH | O_DIRECTORY, 0);

	if (lower < 0)
		return lower;
	if (fstat(lower, &st) < 0)
		return -errno;
	if (l->len > 1) {
		bv_autofd int dir = real_parent(v, l, V_UPPER, O_PATH, &name);

		if (dir < 0)
			return dir;
		int r = quota_take(v, QUOTA_BLOCK, 1);
		if (r < 0)
			return r;
		if (mkdirat(dir, name, 0700) < 0) {
			quota_give(v, QUOTA_BLOCK, 1);
			if (errno != EEXIST)
				return -errno;
		}
	}
	bv_autofd int upper = real_open(v, l, V_UPPER, O_PATH | O_DIRECTORY, 0);
	if (upper < 0)
		return upper;
	origin_note(v, l->path, &st);
	/* We must be able to write in it, whatever its mode says to guests. */
	if (geteuid() != 0)
		st.st_mode |= 0700;
	upper_copy_meta(lower, upper, &st);
	struct node *n = l->len > 1 ? tree_add(parent, name, strlen(name)) : v->root;
	if (!n)
		return -ENOMEM;
	n->state = N_MERGED;
	return 0;
}

/* Mirrors the directory whose virtual path is the first len bytes of path, and all above it. */
static int mirror(struct vfs *v, const char *path, size_t len)
{
	struct spot s;
	bv_autofree struct loc *l = calloc(1, sizeof(*l));
	size_t at = 0;

	if (!l)
		return -ENOMEM;
	l->fd = l->path_fd = -1;
	spot_root(v, &s);
	memcpy(l->path, "/", 2);
	l->len = 1;
	for (;;) {
		struct node *parent = s.node ? s.node->parent : NULL;

		l->mount = s.mount;
		l->view = s.view;
		switch (s.view) {
		case V_LOWER: {
			const char *name = strrchr(l->path, '/') + 1;
			/* The parent was mirrored in the turn before, so it has a node. */
			if (l->len > 1) {
				char *slash = strrchr(l->path, '/');

				*slash = '\0';
				parent = tree_find(v->root, l->path);
				*slash = '/';
			}
			watch_quiet(v);
			int r = mirror_one(v, l, parent, name);
			watch_heard(v, l->path, IN_ATTRIB);
			if (r < 0)
				return r;
			watch_copied(v, l);
			s.node = tree_find(v->root, l->path);
			s.view = V_MERGED;
			break;
		}
		case V_UPPER:
			if (s.mount->rule == R_TMP && !s.mount->made) {
				int r = mount_private(v, s.mount);

				if (r < 0)
					return r;
			}
			break;
		case V_MERGED:
		case V_RW:
			break;
		case V_RO:
			return -EROFS;
		case V_SYNTH:
			return -EPERM;
		default:
			return -ENOENT;
		}
		while (path[at] == '/')
			at++;
		if (at >= len)
			return 0;
		size_t n = strcspn(path + at, "/");
		size_t slash = l->len > 1;
		l->path[l->len - !slash] = '/';
		memcpy(l->path + l->len + slash, path + at, n);
		l->len += slash + n;
		l->path[l->len] = '\0';
		spot_step(&s, path + at, n);
		at += n;
	}
}

int upper_parents(struct vfs *v, struct loc *l)
{
	const char *slash = strrchr(l->path, '/');

	return mirror(v, l->path, slash > l->path ? (size_t)(slash - l->path) : 0);
}

int upper_dir(struct vfs *v, struct loc *l)
{
	if (l->view != V_LOWER)
		return l->view == V_RO ? -EROFS : l->view == V_SYNTH ? -EPERM : 0;
	int r = mirror(v, l->path, l->len);
	if (r == 0) {
		l->node = tree_find(v->root, l->path);
		l->view = V_MERGED;
	}
	return r;
}

int upper_parent_fd(struct vfs *v, struct loc *l, const char **name)
{
	if (l->node && l->node->mount)
		return l->node->mount->rule == R_SYNTH ? -EPERM : -EBUSY;
	switch (l->dir_view) {
	case V_RW:
		return real_parent(v, l, V_RW, O_PATH, name);
	case V_RO:
		return -EROFS;
	case V_SYNTH:
		return -EPERM;
	case V_UPPER:
		return real_parent(v, l, V_UPPER, O_PATH, name);
	case V_LOWER:
	case V_MERGED: {
		const char *base = strrchr(l->path, '/') + 1;
		if (strncmp(base, WHITEOUT, sizeof(WHITEOUT) - 1) == 0)
			return -EINVAL; /* the layer format's own names */
		int r = upper_parents(v, l);
		if (r < 0)
			return r;
		l->dir_view = V_MERGED;
		return real_parent(v, l, V_UPPER, O_PATH, name);
	}
	default:
		return -ENOENT;
	}
}

/* The node of l's parent directory, or NULL below an upper-only one. */
static struct node *parent_node(struct vfs *v, struct loc *l)
{
	char *slash = strrchr(l->path, '/');
	struct node *n;

	if (slash == l->path)
		return v->root;
	*slash = '\0';
	n = tree_find(v->root, l->path);
	*slash = '/';
	return n;
}

int upper_created(struct vfs *v, struct loc *l, bool is_dir)
{
	struct node *parent = parent_node(v, l);
	const char *name = strrchr(l->path, '/') + 1;

	if (parent)
		parent->gen++;
	if (l->dir_view == V_RW) {
		l->view = V_RW;
		return 0;
	}
	l->view = V_UPPER;
	who_note(v, l->path);
	if (l->dir_view == V_UPPER || !parent)
		return 0;
	struct node *n = tree_add(parent, name, strlen(name));
	if (!n)
		return -ENOMEM;
	/* A whiteout is there already, maybe of what the host has not any more. */
	bool covered = n->state == N_WHITEOUT || (n->state == N_UPPER && n->had_lower);
	struct stat low;
	/* A file hides the lower by itself; only a directory needs to know.  And a layer that is kept. */
	bool lower = !covered && (is_dir || v->keeps_origins) && real_lower_has(v, l, &low);
	if (lower)
		origin_note(v, l->path, &low);
	n->had_lower = is_dir && (covered || lower);
	n->state = N_UPPER;
	n->meta = n->copied = false;
	l->node = n;
	if (covered == n->had_lower)
		return 0;
	bv_autofd int dir = real_parent(v, l, V_UPPER, O_PATH, &name);
	if (dir < 0)
		return dir;
	quota_note(v, 0, n->had_lower);
	if (n->had_lower)
		return whiteout_make(dir, name);
	whiteout_drop(dir, name);
	return 0;
}

int upper_removed(struct vfs *v, struct loc *l)
{
	const char *name;
	struct node *parent;

	quota_freed(v);
	if (l->dir_view != V_RW)
		who_note(v, l->path);
	if (l->dir_view == V_RW || l->dir_view == V_UPPER) {
		parent = parent_node(v, l);
		if (parent)
			parent->gen++;
		l->view = V_NONE;
		return 0;
	}
	struct stat low;
	bool lower = real_lower_has(v, l, &low);
	struct node *n = tree_find(v->root, l->path);
	if (lower)
		origin_note(v, l->path, &low);
	/* Where nothing lower was ever hidden there is no whiteout to take away either. */
	if (lower || !n || n->had_lower) {
		bv_autofd int dir = upper_parent_fd(v, l, &name);
		int r = 0;

		if (dir < 0)
			return dir;
		quota_note(v, 0, lower);
		if (lower)
			r = whiteout_make(dir, name);
		else
			whiteout_drop(dir, name);
		if (r < 0)
			return r;
	}
	name = strrchr(l->path, '/') + 1;
	parent = parent_node(v, l);
	if (!parent)
		return -ENOENT;
	parent->gen++;
	tree_drop(tree_child(parent, name, strlen(name)));
	l->node = NULL;
	l->view = V_NONE;
	if (lower) {
		n = tree_add(parent, name, strlen(name));
		if (!n)
			return -ENOMEM;
		n->state = N_WHITEOUT;
		l->node = n;
	}
	return 0;
}

static int set_mode(struct vfs *v, const struct loc *l, mode_t mode)
{
	char path[FD_PATH_MAX];
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	return chmod(path, mode) < 0 ? -errno : 0;
}

mode_t dir_open_up(int dir)
{
	char link[FD_PATH_MAX];
	struct stat st;

	if (geteuid() == 0 || fstat(dir, &st) < 0 || (st.st_mode & 0300) == 0300)
		return 0;
	real_fd_path(link, dir);
	return chmod(link, (st.st_mode & 07777) | 0300) < 0 ? 0 : st.st_mode;
}

void dir_close_again(int dir, mode_t mode)
{
	char link[FD_PATH_MAX];

	real_fd_path(link, dir);
	if (mode)
		(void)chmod(link, mode & 07777);
}

mode_t upper_open_up(struct vfs *v, const struct loc *l)
{
	struct stat st;

	if (geteuid() == 0)
		return 0;
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || (st.st_mode & 0700) == 0700)
		return 0;
	return set_mode(v, l, (st.st_mode & 07777) | 0700) < 0 ? 0 : st.st_mode;
}

void upper_close_again(struct vfs *v, const struct loc *l, mode_t mode)
{
	if (mode)
		(void)set_mode(v, l, mode & 07777);
}

int upper_own(struct vfs *v, struct bv_call *call, int dirfd, const char *name)
{
	struct bv_creds c;
	struct stat dir, st;

	if (geteuid() != 0)
		return 0;
	int r = v->host->creds(call, &c);
	if (r < 0)
		return r;
	if (fstat(dirfd, &dir) < 0 || fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	gid_t gid = dir.st_mode & S_ISGID ? dir.st_gid : c.fsgid;
	if (st.st_uid == c.fsuid && st.st_gid == gid)
		return 0;
	if (fchownat(dirfd, name, c.fsuid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* chown(2) clears the set-id bits that the creation asked for. */
	if ((st.st_mode & 06000) && !S_ISLNK(st.st_mode) && fchmodat(dirfd, name, st.st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}
