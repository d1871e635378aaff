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
/* ---- undone.c ---- */
/* bv_review.undo: records, each with a NUL, are one of these and a path. */
#define UNDO_DROP 'd' /* what the upper has there goes, or the whiteout */
#define UNDO_META 'm' /* a merged directory's mode and owner are the host's again */
int undo_take(struct vfs *v, const char *records, size_t len);
/* Waits until what was thrown away is gone. */
void undone_fini(struct vfs *v);
/* ---- rollback.c ---- */
/* As UNDO_META. */
int reset_meta(struct vfs *v, const char *path);
/* Takes the whiteout at l away, dir/name, if the directory is one that has such (below one that is
 * the upper's alone a guest may have named a file so). */
void whiteout_drop_merged(struct vfs *v, const struct loc *l, int dir, const char *name);
int rollback_changes(struct vfs *v, const struct bv_selection *what);
/* Takes out of the upper what is the same in the lower, or only leads to nothing. */
int collapse(struct vfs *v);
/* Removes the upper's object at path, with its whiteout and its node. */
int drop_upper(struct vfs *v, const char *path);

/* A loc for the place, as real_open() needs it; nothing is looked at. */
void place_at(struct vfs *v, const char *path, struct loc *l);

#endif
