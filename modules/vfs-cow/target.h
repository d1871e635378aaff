/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_TARGET_H
#define VFS_COW_TARGET_H
/* The object whose metadata a call is about to change, made changeable. */
#include "vfs.h"

struct target {
	struct loc l;
	int fd;         /* owned descriptor (O_PATH, or a duplicate of the guest's) of what is to be changed */
	struct stat st; /* as the guest sees it before the change */
};

/*
 * Resolves (dirfd, ptr) or, with by_fd, the guest's descriptor dirfd; copies up what is the host's
 * and replaces the guest's descriptor by one of the copy.  `owner` asks for ownership.  0; -errno;
 * COPYUP_LATER: call copyup_defer(v, call, &t->l, handler).  On 0 and COPYUP_LATER target_fini.
 */
int target_open(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned walk, bool by_fd, bool owner,
                struct target *t);
void target_fini(struct target *t);

#endif
