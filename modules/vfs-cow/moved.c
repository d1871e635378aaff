/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lower directories that moved.  Before one is renamed inside it is copied up as a whole (flatten.c);
 * a process that stands in it, or has it open, still has the host's directory, whose path now means
 * nothing in the virtual tree, or something else.  This is the way from there to where it went, for
 * each directory of what was copied, since each may move on by itself.  Asked only where the host's
 * own object is not shown at its path any more, so its length costs nobody else.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "vfs.h"

struct moved {
	UT_hash_handle hh;
	char *to; /* where it is now, or was when it was removed */
	bool gone;
	char from[]; /* the virtual path it had in the lower */
};

static bool below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return strncmp(path, top, len) == 0 && (path[len] == '/' || !path[len]);
}

static void drop(struct vfs *v, struct moved *m)
{
	HASH_DEL(v->moved, m);
	free(m->to);
	free(m);
}

static struct moved *find(const struct vfs *v, const char *from, size_t len)
{
	struct moved *m;

	HASH_FIND(hh, v->moved, from, len, m);
	return m;
}

int moved_copied(struct vfs *v, const char *path)
{
	size_t len = strlen(path);
	struct moved *old = find(v, path, len), *m = malloc(sizeof(*m) + len + 1);
	char *to = strdup(path);

	if (!m || !to) {
		free(m);
		free(to);
		return -ENOMEM;
	}
	if (old)
		drop(v, old);
	memcpy(m->from, path, len + 1);
	m->to = to;
	m->gone = false;
	HASH_ADD_KEYPTR(hh, v->moved, m->from, len, m);
	return 0;
}

/* What led to or below `from` leads to or below `to`. */
static void shift(struct moved *m, const char *from, const char *to)
{
	char *path;

	if (asprintf(&path, "%s%s", to, m->to + strlen(from)) < 0)
		abort(); /* a record that lies would show one directory as another */
	free(m->to);
	m->to = path;
}

void moved_to(struct vfs *v, const char *from, const char *to, bool exchange)
{
	for (struct moved *m = v->moved; m; m = m->hh.next)
		if (below(m->to, from))
			shift(m, from, to);
		else if (exchange && below(m->to, to))
			shift(m, to, from);
}

void moved_gone(struct vfs *v, const char *path)
{
	for (struct moved *m = v->moved; m; m = m->hh.next)
		m->gone |= below(m->to, path);
}

void moved_back(struct vfs *v, const char *path)
{
	struct moved *m, *next;

	HASH_ITER (hh, v->moved, m, next)
		if (below(m->from, path))
			drop(v, m);
}

ssize_t moved_find(struct vfs *v, const char *path, const char *real, char out[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	const struct moved *m = find(v, path, strlen(path));
	struct stat st;

	if (!m && (!slash || (lstat(real, &st) == 0 && S_ISDIR(st.st_mode))))
		return -1; /* every directory that moved has a record of its own */
	const struct moved *dir = m ? m : find(v, path, (size_t)(slash - path));
	if (!dir || dir->gone)
		return -1;
	int n = snprintf(out, PATH_MAX, "%s%s", dir->to, m ? "" : slash);
	return n < PATH_MAX ? n : -1;
}

const char *moved_last(const struct vfs *v, const char *path)
{
	const struct moved *m = find(v, path, strlen(path));

	return m ? m->to : NULL;
}

void moved_free(struct vfs *v)
{
	struct moved *m, *next;

	HASH_ITER (hh, v->moved, m, next)
		drop(v, m);
}
