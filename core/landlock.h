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

#endif
