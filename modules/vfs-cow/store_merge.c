/* SPDX-License-Identifier: Apache-2.0 */
/* Merging two kept layers into a new one: a copy of the first that takes what is the second's. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "merge.h"
#include "names.h"
#include "origin.h"
#include "store_share.h"
#include "who.h"

static int tree_of(struct store_why *t, int base, const struct layer_state *s, const char *part)
{
	bv_autofd int dir = state_open(t, base, s);

	if (dir < 0)
		return dir;
	int fd = state_part(base, dir, part);
	return fd < 0 ? store_fail(t, -fd, "%s: %s", s->name, part) : fd;
}

struct top {
	UT_hash_handle hh;
	const char *path;
};

/* Is path at or below one of them? */
static bool below_any(const struct top *tops, const char *path)
{
	const struct top *found = NULL;

	for (size_t len = strlen(path); len > 0 && !found; len--)
		if (!path[len] || path[len] == '/')
			HASH_FIND(hh, tops, path, len, found);
	return found;
}

/* Each record stays with the side whose object stands there now. */
static int merge_origins(const struct top *tops, int ours, int theirs)
{
	bv_autostrbuf struct strbuf mine = {0}, other = {0}, all = {0};
	int r = origin_read(ours, &mine);

	if (r == 0)
		r = origin_read(theirs, &other);
	if (r < 0)
		return r;
	for (const char *s = names_first(&mine); s; s = names_next(&mine, s))
		if (!below_any(tops, origin_path(s)))
			strbuf_add(&all, s, strlen(s) + 1);
	/* The first record of a path counts, so those of places that both changed alike stay ours. */
	for (const char *s = names_first(&other); s; s = names_next(&other, s))
		strbuf_add(&all, s, strlen(s) + 1);
	bv_autofd int fd = all.failed ? -ENOMEM : origin_write(ours, &all, true);
	return fd < 0 ? fd : 0;
}

struct taking {
	const struct top *tops;
	struct whos *to;
};

static int take_who(void *arg, const char *path, const struct who *who)
{
	const struct taking *t = arg;

	return below_any(t->tops, path) ? whos_put(t->to, path, who->time, who->command) : 0;
}

static int merge_who(const struct top *tops, int ours, int theirs)
{
	struct taking t = {tops, whos_new()};
	struct whos *other = whos_new();
	int r = t.to && other ? whos_load(t.to, ours) : -ENOMEM;

	if (r == 0)
		r = whos_load(other, theirs);
	if (r == 0)
		r = whos_each(other, take_who, &t);
	if (r == 0)
		r = whos_save(t.to, ours);
	whos_free(t.to);
	whos_free(other);
	return r;
}

static int merge_records(const struct strbuf *taken, int ours, int theirs)
{
	bv_autofree struct top *top = NULL;
	struct top *tops = NULL;
	size_t n = 0;

	for (const char *s = names_first(taken); s; s = names_next(taken, s))
		n++;
	top = calloc(n + 1, sizeof(*top));
	if (!top)
		return -ENOMEM;
	n = 0;
	for (const char *s = names_first(taken); s; s = names_next(taken, s), n++) {
		top[n].path = s;
		HASH_ADD_KEYPTR(hh, tops, top[n].path, strlen(s), &top[n]);
	}
	int r = merge_origins(tops, ours, theirs);
	if (r == 0)
		r = merge_who(tops, ours, theirs);
	HASH_CLEAR(hh, tops);
	return r;
}

static int merge_into(struct store_why *t, int base, const struct bv_merge *what, struct stage *s)
{
	struct layer_state theirs, from;
	int r = common_ancestor(t, base, what->ours, what->theirs, &from);

	if (r < 0)
		return r;
	bv_autofd int base_tree = r ? tree_of(t, base, &from, "upper") : -1;
	r = state_parse(t, what->theirs, &theirs);
	if (r < 0)
		return r;
	bv_autofd int their_tree = tree_of(t, base, &theirs, "upper"),
		      their_meta = tree_of(t, base, &theirs, "meta");
	bv_autofd int tree =
		openat(s->fd, "upper", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bv_autofd int meta = openat(s->fd, "meta", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (their_tree < 0 || their_meta < 0)
		return their_tree < 0 ? their_tree : their_meta;
	if (tree < 0 || meta < 0)
		return store_fail(t, errno, "the new layer");
	struct merge m = {.ours = tree,
	                  .theirs = their_tree,
	                  .base = base_tree,
	                  .prefer = (enum merge_prefer)what->prefer,
	                  .conflict = what->conflict,
	                  .arg = what->arg};
	r = merge_run(&m);
	if (r == 0 && m.conflicts)
		r = -ESTALE;
	else if (r == 0)
		r = merge_records(&m.taken, meta, their_meta);
	strbuf_fini(&m.taken);
	return r < 0 && r != -ESTALE ? store_fail(t, -r, "the layers cannot be merged") : r;
}

int local_merge(void *ctx, const struct bv_merge *what, const char **why)
{
	struct store_why *t = ctx;
	struct layer_state ours;
	struct stage s = {.holder = -1, .fd = -1};
	bv_autofree struct manifest *m = malloc(sizeof(*m));
	int r = m ? state_parse(t, what->ours, &ours) : -ENOMEM;

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int base = local_sandboxes(t, false, NULL, 0);
	if (base == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", ours.name);
	if (base < 0)
		return base;
	r = stage_open(t, base, what->into, &s);
	if (r == 0)
		r = stage_copy(t, base, what->ours, &s, m);
	if (r == 0)
		r = merge_into(t, base, what, &s);
	if (r == 0)
		r = stage_place(t, &s, m);
	stage_fini(&s);
	return r;
}
