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

/* The `tmp` store's context: room for the sentence that says why it failed. */
struct store_tmp {
	char why[600];
};

/* Sets the sentence, with strerror(err) at its end; returns -err. */
__attribute__((format(printf, 3, 4))) int store_tmp_fail(struct store_tmp *t, int err, const char *fmt, ...);

#endif
