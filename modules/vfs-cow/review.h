/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_REVIEW_H
#define VFS_COW_REVIEW_H
/* The changes of a sandbox as a list, and what is done with them. */
#include "vfs.h"

struct changes {
	struct bv_change *at; /* sorted by path, which is owned */
	size_t n, cap;
};

int changes_collect(struct vfs *v, struct changes *out);
void changes_free(struct changes *c);
/* Is there a change at path, or below it? */
bool changes_touch(const struct changes *c, const char *path);
/* The one at path, or NULL. */
const struct bv_change *changes_find(const struct changes *c, const char *path);
/* Those below path: from the one returned to the one before *end. */
size_t changes_below(const struct changes *c, const char *path, size_t *end);

bool selection_has(const struct bv_selection *s, const char *path);
/* Is path at or below dir? */
bool path_below(const char *path, const char *dir);

/* ---- commit.c ---- */
int commit_changes(struct vfs *v, const struct bv_selection *what);
/* ---- noted.c ---- */
/* bv_review.note. */
int noted_take(struct vfs *v, const char *records, size_t len);
/* ---- rollback.c ---- */
int rollback_changes(struct vfs *v, const struct bv_selection *what);
/* Takes out of the upper what is the same in the lower, or only leads to nothing. */
int collapse(struct vfs *v);
/* Removes the upper's object at path, with its whiteout and its node. */
int drop_upper(struct vfs *v, const char *path);

/* A loc for the place, as real_open() needs it; nothing is looked at. */
void place_at(struct vfs *v, const char *path, struct loc *l);

#endif
