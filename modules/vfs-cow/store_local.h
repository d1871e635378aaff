/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_STORE_LOCAL_H
#define VFS_COW_STORE_LOCAL_H
/* What store_local.c and store_copy.c share: layers in directories. */
#include "manifest.h"
#include "store.h"
#include "vfs.h"

#define NAME_LEN 64
#define SNAPSHOTS "snapshots"
#define FLEETING "fleeting" /* beside the sandboxes, docs/layer-format.md */

struct local {
	int dir, lock;
	bool snapshot; /* it is only looked at */
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

int local_view(void *ctx, const char *name, const char **why);
/* store_usage.c */
int local_usage(void *ctx, const char *name, struct bv_layer_usage *out, const char **why);

/* ---- store_copy.c ---- */
/* "NAME" or "NAME@TAG". */
struct layer_state {
	char name[NAME_LEN + 1], tag[NAME_LEN + 1]; /* tag: "" for the layer itself */
};
int state_parse(struct store_why *t, const char *text, struct layer_state *out);
/* Its directory: a descriptor; -ENOENT with a sentence. */
int state_open(struct store_why *t, int base, const struct layer_state *s);

/* A state that is being made, under a private name. */
struct stage {
	struct layer_state state;
	int holder, fd; /* the directory that will hold it; its own */
	char temp[NAME_LEN + 16];
};
/* Begins what shall be called `to` (-EEXIST).  Whatever this returns: stage_fini(). */
int stage_open(struct store_why *t, int base, const char *to, struct stage *out);
/* Fills it from another state; *m is its manifest. */
int stage_copy(struct store_why *t, int base, const char *from, struct stage *s,
               struct manifest *m);
/* Gives it its name, durably. */
int stage_place(struct store_why *t, struct stage *s, const struct manifest *m);
/* Removes what was not placed. */
void stage_fini(struct stage *s);

/* Copies the open directory `from`, and all in it, to a new one `name` in `to`. */
int layer_copy(int from, int to, const char *name);

int local_copy(void *ctx, const char *from, const char *to, const char **why);
int local_snapshots(void *ctx, const char *rest, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
                    const char **why);

/* ---- store_merge.c ---- */
int local_merge(void *ctx, const struct bv_merge *what, const char **why);
/* ---- ancestor.c ---- */
/* The state both came from, as far as it is still there as it was: 1 with *out, 0, -errno. */
int common_ancestor(struct store_why *t, int base, const char *a, const char *b,
                    struct layer_state *out);

#endif
