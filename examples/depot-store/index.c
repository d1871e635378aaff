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

/*
 * Records that end in a NUL, "KIND MODE UID GID SEC.NSEC SIZE OBJECT PATH".
 */

struct entry {
	char kind; /* d, f, l, p */
	unsigned mode;
	uid_t uid;
	gid_t gid;
	struct timespec time;
	off_t size;
	uint64_t id;
	const char *path, *target; /* of a symlink, whose record is followed by its target */
};

/* The next record of a text that ends in a NUL: where the one after it begins; NULL: not ours. */
static const char *read_entry(const char *at, const char *end, struct entry *e)
{
	int n = 0;
	long long sec, size;

	if (sscanf(at, "%c %o %u %u %lld.%ld %lld %" SCNu64 " %n", &e->kind, &e->mode, &e->uid,
	           &e->gid, &sec, &e->time.tv_nsec, &size, &e->id, &n) != 8 ||
	    n == 0 || !at[n] || at[n] == '/' || !strchr("dflp", e->kind))
		return NULL;
	e->time.tv_sec = sec;
	e->size = size;
	e->path = at + n;
	e->target = NULL;
	at = e->path + strlen(e->path) + 1;
	if (e->kind == 'l') {
		e->target = at;
		at = at < end ? at + strlen(at) + 1 : NULL;
	}
	return at;
}

static int make_entry(void *arg, const struct entry *e)
{
	const struct depot *d = arg;
	const struct timespec times[2] = {e->time, e->time};
	const int flags = AT_SYMLINK_NOFOLLOW;
	char id[32];
	int fd = -1, r = 0;

	switch (e->kind) {
	case 'd':
		r = mkdirat(d->tree, e->path, 0700);
		break;
	case 'l':
		r = symlinkat(e->target, d->tree, e->path);
		break;
	case 'p':
		r = mkfifoat(d->tree, e->path, 0600);
		break;
	default:
		r = fd = openat(d->tree, e->path,
		                O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	}
	/* The names are here; the bytes come when they are needed. */
	if (r >= 0 && fd >= 0 && e->size > 0)
		r = ftruncate(fd, e->size) < 0
		            ? -1
		            : fsetxattr(fd, BV_ABSENT_XATTR, id,
		                        (size_t)snprintf(id, sizeof(id), "%" PRIu64, e->id), 0);
	if (r >= 0 && fchownat(d->tree, e->path, e->uid, e->gid, flags) < 0 && geteuid() == 0)
		r = -1;
	if (r >= 0 && e->kind != 'l')
		r = fchmodat(d->tree, e->path, e->mode & 07777, 0);
	if (r >= 0)
		r = utimensat(d->tree, e->path, times, flags);
	r = r < 0 ? -errno : 0;
	shut(&fd);
	return r;
}

/* Calls fn for each record; text, which has a NUL behind its end, stays the caller's. */
static int each_entry(void *arg, const char *text, size_t n,
                      int (*fn)(void *arg, const struct entry *))
{
	const char *end = text + n, *at = text + strlen(text) + 1;
	struct entry e;
	int r = 0;

	while (r == 0 && at < end) {
		at = read_entry(at, end, &e);
		r = at ? fn(arg, &e) : -EINVAL;
	}
	return r;
}

/* What was made in a directory has changed its times: once more, when all is there. */
static int set_times(void *arg, const struct entry *e)
{
	const struct depot *d = arg;
	const struct timespec times[2] = {e->time, e->time};

	return e->kind != 'd' || utimensat(d->tree, e->path, times, AT_SYMLINK_NOFOLLOW) == 0
	               ? 0
	               : -errno;
}

/* Numbers of objects, one for each file that has bytes. */
struct numbers {
	uint64_t *at;
	size_t n, max;
};

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static int note_number(void *arg, const struct entry *e)
{
	struct numbers *u = arg;

	if (e->kind != 'f' || e->size == 0)
		return 0;
	if (u->n == u->max) {
		size_t max = u->max ? 2 * u->max : 64;
		void *more = realloc(u->at, max * sizeof(*u->at));

		if (!more)
			return -ENOMEM;
		u->at = more;
		u->max = max;
	}
	u->at[u->n++] = e->id;
	return 0;
}

/* Objects that no record names are of an older index, or of one that was not finished. */
static int sweep(const struct depot *d, struct numbers *used)
{
	int fd = openat(d->objects, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *all = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!all)
		return -errno;
	if (used->n)
		qsort(used->at, used->n, sizeof(*used->at), by_number);
	while ((e = readdir(all))) {
		uint64_t id = strtoull(e->d_name, NULL, 10);

		if (e->d_name[0] != '.' &&
		    !(used->n && bsearch(&id, used->at, used->n, sizeof(id), by_number)))
			(void)unlinkat(fd, e->d_name, 0);
	}
	closedir(all);
	return 0;
}

/* The whole index, allocated, and its length without the NUL behind it.  "" when there is none. */
static int load(const struct depot *d, char **text, size_t *n)
{
	struct stat st;
	int fd = openat(d->dir_fd, "index", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = 0;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	*n = fd >= 0 && fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
	*text = calloc(1, *n + 1);
	if (*text && fd >= 0)
		got = read(fd, *text, *n);
	shut(&fd);
	if (!*text)
		return -ENOMEM;
	return got == (ssize_t)*n ? 0 : -EIO;
}

int index_read(struct depot *d)
{
	struct numbers used = {0};
	char *text = NULL;
	size_t n = 0;
	int r = load(d, &text, &n);

	if (r == 0 && n &&
	    (sscanf(text, FIRST_LINE " next %" SCNu64, &d->next) != 1 || text[n - 1]))
		r = -EINVAL;
	if (r == 0)
		r = each_entry(&used, text, n, note_number);
	if (r == 0)
		r = sweep(d, &used);
	if (r == 0)
		r = each_entry(d, text, n, make_entry);
	if (r == 0)
		r = each_entry(d, text, n, set_times);
	free(used.at);
	free(text);
	return r;
}
