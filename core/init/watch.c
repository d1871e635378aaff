/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch PATH: what happens to a file or in a directory, as records "KIND NAME NUL" until it is killed or the
 * path is gone.  KIND: r: it watches from now on (once); c created, m written and closed, d deleted,
 * f moved away from here, t moved to here; g the path itself is gone.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "files.h"

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

int files_watch(const char *path)
{
	_Alignas(struct inotify_event) char buf[1 << 16];
	int fd = inotify_init1(IN_CLOEXEC);

	if (fd < 0 || inotify_add_watch(fd, path,
	                                IN_CREATE | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM |
	                                        IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF) < 0)
		return -1;
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
			if (kind_of(e->mask))
				say(kind_of(e->mask), e->len ? e->name : "");
			at += sizeof(*e) + e->len;
		}
	}
}
