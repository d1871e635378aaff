/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rm -rf for the leavings of a guest: trees of any depth, with directories of mode 0.  Directories
 * too deep for one descriptor a level are moved up to the top and taken from there, so neither
 * descriptors nor path lengths limit what can be removed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "scrub.h"
#include "vfs.h"

#define MAX_DEPTH 48

struct scrub {
	int top;
	dev_t dev;
	unsigned serial;
	bool moved; /* something was put into the top: it has to be read again */
	int error;
	const char *keep;
};

static void note(struct scrub *s, int err)
{
	if (!s->error)
		s->error = -err;
}

/* A descriptor of the directory `name`, made accessible; -1 with errno. */
static int enter(const struct scrub *s, int dir, const char *name)
{
	char path[FD_PATH_MAX];
	struct stat st;
	bv_autofd int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st) < 0)
		return -1;
	if (st.st_dev != s->dev) {
		errno = EXDEV;
		return -1;
	}
	real_fd_path(path, fd);
	if ((st.st_mode & 0700) != 0700 && chmod(path, 0700) < 0)
		return -1;
	return openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Out of the deep: into the top, under a name that is free there. */
static int lift(struct scrub *s, int dir, const char *name)
{
	char to[32];

	for (;;) {
		snprintf(to, sizeof(to), ".deep.%u", s->serial++);
		if (renameat(dir, name, s->top, to) == 0) {
			s->moved = true;
			return 0;
		}
		if (errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR)
			return -1;
	}
}

static void clear(struct scrub *s, int fd, unsigned depth);

static void remove_dir(struct scrub *s, int dir, const char *name, unsigned depth)
{
	if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
		return;
	int fd = enter(s, dir, name);
	if (fd < 0) {
		note(s, errno);
		return;
	}
	if (depth >= MAX_DEPTH) {
		close(fd);
		if (lift(s, dir, name) < 0)
			note(s, errno);
		return;
	}
	clear(s, fd, depth + 1);
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0)
		note(s, errno);
}

/* Takes fd. */
static void clear(struct scrub *s, int fd, unsigned depth)
{
	const struct dirent *e;
	DIR *d = fdopendir(fd);

	if (!d) {
		note(s, errno);
		close(fd);
		return;
	}
	while ((e = readdir(d))) {
		const char *name = e->d_name;

		if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
			continue;
		if (depth == 0 && s->keep && strcmp(name, s->keep) == 0)
			continue;
		if (e->d_type != DT_DIR) {
			if (unlinkat(dirfd(d), name, 0) == 0 || errno == ENOENT)
				continue;
			if (errno != EISDIR) { /* what Linux says of a directory, where d_type is unknown */
				note(s, errno);
				continue;
			}
		}
		remove_dir(s, dirfd(d), name, depth);
	}
	closedir(d);
}

int scrub(int dir, const char *keep)
{
	struct scrub s = {.top = dir, .keep = keep};
	char path[FD_PATH_MAX];
	struct stat st;

	if (fstat(dir, &st) < 0)
		return -errno;
	s.dev = st.st_dev;
	real_fd_path(path, dir);
	if ((st.st_mode & 0700) != 0700)
		(void)chmod(path, 0700); /* what comes of it not being ours is told below */
	do {
		s.moved = false;
		int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0)
			return -errno;
		clear(&s, fd, 0);
	} while (s.moved);
	return s.error;
}
