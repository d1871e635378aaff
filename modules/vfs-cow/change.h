/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_CHANGE_H
#define VFS_COW_CHANGE_H
/* Removals that rename shares with rmdir and unlink. */
#include "vfs.h"

/* Removes the (virtually empty) directory, or the file, at l; permissions were checked. */
int change_rmdir(struct vfs *v, struct bv_call *call, struct loc *l);
int change_unlink(struct vfs *v, struct bv_call *call, struct loc *l);

#endif
