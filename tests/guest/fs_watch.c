/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify of a directory, whichever layer it is in: of each name that changes, at least one event tells
 * of that, which is what programs go by that look at the name then.
 */
#include "t.h"
#include <poll.h>
#include <sys/inotify.h>

struct seen {
	char name[256];
	uint32_t mask;
};
static struct seen seen[64];
static size_t n_seen;

static void take(int in)
{
	_Alignas(struct inotify_event) char b[8192];
	struct pollfd p = {in, POLLIN, 0};
	ssize_t n;

	n_seen = 0;
	while (poll(&p, 1, 100) > 0 && (n = read(in, b, sizeof(b))) > 0)
		for (char *at = b; at < b + n; at += sizeof(struct inotify_event) +
		                                     ((struct inotify_event *)(void *)at)->len) {
			const struct inotify_event *e = (const void *)at;
			size_t i = 0;

			while (i < n_seen && strcmp(seen[i].name, e->len ? e->name : "") != 0)
				i++;
			MUST(i < 64);
			if (i == n_seen)
				snprintf(seen[n_seen++].name, 256, "%s", e->len ? e->name : "");
			seen[i].mask |= e->mask;
		}
}

static bool told(const char *name, uint32_t mask)
{
	for (size_t i = 0; i < n_seen; i++)
		if (strcmp(seen[i].name, name) == 0)
			return (seen[i].mask & mask) != 0;
	return false;
}

int main(void)
{
	const uint32_t away = IN_DELETE | IN_MOVED_FROM, here = IN_CREATE | IN_MOVED_TO,
		       written = IN_CLOSE_WRITE;
	int in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	MUST(in >= 0 && inotify_add_watch(in, "dir", IN_ALL_EVENTS) > 0);
	T(unlink("dir/x"));
	take(in);
	T(told("x", IN_DELETE));
	T(access("dir/x", F_OK));
	T(rename("dir/y", "dir/y2"));
	take(in);
	T(told("y", away));
	T(told("y2", here));
	t_put("dir/new", "n");
	take(in);
	T(told("new", IN_CREATE));
	T(told("new", written));
	t_put("dir/z", "other");
	take(in);
	T(told("z", written));
	T(told("z", IN_DELETE));
	T(unlink("dir/z"));
	take(in);
	T(told("z", IN_DELETE));
	t_put("dir/x", "again");
	take(in);
	T(told("x", IN_CREATE));
	T(unlink("dir/x"));
	take(in);
	T(told("x", IN_DELETE));
	T(rename("dir/new", "moved"));
	take(in);
	T(told("new", IN_MOVED_FROM));
	T(mkdir("dir/made", 0755));
	T(rmdir("dir/made"));
	take(in);
	T(told("made", IN_CREATE));
	T(told("made", IN_DELETE));
	t_ls("dir");
	close(in);
	return 0;
}
