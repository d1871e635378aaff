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

void whiteout_drop_merged(struct vfs *v, const struct loc *l, int dir, const char *name)
{
	char parent[PATH_MAX];
	struct spot s;

	memcpy(parent, l->path, l->len + 1);
	*strrchr(parent, '/') = '\0';
	spot_at(v, parent, &s);
	if (s.view == V_MERGED)
		whiteout_drop(dir, name);
}

static int drop_entry(struct vfs *v, const struct loc *l, int dir, const char *name)
{
	struct stat st;

	/* First: what is killed in the middle leaves a directory that the lower's shines through, and
	 * not an emptied one in its place. */
	whiteout_drop_merged(v, l, dir, name);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (S_ISDIR(st.st_mode)) {
		bv_autofd int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r = fd < 0 ? -errno : scrub(fd, NULL);

		if (r < 0)
			return r;
	}
	return unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

int drop_upper(struct vfs *v, const char *path)
{
	const char *name;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	place_at(v, path, l);
	bv_autofd int dir = real_parent(v, l, V_UPPER, O_PATH, &name);
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	mode_t closed = dir_open_up(dir);
	int r = drop_entry(v, l, dir, name);
	dir_close_again(dir, closed);
	if (r == 0 && l->node && !l->node->mount)
		tree_drop(l->node);
	return r;
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

int reset_meta(struct vfs *v, const char *path)
{
	struct spot s;
	struct stat st;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	spot_at(v, path, &s);
	if (!s.node || s.node->state != N_MERGED)
		return 0;
	place_at(v, path, l);
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

/*
 * How a change's own place goes back to what the lower has: an UNDO_*, for the place that is in
 * `place` then; -ENOTEMPTY: not alone.
 */
static int way_back(struct vfs *v, const struct bv_selection *what, const struct bv_change *c,
                    char place[PATH_MAX])
{
	size_t len;
	struct spot s;
	const struct node *n = top_of(v, c->path, &len);

	snprintf(place, PATH_MAX, "%s", c->path);
	if (!n || !c->path[len]) {
		/* A merged directory's own mode and owner: its entries are other changes. */
		spot_at(v, c->path, &s);
		return s.node && s.node->state == N_MERGED ? UNDO_META : UNDO_DROP;
	}
	/* Below a directory of the upper's: if that is chosen as a whole, it goes with it. */
	place[len] = '\0';
	if (selection_has(what, place) && what->n_excludes == 0)
		return UNDO_DROP;
	place[len] = '/';
	return n->had_lower ? -ENOTEMPTY : UNDO_DROP;
}

/* Of a snapshot: whoever has the layer does it. */
static int undo(struct vfs *v, const struct bv_selection *what, int way, const char *place,
                char *last)
{
	char record[PATH_MAX + 1];

	if (!(v->upper.flags & BV_LAYER_READ))
		return way == UNDO_META ? reset_meta(v, place) : drop_upper(v, place);
	if (strcmp(place, last) == 0)
		return 0; /* the directory that the change before was in as well */
	strcpy(last, place);
	record[0] = (char)way;
	strcpy(record + 1, place);
	what->made(what->arg, record, strlen(record) + 1);
	return 0;
}

int rollback_changes(struct vfs *v, const struct bv_selection *what)
{
	const bool looked_at = v->upper.flags & BV_LAYER_READ;
	char place[PATH_MAX], last[PATH_MAX] = "";
	struct changes all = {0};
	int refused = 0;

	if (looked_at && !(BV_HAS(struct bv_selection, what, made)))
		return -EROFS;
	int r = changes_collect(v, &all);
	/* Deepest first, so that directories are empty when their turn comes. */
	for (size_t i = all.n; r == 0 && i-- > 0;) {
		const struct bv_change *c = &all.at[i];

		if (!selection_has(what, c->path))
			continue;
		r = way_back(v, what, c, place);
		if (r > 0)
			r = undo(v, what, r, place, last);
		if (r == -ENOTEMPTY) {
			tell(what, BV_COMMIT_FAILED, c, "it is in a directory that was replaced as a whole: roll that back");
			refused = r;
			r = 0;
		} else if (r == 0) {
			tell(what, BV_COMMIT_DONE, c, NULL);
		}
	}
	changes_free(&all);
	if (r == 0 && !looked_at)
		r = collapse(v);
	if (r == 0 && !looked_at)
		r = origin_save(v, true);
	return r < 0 ? r : refused;
}
