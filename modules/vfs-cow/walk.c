/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Path resolution in the virtual tree (path_resolution(7)).  A clean path costs one openat2;
 * only when that meets a symlink, or when the path holds "..", is it walked component by
 * component.  The host kernel never follows a symlink on our behalf, but the host's own where we
 * know already where they lead (shortcut.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "walk.h"

#define MAX_LINKS 40 /* MAXSYMLINKS of the kernel (include/linux/namei.h) */

bool walk_identity(const struct spot *s)
{
	return (s->view == V_LOWER || s->view == V_MERGED || s->view == V_RW || s->view == V_RO) &&
	       !s->mount->elsewhere;
}

/* Back to the root, which W_IN_ROOT moves to where the walk started. */
void walk_root(struct walk *w)
{
	w->start_len = 0;
	if (w->flags & W_IN_ROOT) {
		w->l->path[w->root_len] = '\0';
		w->l->len = w->root_len;
		spot_at(w->v, w->l->path, &w->at);
		return;
	}
	w->l->path[0] = '/';
	w->l->path[1] = '\0';
	w->l->len = 1;
	spot_root(w->v, &w->at);
}

static int go_down(struct walk *w, const char *name, size_t len)
{
	struct loc *l = w->l;
	size_t slash = l->len > 1;

	if (l->len + slash + len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		l->path[l->len] = '/';
	else
		l->len = 0, l->path[0] = '/', slash = 1;
	memcpy(l->path + l->len + slash, name, len);
	l->len += slash + len;
	l->path[l->len] = '\0';
	l->dir_view = w->at.view;
	spot_step(&w->at, name, len);
	if (!walk_identity(&w->at))
		l->native = false;
	return 0;
}

static int go_up(struct walk *w)
{
	struct loc *l = w->l;
	char *slash = strrchr(l->path, '/');

	if ((w->flags & (W_BENEATH | W_IN_ROOT)) && l->len <= w->root_len)
		return w->flags & W_BENEATH ? -EXDEV : 0;
	if (slash == l->path)
		slash++;
	*slash = '\0';
	l->len = (size_t)(slash - l->path);
	if (w->start_len > l->len)
		w->start_len = l->len;
	spot_at(w->v, l->path, &w->at);
	if (!walk_identity(&w->at))
		l->native = false;
	return 0;
}

/* Puts the tree's answer for the current place into l. */
static void settle(struct walk *w)
{
	w->l->node = w->at.node;
	w->l->mount = w->at.mount;
	w->l->view = w->at.view;
	if (w->v->instead && w->l->view == V_LOWER && instead_fd(w->v, w->l->path, w->l->len) >= 0)
		w->l->native = false;
}

/*
 * Opens the place whose path is l's first len bytes.  Who stands in a directory, or holds it open,
 * need not be able to search what is above it; so when that fails, it is reached by us, and
 * only the rest is searched as the guest.
 */
static int open_place(struct walk *w, size_t len, int flags)
{
	struct loc *l = w->l;
	size_t start = w->start_len;
	char end = l->path[len];

	if (l->view != V_UPPER && strlen(l->mount->at) > len)
		return -ENOENT; /* what is above a rule's place is not below its base */
	l->path[len] = '\0';
	int fd = real_open(w->v, l, l->view, flags, 0);
	if (fd == -EACCES && start > 1 && start <= len && (l->view == V_UPPER || strlen(l->mount->at) <= start)) {
		char cut = l->path[start];

		w->v->host->as_creds(NULL);
		l->path[start] = '\0';
		bv_autofd int dir = real_open(w->v, l, l->view, O_PATH | O_DIRECTORY, 0);
		l->path[start] = cut;
		int r = walk_as_caller(w->v, w->call);
		const char *rest = l->path + start + strspn(l->path + start, "/");
		fd = r < 0 ? r : dir < 0 ? fd : real_openat(dir, rest, flags, 0);
	}
	l->path[len] = end;
	return fd;
}

/* Is there something, and what?  Fills l->st and l->path_fd. -ELOOP: a symlink stands before it. */
int walk_probe(struct walk *w)
{
	struct loc *l = w->l;
	int fd;

	settle(w);
	if (l->path_fd >= 0)
		close(l->path_fd);
	l->path_fd = -1;
	l->probed = false;
	switch (l->view) {
	case V_NONE:
	case V_HIDE:
	case V_ANON:
		return -ENOENT;
	case V_SYNTH: {
		free(l->syn);
		l->syn = NULL;
		const char *rel = l->path + (l->mount->at[1] ? strlen(l->mount->at) : 0);
		/* The module looks at /proc with the supervisor's eyes; what it answers is permission enough. */
		w->v->host->as_creds(NULL);
		int r = synth_lookup(w->v, w->call, l->mount, *rel == '/' ? rel + 1 : rel, &l->syn);
		if (r == 0)
			r = synth_stat(w->v, w->call, l, &l->st);
		l->probed = r == 0;
		int back = walk_as_caller(w->v, w->call);
		if (back < 0)
			return back;
		return r == -EXDEV ? -ENOENT : r;
	}
	default:
		fd = open_place(w, l->len, O_PATH | O_NOFOLLOW);
		if (fd < 0)
			return fd;
		l->path_fd = fd;
		if (fstat(fd, &l->st) < 0)
			return -errno;
		l->probed = true;
		return 0;
	}
}

/* Puts a symlink's text before what remains. */
static int expand_link(struct walk *w, const char *text, size_t len)
{
	size_t rest = strlen(w->rest);

	if (!len)
		return -ENOENT;
	if (len + 1 + rest + 1 > sizeof(w->todo))
		return -ENAMETOOLONG;
	memmove(w->todo + len + 1, w->rest, rest + 1);
	memcpy(w->todo, text, len);
	w->todo[len] = rest ? '/' : '\0';
	w->rest = w->todo;
	if (text[0] != '/')
		return go_up(w);
	if (w->flags & W_BENEATH)
		return -EXDEV;
	walk_root(w);
	return 0;
}

/* Expands the plain symlink that the last probe found; the walk begins anew from where it leads. */
static int expand_here(struct walk *w)
{
	struct loc *l = w->l;
	ssize_t n;

	if (l->view == V_SYNTH) {
		n = (ssize_t)strnlen(l->syn->target, sizeof(w->target) - 1);
		memcpy(w->target, l->syn->target, (size_t)n);
	} else {
		n = readlinkat(l->path_fd, "", w->target, sizeof(w->target) - 1);
	}
	if (n < 0)
		return -errno;
	if (l->view == V_LOWER)
		trail_add(&w->trail, l->path, l->len);
	else
		w->trail.lost = true;
	w->target[n] = '\0';
	w->slashed |= l->must_dir;
	return expand_link(w, w->target, (size_t)n);
}

/* Follows a magic link by descriptor: the object itself, wherever its name leads today. */
static int follow_magic(struct walk *w)
{
	struct loc *l = w->l;
	struct stat link;
	int fd;

	/* proc(5): a process that changed its user is closed even to itself, but not to us. */
	w->v->host->as_creds(NULL);
	fd = open(l->syn->target, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	/* proc(5): the link's own mode tells how the descriptor was opened; cwd, exe, root say 0777. */
	l->fd_writable = fstatat(AT_FDCWD, l->syn->target, &link, AT_SYMLINK_NOFOLLOW) == 0 &&
	                 (link.st_mode & 0277) == 0200;
	free(l->syn);
	l->syn = NULL;
	if (l->fd >= 0)
		close(l->fd);
	l->fd = fd;
	l->magic = true;
	l->native = false;
	int r = loc_from_fd(w->v, l);
	if (r == 0)
		r = walk_as_caller(w->v, w->call);
	if (r < 0)
		return r;
	if (*w->rest) { /* more to come: only a directory with a place in the tree leads on */
		if (l->view == V_ANON)
			return S_ISDIR(l->st.st_mode) ? -ENOENT : -ENOTDIR;
		spot_at(w->v, l->path, &w->at);
		w->start_len = l->len;
		if (!S_ISDIR(l->st.st_mode))
			return -ENOTDIR;
		close(l->fd);
		l->fd = -1;
		l->magic = false;
	}
	return 0;
}

static void skip_slashes(struct walk *w)
{
	while (*w->rest == '/')
		w->rest++;
}

/* A final component was taken: what must hold of it? */
static int finish(struct walk *w, int probed)
{
	struct loc *l = w->l;

	settle(w);
	if (l->view == V_HIDE && (w->flags & W_CREATE))
		return -EACCES; /* an entry that policy hides cannot be made either */
	if (probed == -ENOENT && (w->flags & (W_CREATE | W_PARENT)) && !l->dotted) {
		l->view = l->view == V_SYNTH ? V_SYNTH : V_NONE;
		return 0;
	}
	if (probed < 0)
		return probed;
	if (l->must_dir && !S_ISDIR(l->st.st_mode))
		return -ENOTDIR;
	return 0;
}

/* Component by component, up to the end or the first plain symlink: then WALK_AGAIN. */
static int walk_slowly(struct walk *w)
{
	struct loc *l = w->l;
	bool dir = true; /* the current place is known to be a directory */

	for (;;) {
		skip_slashes(w);
		size_t len = strcspn(w->rest, "/");
		if (!len) { /* only "/", "." or ".." so far, or a trailing slash */
			int r = walk_probe(w);
			l->dotted = true;
			return finish(w, r);
		}
		char *name = w->rest;
		char *after = name + len + strspn(name + len, "/");
		bool last = !*after, slashed = name[len] == '/';
		bool dots = name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.'));
		if (last && slashed && !dots && (w->flags & W_NO_DIR)) {
			int r = walk_probe(w);

			return r < 0 ? r : S_ISDIR(l->st.st_mode) ? -EISDIR : -ENOTDIR;
		}
		if (len > NAME_MAX) {
			int r = walk_probe(w);

			return r < 0 ? r : S_ISDIR(l->st.st_mode) ? -ENAMETOOLONG : -ENOTDIR;
		}
		if (!dir) {
			int r = walk_probe(w);
			if (r < 0)
				return r;
			if (!S_ISDIR(l->st.st_mode))
				return -ENOTDIR;
			dir = true;
		}
		if (len == 1 && name[0] == '.') {
			w->rest = after;
			if (last)
				l->must_dir = true;
			continue;
		}
		if (len == 2 && name[0] == '.' && name[1] == '.') {
			int up = go_up(w);
			if (up < 0)
				return up;
			w->trail.lost = true;
			w->rest = after;
			if (last)
				l->must_dir = true;
			continue;
		}
		int r = go_down(w, name, len);
		if (r < 0)
			return r;
		w->rest = name + len;
		if (!last)
			w->rest = after;
		else
			w->rest = name + len + strlen(name + len);
		if (last && slashed)
			l->must_dir = true;
		if (!last && w->at.view == V_MERGED)
			continue;
		r = walk_probe(w);
		if (r < 0) {
			if (last)
				return finish(w, r);
			return r;
		}
		if ((w->flags & W_NO_XDEV) && l->view != V_UPPER && l->st.st_dev != w->dev)
			return -EXDEV;
		if (S_ISLNK(l->st.st_mode) && (!last || !(w->flags & W_NOFOLLOW) || l->must_dir)) {
			if (++w->links > MAX_LINKS)
				return -ELOOP;
			if (w->flags & W_NO_SYMLINKS)
				return -ELOOP;
			if (l->view == V_SYNTH && l->syn->kind == BV_VFS_MAGIC) {
				if (w->flags & W_NO_MAGIC)
					return -ELOOP;
				if (w->flags & (W_BENEATH | W_IN_ROOT))
					return -EXDEV;
				r = follow_magic(w);
				if (r < 0 || !*w->rest)
					return r < 0 ? r : l->must_dir && !S_ISDIR(l->st.st_mode) ? -ENOTDIR : 0;
				continue;
			}
			r = expand_here(w);
			return r < 0 ? r : WALK_AGAIN;
		}
		if (last)
			return finish(w, 0);
		if (!S_ISDIR(l->st.st_mode))
			return -ENOTDIR;
	}
}

/*
 * The common case: no "..", and (to be seen) no symlink on the way.  1 when it decided, 0 when the
 * path has to be walked.
 */
static int walk_fast(struct walk *w, int *result)
{
	struct loc *l = w->l;
	bool last_dot = false;

	for (const char *c = w->rest; *c;) {
		while (*c == '/')
			c++;
		size_t len = strcspn(c, "/");
		if (!len)
			break;
		last_dot = len == 1 && c[0] == '.';
		if (len == 2 && c[0] == '.' && c[1] == '.')
			return 0;
		if (len > NAME_MAX) {
			/* Earlier components decide first (ENOENT, ENOTDIR, EACCES). */
			return 0;
		}
		if (!last_dot) {
			if (w->at.view == V_NONE || w->at.view == V_HIDE || w->at.view == V_SYNTH) {
				if (w->at.view != V_SYNTH) {
					w->rest +=
						c - w->rest; /* what remains, for tell_hidden() */
					*result = -ENOENT;
					return 1;
				}
				return 0; /* synthetic trees have links of their own */
			}
			int r = go_down(w, c, len);
			if (r < 0) {
				*result = r;
				return 1;
			}
		}
		c += len;
		if (*c == '/' && !c[strspn(c, "/")])
			l->must_dir = true;
	}
	if (l->must_dir && !last_dot && (w->flags & W_NO_DIR))
		return 0;
	if (last_dot)
		l->must_dir = l->dotted = true;
	if (l->len == 1)
		l->dotted = true;
	if (w->at.view == V_SYNTH && !(w->flags & W_NOFOLLOW))
		return 0;
	int r = walk_probe(w);
	if (r == -ELOOP)
		return 0;
	if (r == 0 && S_ISLNK(l->st.st_mode) && (!(w->flags & W_NOFOLLOW) || l->must_dir)) {
		if (l->view == V_SYNTH)
			return 0;
		w->rest += strlen(w->rest);
		w->dotted |= l->dotted;
		*result = ++w->links > MAX_LINKS ? -ELOOP : expand_here(w);
		if (*result == 0)
			*result = WALK_AGAIN;
		return 1;
	}
	if (r == -ENOENT && (w->flags & (W_CREATE | W_PARENT)) && l->view != V_NONE) {
		/* Missing, but is its parent there?  ELOOP again means a symlink stands before it. */
		if (l->view == V_SYNTH) {
			*result = finish(w, r);
			return 1;
		}
		if (l->view != V_HIDE) {
			size_t parent = (size_t)(strrchr(l->path, '/') - l->path);
			int fd = open_place(w, parent ? parent : 1, O_PATH | O_DIRECTORY);

			if (fd == -ELOOP)
				return 0;
			if (fd < 0) {
				*result = fd;
				return 1;
			}
			close(fd);
		}
	}
	w->rest += strlen(w->rest);
	*result = finish(w, r);
	return 1;
}

/* From where we are: the fast way, else the slow one.  0, -errno, WALK_AGAIN. */
int walk_on(struct walk *w)
{
	struct loc *l = w->l;
	/* The fast way changes l and `at` as it goes: keep the start for the slow one. */
	struct spot start = w->at;
	size_t start_len = l->len;
	bool start_native = l->native, start_root = l->len == 1;
	int r;

	l->must_dir = w->slashed;
	l->dotted = w->dotted;
	if (!(w->flags & W_RESOLVE) && walk_fast(w, &r))
		return r;
	if (start_root)
		l->path[0] = '/';
	l->path[start_len] = '\0';
	l->len = start_len;
	l->native = start_native;
	l->must_dir = w->slashed;
	l->dotted = w->dotted;
	w->at = start;
	return walk_slowly(w);
}
