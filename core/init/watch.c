/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch PATH: what happens to a file or in a directory, as records "KIND NAME NUL" until it is killed or the
 * path is gone.  KIND: r: it watches from now on (once); c created, m written and closed, d deleted,
 * f moved away from here, t moved to here; g the path itself is gone.
 *
 * Where the sandbox's own layer and the host's directory meet, inotify(7) shows the layer's entries: a
 * whiteout that comes is a deletion, and a copy that takes the place of the host's file is nothing.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <search.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "files.h"

#define WHITEOUT ".wh."
#define INTERNAL ".wh..wh."

static void say(char kind, const char *name)
{
	printf("%c %s%c", kind, name, 0);
}

static char kind_of(uint32_t mask)
{
	return mask & IN_CREATE        ? 'c'
	       : mask & IN_CLOSE_WRITE ? 'm'
	       : mask & IN_DELETE      ? 'd'
	       : mask & IN_MOVED_FROM  ? 'f'
	       : mask & IN_MOVED_TO    ? 't'
	                               : 0;
}

/* What is in the directory, as those who are told know it: a copy that takes the place of the host's file
 * is no new name, and a name goes only once. */
struct state {
	void *known; /* tsearch(3) */
	uint32_t copying; /* cookie of a copy that is being put in its place */
	char gone
		[NAME_MAX +
	         1]; /* a whiteout has told of it; its name comes and goes once more for others to see */
};

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* False when it was there. */
static bool add(struct state *s, const char *name)
{
	char *copy = strdup(name), **found = copy ? tsearch(copy, &s->known, compare) : NULL;

	if (found && *found == copy)
		return true;
	free(copy);
	return false;
}

/* False when it was not there. */
static bool drop(struct state *s, const char *name)
{
	char **found = tfind(name, &s->known, compare), *copy = found ? *found : NULL;

	if (copy) {
		tdelete(name, &s->known, compare);
		free(copy);
	}
	return copy != NULL;
}

/* A file without a name is shown as "#" and its number while it is written. */
static bool nameless(const struct state *s, const char *name)
{
	return name[0] == '#' && name[1] && !name[1 + strspn(name + 1, "0123456789")] &&
	       !tfind(name, &s->known, compare);
}

static void event(struct state *s, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";
	char kind = kind_of(e->mask);
	bool news = kind != 0;

	if (strncmp(name, INTERNAL, strlen(INTERNAL)) == 0) {
		if (kind == 'f')
			s->copying = e->cookie;
		return;
	}
	if (strncmp(name, WHITEOUT, strlen(WHITEOUT)) == 0) {
		if (kind != 'c' && kind != 't')
			return;
		name += strlen(WHITEOUT);
		if (drop(s, name)) {
			snprintf(s->gone, sizeof(s->gone), "%s", name);
			say('d', name);
		}
		return;
	}
	if ((kind == 'c' || kind == 'd') && *name && strcmp(name, s->gone) == 0) {
		if (kind == 'd')
			s->gone[0] = '\0';
		return;
	}
	if (*name && kind == 'c')
		news = add(s, name);
	else if (*name && kind == 't')
		news = add(s, name) || !e->cookie || e->cookie != s->copying;
	else if (*name && (kind == 'd' || kind == 'f'))
		news = drop(s, name);
	else if (kind == 'm')
		news = !nameless(s, name);
	if (news)
		say(kind, name);
}

static void learn(struct state *s, const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;

	while (d && (e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			(void)add(s, e->d_name);
	if (d)
		closedir(d);
}

int files_watch(const char *path)
{
	_Alignas(struct inotify_event) char buf[1 << 16];
	struct state s = {0};
	int fd = inotify_init1(IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, path,
	                                IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM |
	                                        IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF) < 0)
		return -1;
	learn(&s, path);
	say('r', "");
	for (;;) {
		if (fflush(stdout) != 0)
			return -1;
		ssize_t n = read(fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -1;
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e =
				(const struct inotify_event *)(const void *)at;

			if (e->mask &
			    (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED | IN_Q_OVERFLOW)) {
				say('g', "");
				return fflush(stdout) != 0 ? -1 : 0;
			}
			event(&s, e);
			at += sizeof(*e) + e->len;
		}
	}
}
