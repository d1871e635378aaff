/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What inotify(7) tells of it: every directory and file of the tree is watched, and what becomes one, as
 * programs do that watch a project.  The tree's changes by calls and by descriptors are told in their
 * order, so what each operation gave ends with what was seen of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "fsd.h"

#define WATCHES 512

static int in = -1;
static char *path_of[WATCHES]; /* by watch descriptor, where it was when it was put there */
static uint32_t mask;

static int add(const char *path)
{
	int wd = inotify_add_watch(in, path, mask | IN_DONT_FOLLOW);

	if (wd > 0 && wd < WATCHES) {
		free(path_of[wd]);
		path_of[wd] = strdup(path);
	}
	return wd;
}

static void add_below(const char *path)
{
	struct dirent **entry;
	struct stat st;
	bool dir = add(path) > 0 && lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
	int n = dir ? scandir(path, &entry, NULL, alphasort) : -1;

	for (int i = 0; i < n; i++) {
		char child[PATH_MAX];

		snprintf(child, sizeof(child), "%s/%s", path, entry[i]->d_name);
		if (strcmp(entry[i]->d_name, ".") != 0 && strcmp(entry[i]->d_name, "..") != 0)
			add_below(child);
		free(entry[i]);
	}
	if (n >= 0)
		free(entry);
}

void watch_begin(const char *top, uint32_t events)
{
	mask = events;
	in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (in < 0)
		die("inotify");
	add_below(top);
	watch_show(NULL);
}

static unsigned pair_of(uint32_t cookie)
{
	static uint32_t seen[8];
	static unsigned next;

	for (unsigned i = 0; i < 8; i++)
		if (seen[i] == cookie)
			return i;
	seen[next % 8] = cookie;
	return next++ % 8;
}

/* A file without a name is shown as "#" and its inode number. */
static const char *shown(const char *name)
{
	return name[0] == '#' && !name[1 + strspn(name + 1, "0123456789")] ? "#" : name;
}

static void show(FILE *f, const struct inotify_event *e)
{
	const char *name = e->len ? e->name : "";
	char path[PATH_MAX];

	if (f)
		fprintf(f, " [%d %x %.20s", e->wd, e->mask, shown(name));
	if (f && e->cookie)
		fprintf(f, " %u", pair_of(e->cookie));
	/* A new directory is watched from when it is heard of. */
	if ((e->mask & IN_ISDIR) && (e->mask & (IN_CREATE | IN_MOVED_TO)) && e->wd > 0 &&
	    e->wd < WATCHES && path_of[e->wd]) {
		int n = snprintf(path, sizeof(path), "%s/%s", path_of[e->wd], name);
		int wd = n < PATH_MAX ? add(path) : -1;

		if (f)
			fprintf(f, wd < 0 ? " %s" : " %.0s%d", wd < 0 ? strerrorname_np(errno) : "",
			        wd);
	}
	if (f)
		fputc(']', f);
}

void watch_show(FILE *f)
{
	_Alignas(struct inotify_event) char buf[8192];
	ssize_t n;

	if (in < 0)
		return;
	/* A call that is trapped, whatever it does, comes after all that happened before. */
	(void)!access("/", F_OK);
	while ((n = read(in, buf, sizeof(buf))) > 0)
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const void *)at;

			show(f, e);
			at += sizeof(*e) + e->len;
		}
}
