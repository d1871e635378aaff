/* SPDX-License-Identifier: Apache-2.0 */
/* Directory entries: finding the place of one, making something there, removing it. */
#include "entry.h"

#include "quota.h"
#include "watch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

static enum last last_of(const char *path, size_t len)
{
	const char *name = memrchr(path, '/', len);

	name = name ? name + 1 : path;
	len -= (size_t)(name - path);
	if (!len)
		return LAST_ROOT;
	if (len == 1 && name[0] == '.')
		return LAST_DOT;
	return len == 2 && name[0] == '.' && name[1] == '.' ? LAST_DOTDOT : LAST_NORM;
}

int entry_walk(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned flags, struct entry *e)
{
	char path[PATH_MAX];
	ssize_t got = v->host->mem_read_str(call, path, ptr, sizeof(path));

	if (got < 0)
		return (int)got;
	size_t len = (size_t)got, all = len;
	while (len > 1 && path[len - 1] == '/')
		len--;
	e->slashed = len < all;
	path[len] = '\0';
	e->last = len ? last_of(path, len) : LAST_NORM;
	return vfs_walk(v, call, dirfd, path, flags | W_NOFOLLOW, &e->l);
}

int entry_check_new(struct vfs *v, struct bv_call *call, struct entry *e, bool is_dir)
{
	if (e->last != LAST_NORM)
		return e->l.probed ? -EEXIST : -ENOENT;
	if (e->l.probed)
		return -EEXIST;
	if (e->l.view == V_SYNTH)
		return -ENOENT; /* procfs' lookup refuses unknown names before anybody may make them */
	if (e->slashed && !is_dir)
		return -ENOENT;
	return perm_create(v, call, &e->l);
}

struct making {
	entry_make_fn *make;
	const void *arg;
	bool is_dir;
	int mask; /* a new object: the guest's umask; -1: a further name of an old one */
};

static int make_real(int dir, const char *name, const struct making *m)
{
	if (m->mask < 0)
		return m->make(dir, name, m->arg);
	mode_t old = umask((mode_t)m->mask);
	int r = m->make(dir, name, m->arg);
	umask(old);
	return r;
}

static int make_at(struct vfs *v, struct bv_call *call, struct loc *l, const struct making *m)
{
	const char *name;

	v->host->as_creds(NULL);
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	if (dir < 0)
		return dir;
	bool rw = l->dir_view == V_RW, counts = !rw && m->mask >= 0;
	uint64_t bytes = counts && m->is_dir ? QUOTA_BLOCK : 0;
	int r = quota_take(v, bytes, counts);
	if (r == 0 && rw)
		r = v->host->as_guest(call);
	/* The parent was resolved and the name holds no slash: nothing is followed. */
	if (r == 0)
		r = make_real(dir, name, m);
	v->host->as_creds(NULL);
	if (r < 0) {
		if (r != -ENOSPC || !v->quota)
			quota_give(v, bytes, counts);
		return r;
	}
	if (!rw && m->mask >= 0)
		r = upper_own(v, call, dir, name);
	if (r == 0)
		r = upper_created(v, l, m->is_dir);
	if (r < 0 && !rw)
		(void)unlinkat(dir, name, m->is_dir ? AT_REMOVEDIR : 0);
	if (r == 0 && m->mask < 0)
		watch_look(v); /* the link count first */
	if (r == 0)
		watch_made(v, l, m->is_dir);
	return r;
}

int entry_make(struct vfs *v, struct bv_call *call, struct loc *l, bool is_dir, entry_make_fn *make, const void *arg)
{
	int mask = v->host->umask(call);

	return mask < 0 ? mask : make_at(v, call, l, &(struct making){make, arg, is_dir, mask});
}

int entry_place(struct vfs *v, struct bv_call *call, struct loc *l, entry_make_fn *make, const void *arg)
{
	return make_at(v, call, l, &(struct making){make, arg, false, -1});
}

/* The upper part of a merged directory that is empty to guests: only whiteouts are left in it. */
static int remove_merged(int parent, const char *name)
{
	static const char whiteout[] = ".wh.";
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		int r = -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	while ((e = readdir(d)))
		if (strncmp(e->d_name, whiteout, sizeof(whiteout) - 1) == 0)
			(void)unlinkat(fd, e->d_name, 0);
	closedir(d);
	return unlinkat(parent, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

static int remove_real(struct vfs *v, struct bv_call *call, struct loc *l, int flags)
{
	const char *name;

	loc_let_go(l);
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	int r = 0;

	if (dir < 0)
		return dir;
	if (l->dir_view == V_RW)
		r = v->host->as_guest(call);
	if (r == 0 && l->view == V_MERGED)
		r = remove_merged(dir, name);
	else if (r == 0)
		r = unlinkat(dir, name, flags) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	return r;
}

int entry_rmdir(struct vfs *v, struct bv_call *call, struct loc *l)
{
	/* A rule's place inside, even one that hides: the directory has to stay. */
	if (tree_has_mount(l->node))
		return -ENOTEMPTY;
	if (l->view == V_LOWER || l->view == V_MERGED) {
		int empty = listing_is_empty(v, call, l);

		if (empty <= 0)
			return empty < 0 ? empty : -ENOTEMPTY;
	}
	v->host->as_creds(NULL);
	watch_quiet(v);
	int r = l->view == V_LOWER ? 0 : remove_real(v, call, l, AT_REMOVEDIR);
	watch_heard(v, NULL, 0);
	if (r < 0)
		return r;
	moved_gone(v, l->path);
	return upper_removed(v, l);
}

int entry_unlink(struct vfs *v, struct bv_call *call, struct loc *l)
{
	v->host->as_creds(NULL);
	if (l->dir_view == V_RW) {
		int r = remove_real(v, call, l, 0);

		return r < 0 ? r : upper_removed(v, l);
	}
	if (l->view == V_LOWER)
		return upper_removed(v, l);
	const char *name;
	bv_autofd int dir = upper_parent_fd(v, l, &name);
	if (dir < 0)
		return dir;
	int r = quota_removal(v, dir, name);
	if (r < 0)
		return r;
	loc_let_go(l);
	/* The whiteout first: on a full disk the file stays, and the lower one is not laid bare. */
	r = upper_removed(v, l);
	if (r < 0 || unlinkat(dir, name, 0) == 0)
		return r;
	r = -errno;
	(void)upper_created(v, l, false);
	return r;
}
