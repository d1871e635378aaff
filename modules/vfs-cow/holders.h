/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_HOLDERS_H
#define VFS_COW_HOLDERS_H
/*
 * Who has an open file?  What belongs to an open file ends with its last descriptor, and nobody tells us
 * of that; so whoever keeps a duplicate asks now and then (kcmp(2)).
 */
#include "vfs.h"

/* Are the two descriptors, ours, of one open file?  1, 0; -1: the kernel does not say. */
int holders_same(int a, int b);
/* Does any guest have the open file behind fd, ours?  pid is asked first.  Who cannot be asked may. */
bool holders_have(struct vfs *v, pid_t pid, int fd);

#endif
