/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_DEVICE_H
#define VFS_COW_DEVICE_H
/* Device nodes: the few of /dev's allowlist, and the sandbox's own terminals. */
#include "vfs.h"

/* Opens the device at l for the calling guest: fd or -errno. */
int device_open(struct vfs *v, struct bv_call *call, struct loc *l, int flags);
/* Remembers the terminals that the sandbox was started with (descriptors 0 to 2). */
void device_adopt_stdio(struct vfs *v);

#endif
