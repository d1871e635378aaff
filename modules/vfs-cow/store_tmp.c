/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `tmp:` store: an upper layer that ends with its sandbox.  `tmp:` lives in $TMPDIR or /tmp,
 * `tmp:/DIR` in DIR: DIR/.bvisor-UID/RANDOM/{u,x,synth,watch,trash}.  The directory is held with flock(2) while
 * the sandbox lives; one that is not was left by a crash and is removed by whoever starts next.
 * Names are short, since a socket's path may have only 107 bytes (unix(7)).
 *
 * Making and removing directories costs ext4 a quarter of a millisecond, most of a short run's
 * share of this store.  So a run that wrote nothing leaves its empty one as `spare` to the next.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/xattr.h>

#include "scrub.h"
#include "store.h"
#include "vfs.h"

#define NAME_LEN 12
#define SPARE "spare"

struct run {
	int base, dir;
	char name[NAME_LEN + 1];
	struct stat fresh; /* `u` as it was made */
};

static void run_free(struct run *r)
{
	if (!r)
		return;
	if (r->dir >= 0)
		close(r->dir);
	if (r->base >= 0)
		close(r->base);
	free(r);
}

/*
 * Root's guests may change their user, and the kernel walks down here when they execute what is
 * in the upper: they may pass, not look.  Everybody else's directories are their own.
 */
static mode_t dir_mode(void)
{
	return geteuid() == 0 ? 0711 : 0700;
}

/* The per-user base: a directory, no symlink, ours, writable by nobody else. */
static int base_open(struct store_why *t, const char *where, char *path, size_t size)
{
	bv_autofree char *real = realpath(where, NULL);
	struct stat st;

	if (!real)
		return store_fail(t, errno, "%s", where);
	if ((size_t)snprintf(path, size, "%s/.bvisor-%u", real[1] ? real : "", geteuid()) >= size)
		return store_fail(t, ENAMETOOLONG, "%s", where);
	if (mkdir(path, dir_mode()) < 0 && errno != EEXIST)
		return store_fail(t, errno, "%s", path);
	bv_autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return store_fail(t, errno, "%s is not a directory of ours", path);
	if (fstat(fd, &st) < 0)
		return store_fail(t, errno, "%s", path);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return store_fail(t, EPERM, "%s belongs to somebody else or can be written by others", path);
	if ((st.st_mode & 0777) != dir_mode() && fchmod(fd, dir_mode()) < 0)
		return store_fail(t, errno, "%s", path);
	store_spread(fd);
	return bv_take_fd(&fd);
}

/* Removes the run directory `name` below base.  One that could not be emptied is found again. */
static void remove_run(int base, const char *name, int dir)
{
	(void)scrub(dir, NULL);
	(void)unlinkat(base, name, AT_REMOVEDIR);
}

/* Run directories of sandboxes that are no more.  The caller holds the base's lock, so none is
 * just being made. */
static void collect(int base)
{
	int fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || strcmp(e->d_name, SPARE) == 0)
			continue;
		bv_autofd int dir = openat(base, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (dir < 0)
			continue;
		if (flock(dir, LOCK_EX | LOCK_NB) == 0)
			remove_run(base, e->d_name, dir);
	}
	closedir(d);
}

/* Unguessable, since others may pass through root's: 12 of 32 signs are 60 bits. */
static int random_name(char out[NAME_LEN + 1])
{
	static const char sign[] = "abcdefghijkmnpqrstuvwxyz23456789";
	unsigned char bytes[NAME_LEN];

	if (getrandom(bytes, sizeof(bytes), 0) != (ssize_t)sizeof(bytes))
		return -EIO;
	for (size_t i = 0; i < NAME_LEN; i++)
		out[i] = sign[bytes[i] % (sizeof(sign) - 1)];
	out[NAME_LEN] = '\0';
	return 0;
}

