/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bringing one change to the host.  No symlink of the host's is followed, whoever makes one in the
 * middle: directories are opened by openat2 (RESOLVE_NO_SYMLINKS) and everything else happens
 * beneath their descriptors.  A file is written under a name of its own, made durable, and put in
 * place by rename(2), so that there is the old one or the new one at any moment.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <linux/fs.h>

#include "commit_host.h"
#include "fetch.h"
#include "review.h"
#include "scrub.h"

/* By the path, so that a commit that goes on after a crash meets the same name. */
static void temp_name(const char *path, char out[64])
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const unsigned char *c = (const unsigned char *)path; *c; c++)
		h = (h ^ *c) * 0x100000001b3u;
	snprintf(out, 64, ".bvisor-commit-%016" PRIx64, h);
}

__attribute__((format(printf, 3, 4))) static int fail(struct host *h, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(h->why, sizeof(h->why), fmt, ap);
	va_end(ap);
	return -err;
}

static int sync_dir(int dir)
{
	bv_autofd int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int host_stat(struct vfs *v, const char *path, struct stat *st)
{
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	place_at(v, path, l);
	bv_autofd int fd = real_open(v, l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
	return fd < 0 ? fd : fstat(fd, st) < 0 ? -errno : 0;
}

static int latest_below(int dir, dev_t dev, struct timespec *latest)
{
	DIR *d = fdopendir(dir);
	const struct dirent *e;
	int r = 0;

	if (!d) {
		r = -errno;
		close(dir);
		return r;
	}
	while (r == 0 && (errno = 0, e = readdir(d))) {
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue; /* the host took it away just now, which its directory tells */
		if (st.st_ctim.tv_sec > latest->tv_sec ||
		    (st.st_ctim.tv_sec == latest->tv_sec && st.st_ctim.tv_nsec > latest->tv_nsec))
			*latest = st.st_ctim;
		if (S_ISDIR(st.st_mode) && st.st_dev == dev) {
			int fd = openat(dirfd(d), e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			r = fd < 0 ? -errno : latest_below(fd, dev, latest);
		}
	}
	closedir(d);
	return r;
}

int host_latest(struct vfs *v, const char *path, struct timespec *latest)
{
	struct stat st;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	place_at(v, path, l);
	int fd = real_open(v, l, V_LOWER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0) {
		close(fd);
		return -errno;
	}
	*latest = st.st_ctim;
	return latest_below(fd, st.st_dev, latest);
}

/* What stands at name goes, with all below it. */
static int clear(struct host *h, int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : fail(h, errno, "%s", strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		bv_autofd int fd = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r = fd < 0 ? -errno : scrub(fd, NULL);

		if (r < 0)
			return fail(h, -r, "cannot empty it: %s", strerror(-r));
	}
	if (unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		return fail(h, errno, "cannot remove it: %s", strerror(errno));
	return 0;
}

/* The upper's directory at l becomes the host's; what is in it comes on its own. */
static int put_dir(struct host *h, struct loc *l, int dir, const char *name)
{
	struct stat st, there;
	bv_autofd int src = real_open(h->v, l, V_UPPER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

	if (src < 0 || fstat(src, &st) < 0)
		return fail(h, src < 0 ? -src : errno, "cannot read it");
	if (fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(there.st_mode)) {
		int r = clear(h, dir, name);

		if (r < 0)
			return r;
	}
	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return fail(h, errno, "mkdir: %s", strerror(errno));
	bv_autofd int to = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (to < 0)
		return fail(h, errno, "%s", strerror(errno));
	/* What is in it comes later: until host_dir_last() it is open to its user. */
	if (geteuid() != 0)
		st.st_mode |= 0700;
	upper_copy_meta(src, to, &st);
	return 0;
}

/* Directories above that the host does not have, as the upper has them. */
static int open_parent(struct host *h, struct loc *l, const char **name)
{
	int fd = real_parent(h->v, l, V_LOWER, O_PATH, name);

	if (fd != -ENOENT)
		return fd < 0 ? fail(h, -fd, "its directory: %s", strerror(-fd)) : fd;
	bv_autofree struct loc *up = malloc(sizeof(*up));
	if (!up)
		return fail(h, ENOMEM, "out of memory");
	char *slash = strrchr(l->path, '/');
	if (slash == l->path)
		return fail(h, ENOENT, "no root");
	*slash = '\0';
	place_at(h->v, l->path, up);
	*slash = '/';
	const char *above;
	bv_autofd int dir = open_parent(h, up, &above);
	int r = dir < 0 ? dir : put_dir(h, up, dir, above);
	if (r < 0)
		return r;
	fd = real_parent(h->v, l, V_LOWER, O_PATH, name);
	return fd < 0 ? fail(h, -fd, "its directory: %s", strerror(-fd)) : fd;
}

/* A name for the object that l's upper file was committed to already. */
static int link_again(struct host *h, const struct linked *first, int dir, const char *temp)
{
	char self[FD_PATH_MAX];
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	place_at(h->v, first->path, l);
	bv_autofd int fd = real_open(h->v, l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	real_fd_path(self, fd);
	return linkat(AT_FDCWD, self, dir, temp, AT_SYMLINK_FOLLOW) < 0 ? -errno : 0;
}

static void note_link(struct host *h, const struct stat *st, const char *path)
{
	size_t len = strlen(path);
	struct linked *n = calloc(1, sizeof(*n) + len + 1);

	if (!n)
		return; /* then it becomes a file of its own */
	n->key.dev = st->st_dev;
	n->key.ino = st->st_ino;
	memcpy(n->path, path, len + 1);
	HASH_ADD(hh, h->links, key, sizeof(n->key), n);
}

static int fill_file(struct host *h, int src, const struct stat *st, int dir, const char *temp)
{
	bv_autofd int to = openat(dir, temp, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r;

	if (to < 0)
		return fail(h, errno, "%s", strerror(errno));
	r = st->st_size > 0 && ioctl(to, FICLONE, src) < 0 ? file_copy(src, to, st->st_size) : 0;
	if (r < 0)
		return fail(h, -r, "cannot write it: %s", strerror(-r));
	upper_copy_meta(src, to, st);
	return fsync(to) < 0 ? fail(h, errno, "cannot write it: %s", strerror(errno)) : 0;
}

/* The object itself, under the name temp. */
static int make_temp(struct host *h, struct loc *l, const struct stat *st, int dir, const char *temp)
{
	struct timespec times[2] = {st->st_atim, st->st_mtim};
	struct linked probe, *first = NULL;
	char text[PATH_MAX];

	memset(&probe.key, 0, sizeof(probe.key)); /* the hash sees the padding too */
	probe.key.dev = st->st_dev;
	probe.key.ino = st->st_ino;

	if (S_ISREG(st->st_mode)) {
		if (st->st_nlink > 1)
			HASH_FIND(hh, h->links, &probe.key, sizeof(probe.key), first);
		if (first && link_again(h, first, dir, temp) == 0)
			return 0;
		bv_autofd int src = real_open(h->v, l, V_UPPER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
		if (src < 0)
			return fail(h, -src, "cannot read it: %s", strerror(-src));
		int r = fetch_now(h->v, l->path, src);
		if (r < 0)
			return fail(h, -r, "the store did not bring it: %s", strerror(-r));
		r = fill_file(h, src, st, dir, temp);
		if (r == 0 && st->st_nlink > 1 && !first)
			note_link(h, st, l->path);
		return r;
	}
	if (S_ISLNK(st->st_mode)) {
		bv_autofd int src = real_open(h->v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
		ssize_t n = src < 0 ? -1 : readlinkat(src, "", text, sizeof(text) - 1);

		if (n < 0)
			return fail(h, src < 0 ? -src : errno, "cannot read it");
		text[n] = '\0';
		if (symlinkat(text, dir, temp) < 0)
			return fail(h, errno, "symlink: %s", strerror(errno));
	} else if (S_ISFIFO(st->st_mode)) {
		if (mknodat(dir, temp, S_IFIFO | 0600, 0) < 0)
			return fail(h, errno, "mkfifo: %s", strerror(errno));
		(void)fchmodat(dir, temp, st->st_mode & 07777, 0);
	} else {
		return fail(h, EOPNOTSUPP, "a socket lives and dies with its process");
	}
	if (fchownat(dir, temp, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 && geteuid() == 0)
		return fail(h, errno, "chown: %s", strerror(errno));
	(void)utimensat(dir, temp, times, AT_SYMLINK_NOFOLLOW);
	return 0;
}

static int put(struct host *h, struct loc *l, int dir, const char *name)
{
	char temp[64];
	struct stat st, there;
	bv_autofd int fd = real_open(h->v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(h, fd < 0 ? -fd : errno, "cannot read it");
	if (S_ISDIR(st.st_mode))
		return put_dir(h, l, dir, name);
	temp_name(l->path, temp);
	if (unlinkat(dir, temp, 0) < 0 && errno != ENOENT)
		return fail(h, errno, "%s: %s", temp, strerror(errno));
	int r = make_temp(h, l, &st, dir, temp);
	if (r == 0 && fstatat(dir, name, &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode))
		r = clear(h, dir, name);
	if (r == 0 && renameat(dir, temp, dir, name) < 0)
		r = fail(h, errno, "rename: %s", strerror(errno));
	/* Two names of one file already: rename(2) does nothing then. */
	(void)unlinkat(dir, temp, 0);
	return r;
}

int host_apply(struct host *h, const struct bv_change *c)
{
	const char *name;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return fail(h, ENOMEM, "out of memory");
	place_at(h->v, c->path, l);
	if (c->kind == 'D') {
		bv_autofd int dir = real_parent(h->v, l, V_LOWER, O_PATH, &name);

		if (dir == -ENOENT)
			return 0;
		if (dir < 0)
			return fail(h, -dir, "its directory: %s", strerror(-dir));
		mode_t closed = dir_open_up(dir);
		int r = clear(h, dir, name);
		dir_close_again(dir, closed);
		return r < 0 ? r : sync_dir(dir);
	}
	if (l->len == 1) { /* "/" itself: only its metadata can have changed */
		struct stat st;
		bv_autofd int src = real_open(h->v, l, V_UPPER, O_RDONLY | O_DIRECTORY, 0);
		bv_autofd int to = real_open(h->v, l, V_LOWER, O_RDONLY | O_DIRECTORY, 0);

		if (src < 0 || to < 0 || fstat(src, &st) < 0)
			return fail(h, EIO, "cannot read it");
		upper_copy_meta(src, to, &st);
		return 0;
	}
	bv_autofd int dir = open_parent(h, l, &name);
	if (dir < 0)
		return dir;
	/* The guest did so as well, or there would be nothing new in it. */
	mode_t closed = dir_open_up(dir);
	int r = put(h, l, dir, name);
	dir_close_again(dir, closed);
	if (r < 0)
		return r;
	r = sync_dir(dir);
	return r < 0 ? fail(h, -r, "%s", strerror(-r)) : 0;
}

void host_made(struct host *h, const char *path)
{
	struct linked probe, *first = NULL;
	struct stat st;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return;
	place_at(h->v, path, l);
	bv_autofd int fd = real_open(h->v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink < 2)
		return;
	memset(&probe.key, 0, sizeof(probe.key));
	probe.key.dev = st.st_dev;
	probe.key.ino = st.st_ino;
	HASH_FIND(hh, h->links, &probe.key, sizeof(probe.key), first);
	if (!first)
		note_link(h, &st, path);
}

void host_dir_last(struct host *h, const char *path)
{
	char link[FD_PATH_MAX];
	struct stat st;
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return;
	place_at(h->v, path, l);
	bv_autofd int src = real_open(h->v, l, V_UPPER, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
	bv_autofd int to = real_open(h->v, l, V_LOWER, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);
	if (src < 0 || to < 0 || fstat(src, &st) < 0)
		return;
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	(void)futimens(to, times);
	real_fd_path(link, to);
	if (geteuid() != 0)
		(void)chmod(link, st.st_mode & 07777);
}

void host_fini(struct host *h)
{
	struct linked *l, *next;

	HASH_ITER(hh, h->links, l, next) {
		HASH_DEL(h->links, l);
		free(l);
	}
}
