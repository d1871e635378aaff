/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_MERGE_H
#define VFS_COW_MERGE_H
/*
 * Three-way merge of layers' trees.  A place at which one side is as the base has it becomes the
 * other side's; at which both are the same, that; else it is a conflict.  Without a base nothing
 * was changed in it.
 */
#include <strbuf.h>

#include "treecopy.h"

enum merge_prefer { MERGE_ASK, MERGE_OURS, MERGE_THEIRS };

struct merge {
	int ours; /* root of a copy of ours, which becomes the result */
	int theirs; /* root of the other one */
	int base; /* root of what both came from, or -1 */
	enum merge_prefer prefer; /* who wins a conflict */
	/* Of each conflict; path is absolute. */
	void (*conflict)(void *arg, const char *path, const char *ours, const char *theirs);
	void *arg;
	/* What merge_run() finds: */
	size_t conflicts;
	struct strbuf
		taken; /* absolute paths that are theirs now, with all below; each ends in NUL */
};

/* 0 (also with conflicts, at which ours is left) or -errno.  Then strbuf_fini(&m->taken). */
int merge_run(struct merge *m);

#endif
