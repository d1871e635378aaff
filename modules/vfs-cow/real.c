/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors of real objects, each below the right base.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vfs.h"

static const char *below(const char *path, const char *at)
{
	size_t len = strlen(at);

	if (len == 1)
		return path + 1;
	path += len;
	return *path == '/' ? path + 1 : path;
}

/* -1 where no layer has the object: such a loc's path is no place to look at (V_ANON: for show). */
static int base_of(struct vfs *v, const struct loc *l, enum view view, const char **rel)
{
	int fd;

	switch (view) {
	case V_UPPER:
		if (l->mount && l->mount->rule == R_TMP && !l->mount->made)
			(void)mount_private(v, l->mount); /* what fails here is missing below */
		*rel = l->path + 1;
		return v->upper.root_fd;
	case V_LOWER:
		if (v->instead && l->mount == v->base &&
		    (fd = instead_fd(v, l->path, l->len)) >= 0) {
			*rel = "";
			return fd;
		}
		/* fall through */
	case V_MERGED:
	case V_RW:
	case V_RO:
		*rel = below(l->path, l->mount->at);
		return l->mount->fd;
	default:
		*rel = l->path;
		return -1;
	}
}

static bool would_write(int flags)
{
	return !(flags & O_PATH) && ((flags & O_ACCMODE) != O_RDONLY ||
	                             (flags & (O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY))));
}

int real_open(struct vfs *v, const struct loc *l, enum view view, int flags, mode_t mode)
{
	const char *rel;
	int base = base_of(v, l, view, &rel);

	/* Whatever a handler got wrong before: the host's files are not written. */
	if (view != V_UPPER && view != V_RW && would_write(flags))
		return -EROFS;
	return real_openat(base, rel, flags, mode);
}

int real_parent(struct vfs *v, const struct loc *l, enum view view, int flags, const char **name)
{
	const char *rel, *slash;
	char parent[PATH_MAX];
	/* (A directory is never shown with other bytes, so no file in it stands for itself here.) */
	int base = base_of(v, l, view == V_LOWER ? V_MERGED : view, &rel);

	slash = strrchr(rel, '/');
	*name = slash ? slash + 1 : rel;
	size_t len = slash ? (size_t)(slash - rel) : 0;
	memcpy(parent, rel, len);
	parent[len] = '\0';
	return real_openat(base, parent, flags | O_DIRECTORY, 0);
}