/* Opens r->name, which is ours, and holds it. */
static int run_hold(struct run *r)
{
	r->dir = openat(r->base, r->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return r->dir < 0 || flock(r->dir, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

/* No entry but those named, which are directories. */
static bool holds_only(int at, const char *path, const char *name)
{
	int fd = openat(at, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	bool only = d != NULL;

	if (fd >= 0 && !d)
		close(fd);
	while (only && (e = readdir(d)))
		only = strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		       (name && strcmp(e->d_name, name) == 0);
	if (d)
		closedir(d);
	return only;
}

/* The one that an earlier run left, under the new name r->name. */
static bool run_spare(struct run *r)
{
	if (renameat(r->base, SPARE, r->base, r->name) < 0)
		return false;
	if (run_hold(r) == 0 && holds_only(r->dir, ".", "u") && holds_only(r->dir, "u", NULL))
		return true;
	if (r->dir >= 0) {
		remove_run(r->base, r->name, r->dir);
		close(r->dir);
		r->dir = -1;
	}
	return false;
}

static int run_make(struct run *r)
{
	int err = random_name(r->name);

	if (err < 0)
		return err;
	if (!run_spare(r)) {
		while (mkdirat(r->base, r->name, dir_mode()) < 0)
			if (errno != EEXIST || random_name(r->name) < 0)
				return -errno;
		err = run_hold(r);
		/* The upper's own directory is the guest's "/" where that was changed: as open as a
		 * root is. */
		if (err < 0 || mkdirat(r->dir, "u", 0755) < 0 || fchmodat(r->dir, "u", 0755, 0) < 0)
			return err < 0 ? err : -errno;
	}
	if (fchmod(r->dir, dir_mode()) < 0 || fstatat(r->dir, "u", &r->fresh, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int tmp_open(void *ctx, const char *rest, struct bv_layer *out, const char **why)
{
	struct store_why *t = ctx;
	const char *where = rest;
	char base[sizeof(out->root) - NAME_LEN - sizeof("//u")];
	struct run *r = calloc(1, sizeof(*r));

	*why = t->why;
	if (!r)
		return -ENOMEM;
	r->base = r->dir = -1;
	if (!*where)
		where = getenv("TMPDIR");
	if (!where || !*where)
		where = "/tmp";
	if (where[0] != '/') {
		run_free(r);
		return store_fail(t, EINVAL, "%s is no absolute path", where);
	}
	int err = base_open(t, where, base, sizeof(base));
	if (err < 0) {
		run_free(r);
		return err;
	}
	r->base = err;
	err = flock(r->base, LOCK_EX) < 0 ? -errno : 0;
	if (err == 0) {
		collect(r->base);
		err = run_make(r);
	}
	(void)flock(r->base, LOCK_UN);
	if (err == 0) {
		out->root_fd = openat(r->dir, "u", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		err = out->root_fd < 0 ? -errno : 0;
	}
	if (err < 0) {
		if (r->dir >= 0)
			remove_run(r->base, r->name, r->dir);
		run_free(r);
		return store_fail(t, -err, "%s", base);
	}
	snprintf(out->root, sizeof(out->root), "%s/%s/u", base, r->name);
	/* Other sandboxes' layers too, where $TMPDIR is no private directory inside. */
	snprintf(out->hide, sizeof(out->hide), "%s", base);
	out->state = r;
	return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

/* Has `u` no attributes?  Times alone may not tell: before Linux 6.13 they stand still for 4 ms. */
static bool bare(int dir)
{
	bv_autofd int u = openat(dir, "u", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return u >= 0 && flistxattr(u, NULL, 0) <= 0;
}

/*
 * Leaves the run directory to the next run if nothing was ever done in it.  With the base's lock,
 * or somebody who collects could have found it under its old name and remove what is in it when we
 * are gone.
 */
static bool leave_spare(const struct run *r)
{
	struct stat st;

	if (fstatat(r->dir, "u", &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_mode != r->fresh.st_mode ||
	    st.st_uid != r->fresh.st_uid || st.st_gid != r->fresh.st_gid ||
	    !same_time(&st.st_ctim, &r->fresh.st_ctim) || !same_time(&st.st_mtim, &r->fresh.st_mtim) ||
	    !bare(r->dir) || !holds_only(r->dir, ".", "u") || !holds_only(r->dir, "u", NULL) ||
	    flock(r->base, LOCK_EX | LOCK_NB) < 0)
		return false;
	(void)flock(r->dir, LOCK_UN);
	bool left = renameat2(r->base, r->name, r->base, SPARE, RENAME_NOREPLACE) == 0;
	(void)flock(r->base, LOCK_UN);
	return left;
}

static void tmp_close(void *ctx, struct bv_layer *layer)
{
	struct run *r = layer->state;

	if (!r)
		return;
	if (layer->root_fd >= 0)
		close(layer->root_fd);
	layer->root_fd = -1;
	if (!leave_spare(r))
		remove_run(r->base, r->name, r->dir);
	run_free(r);
	layer->state = NULL;
}

const struct bv_store_ops store_tmp_ops = {
	.head = BV_HEAD(SERVICE, struct bv_store_ops),
	.scheme = "tmp",
	.open = tmp_open,
	.close = tmp_close,
};
