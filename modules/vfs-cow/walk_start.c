/* SPDX-License-Identifier: Apache-2.0 */
/* Where a path resolution begins: the root, the caller's working directory, a descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "walk.h"

int walk_as_caller(struct vfs *v, struct bv_call *call)
{
	return call ? v->host->as_guest(call) : 0;
}

/* "." in a removed directory is still that directory, though it has no path any more. */
static int here(struct walk *w, int dirfd)
{
	struct loc *l = w->l;

	if (dirfd == AT_FDCWD) {
		int dir = w->v->host->proc_fd(w->call);

		l->fd = dir < 0 ? -1 : openat(dir, "cwd", O_PATH | O_CLOEXEC);
		if (dir < 0)
			return dir;
	} else
		l->fd = w->v->host->get_fd(w->call, dirfd);
	if (l->fd < 0)
		return dirfd == AT_FDCWD ? -errno : l->fd;
	int r = loc_from_fd(w->v, l);
	if (r == 0 && !S_ISDIR(l->st.st_mode))
		r = -ENOTDIR;
	if (r < 0)
		loc_fini(l);
	l->dotted = l->must_dir = true;
	return r;
}

/* Without its leading "./", whatever number of them. */
static const char *undotted(const char *path)
{
	while (path[0] == '.' && path[1] == '/')
		path += 1 + strspn(path + 1, "/");
	return path;
}

/* A relative path from a removed directory: nothing is in it, nor can be made there. */
static int in_gone(struct walk *w, int dirfd, const char *path)
{
	path = undotted(path);
	size_t len = strcspn(path, "/");
	bool slashed = path[len] == '/', last = !path[len + strspn(path + len, "/")];

	if (!len || strcmp(path, ".") == 0)
		return here(w, dirfd);
	if (!last || strcmp(path, "..") == 0)
		return -ENOENT;
	if (slashed && w->flags & W_NO_DIR)
		return -EISDIR;
	if (!(w->flags & W_PARENT))
		return -ENOENT;
	w->l->view = V_NONE;
	w->l->gone = true;
	return 0;
}

/* Is the caller's descriptor (or working directory) of that name in its /proc a directory? */
static bool is_dir_link(int proc_fd, const char *link)
{
	struct stat st;

	return fstatat(proc_fd, link, &st, 0) < 0 || S_ISDIR(st.st_mode);
}

/* The virtual path where a relative one starts. */
static int start_at(struct walk *w, int dirfd, const char *path)
{
	char link[32], real[PATH_MAX + 1];
	enum view view;
	struct loc *l = w->l;

	if (dirfd == AT_FDCWD) {
		memcpy(link, "cwd", 4);
	} else if (dirfd < 0) {
		return -EBADF;
	} else {
		snprintf(link, sizeof(link), "fd/%d", dirfd);
	}
	int dir = w->v->host->proc_fd(w->call);
	ssize_t n = dir < 0 ? dir : readlinkat(dir, link, real, sizeof(real) - 1);
	if (dir < 0)
		return dir;
	if (n < 0)
		return errno == ENOENT && dirfd != AT_FDCWD ? -EBADF : -errno;
	real[n] = '\0';
	if (real[0] != '/')
		return -ENOTDIR;
	ssize_t len = real_shown(w->v, real, l->path, &view);
	/* A removed directory of the upper says so in its path, which then leads to nothing. */
	if (len >= 0 && view == V_UPPER && gone_dir(w->v, l, real))
		len = -ENOENT;
	if (len == -ENOENT) {
		const char *first = undotted(path);

		if (strncmp(first, "..", 2) == 0 && (first[2] == '/' || !first[2]))
			len = gone_path(w->v, real, l->path);
	}
	/* An ordinary component finds out by itself what it is looked up in. */
	if ((len < 0 || path[0] == '.') && dirfd != AT_FDCWD && !is_dir_link(dir, link))
		return -ENOTDIR;
	if (len < 0)
		return (int)len;
	l->len = w->start_len = (size_t)len;
	spot_at(w->v, l->path, &w->at);
	if (!walk_identity(&w->at))
		l->native = false;
	return 0;
}

/*
 * The path by which shortcut.c may know this walk: an absolute one, that of the start before it if it is
 * relative.  NULL: it cannot know it.
 */
