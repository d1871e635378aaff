/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lower directories that were renamed inside.  A process that stood in one still stands in the
 * host's directory, whose path now means nothing in the virtual tree: this is the way from there
 * to where the directory went.  Asked only when a real path leads nowhere, so its length costs
 * nobody else.
 */
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

struct moved {
	struct moved *next;
	char *to;    /* where it is now */
	char from[]; /* virtual path it had in the lower */
};

static bool below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || !path[len]);
}

/* Where `path` leads, once what is below `from` is below `to` instead; malloc'd. */
static char *shifted(const char *path, const char *from, const char *to)
{
	char *out;

	if (asprintf(&out, "%s%s", to, path + strlen(from)) < 0)
		abort(); /* a record that lies would show one directory as another */
	return out;
}

/* Every record that led below one of the two leads below the other from now on. */
static void follow(struct vfs *v, const char *from, const char *to, bool exchange)
{
	for (struct moved *m = v->moved; m; m = m->next) {
		char *path = below(m->to, from)               ? shifted(m->to, from, to) :
		             exchange && below(m->to, to) ? shifted(m->to, to, from) :
		                                              NULL;

		if (!path)
			continue;
		free(m->to);
		m->to = path;
	}
}

static int add(struct vfs *v, const char *from, const char *to)
{
	struct moved *m = malloc(sizeof(*m) + strlen(from) + 1);
	char *copy = strdup(to);
	if (!m || !copy) {
		free(m);
		free(copy);
		return -1;
	}
	strcpy(m->from, from);
	m->to = copy;
	m->next = v->moved;
	v->moved = m;
	return 0;
}

int moved_note(struct vfs *v, const char *from, const char *to, bool was_lower)
{
	follow(v, from, to, false);
	return was_lower ? add(v, from, to) : 0;
}

int moved_swap(struct vfs *v, const char *from, bool from_lower, const char *to, bool to_lower)
{
	follow(v, from, to, true);
	if (from_lower && add(v, from, to) < 0)
		return -1;
	return to_lower ? add(v, to, from) : 0;
}

ssize_t moved_find(struct vfs *v, const char *path, char out[PATH_MAX])
{
	const struct moved *best = NULL;

	for (const struct moved *m = v->moved; m; m = m->next)
		if (below(path, m->from) && (!best || strlen(m->from) > strlen(best->from)))
			best = m;
	if (!best)
		return -1;
	int n = snprintf(out, PATH_MAX, "%s%s", best->to, path + strlen(best->from));
	return n < PATH_MAX ? n : -1;
}

void moved_drop(struct vfs *v, const char *path)
{
	for (struct moved **at = &v->moved; *at;) {
		struct moved *m = *at;

		if (!below(m->to, path)) {
			at = &m->next;
			continue;
		}
		*at = m->next;
		free(m->to);
		free(m);
	}
}

void moved_free(struct vfs *v)
{
	while (v->moved) {
		struct moved *m = v->moved;

		v->moved = m->next;
		free(m->to);
		free(m);
	}
}
