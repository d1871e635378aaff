/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_STORE_H
#define VFS_COW_STORE_H
/* What store.c keeps, and what the built-in `tmp` store needs of it. */
#include "vfs.h"

/* A registered scheme. */
struct store_reg {
	struct store_reg *next;
	const struct bv_store_ops *ops;
	void *ctx;
};

/* The context of the built-in stores, with room for the sentence that says why one failed. */
struct store_why {
	const char *state; /* vfs-cow.state, or NULL */
	bool fleeting; /* what is kept there need not survive a power loss */
	char why[600];
};

/* Sets the sentence, with strerror(err) at its end; returns -err. */
__attribute__((format(printf, 3, 4))) int store_fail(struct store_why *t, int err, const char *fmt, ...);
/*
 * Whether ext4 shall spread what is made in the directory over the disk: it looks for a free inode near
 * the parent and passes those that were removed within minutes one by one, so where sandboxes come and
 * go in one place each makes files slower than the one before (chattr(1), T).
 */
void store_spread(int dir);
/* Whether a layer of the `local` store may be called so. */
bool store_name_valid(const char *name);

#endif
