/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_LANDLOCK_H
#define CORE_LANDLOCK_H
/* The second wall: what the kernel lets a guest reach should an emulated call be got around. */
#include <stddef.h>

/* The kernel's Landlock ABI; 0: none. */
int landlock_abi(void);
/* A ruleset that allows reading and executing below the given paths (those that exist) and
 * nothing else of what the kernel's ABI can forbid on files: its descriptor, -ENOSYS without
 * Landlock, -errno. */
int landlock_ruleset(char *const *path, size_t n);

struct own_write;
/*
 * From here on this thread, and what it starts, can write only what these say, the terminals and
 * null devices of /dev, files of /proc, and what is open as standard descriptors.  It may still
 * read everything.  0; -ENOSYS where the kernel cannot (Landlock ABI 2, Linux 5.19, is needed, since
 * ABI 1 forbids renaming between directories); -errno.
 */
int landlock_confine(const struct own_write *may, size_t n);

#endif
