/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The wall behind which the kernel itself may act for a guest (Landlock, Linux 5.13): the read
 * policy as a list of paths, everything shown and nothing hidden, and no right to write at all.
 * execve and the opening of clean files for reading are answered CONTINUE on its strength: a
 * guest that changes the path after we looked gets no more than some other host file that the
 * policy shows it anyway.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

/* One path that was allowed; everything below it is. */
struct wall {
	UT_hash_handle hh;
	char path[];
};

static int allow(struct vfs *v, const char *path)
{
	size_t len = strlen(path);
	struct wall *w;

	HASH_FIND(hh, v->wall, path, len, w);
	if (w)
		return 0;
	w = malloc(sizeof(*w) + len + 1);
	if (!w)
		return -ENOMEM;
	memcpy(w->path, path, len + 1);
	HASH_ADD_KEYPTR(hh, v->wall, w->path, len, w);
	return v->host->landlock_read(v->self, path);
}

/*
 * Beside something hidden, every neighbour needs a rule of its own: directories, and of the files
 * those that the kernel will be asked for, programs.
 */
static bool wanted(int dir, const struct dirent *e)
{
	struct stat st;

	if (e->d_type == DT_DIR)
		return true;
	return (e->d_type == DT_REG || e->d_type == DT_UNKNOWN) &&
	       fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && (st.st_mode & 0111)));
}

/* Does anything at or below n have to be kept from the kernel? */
static bool holds_secret(const struct node *n)
{
	struct stat st;

	if (n->mount && n->mount->rule == R_HIDE) {
		if (n->mount->there < 0)
			n->mount->there = lstat(n->mount->source, &st) == 0;
		return n->mount->there;
	}
	if (n->mount && n->mount->rule == R_TMP)
		return true; /* the host's own is another directory */
	for (const struct node *c = n->children; c; c = c->hh.next)
		if (holds_secret(c))
			return true;
	return false;
}

static int allow_below(struct vfs *v, struct node *n, const char *path);

/* Where no host object is shown, rules below may show some again. */
static int allow_nested(struct vfs *v, struct node *n, const char *path)
{
	int r = 0;

	for (struct node *c = n->children; c && r == 0; c = c->hh.next) {
		bv_autofree char *child = NULL;

		if (asprintf(&child, "%s/%s", path[1] ? path : "", c->name) < 0)
			return -ENOMEM;
		r = c->mount ? allow_below(v, c, child) : allow_nested(v, c, child);
	}
	return r;
}

/*
 * /etc holds secrets among many directories and, but for oddities that exec copies (made_copy()),
 * no program.  A rule takes 4 us, so only what most programs read has one.
 */
static int allow_etc(struct vfs *v, struct node *n)
{
	static const char *const often[] = {"ld.so.cache", "nsswitch.conf", "passwd", "group", "locale.alias",
	                                    "hosts", "host.conf", "resolv.conf", "gai.conf"};
	char path[32];
	struct stat st;
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(often) && r == 0; i++) {
		snprintf(path, sizeof(path), "/etc/%s", often[i]);
		if (!tree_child(n, often[i], strlen(often[i])) && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			r = allow(v, path);
	}
	return r == 0 ? allow_nested(v, n, "/etc") : r;
}

static int allow_below(struct vfs *v, struct node *n, const char *path)
{
	DIR *d;
	const struct dirent *e;
	int r = 0;

	/* Of these no host object is shown; the upper is allowed as a whole. */
	if (n->mount && (n->mount->rule == R_HIDE || n->mount->rule == R_SYNTH || n->mount->rule == R_TMP))
		return allow_nested(v, n, path);
	/* Nothing in these is a program: they need not be walked. */
	if (strcmp(path, "/dev") == 0 || strcmp(path, "/sys") == 0)
		return 0;
	if (!holds_secret(n))
		return allow(v, path);
	if (strcmp(path, "/etc") == 0)
		return allow_etc(v, n);
	d = opendir(path);
	if (!d)
		return 0;
	while (r == 0 && (e = readdir(d))) {
		char child[PATH_MAX];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(child, sizeof(child), "%s/%s", path[1] ? path : "", e->d_name) >= sizeof(child))
			continue;
		struct node *c = tree_child(n, e->d_name, strlen(e->d_name));
		if (c)
			r = allow_below(v, c, child);
		else if (wanted(dirfd(d), e))
			r = allow(v, child);
	}
	closedir(d);
	return r;
}

/* The run directory: the upper, and beside it what exec makes there later. */
static int allow_own(struct vfs *v)
{
	char run[sizeof(v->upper.root)];

	memcpy(run, v->upper.root, v->upper_len + 1);
	*strrchr(run, '/') = '\0';
	int r = allow(v, run);
	if (r < 0 || (v->upper.flags & BV_LAYER_READ))
		return r;
	r = v->host->landlock_write(v->self, run, BV_WRITE_ALL);
	/* Beside it the store makes and removes run directories. */
	*strrchr(run, '/') = '\0';
	return r < 0 ? r : v->host->landlock_write(v->self, run, BV_WRITE_DIRS);
}

/* What guests write on the host by the policy's leave. */
static int allow_writes(struct vfs *v)
{
	int r = 0;

	for (struct mount *m = v->mounts; m && r == 0; m = m->next)
		if (m->rule == R_RW)
			r = v->host->landlock_write(v->self, m->source, BV_WRITE_ALL);
	return r;
}

int wall_build(struct vfs *v)
{
	int r = allow_below(v, v->root, "/");

	for (struct mount *m = v->mounts; m && r == 0; m = m->next)
		if (m->fd >= 0 && m->elsewhere)
			r = allow(v, m->source);
	if (r == 0)
		r = allow_writes(v);
	return r == 0 ? allow_own(v) : r;
}

bool wall_allows(const struct vfs *v, const char *path)
{
	struct wall *w;

	for (const char *end = path + 1;; end++) {
		end = strchrnul(end, '/');
		HASH_FIND(hh, v->wall, path, (size_t)(end - path), w);
		if (w)
			return true;
		if (!*end)
			return false;
	}
}

void wall_free(struct vfs *v)
{
	struct wall *w, *next;

	HASH_ITER(hh, v->wall, w, next) {
		HASH_DEL(v->wall, w);
		free(w);
	}
}
