/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_ENTRY_H
#define VFS_COW_ENTRY_H
/*
 * A directory entry named by a path, for calls that make, remove or move it.  As in the kernel
 * (filename_parentat) the last component is never followed, not even before a trailing slash.
 */
#include "vfs.h"

enum last { LAST_NORM, LAST_DOT, LAST_DOTDOT, LAST_ROOT };

struct entry {
	struct loc l;
	enum last last; /* what the last component is */
	bool slashed;   /* a slash followed it */
};

/* Resolves a guest's path.  flags: W_PROBE (must exist) or W_CREATE.  Then loc_fini(&e->l). */
int entry_walk(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned flags, struct entry *e);

/* May something be made at e?  0, -EEXIST, -ENOENT (a slash behind what is no directory), ... */
int entry_check_new(struct vfs *v, struct bv_call *call, struct entry *e, bool is_dir);

/* Makes the object `name` in dir; 0 or -errno. */
typedef int entry_make_fn(int dir, const char *name, const void *arg);
/* Runs make in the writable parent of l, under the guest's umask, and does what must follow. */
int entry_make(struct vfs *v, struct bv_call *call, struct loc *l, bool is_dir, entry_make_fn *make,
               const void *arg);

/* The same for another name of an object that exists: it stays whose it is. */
int entry_place(struct vfs *v, struct bv_call *call, struct loc *l, entry_make_fn *make, const void *arg);

/* Removes the directory, or the file, at l; whether the guest may was asked before. */
int entry_rmdir(struct vfs *v, struct bv_call *call, struct loc *l);
int entry_unlink(struct vfs *v, struct bv_call *call, struct loc *l);

#endif