static const char *shortcut_key(struct walk *w, const char *path, size_t n)
{
	const struct loc *l = w->l;

	if (w->flags & W_RESOLVE)
		return NULL;
	if (path[0] == '/')
		return path;
	if (!l->native || l->len + 1 + n >= sizeof(w->key))
		return NULL;
	memcpy(w->key, l->path, l->len);
	w->key[l->len] = '/';
	memcpy(w->key + l->len + (l->len > 1), path, n + 1);
	return w->key;
}

void vfs_refused(struct vfs *v, struct bv_call *call, int err, const struct loc *l)
{
	if (v->named)
		v->host->report(v->self, call, BV_REPORT_DENIED, err, l ? l->path : v->named);
}

/*
 * Tells if the walk ended at something that policy hides: something that the host has, or that was to be
 * made.  Below a hidden place nothing is a guest's, and no symlink is followed to find out.
 */
static void tell_hidden(struct walk *w, const char *path, int r)
{
	char place[PATH_MAX];
	struct vfs *v = w->v;
	struct spot s;

	if (!v->named || !w->call || (r != -ENOENT && r != -EACCES))
		return;
	spot_at(v, w->l->path, &s);
	if (s.view != V_HIDE || (size_t)snprintf(place, sizeof(place), "%s%s%s", w->l->path,
	                                         *w->rest ? "/" : "", w->rest) >= sizeof(place))
		return;
	int fd =
		w->flags & W_CREATE ? -ELOOP : real_openat(AT_FDCWD, place, O_PATH | O_NOFOLLOW, 0);
	if (fd >= 0)
		close(fd);
	if (fd >= 0 || fd == -ELOOP)
		v->host->report(v->self, w->call, BV_REPORT_DENIED, -r,
		                path[0] == '/' ? path : place);
}

static int walk_as_guest(struct vfs *v, struct bv_call *call, int dirfd, const char *path, unsigned flags,
                         struct loc *l)
{
	struct walk w;
	int r;

	loc_init(l);
	w.v = v;
	w.call = call;
	w.l = l;
	w.flags = flags;
	w.links = 0;
	w.slashed = w.dotted = false;
	w.start_len = 0;
	w.trail.n = w.trail.len = 0;
	if (!*path) {
		if (!(flags & W_EMPTY))
			return -ENOENT;
		if (dirfd != AT_FDCWD)
			return vfs_loc_fd(v, call, dirfd, l);
		path = ".";
	}
	w.root_len = 0;
	if (flags & W_BENEATH && path[0] == '/')
		return -EXDEV;
	if (flags & (W_BENEATH | W_IN_ROOT | W_NO_XDEV)) {
		if (path[0] == '/' && !(flags & W_IN_ROOT)) {
			walk_root(&w);
		} else if ((r = start_at(&w, dirfd, path)) < 0) {
			return r;
		}
		w.root_len = l->len;
		r = walk_as_caller(v, call);
		if (r == 0)
			r = walk_probe(&w);
		w.dev = l->st.st_dev;
		if (r < 0 || !S_ISDIR(l->st.st_mode)) {
			loc_fini(l);
			return r < 0 ? r : -ENOTDIR;
		}
	} else if (path[0] == '/')
		walk_root(&w);
	else if ((r = start_at(&w, dirfd, path)) < 0)
		return r == -ENOENT ? in_gone(&w, dirfd, path) : r;
	size_t n = strlen(path);
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	memcpy(w.todo, path, n + 1);
	w.rest = w.todo;
	r = walk_as_caller(v, call);
	if (r < 0)
		return r;
	const char *key = shortcut_key(&w, path, n);
	w.trail.lost = !key;
	if (key && shortcut_walk(v, key, flags & W_NOFOLLOW, l))
		return 0;
	do
		r = walk_on(&w);
	while (r == WALK_AGAIN);
	if (r < 0)
		tell_hidden(&w, path, r);
	if (r < 0)
		loc_fini(l);
	else if (key)
		shortcut_add(v, key, &w.trail, l);
	return r;
}

int vfs_walk(struct vfs *v, struct bv_call *call, int dirfd, const char *path, unsigned flags, struct loc *l)
{
	v->actor = call ? call->tid : 0;
	/* Where it begins is read as ourselves, the search is the guest's. */
	v->host->as_creds(NULL);
	int r = walk_as_guest(v, call, dirfd, path, flags, l);
	v->host->as_creds(NULL);
	if (v->named && call) /* for a refusal that comes later */
		snprintf(v->named, PATH_MAX, "%s", r == 0 ? l->path : path);
	return r;
}
