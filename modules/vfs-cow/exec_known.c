/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Absolute paths that lead, by the host's symlinks alone, to the host's own object.  Nearly every
 * exec asks this of the same ELF interpreter, whose path has three symlinks in it.  Remembered is
 * where the path leads through, not the answer: each time the tree is asked whether one of these
 * places has changed.  What the host itself changes does not matter: then too it is the host's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exec.h"

#define MAX_KNOWN 8
#define MAX_HOPS 8

struct known {
	struct known *next;
	char *path;
	char *hop[MAX_HOPS]; /* each ends at a symlink, the last one at the object */
	size_t n;
};

static void known_drop(struct known *k)
{
	for (size_t i = 0; i < k->n; i++)
		free(k->hop[i]);
	free(k->path);
	free(k);
}

void known_free(struct known *first)
{
	while (first) {
		struct known *k = first;

		first = k->next;
		known_drop(k);
	}
}

/* Is every component the host's, at the place where the host has it? */
static bool host_all_along(struct vfs *v, const char *path)
{
	struct spot s;

	spot_root(v, &s);
	for (;;) {
		if ((s.view != V_LOWER && s.view != V_MERGED && s.view != V_RO && s.view != V_RW) ||
		    (s.mount != v->base && strcmp(s.mount->source, s.mount->at) != 0))
			return false;
		path += strspn(path, "/");
		size_t len = strcspn(path, "/");
		if (!len)
			return true;
		if (path[0] == '.' && (len == 1 || (len == 2 && path[1] == '.')))
			return false; /* the tree knows normalized paths only */
		spot_step(&s, path, len);
		path += len;
	}
}

bool known_native(struct vfs *v, const char *path)
{
	for (const struct known *k = v->exec->known; k; k = k->next) {
		if (strcmp(k->path, path) != 0)
			continue;
		for (size_t i = 0; i < k->n; i++)
			if (!host_all_along(v, k->hop[i]))
				return false;
		return true;
	}
	return false;
}

/*
 * One hop: the host's path up to its first symlink goes to hop (malloc'd), and what follows it
 * replaces path.  1: there was one; 0: path has none and is itself the hop; -errno.
 */
static int hop_once(char path[PATH_MAX], char **hop)
{
	char text[PATH_MAX], next[PATH_MAX];

	for (char *end = path; *end;) {
		end += strspn(end, "/");
		end += strcspn(end, "/");
		char was = *end;
		*end = '\0';
		ssize_t n = readlink(path, text, sizeof(text) - 1);
		if (n < 0) {
			if (errno != EINVAL)
				return -errno;
			*end = was;
			continue;
		}
		text[n] = '\0';
		*hop = strdup(path);
		const char *dir = text[0] == '/' ? "" : path;
		size_t dir_len = text[0] == '/' ? 0 : (size_t)(strrchr(path, '/') + 1 - path);
		*end = was;
		int len = snprintf(next, sizeof(next), "%.*s%s%s", (int)dir_len, dir, text, end);
		if (!*hop)
			return -ENOMEM;
		if (len < 0 || (size_t)len >= sizeof(next))
			return -ENAMETOOLONG;
		memcpy(path, next, (size_t)len + 1);
		return 1;
	}
	*hop = strdup(path);
	return *hop ? 0 : -ENOMEM;
}

void known_add(struct vfs *v, const char *path)
{
	char at[PATH_MAX];
	struct known *k = calloc(1, sizeof(*k)), **last;
	int r = k && path[0] == '/' && strlen(path) < sizeof(at) && (k->path = strdup(path)) ? 1 : -ENOMEM;

	if (r > 0)
		strcpy(at, path);
	while (r > 0 && k->n < MAX_HOPS) {
		r = hop_once(at, &k->hop[k->n]);
		if (r >= 0)
			k->n++;
		else
			free(k->hop[k->n]);
	}
	if (r != 0) { /* not worth an error: the next exec walks again */
		if (k)
			known_drop(k);
		return;
	}
	k->next = v->exec->known;
	v->exec->known = k;
	last = &k->next;
	for (unsigned i = 1; *last && i < MAX_KNOWN; i++)
		last = &(*last)->next;
	known_free(*last);
	*last = NULL;
}
