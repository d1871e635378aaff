/* SPDX-License-Identifier: Apache-2.0 */
#include "treecopy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "names.h"
#include "vfs.h"

struct treecopy_link {
	UT_hash_handle hh;
	struct {
		dev_t dev;
		ino_t ino;
	} key;
	char to[]; /* its first name in the copy */
};

int treecopy_join(char *out, size_t size, const char *dir, const char *name)
{
	int n = snprintf(out, size, "%s%s%s", dir, *dir ? "/" : "", name);

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

int treecopy_open(int root, const char *path, int flags)
{
	char link[FD_PATH_MAX];
	struct stat st;
	int fd = real_openat(root, path, flags | O_NOFOLLOW, 0);

	if (fd != -EACCES || geteuid() == 0)
		return fd;
	/* A directory above may be closed as well: each is opened up by who descends into it. */
	bv_autofd int at = real_openat(root, path, O_PATH | O_NOFOLLOW, 0);
	if (at < 0)
		return at;
	real_fd_path(link, at);
	if (fstat(at, &st) < 0 || S_ISLNK(st.st_mode) ||
	    chmod(link, (st.st_mode & 07777) | (S_ISDIR(st.st_mode) ? 0700 : 0400)) < 0)
		return -EACCES;
	fd = real_openat(root, path, flags | O_NOFOLLOW, 0);
	(void)chmod(link, st.st_mode & 07777);
	return fd;
}

mode_t treecopy_open_up(int root, const char *path)
{
	char link[FD_PATH_MAX];
	struct stat st;
	bv_autofd int at = geteuid() == 0 ? -1 : real_openat(root, path, O_PATH | O_NOFOLLOW, 0);

	if (at < 0 || fstat(at, &st) < 0 || S_ISLNK(st.st_mode))
		return 0;
	const mode_t need = S_ISDIR(st.st_mode) ? 0700 : 0400;
	if ((st.st_mode & need) == need)
		return 0;
	real_fd_path(link, at);
	return chmod(link, (st.st_mode & 07777) | need) < 0 ? 0 : st.st_mode;
}

void treecopy_close_again(int root, const char *path, mode_t mode)
{
	char link[FD_PATH_MAX];
	bv_autofd int at = mode ? real_openat(root, path, O_PATH | O_NOFOLLOW, 0) : -1;

	if (at < 0)
		return;
	real_fd_path(link, at);
	(void)chmod(link, mode & 07777);
}

/* The directory in the copy that holds path, whose last component is *name. */
static int parent_of(const struct treecopy *c, const char *path, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	*name = slash ? slash + 1 : path;
	memcpy(dir, path, len);
	dir[len] = '\0';
	return real_openat(c->to, dir, O_PATH | O_DIRECTORY, 0);
}

static int copy_file(const struct treecopy *c, const char *path, const struct stat *st, int dir,
                     const char *name)
{
	/* Its attributes are read by the mode as well, so it stays open until they have been. */
	mode_t closed = st->st_mode & 0400 ? 0 : treecopy_open_up(c->from, path);
	bv_autofd int from = treecopy_open(c->from, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	bv_autofd int to =
		from < 0 ? -1
			 : openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
	                          0600);
	int r = from < 0 ? from : to < 0 ? -errno : 0;

	if (r == 0 && st->st_size > 0 && ioctl(to, FICLONE, from) < 0)
		r = file_copy(from, to, st->st_size);
	if (r == 0)
		upper_copy_meta(from, to, st);
	else if (to >= 0)
		(void)unlinkat(dir, name, 0);
	treecopy_close_again(c->from, path, closed);
	return r;
}

static int copy_special(const struct treecopy *c, const char *path, const struct stat *st, int dir,
                        const char *name)
{
	bv_autofd int from = real_openat(c->from, path, O_PATH | O_NOFOLLOW, 0);

	return from < 0 ? from : special_copy(from, st, dir, name);
}

static int copy_dir(struct treecopy *c, const char *path, const struct stat *st)
{
	bv_autostrbuf struct strbuf names = {0};
	char child[PATH_MAX];
	const char *name;
	mode_t closed = treecopy_open_up(c->from, path);
	int r = 0;

	if (*path) {
		bv_autofd int dir = parent_of(c, path, &name);

		if (dir < 0 || mkdirat(dir, name, 0700) < 0)
			r = dir < 0 ? dir : -errno;
	}
	if (r == 0)
		r = names_read(real_openat(c->from, path, O_RDONLY | O_DIRECTORY, 0), &names);
	for (name = names_first(&names); name && r == 0; name = names_next(&names, name)) {
		r = treecopy_join(child, sizeof(child), path, name);
		if (r == 0)
			r = treecopy_entry(c, child);
		/* It went, or something else is there now: as if it had gone before. */
		if (r == -ENOENT || r == -ENOTDIR || r == -EISDIR || r == -ELOOP)
			r = 0;
	}
	/* Its times change with every entry, so they come last. */
	bv_autofd int from = r < 0 ? -1 : real_openat(c->from, path, O_RDONLY | O_DIRECTORY, 0);
	bv_autofd int to = r < 0 ? -1 : real_openat(c->to, path, O_RDONLY | O_DIRECTORY, 0);
	if (from >= 0 && to >= 0)
		upper_copy_meta(from, to, st);
	else if (r == 0)
		r = from < 0 ? from : to;
	treecopy_close_again(c->from, path, closed);
	return r;
}

/* Makes it another name of what has been copied, if that is so: 1, 0, or -errno. */
static int link_known(struct treecopy *c, const char *path, const struct stat *st, int dir,
                      const char *name)
{
	struct treecopy_link *l, key = {0};

	if (st->st_nlink < 2)
		return 0;
	key.key.dev = st->st_dev;
	key.key.ino = st->st_ino;
	HASH_FIND(hh, c->links, &key.key, sizeof(key.key), l);
	if (l) {
		bv_autofd int first = real_openat(c->to, l->to, O_PATH | O_NOFOLLOW, 0);
		char from[FD_PATH_MAX];

		if (first < 0)
			return first;
		real_fd_path(from, first);
		return linkat(AT_FDCWD, from, dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno : 1;
	}
	return 0;
}

static int link_add(struct treecopy *c, const char *path, const struct stat *st)
{
	struct treecopy_link *l;

	if (st->st_nlink < 2)
		return 0;
	l = calloc(1, sizeof(*l) + strlen(path) + 1);
	if (!l)
		return -ENOMEM;
	l->key.dev = st->st_dev;
	l->key.ino = st->st_ino;
	strcpy(l->to, path);
	HASH_ADD(hh, c->links, key, sizeof(l->key), l);
	return 0;
}

static void copied(struct treecopy *c, const struct stat *st)
{
	if (!c->progress.what)
		progress_begin(&c->progress, "copy", "files");
	c->files++;
	c->bytes += S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
	progress_show(&c->progress, c->files, c->bytes, 0);
}

int treecopy_entry(struct treecopy *c, const char *path)
{
	const char *name;
	struct stat st;
	int r;

	{
		bv_autofd int fd = real_openat(c->from, path, O_PATH | O_NOFOLLOW, 0);

		if (fd < 0)
			return fd;
		if (fstat(fd, &st) < 0)
			return -errno;
	}
	if (S_ISDIR(st.st_mode))
		return copy_dir(c, path, &st);
	bv_autofd int dir = parent_of(c, path, &name);
	if (dir < 0)
		return dir;
	r = link_known(c, path, &st, dir, name);
	if (r)
		return r < 0 ? r : 0;
	r = S_ISREG(st.st_mode) ? copy_file(c, path, &st, dir, name)
	                        : copy_special(c, path, &st, dir, name);
	if (r < 0)
		return r;
	copied(c, &st);
	return link_add(c, path, &st);
}

void treecopy_fini(struct treecopy *c)
{
	struct treecopy_link *l, *next;

	progress_end(&c->progress);
	HASH_ITER (hh, c->links, l, next) {
		HASH_DEL(c->links, l);
		free(l);
	}
}
