/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_WALK_H
#define VFS_COW_WALK_H
/* One path resolution: walk_start.c finds where it begins, walk.c goes on from there. */
#include "vfs.h"

/* State of one resolution: where we are (path in l, spot) and what remains (todo). */
struct walk {
	struct vfs *v;
	struct bv_call *call;
	struct loc *l;
	struct spot at;
	unsigned flags, links;
	bool dotted;     /* ... or "." */
	bool slashed;    /* what an expanded link stood for had a slash behind it */
	size_t start_len; /* length of the directory where it began, 0: the root; search begins there */
	size_t root_len; /* W_BENEATH, W_IN_ROOT: length of the start's path, which is not left */
	dev_t dev;       /* W_NO_XDEV: the start's device */
	char todo[2 * PATH_MAX];
	char *rest;
	char target[PATH_MAX];
	char key[PATH_MAX]; /* the absolute path that shortcut.c may know it by */
	struct trail trail;
};

/* Does the host kernel find the same at this place? */
bool walk_identity(const struct spot *s);
/* Back to the root, which W_IN_ROOT moves to where the walk started. */
void walk_root(struct walk *w);
/* Is there something, and what?  Fills l->st and l->path_fd. -ELOOP: a symlink stands before it. */
int walk_probe(struct walk *w);
/* From where we are: the fast way, else the slow one.  0, -errno, WALK_AGAIN. */
#define WALK_AGAIN 1 /* a symlink was expanded: walk on from there */
int walk_on(struct walk *w);
/* Without a call it is the supervisor that asks (bv_vfs.open_read). */
int walk_as_caller(struct vfs *v, struct bv_call *call);

#endif
