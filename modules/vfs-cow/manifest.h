/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_MANIFEST_H
#define VFS_COW_MANIFEST_H
/* The file `manifest` that makes a directory a kept layer (docs/layer-format.md). */
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#define MANIFEST "manifest"
#define MANIFEST_VERSION 1

#define TREE_ID 17 /* 16 hexadecimal digits */

struct manifest {
	int version;
	int64_t created;      /* seconds since the Epoch */
	char start[PATH_MAX]; /* the host directory it was made in, or "" */
	char parent[2 * 64 + 2]; /* NAME or NAME@TAG that it was copied from, or "" */
	struct timespec
		parent_used; /* when that had been used last; 0 for a snapshot, or unknown */
	char tree[TREE_ID]; /* the shared tree it has, or "" (store_share.h) */
};

/* 0; -ENOENT when there is none; else -errno with a sentence in why. */
int manifest_load(int dir, struct manifest *out, char *why, size_t size);
/* Replaces it whole; durable: it is on the disk afterwards. */
int manifest_save(int dir, const struct manifest *m, bool durable);
/* The text of one: 0, or -EINVAL with the number of the line in *line.  text is cut up. */
int manifest_parse(char *text, struct manifest *out, unsigned *line);

#endif
