/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_SAME_H
#define VFS_COW_SAME_H
/* Two objects compared, by our descriptors. */
#include <stdbool.h>

/* Regular files, open for reading, from where their descriptors stand. */
bool same_bytes(int a, int b);
/* Extended attributes; descriptors of any kind. */
bool same_xattrs(int a, int b);
/* The targets of symlinks, by O_PATH descriptors. */
bool same_targets(int a, int b);

#endif
