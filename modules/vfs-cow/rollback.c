/* SPDX-License-Identifier: Apache-2.0 */
/* Taking changes out of the upper: those that are not wanted, and those that the host has now. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "origin.h"
#include "review.h"
#include "scrub.h"
#include "whiteout.h"
#include "who.h"

static bool counts(const struct mount *m)
{
	return m->rule == R_COW || m->rule == R_BIND;
}

int drop_upper(struct vfs *v, const char *path)
{
	const char *name;
	struct stat st;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	place_at(v, path, l);
	bv_autofd int dir = real_parent(v, l, V_UPPER, O_PATH, &name);
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	/* First: what is killed in the middle leaves a directory that the lower's shines through, and
	 * not an emptied one in its place. */
	whiteout_drop(dir, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode)) {
			bv_autofd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			int r = fd < 0 ? -errno : scrub(fd, NULL);

			if (r < 0)
				return r;
		}
		if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
			return -errno;
	} else if (errno != ENOENT) {
		return -errno;
	}
	if (l->node && !l->node->mount)
		tree_drop(l->node);
	return 0;
}

struct walk_up {
	struct vfs *v;
	struct changes changes;
	char path[PATH_MAX];
	size_t len;
};

static int visit(struct walk_up *w, struct node *n, const struct mount *mount);

static int children(struct walk_up *w, struct node *n, const struct mount *mount)
{
	struct node *c, *next;
	int r = 0;

	HASH_ITER(hh, n->children, c, next) {
		size_t was = w->len, len = strlen(c->name), slash = was > 1;

		if (r < 0 || was + slash + len >= sizeof(w->path))
			continue;
		if (slash)
			w->path[was] = '/';
		memcpy(w->path + was + slash, c->name, len + 1);
		w->len = was + slash + len;
		r = visit(w, c, c->mount ? c->mount : mount);
		w->len = was;
		w->path[was] = '\0';
	}
	return r;
}

static int visit(struct walk_up *w, struct node *n, const struct mount *mount)
{
	if (!counts(mount))
		return children(w, n, mount);
	if (n->state == N_UPPER || n->state == N_WHITEOUT)
		return changes_touch(&w->changes, w->path) ? 0 : drop_upper(w->v, w->path);
	int r = children(w, n, mount);
	if (r < 0 || n->state != N_MERGED || n->children || !n->parent || n->mount ||
	    changes_touch(&w->changes, w->path))
		return r;
	return drop_upper(w->v, w->path);
}

static bool touches(void *arg, const char *path)
{
	return changes_touch(arg, path);
}

/* Records of places that hold nothing any more. */
static void tidy_records(struct vfs *v, const struct changes *c)
{
	struct origin *o, *next;

	HASH_ITER(hh, v->origins, o, next) {
		struct spot s;

		spot_at(v, o->path, &s);
		if (!changes_touch(c, o->path) && !s.node && s.view == V_LOWER)
			origin_forget(v, o->path);
	}
	if (!v->who || v->upper.meta_fd < 0)
		return;
	whos_filter(v->who, touches, (void *)(uintptr_t)c);
	(void)whos_save(v->who, v->upper.meta_fd); /* more than there need be does no harm */
}

int collapse(struct vfs *v)
{
	bv_autofree struct walk_up *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	w->v = v;
	memcpy(w->path, "/", 2);
	w->len = 1;
	int r = changes_collect(v, &w->changes);
	if (r == 0)
		r = visit(w, v->root, v->base);
	if (r == 0)
		tidy_records(v, &w->changes);
	changes_free(&w->changes);
	return r;
}

static void tell(const struct bv_selection *what, enum bv_commit_event event, const struct bv_change *c, const char *text)
{
	if (what->tell)
		what->tell(what->arg, event, c, text, 0, 0);
}

/* The topmost place at or above path that is the upper's alone: *len of it, 0 for none. */
static const struct node *top_of(struct vfs *v, const char *path, size_t *len)
{
	struct spot s;

	spot_root(v, &s);
	for (const char *p = path + 1; *p;) {
		size_t n = strcspn(p, "/");

		spot_step(&s, p, n);
		p += n;
		if (s.node && s.node->state == N_UPPER && !s.node->mount) {
			*len = (size_t)(p - path);
			return s.node;
		}
		p += *p == '/';
	}
	*len = 0;
	return NULL;
}

/* A change's own place goes back to what the lower has. */
static int undo(struct vfs *v, const struct bv_selection *what, const struct bv_change *c)
{
	char top[PATH_MAX];
	size_t len;
	const struct node *n = top_of(v, c->path, &len);

	if (!n || !c->path[len]) {
		struct spot s;

		/* A merged directory's own mode and owner: its entries are other changes. */
		spot_at(v, c->path, &s);
		if (s.node && s.node->state == N_MERGED) {
			struct stat st;
			bv_autofree struct loc *l = malloc(sizeof(*l));

			if (!l)
				return -ENOMEM;
			place_at(v, c->path, l);
			bv_autofd int from = real_open(v, l, V_LOWER, O_RDONLY | O_DIRECTORY, 0);
			bv_autofd int to = real_open(v, l, V_UPPER, O_RDONLY | O_DIRECTORY, 0);
			if (from < 0 || to < 0 || fstat(from, &st) < 0)
				return from < 0 ? from : to < 0 ? to : -errno;
			if (geteuid() != 0)
				st.st_mode |= 0700;
			upper_copy_meta(from, to, &st);
			s.node->meta = false;
			return 0;
		}
		return drop_upper(v, c->path);
	}
	/* Below a directory of the upper's: if that is chosen as a whole, it goes with it. */
	memcpy(top, c->path, len);
	top[len] = '\0';
	if (selection_has(what, top) && what->n_excludes == 0)
		return drop_upper(v, top);
	if (n->had_lower)
		return -ENOTEMPTY;
	return drop_upper(v, c->path);
}

int rollback_changes(struct vfs *v, const struct bv_selection *what)
{
	struct changes all = {0};
	int r = changes_collect(v, &all), refused = 0;

	/* Deepest first, so that directories are empty when their turn comes. */
	for (size_t i = all.n; r == 0 && i-- > 0;) {
		const struct bv_change *c = &all.at[i];

		if (!selection_has(what, c->path))
			continue;
		r = undo(v, what, c);
		if (r == -ENOTEMPTY) {
			tell(what, BV_COMMIT_FAILED, c, "it is in a directory that was replaced as a whole: roll that back");
			refused = r;
			r = 0;
		} else if (r == 0) {
			tell(what, BV_COMMIT_DONE, c, NULL);
		}
	}
	changes_free(&all);
	if (r == 0)
		r = collapse(v);
	if (r == 0)
		r = origin_save(v, true);
	return r < 0 ? r : refused;
}
