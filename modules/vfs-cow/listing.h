/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_LISTING_H
#define VFS_COW_LISTING_H
/* What a directory of the virtual tree holds, in the order in which it is answered. */
#include "vfs.h"

#define COOKIE_DOT 1
#define COOKIE_DOTDOT 2
#define COOKIE_FIRST 3 /* the least that a name's may be */

struct item {
	uint64_t cookie, ino; /* cookie: d_off, the position behind the entry; ascending and unique */
	uint32_t name;        /* offset in names */
	uint8_t len, type;
};

/* A whole directory, without "." and "..".  Items are sorted by cookie. */
struct listing {
	struct listing *next;
	struct item *item;
	size_t n, cap;
	struct strbuf names;
	uint64_t dot_ino, dotdot_ino;
	/* What it was made from; as long as that holds, so does this. */
	char *path;
	struct mount *mount;
	enum view view;
	uint32_t gen;
	struct stat low, up;
};

/*
 * Knows the directory behind l->fd (st filled) from a listing that is still at hand: then l is
 * filled as loc_from_fd() would, without asking the kernel for its path.
 */
bool listing_recall(struct vfs *v, struct loc *l);
/* Must the directory at l be listed by us?  0: the host's own listing is the truth. */
bool listing_needed(const struct loc *l);
/*
 * The listing of the directory at l (its st filled).  Owned by v; valid until the next call of
 * any function here.  0 or -errno.
 */
int listing_get(struct vfs *v, struct bv_call *call, struct loc *l, struct listing **out);
/* A reader has come to the end of it. */
void listing_done(struct vfs *v, const struct listing *s);

#endif
