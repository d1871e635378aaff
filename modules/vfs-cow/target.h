/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_TARGET_H
#define VFS_COW_TARGET_H
/* Changing an object's metadata: what chmod, chown, utimes, setxattr and their kin share. */
#include "vfs.h"

struct target {
	struct loc l;
	int guest_fd;   /* the descriptor that named it, or -1 */
	int fd;         /* owned: of what is to be changed; O_PATH, or a duplicate of the guest's */
	char path[FD_PATH_MAX]; /* our magic link to fd, for calls that take no O_PATH descriptor */
	struct stat st; /* as the guest sees it before the change */
};

#define TARGET_DONE 2 /* there is nothing to change: success */

/* 0 or -errno; `may` also TARGET_DONE. */
typedef int target_fn(struct vfs *v, struct bv_call *call, struct target *t, const void *arg);

struct target_op {
	/*
	 * May the guest?  Asked where the kernel cannot be, because the object is the lower's (or
	 * represented by it); otherwise `apply` is the judge.
	 */
	target_fn *may;
	target_fn *apply; /* runs as the guest, on t->fd or t->path */
};

/* Where the object is named: a path, "" with AT_EMPTY_PATH, or a descriptor alone. */
struct target_name {
	int dirfd;
	uint64_t path;
	unsigned walk; /* W_NOFOLLOW, W_EMPTY */
	bool by_fd;    /* dirfd itself */
	bool maybe_null; /* with W_EMPTY a null pointer is the empty path (getname_maybe_null of fs/namei.c) */
};

/* The first two arguments of a call with at_flags, AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH, as the *xattrat and
 * file_*attr calls take them (fs/xattr.c, fs/file_attr.c of Linux 6.17).  0, -errno. */
int target_name_at(struct vfs *v, struct bv_call *call, int flags, struct target_name *name);

/* An object to be asked only, for calls that take no O_PATH descriptor. */
struct source {
	struct loc l;
	int fd; /* owned, O_PATH */
	char path[FD_PATH_MAX]; /* our magic link to exactly that object */
};
int source_open(struct vfs *v, struct bv_call *call, const struct target_name *name,
                struct source *s);
void source_fini(struct source *s);

/* The whole call: finds the object, asks, copies up, applies.  `handler` is its own handler. */
enum bv_verdict target_change(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                              const struct target_name *name, const struct target_op *op, const void *arg);

/* Is the descriptor that led to l open for writing? */
bool target_is_writable(const struct loc *l);
/* The guest's descriptor of a lower file, which l was, becomes one of its copy, which l is.  0, -errno. */
int target_replace_fd(struct vfs *v, struct bv_call *call, const struct loc *l, int guest_fd);

#endif
