/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths (a relative one made absolute) that lead, by the host's symlinks alone or without any, to the
 * host's own object: /bin/sh, /lib/x86_64-linux-gnu/libc.so.6, /lib64/ld-linux-x86-64.so.2.  Every
 * program walks a few of them at its start.  Remembered is where such a path leads through and to: each
 * time the tree is asked whether one of these places has changed, and a single look whether the host
 * still has the same object at the end.  If so, a walk would have come to the same.
 *
 * One with symlinks is remembered at once, since walking it is slow; a plain one when it is met a
 * second time, so that a find over everything does not fill the memory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

#define MAX_SHORTCUTS 1024

struct shortcut {
	UT_hash_handle hh; /* by path, the one used least lately first */
	dev_t dev;
	ino_t ino;
	bool tail;       /* the path itself is a symlink */
	unsigned n_hops;
	char *hop[SHORTCUT_HOPS + 1]; /* each ends at a symlink; the last one is the object's place */
	char path[];     /* and the hops behind it */
};

/* Is every component the host's, at the place where the host has it?  Then s and dir answer for it. */
static bool host_all_along(struct vfs *v, const char *path, struct spot *s, enum view *dir)
{
	spot_root(v, s);
	for (;;) {
		if ((s->view != V_LOWER && s->view != V_MERGED) ||
		    (s->mount != v->base && s->mount->elsewhere))
			return false;
		path += strspn(path, "/");
		size_t len = strcspn(path, "/");
		if (!len)
			return true;
		*dir = s->view;
		spot_step(s, path, len);
		path += len;
	}
}

/* The shortcut for path, if the tree has changed nowhere along it; s and dir answer for its end. */
static struct shortcut *find(struct vfs *v, const char *path, struct spot *s, enum view *dir)
{
	struct shortcut *c;
	size_t len = strlen(path);

	HASH_FIND(hh, v->shortcuts, path, len, c);
	if (!c)
		return NULL;
	for (unsigned i = 0; i < c->n_hops; i++)
		if (!host_all_along(v, c->hop[i], s, dir))
			return NULL;
	return c;
}

static void drop(struct vfs *v, struct shortcut *c)
{
	HASH_DEL(v->shortcuts, c);
	free(c);
}

const char *shortcut_end(struct vfs *v, const char *path)
{
	struct spot s;
	enum view dir;
	const struct shortcut *c = find(v, path, &s, &dir);

	return c ? c->hop[c->n_hops - 1] : NULL;
}

bool shortcut_walk(struct vfs *v, const char *path, bool nofollow, struct loc *l)
{
	struct spot s;
	enum view dir = V_NONE;
	struct shortcut *c = find(v, path, &s, &dir);

	if (!c || (nofollow && c->tail) || s.view != V_LOWER)
		return false;
	/* The host's own symlinks, which no guest can have made, may be followed by the kernel. */
	if ((nofollow ? lstat : stat)(path, &l->st) < 0)
		return false; /* perhaps closed to this guest only */
	if (l->st.st_dev != c->dev || l->st.st_ino != c->ino) {
		drop(v, c);
		return false;
	}
	l->len = strlen(c->hop[c->n_hops - 1]);
	memcpy(l->path, c->hop[c->n_hops - 1], l->len + 1);
	l->view = s.view;
	l->dir_view = dir;
	l->node = s.node;
	l->mount = s.mount;
	l->probed = true;
	return true;
}

void trail_add(struct trail *t, const char *path, size_t len)
{
	if (t->n >= SHORTCUT_HOPS || t->len + len + 1 > sizeof(t->text)) {
		t->lost = true;
		return;
	}
	memcpy(t->text + t->len, path, len);
	t->text[t->len + len] = '\0';
	t->at[t->n++] = t->len;
	t->len += len + 1;
}

/* Was path met before?  Forgets by and by. */
static bool met(struct vfs *v, const char *path, size_t len)
{
	unsigned h;

	HASH_JEN(path, len, h);
	uint32_t *slot = &v->met[h % BV_ROWS_OF(v->met)];
	bool before = *slot == h;

	*slot = h;
	return before;
}

void shortcut_add(struct vfs *v, const char *path, const struct trail *t, const struct loc *l)
{
	size_t len = strlen(path), at = len + 1;
	struct shortcut *c;

	if (t->lost || !l->native || l->view != V_LOWER || !l->probed || l->magic || l->must_dir || l->dotted)
		return;
	if (!t->n && !met(v, path, len))
		return;
	HASH_FIND(hh, v->shortcuts, path, len, c);
	if (c)
		drop(v, c);
	else if (HASH_COUNT(v->shortcuts) >= MAX_SHORTCUTS)
		drop(v, v->shortcuts); /* the oldest: uthash keeps the order of insertion */
	c = malloc(sizeof(*c) + len + 1 + t->len + l->len + 1);
	if (!c)
		return; /* the next walk takes the long way again */
	c->dev = l->st.st_dev;
	c->ino = l->st.st_ino;
	c->n_hops = t->n + 1;
	memcpy(c->path, path, len + 1);
	memcpy(c->path + at, t->text, t->len);
	for (unsigned i = 0; i < t->n; i++)
		c->hop[i] = c->path + at + t->at[i];
	c->hop[t->n] = c->path + at + t->len;
	memcpy(c->hop[t->n], l->path, l->len + 1);
	c->tail = t->n && strcmp(c->hop[0], path) == 0;
	HASH_ADD_KEYPTR(hh, v->shortcuts, c->path, len, c);
}

void shortcut_free(struct vfs *v)
{
	struct shortcut *c, *next;

	HASH_ITER(hh, v->shortcuts, c, next)
		drop(v, c);
}
