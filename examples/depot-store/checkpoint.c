/* SPDX-License-Identifier: Apache-2.0 */
#include "depot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

static int by_file(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev == y->dev ? 0 : x->dev < y->dev ? -1 : 1;
}

static int remember(struct depot *d, const struct stat *st, uint64_t id)
{
	if ((d->n_fresh & (d->n_fresh - 1)) == 0) { /* a power of two: full */
		void *more =
			realloc(d->fresh, (d->n_fresh ? 2 * d->n_fresh : 1) * sizeof(*d->fresh));

		if (!more)
			return -ENOMEM;
		d->fresh = more;
	}
	d->fresh[d->n_fresh++] =
		(struct known){st->st_dev, st->st_ino, st->st_size, st->st_ctim, id};
	return 0;
}

static int store_object(struct depot *d, int fd, uint64_t *id)
{
	char name[32];
	struct stat before, after;
	int to, r;

	if (fstat(fd, &before) < 0)
		return -errno;
	*id = ++d->next;
	snprintf(name, sizeof(name), "%" PRIu64, *id);
	to = openat(d->objects, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	r = to < 0 ? -errno : copy_bytes(fd, to);
	if (r == 0 && fsync(to) < 0)
		r = -errno;
	shut(&to);
	if (r < 0 || fstat(fd, &after) < 0)
		return r < 0 ? r : -errno;
	/* Who writes to it meanwhile gets what is met, as after a crash; and it is looked at again. */
	if (before.st_ctim.tv_sec == after.st_ctim.tv_sec &&
	    before.st_ctim.tv_nsec == after.st_ctim.tv_nsec)
		r = remember(d, &before, *id);
	return r;
}

/* The object with the file's bytes: that which it had, if nothing happened to it since. */
static int object_of(struct depot *d, int fd, const struct stat *st, uint64_t *id)
{
	char self[40], mark[32];
	const struct known key = {.dev = st->st_dev, .ino = st->st_ino};

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	ssize_t n = getxattr(self, BV_ABSENT_XATTR, mark, sizeof(mark) - 1);
	if (n > 0) {
		mark[n] = '\0';
		*id = strtoull(mark, NULL, 10);
		return 0;
	}
	const struct known *k =
		d->n_known ? bsearch(&key, d->known, d->n_known, sizeof(key), by_file) : NULL;
	if (k && k->size == st->st_size && k->changed.tv_sec == st->st_ctim.tv_sec &&
	    k->changed.tv_nsec == st->st_ctim.tv_nsec) {
		*id = k->id;
		return remember(d, st, *id);
	}
	int file = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (file < 0 && errno == EACCES && chmod(self, (st->st_mode & 07777) | 0400) == 0) {
		/* Its owner, an ordinary user as we are, may not read it: for this moment. */
		file = open(self, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
		(void)chmod(self, st->st_mode & 07777);
	}
	int r = file < 0 ? -errno : store_object(d, file, id);
	shut(&file);
	return r;
}

/*
 * A guest may put another object, or a symlink, under a name at any moment: it is opened once, without
 * following links, and is then that descriptor.
 */
static int write_entry(struct depot *d, FILE *out, int at, const char *name, const char *path)
{
	int fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC), r = 0;
	char target[PATH_MAX] = "";
	uint64_t id = 0;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = errno == ENOENT ? 1 : -errno; /* gone, for the guest goes on */
		shut(&fd);
		return r;
	}
	int kind = S_ISDIR(st.st_mode)    ? 'd'
	           : S_ISREG(st.st_mode)  ? 'f'
	           : S_ISLNK(st.st_mode)  ? 'l'
	           : S_ISFIFO(st.st_mode) ? 'p'
	                                  : 0;
	if (kind == 'f' && st.st_size > 0)
		r = object_of(d, fd, &st, &id);
	if (kind == 'l' && readlinkat(fd, "", target, sizeof(target) - 1) < 0)
		r = -errno;
	shut(&fd);
	if (r < 0 || !kind)
		return r < 0 ? r : 1; /* a socket lives and dies with its process */
	fprintf(out, "%c %o %u %u %lld.%09ld %lld %" PRIu64 " %s", kind, st.st_mode & 07777,
	        st.st_uid, st.st_gid, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
	        (long long)st.st_size, id, path);
	fputc('\0', out);
	if (kind == 'l') {
		fputs(target, out);
		fputc('\0', out);
	}
	return kind == 'd' ? 0 : 1;
}

static int write_tree(struct depot *d, FILE *out, int dir, const char *rel)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	char path[PATH_MAX];
	const struct dirent *e;

	if (!all)
		return -errno;
	while (r >= 0 && (e = readdir(all))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if ((size_t)snprintf(path, sizeof(path), "%s%s%s", rel, *rel ? "/" : "",
		                     e->d_name) >= sizeof(path)) {
			r = -ENAMETOOLONG;
			break;
		}
		r = write_entry(d, out, fd, e->d_name, path);
		if (r != 0)
			continue;
		int below = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (below >= 0)
			r = write_tree(d, out, below, path);
		else if (errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
			r = -errno;
		shut(&below);
	}
	closedir(all);
	return r < 0 ? r : 0;
}

static int write_all(struct depot *d)
{
	int fd = openat(d->dir_fd, "index.new",
	                O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	FILE *out = fd < 0 ? NULL : fdopen(fd, "w");
	int r;

	if (!out)
		return -errno;
	/* Written again when all objects have their numbers. */
	fprintf(out, FIRST_LINE " next %-20" PRIu64, d->next);
	fputc('\0', out);
	r = write_tree(d, out, d->tree, "");
	if (r == 0 && fseek(out, 0, SEEK_SET) == 0)
		fprintf(out, FIRST_LINE " next %-20" PRIu64, d->next);
	if (r == 0 && (fflush(out) != 0 || fsync(fd) < 0 || fsync(d->objects) < 0))
		r = -errno;
	if (fclose(out) != 0 && r == 0)
		r = -errno;
	if (r == 0 &&
	    (renameat(d->dir_fd, "index.new", d->dir_fd, "index") < 0 || fsync(d->dir_fd) < 0))
		r = -errno;
	return r;
}

int index_write(struct depot *d)
{
	int r = write_all(d);

	free(r == 0 ? d->known : d->fresh);
	if (r == 0) {
		d->known = d->fresh;
		d->n_known = d->n_fresh;
		if (d->n_known)
			qsort(d->known, d->n_known, sizeof(*d->known), by_file);
	}
	d->fresh = NULL;
	d->n_fresh = 0;
	return r;
}
