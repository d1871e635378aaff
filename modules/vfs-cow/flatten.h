/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_FLATTEN_H
#define VFS_COW_FLATTEN_H
#include "vfs.h"

/*
 * Makes the directory at l, which has a lower part, live in the upper alone: everything below is
 * copied up.  0, with l->view V_UPPER; -EXDEV when that is too much for one call or not possible.
 */
int flatten(struct vfs *v, struct bv_call *call, struct loc *l);

#endif
