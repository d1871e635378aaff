/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_STORE_LOCAL_H
#define VFS_COW_STORE_LOCAL_H
/* What store_local.c and store_copy.c share: layers in directories. */
#include "manifest.h"
#include "store.h"
#include "vfs.h"

#define NAME_LEN 64
#define SNAPSHOTS "snapshots"

struct local {
	int dir, lock;
	char name[2 * NAME_LEN + 2]; /* NAME, or NAME@TAG */
	struct manifest manifest;
};

void local_free(struct local *l);
int local_check_name(struct store_why *t, const char *name);
/* The directory that holds them all, and its real path (or NULL). */
int local_sandboxes(struct store_why *t, bool create, char *path, size_t size);
/* Opens the directory of one below base. */
int local_enter(struct store_why *t, struct local *l, int base, const char *name, bool create);
/* Tells of the one in base/entry, calling it `name`. */
int local_list_one(struct store_why *t, int base, const char *entry, const char *name,
                   int (*each)(void *arg, const struct bv_layer_info *info), void *arg);

/* ---- store_copy.c ---- */
int local_copy(void *ctx, const char *from, const char *to, const char **why);
int local_snapshots(void *ctx, const char *rest, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
                    const char **why);

#endif
