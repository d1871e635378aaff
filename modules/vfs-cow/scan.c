/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kept layer becomes the tree again.  Where upper and lower meet the tree has nodes; what lies
 * below a directory that is the upper's alone needs none.  Things that a supervisor was killed in
 * the middle of are put right on the way: half copies go, and of a whiteout and a file of one name
 * the file wins, since a name is freed last and covered first.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "review.h"
#include "same.h"
#include "whiteout.h"

struct scan {
	struct vfs *v;
	struct loc l; /* the directory being read */
	bool live; /* the layer is in use: nothing in it is half done */
};

/* Names of the upper directory at the place: whiteouts (the names they hide) and the rest. */
static int read_names(struct scan *s, struct strbuf *gone, struct strbuf *here)
{
	const struct dirent *e;
	int fd = real_open(s->v, &s->l, V_UPPER, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int err = fd < 0 ? -fd : errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((e = readdir(d))) {
		char name[NAME_MAX + 1];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		switch (whiteout_read(dirfd(d), e->d_name, name)) {
		case WHITEOUT_NONE:
			strbuf_add(here, e->d_name, strlen(e->d_name) + 1);
			break;
		case WHITEOUT_OF:
			strbuf_add(gone, name, strlen(name) + 1);
			break;
		case WHITEOUT_TEMP:
			if (!s->live)
				(void)unlinkat(dirfd(d), e->d_name, 0);
			break;
		case WHITEOUT_BAD:
			closedir(d);
			return -EUCLEAN;
		}
	}
	closedir(d);
	return gone->failed || here->failed ? -ENOMEM : 0;
}

static bool in_list(const struct strbuf *names, const char *name)
{
	for (size_t at = 0; at < names->len; at += strlen(names->data + at) + 1)
		if (strcmp(names->data + at, name) == 0)
			return true;
	return false;
}

static int down(struct scan *s, const char *name, size_t *was)
{
	size_t len = strlen(name), slash = s->l.len > 1;

	*was = s->l.len;
	if (s->l.len + slash + len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		s->l.path[s->l.len] = '/';
	memcpy(s->l.path + s->l.len + slash, name, len + 1);
	s->l.len += slash + len;
	return 0;
}

static void up(struct scan *s, size_t was)
{
	s->l.len = was;
	s->l.path[was] = '\0';
}

/* Did a guest change the merged directory's own mode, owner or attributes?  An unprivileged supervisor's
 * directories are its user's and open to it in any case (mirror_one). */
static bool own_meta(int low_fd, const struct stat *low, int high_fd, const struct stat *high)
{
	mode_t mode = low->st_mode & 07777;

	if (geteuid() != 0 && mode != (high->st_mode & 07777))
		mode |= 0700;
	return (high->st_mode & 07777) != mode || !same_xattrs(low_fd, high_fd) ||
	       (geteuid() == 0 && (low->st_uid != high->st_uid || low->st_gid != high->st_gid));
}

static int scan_dir(struct scan *s, struct node *n, struct mount *mount);

static int entry(struct scan *s, struct node *parent, struct mount *mount, const char *name,
                 bool covered);

/* A private directory is the upper's alone, but for what rules show in it. */
static int shown_below(struct scan *s, struct node *n, struct mount *mount)
{
	size_t was;
	int r = 0;

	for (struct node *c = n->children; c && r == 0; c = c->hh.next) {
		r = down(s, c->name, &was);
		if (r == 0)
			r = c->mount ? entry(s, n, mount, c->name, false)
			             : shown_below(s, c, mount);
		up(s, was);
	}
	return r;
}

/* One entry of a directory where the layers meet. */
static int entry(struct scan *s, struct node *parent, struct mount *mount, const char *name, bool covered)
{
	struct stat low, high;
	struct node *n = tree_child(parent, name, strlen(name));

	if (n && n->mount && n->mount->rule == R_TMP)
		return shown_below(s, n, n->mount);
	if (n && n->mount && n->mount->rule != R_COW && n->mount->rule != R_BIND)
		return 0; /* a rule of today says otherwise than the layer: it stays for another day */
	if (n && n->mount)
		mount = n->mount;
	s->l.mount = mount;
	bv_autofd int fd = real_open(s->v, &s->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &high) < 0)
		return fd == -ENOENT ? 0 : fd < 0 ? fd : -errno;
	bool lower = real_lower_has(s->v, &s->l, &low);
	n = tree_add(parent, name, strlen(name));
	if (!n)
		return -ENOMEM;
	if (S_ISDIR(high.st_mode) && !covered && lower && S_ISDIR(low.st_mode)) {
		n->state = N_MERGED;
		bv_autofd int low_fd = real_open(s->v, &s->l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
		if (low_fd < 0)
			return low_fd;
		n->meta = own_meta(low_fd, &low, fd, &high);
		n->gen++;
		return scan_dir(s, n, mount);
	}
	n->state = N_UPPER;
	n->had_lower = S_ISDIR(high.st_mode) && (covered || lower);
	if (n->had_lower != covered) {
		const char *base;
		bv_autofd int dir = real_parent(s->v, &s->l, V_UPPER, O_PATH, &base);

		if (dir < 0)
			return dir;
		if (covered)
			whiteout_drop(dir, name);
		else
			return whiteout_make(dir, name);
	}
	return 0;
}

static int scan_dir(struct scan *s, struct node *n, struct mount *mount)
{
	bv_autostrbuf struct strbuf gone = {0}, here = {0};
	mode_t closed = upper_open_up(s->v, &s->l);
	int r = read_names(s, &gone, &here);
	size_t was;

	for (size_t at = 0; r == 0 && at < here.len; at += strlen(here.data + at) + 1) {
		r = down(s, here.data + at, &was);
		if (r == 0)
			r = entry(s, n, mount, here.data + at, in_list(&gone, here.data + at));
		up(s, was);
	}
	for (size_t at = 0; r == 0 && at < gone.len; at += strlen(gone.data + at) + 1) {
		const char *name = gone.data + at;
		struct node *child;

		if (in_list(&here, name))
			continue;
		child = tree_add(n, name, strlen(name));
		if (!child)
			r = -ENOMEM;
		else if (!child->mount)
			child->state = N_WHITEOUT;
	}
	upper_close_again(s->v, &s->l, closed);
	return r;
}

static void forget(void *arg, struct node *child)
{
	(void)arg;
	tree_drop(child);
}

int scan_again(struct vfs *v, struct node *n, struct mount *mount)
{
	bv_autofree struct scan *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->v = v;
	s->live = true;
	s->l.fd = s->l.path_fd = -1;
	tree_path(n, s->l.path);
	s->l.len = strlen(s->l.path);
	int r = entry(s, n->parent, mount, n->name, false);
	if (r == 0)
		return 0;
	tree_each(n, forget, NULL);
	n->state = N_UPPER;
	return r;
}

int scan_layer(struct vfs *v)
{
	bv_autofree struct scan *s = calloc(1, sizeof(*s));
	bv_autostrbuf struct strbuf gone = {0}, here = {0};
	struct stat low, high;

	if (!s)
		return -ENOMEM;
	s->v = v;
	s->l.fd = s->l.path_fd = -1;
	s->l.mount = v->base;
	memcpy(s->l.path, "/", 2);
	s->l.len = 1;
	int r = read_names(s, &gone, &here);
	if (r < 0 || (!here.len && !gone.len))
		return r; /* a new one: the root is still the host's */
	if (fstat(v->base->fd, &low) < 0 || fstat(v->upper.root_fd, &high) < 0)
		return -errno;
	v->root->state = N_MERGED;
	v->root->meta = own_meta(v->base->fd, &low, v->upper.root_fd, &high);
	v->root->gen = 1;
	return scan_dir(s, v->root, v->base);
}
