/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_SCRUB_H
#define VFS_COW_SCRUB_H
/* Removing a tree that a guest filled. */

/*
 * Empties the directory dir (ours, readable): everything below it but the entry named `keep` (or
 * NULL) directly inside.  Never follows a symlink, never leaves dir's file system, copes with
 * directories nobody may enter and with any depth.  Blocks.  0 or the first -errno met; it goes
 * on after one, so what could be removed is.
 */
int scrub(int dir, const char *keep);

#endif
