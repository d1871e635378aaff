/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where two states of layers come from: manifests name what each was copied from.  A snapshot is
 * what it was; a layer counts as what was copied only if nobody has used it since.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "store_local.h"

#define MAX_STEPS 64 /* a manifest edited into a circle has no end */

struct step {
	struct layer_state state;
	int64_t created;
	bool as_it_was; /* what the one before was copied from is what stands there now */
};

static bool unused_since(int dir, const struct timespec *when)
{
	struct stat st;

	return fstatat(dir, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       st.st_mtim.tv_sec == when->tv_sec && st.st_mtim.tv_nsec == when->tv_nsec;
}

/* A state and all it came from: their number, -errno. */
static int line_of(struct store_why *t, int base, const char *name, struct step *out)
{
	bv_autofree struct manifest *m = calloc(1, sizeof(*m));
	struct layer_state s;
	int n = 0, r = m ? state_parse(t, name, &s) : -ENOMEM;

	if (r < 0)
		return r;
	while (n < MAX_STEPS) {
		bv_autofd int dir = state_open(t, base, &s);

		if (dir < 0)
			return n ? n : dir; /* the rest was removed */
		out[n] = (struct step){s, 0,
		                       n == 0 || s.tag[0] || unused_since(dir, &m->parent_used)};
		r = manifest_load(dir, m, t->why, sizeof(t->why));
		if (r < 0)
			return n ? n : r;
		out[n++].created = m->created;
		if (!m->parent[0] || state_parse(t, m->parent, &s) < 0)
			break;
	}
	return n;
}

/* The older of two states of one line, if it is there as it was; NULL. */
static const struct step *older(const struct step *a, const struct step *b)
{
	const struct step *x;

	if (strcmp(a->state.name, b->state.name) != 0)
		return NULL;
	if (a->state.tag[0] && b->state.tag[0])
		x = a->created <= b->created ? a : b;
	else if (a->state.tag[0] || b->state.tag[0])
		x = a->state.tag[0] ? a : b; /* snapshots of a layer are what it has been */
	else
		return a->as_it_was && b->as_it_was ? a : NULL;
	return x->as_it_was ? x : NULL;
}

int common_ancestor(struct store_why *t, int base, const char *a, const char *b,
                    struct layer_state *out)
{
	bv_autofree struct step *line = calloc(2 * MAX_STEPS, sizeof(*line));
	struct step *other = line + MAX_STEPS;
	int n = line ? line_of(t, base, a, line) : -ENOMEM;
	int m = n < 0 ? n : line_of(t, base, b, other);

	if (m < 0)
		return m;
	for (int i = 0; i < m; i++)
		for (int k = 0; k < n; k++) {
			const struct step *s = older(&line[k], &other[i]);

			if (s) {
				*out = s->state;
				return 1;
			}
		}
	return 0;
}
