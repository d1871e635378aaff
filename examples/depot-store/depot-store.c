/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Example: a store that keeps a layer somewhere slow or far away, say on NFS or sshfs.  A sandbox starts
 * with names, modes and sizes; a file's bytes are brought when somebody needs them; what has changed is
 * brought back by sync(2) inside, and in the end.  Shows lazy layers, checkpoints, and how to read a tree
 * that guests go on changing.
 *
 *   modules = depot-store blocklist vfs-cow ...
 *   [vfs-cow]
 *   upper = depot:/mnt/far/work
 *
 * The depot holds `objects/N`, the bytes of one file each, which never change, and `index`, which says
 * what the layer is made of.  A checkpoint writes new objects and then replaces the index: the layer is
 * always that of one checkpoint.  Hard links become files of their own; extended attributes and sockets
 * are not kept.
 */
#include "depot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

static int fail(struct depot *d, const char **why, int err, const char *what)
{
	snprintf(d->why, sizeof(d->why), "%s: %s", what, strerror(err));
	*why = d->why;
	return -err;
}

void shut(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* All bytes, holes kept.  -EINTR when a signal came. */
int copy_bytes(int from, int to)
{
	char buf[65536];
	struct stat st;
	off_t at = 0;

	if (fstat(from, &st) < 0)
		return -errno;
	while ((at = lseek(from, at, SEEK_DATA)) >= 0) {
		ssize_t n = pread(from, buf, sizeof(buf), at), done = 0;

		if (n == 0)
			break;
		for (ssize_t part = 0; done < n; done += part)
			if ((part = pwrite(to, buf + done, (size_t)(n - done), at + done)) < 0)
				return -errno;
		if (n < 0)
			return -errno;
		at += n;
	}
	if (at < 0 && errno != ENXIO)
		return -errno;
	return ftruncate(to, st.st_size) < 0 ? -errno : 0;
}

int clear_dir(int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 ||
		    unlinkat(fd, e->d_name, 0) == 0)
			continue;
		int below = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = below < 0 ? -errno : clear_dir(below);
		shut(&below);
		if (r == 0 && unlinkat(fd, e->d_name, AT_REMOVEDIR) < 0)
			r = -errno;
	}
	closedir(d);
	return r;
}

/* ---- open ---- */

#define WORK_NAME "/.bvisor-depot-"

