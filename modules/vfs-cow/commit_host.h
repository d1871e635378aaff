/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_COMMIT_HOST_H
#define VFS_COW_COMMIT_HOST_H
/* One change, made on the host. */
#include "vfs.h"

/* A hard-linked file that was committed under its first name. */
struct linked {
	struct {
		dev_t dev;
		ino_t ino;
	} key;
	UT_hash_handle hh;
	char path[]; /* virtual */
};

struct host {
	struct vfs *v;
	struct linked *links;
	char why[200]; /* of the last failure */
};

/* Makes what the upper has at the change's place (for D: nothing) the host's, durably.  Doing it
 * again changes nothing.  0; -EOPNOTSUPP for what cannot be brought to a host; -errno; both with
 * host->why. */
int host_apply(struct host *h, const struct bv_change *c);
/* The change at this path was made by a commit that did not come to its end: further names of the
 * same file are to be links to it. */
void host_made(struct host *h, const char *path);
/* The times of a directory, and for an unprivileged supervisor its mode, when all is done in it. */
void host_dir_last(struct host *h, const char *path);
/* lstat of the host's object at a virtual path, following no symlink: 0, -errno. */
int host_stat(struct vfs *v, const char *path, struct stat *st);
/* The latest time that anything at or below the host's directory was changed. */
int host_latest(struct vfs *v, const char *path, struct timespec *latest);
void host_fini(struct host *h);

#endif