bool real_lower_has(struct vfs *v, const struct loc *l, struct stat *st)
{
	struct stat own;

	if (l->mount->rule != R_COW && l->mount->rule != R_BIND)
		return false;
	/* Below an upper directory the lower does not count, whatever the host has there. */
	struct spot s;
	const char *p = l->path + 1;
	spot_root(v, &s);
	for (const char *slash; (slash = strchr(p, '/')); p = slash + 1) {
		spot_step(&s, p, (size_t)(slash - p));
		/* (What is above l's own rule has no say: that may stand in a private directory.) */
		if (s.mount == l->mount && s.view != V_LOWER && s.view != V_MERGED)
			return false;
	}
	bv_autofd int fd = real_open(v, l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
	return fd >= 0 && fstat(fd, st ? st : &own) == 0;
}

static bool starts(const char *text, const char *prefix, size_t len)
{
	return strncmp(text, prefix, len) == 0 && (text[len] == '/' || !text[len]);
}

ssize_t real_place(struct vfs *v, const char *real, char out[PATH_MAX])
{
	size_t len = strlen(real);
	const struct mount *best = NULL;

	for (const struct mount *m = v->binds; m; m = m->next_bind)
		if (starts(real, m->source, strlen(m->source)) &&
		    (!best || strlen(m->source) > strlen(best->source)))
			best = m;
	if (best) {
		size_t skip = strlen(best->source), at = strlen(best->at);

		if (at + len - skip >= PATH_MAX)
			return -ENAMETOOLONG;
		memmove(out + at, real + skip, len - skip + 1);
		memcpy(out, best->at, at);
		return (ssize_t)(at + len - skip);
	}
	memcpy(out, real, len + 1);
	return (ssize_t)len;
}

ssize_t real_shown(struct vfs *v, const char *real, char out[PATH_MAX], enum view *view)
{
	static const char synthetic[] = "/memfd:bv:", instead[] = "/memfd:" INSTEAD_NAME,
			  deleted[] = " (deleted)";
	size_t len = strlen(real);
	struct spot s;

	if (real[0] != '/' || len >= PATH_MAX)
		return -ENOENT;
	if (strncmp(real, synthetic, sizeof(synthetic) - 1) == 0) {
		len -= sizeof(synthetic) - 1;
		memcpy(out, real + sizeof(synthetic) - 1, len + 1);
		if (len > sizeof(deleted) - 1 && strcmp(out + len - (sizeof(deleted) - 1), deleted) == 0)
			out[len -= sizeof(deleted) - 1] = '\0';
		*view = V_SYNTH;
		return (ssize_t)len;
	}
	if (v->instead && strncmp(real, instead, sizeof(instead) - 1) == 0 &&
	    len > sizeof(instead) + sizeof(deleted) - 2) {
		len -= sizeof(instead) + sizeof(deleted) - 2;
		memcpy(out, real + sizeof(instead) - 1, len);
		out[len] = '\0';
		spot_at(v, out, &s);
		*view = s.view;
		return s.view == V_LOWER || (s.view == V_UPPER && s.node && s.node->copied)
		               ? (ssize_t)len
		               : -ENOENT;
	}
	if (starts(real, v->upper.root, v->upper_len)) {
		len -= v->upper_len;
		memcpy(out, real + v->upper_len, len + 1);
		if (!len)
			memcpy(out, "/", (len = 1) + 1);
		spot_at(v, out, &s);
		if (s.view != V_UPPER && s.view != V_MERGED)
			return -ENOENT;
		*view = s.view;
		return (ssize_t)len;
	}
	ssize_t private = exec_shown(v, real, out);
	if (private != -ENOENT) {
		*view = V_UPPER;
		return private;
	}
	/* A path below our own run directory that is not the upper is nobody's business. */
	const char *slash = strrchr(v->upper.root, '/');
	size_t run_len = (size_t)(slash - v->upper.root);
	if (starts(real, v->upper.root, run_len)) {
		static const char synth_dir[] = "/synth";

		if (!starts(real + run_len, synth_dir, sizeof(synth_dir) - 1))
			return -ENOENT;
		real += run_len + sizeof(synth_dir) - 1;
		len = strlen(real);
		memcpy(out, len ? real : "/", len ? len + 1 : 2);
		*view = V_SYNTH;
		return len ? (ssize_t)len : 1;
	}
	ssize_t n = real_place(v, real, out);
	if (n < 0)
		return n;
	spot_at(v, out, &s);
	if (v->moved && (s.view == V_NONE || s.view == V_UPPER) && !(s.node && s.node->copied)) {
		char went[PATH_MAX];
		ssize_t moved = moved_find(v, out, real, went);

		if (moved >= 0) {
			memcpy(out, went, (size_t)moved + 1);
			spot_at(v, out, &s);
			*view = s.view;
			return s.view == V_UPPER || s.view == V_MERGED ? moved : -ENOENT;
		}
	}
	if (s.view == V_HIDE || s.view == V_NONE || s.view == V_ANON ||
	    (s.view == V_UPPER && !(s.node && s.node->copied)))
		return -ENOENT; /* hidden, deleted, or another object stands there now */
	*view = s.view;
	return n;
}

/* Does l's path lead, on that side, to the very object that l->st is of? */
static bool is_at(struct vfs *v, const struct loc *l, enum view side)
{
	struct stat st;
	bv_autofd int fd = real_open(v, l, side, O_PATH | O_NOFOLLOW, 0);

	return fd >= 0 && fstat(fd, &st) == 0 && st.st_dev == l->st.st_dev && st.st_ino == l->st.st_ino;
}

/*
 * A descriptor of a lower file that was copied up after it was opened.  To the guest they are one
 * file, so from here on l is the copy; what the descriptor itself shows stays the old one.
 */
static int to_copy(struct vfs *v, struct loc *l)
{
	int fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	close(l->fd);
	l->fd = fd;
	l->stale = true;
	return fstat(fd, &l->st) < 0 ? -errno : 0;
}

int loc_from_fd(struct vfs *v, struct loc *l)
{
	char self[FD_PATH_MAX], real[PATH_MAX + 1];
	enum view view;
	struct spot s;

	if (fstat(l->fd, &l->st) < 0)
		return -errno;
	l->probed = true;
	real_fd_path(self, l->fd);
	ssize_t n = readlink(self, real, sizeof(real) - 1);
	if (n < 0)
		return -errno;
	real[n] = '\0';
	ssize_t len = real_shown(v, real, l->path, &view);
	/*
	 * The text alone can lie (a file named "x (deleted)", or one replaced since): the name must
	 * still lead to this very object.
	 */
	if (len >= 0) {
		l->len = (size_t)len;
		spot_at(v, l->path, &s);
		l->node = s.node;
		l->mount = s.mount;
		l->view = view;
		l->dir_view = V_LOWER;
		if (view == V_SYNTH)
			return 0;
		if (is_at(v, l, view))
			return 0;
		if (view == V_UPPER && s.node && s.node->copied && is_at(v, l, V_LOWER))
			return to_copy(v, l);
		/* The host's directory that was renamed inside (moved.c): the copy is it now. */
		struct stat there;
		if (view == V_UPPER && S_ISDIR(l->st.st_mode) && !starts(real, v->upper.root, v->upper_len) &&
		    lstat(real, &there) == 0 && there.st_dev == l->st.st_dev && there.st_ino == l->st.st_ino)
			return to_copy(v, l);
	}
	l->ours = real[0] != '/' || starts(real, v->upper.root, v->upper_len) ||
	          (strncmp(real, "/memfd:", 7) == 0 && l->st.st_nlink == 0);
	memcpy(l->path, real, (size_t)n + 1 > PATH_MAX ? PATH_MAX : (size_t)n + 1);
	l->path[PATH_MAX - 1] = '\0';
	l->len = strlen(l->path);
	l->node = NULL;
	l->mount = v->base;
	l->view = V_ANON;
	return 0;
}