/* Who had the depot open before us is gone, or it would be locked: so is what its directory was for. */
static void collect(const struct depot *d)
{
	char old[sizeof(d->work)];
	ssize_t n = readlinkat(d->dir_fd, "work", old, sizeof(old) - 1);

	if (n <= 0)
		return;
	old[n] = '\0';
	int fd = strstr(old, WORK_NAME) ? open(old, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
	                                : -1;
	if (fd >= 0 && clear_dir(fd) == 0)
		(void)rmdir(old);
	shut(&fd);
	(void)unlinkat(d->dir_fd, "work", 0);
}

static int make_work(struct depot *d, struct bv_layer *out, const char **why)
{
	const char *tmp = getenv("TMPDIR");

	collect(d);
	snprintf(d->work, sizeof(d->work), "%.60s" WORK_NAME "XXXXXX",
	         tmp && tmp[0] == '/' ? tmp : "/tmp");
	if (!mkdtemp(d->work) || symlinkat(d->work, d->dir_fd, "work") < 0)
		return fail(d, why, errno, d->work);
	d->work_fd = open(d->work, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->work_fd < 0 || mkdirat(d->work_fd, "u", 0755) < 0 || fchmod(d->work_fd, 0711) < 0)
		return fail(d, why, errno, d->work);
	d->tree = openat(d->work_fd, "u", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = d->tree < 0 ? -errno : index_read(d);
	if (r == -EINVAL)
		return fail(d, why, EINVAL, "its index is not as this store writes it");
	if (r < 0)
		return fail(d, why, -r,
		            r == -EOPNOTSUPP
		                    ? "the directory for temporary files has no user attributes"
		                    : d->dir);
	snprintf(out->root, sizeof(out->root), "%s/u", d->work);
	out->root_fd = openat(d->work_fd, "u", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return out->root_fd < 0 ? fail(d, why, errno, d->work) : 0;
}

static void drop(struct depot *d)
{
	if (d->work_fd >= 0) {
		(void)clear_dir(d->work_fd);
		(void)rmdir(d->work);
	}
	if (d->objects >= 0) /* then the depot is locked, and ours */
		(void)unlinkat(d->dir_fd, "work", 0);
	shut(&d->work_fd);
	shut(&d->tree);
	shut(&d->objects);
	shut(&d->dir_fd);
	free(d->known);
	d->known = NULL;
	d->n_known = 0;
}

static int depot_open(void *ctx, const char *rest, struct bv_layer *out, const char **why)
{
	struct depot *d = ctx;
	int r = 0;

	if (rest[0] != '/' || !realpath(rest, d->dir))
		return fail(d, why, rest[0] == '/' ? errno : EINVAL,
		            rest[0] == '/' ? rest : "no absolute path");
	if (strlen(d->dir) >= sizeof(out->hide))
		return fail(d, why, ENAMETOOLONG, d->dir);
	d->dir_fd = open(d->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->dir_fd < 0)
		return fail(d, why, errno, d->dir);
	if (flock(d->dir_fd, LOCK_EX | LOCK_NB) < 0)
		r = fail(d, why, EBUSY, d->dir);
	else if (mkdirat(d->dir_fd, "objects", 0700) < 0 && errno != EEXIST)
		r = fail(d, why, errno, d->dir);
	if (r == 0) {
		d->objects = openat(d->dir_fd, "objects",
		                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = d->objects < 0 ? fail(d, why, errno, d->dir) : make_work(d, out, why);
	}
	/* The supervisor writes nowhere else from the guest's start on. */
	if (r == 0)
		r = d->host->landlock_write(d->self, d->dir, BV_WRITE_ALL);
	if (r < 0) {
		drop(d);
		return r;
	}
	snprintf(out->hide, sizeof(out->hide), "%s", d->dir);
	out->flags |= BV_LAYER_KEPT | BV_LAYER_LAZY;
	return 0;
}

/* ---- fetch ---- */

static int depot_fetch(void *ctx, struct bv_layer *layer, const struct bv_fetch *what)
{
	const struct depot *d = ctx;
	char id[32];

	(void)layer;
	snprintf(id, sizeof(id), "%.*s", (int)what->mark_len, (const char *)what->mark);
	int from = openat(d->objects, id, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from < 0)
		return errno == ENOENT ? -EIO : -errno;
	int r = copy_bytes(from, what->fd);
	shut(&from);
	return r;
}

static int depot_checkpoint(void *ctx, struct bv_layer *layer)
{
	struct depot *d = ctx;
	char text[sizeof(d->dir) + 100];
	int r = index_write(d);

	(void)layer;
	if (r < 0) {
		snprintf(text, sizeof(text), "%s: cannot bring back what has changed: %s", d->dir,
		         strerror(-r));
		d->host->log(d->self, BV_LOG_ERROR, text);
	}
	return r;
}

static void depot_close(void *ctx, struct bv_layer *layer)
{
	struct depot *d = ctx;
	char text[sizeof(d->work) + 100];

	if (layer->root_fd < 0)
		return;
	shut(&layer->root_fd);
	if (depot_checkpoint(d, layer) < 0) {
		snprintf(text, sizeof(text), "nothing is lost: all of it is in %s/u", d->work);
		d->host->log(d->self, BV_LOG_ERROR, text);
		shut(&d->work_fd); /* so it stays */
	}
	drop(d);
}

/* ---- the module ---- */

static struct bv_store_ops ops = {
	.head = BV_HEAD(SERVICE, struct bv_store_ops),
	.scheme = "depot",
	.open = depot_open,
	.close = depot_close,
	.fetch = depot_fetch,
	.checkpoint = depot_checkpoint,
};

static int init(struct bv_self *host_self, const struct bv_host *host, const void *conf,
                void **self)
{
	struct depot *d = calloc(1, sizeof(*d));

	(void)conf;
	if (!d)
		return -ENOMEM;
	d->host = host;
	d->self = host_self;
	d->dir_fd = d->objects = d->work_fd = d->tree = -1;
	ops.ctx = d;
	*self = d;
	return host->provide(host_self, BV_STORE_PREFIX "depot", &ops.head);
}

static void fini(void *self)
{
	ops.ctx = NULL;
	free(self);
}

static const char *const provides[] = {BV_STORE_PREFIX "depot", NULL};

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "depot-store",
	.version = "1.0",
	.provides = provides,
	.option_size = sizeof(struct bv_option),
	.need_size = sizeof(struct bv_need),
	.handler_size = sizeof(struct bv_handler),
	.rule_size = sizeof(struct bv_rule),
	.init = init,
	.fini = fini,
};
