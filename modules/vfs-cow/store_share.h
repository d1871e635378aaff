/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_STORE_SHARE_H
#define VFS_COW_STORE_SHARE_H
/*
 * Trees that several states of layers share until one of them is used (docs/layer-format.md).  A
 * state has `upper` and `meta` of its own, or its manifest says which of `trees` has them.  So a
 * snapshot and a fork of what nobody uses cost a rename, and the copy is made by whoever first runs
 * something in it, if anybody does.
 */
#include "store_local.h"

/*
 * The lock under which trees are shared, given back and collected: a descriptor, released by closing
 * it.  base: that of the sandboxes.
 */
int share_lock(struct store_why *t, int base);
/* With the lock.  Makes the state at dir, which nobody uses, one that shares its tree; *m is its
 * manifest.  0 or -errno. */
int share_state(struct store_why *t, int base, int dir, struct manifest *m);
/* Gives the layer at dir, which is the caller's alone (its own lock), a tree of its own again.  Copies
 * it, if another state needs it too, without *lock, which was taken before *m was read. */
int share_end(struct store_why *t, int base, int dir, struct manifest *m, int *lock);
/* With the lock.  Removes trees that no state has. */
void share_collect(int base);

/* The directory `part` ("upper", "meta") of the state at dir, for reading: a descriptor, -errno. */
int state_part(int base, int dir, const char *part);

#endif
