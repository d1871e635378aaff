/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_QUOTA_GROW_H
#define VFS_COW_QUOTA_GROW_H
/*
 * A call by which a file grows, copied, and done here piece by piece with each piece charged before.
 */
#include "quota.h"

#define MOVE (16u << 20) /* the most that is copied from descriptor to descriptor */
#define BIGGEST 0x7ffff000u /* MAX_RW_COUNT of the kernel (include/linux/fs.h) */

enum op {
	OP_WRITE,
	OP_PWRITE,
	OP_PWRITEV2,
	OP_FALLOCATE,
	OP_TRUNCATE,
	OP_SENDFILE,
	OP_COPY,
	OP_SPLICE
};

/* One call, copied. */
struct grow {
	struct vfs *v;
	enum op op;
	bool upper; /* a regular file of the upper: what counts */
	int fd, in; /* owned duplicates; in: -1 unless something is copied */
	uint64_t buf, left; /* guest memory, and how much of it there still is */
	bool vec; /* buf is an iovec array */
	off_t pos, in_pos; /* pos: -1: the descriptor's own position */
	uint64_t pos_at, in_pos_at; /* guest addresses of the two, to be written back, or 0 */
	int flags; /* of pwritev2, fallocate, copy_file_range, splice */
	uint64_t n; /* of this piece */
	uint64_t end; /* what the file should count for then, at the most */
	int64_t total; /* of the pieces before */
	struct bv_creds creds;
	void *data;
	int64_t result;
};

/* A call on the guest's descriptor, or NULL and the verdict. */
struct grow *grow_begin(struct vfs *v, struct bv_call *call, enum op op, int guest_fd,
                        enum bv_verdict *verdict);

/* These take g. */
enum bv_verdict grow_give_up(struct grow *g, struct bv_call *call, int err);
enum bv_verdict grow_next(struct bv_call *call, struct grow *g);
enum bv_verdict grow_resize(struct bv_call *call, struct grow *g, off_t length);

#endif
