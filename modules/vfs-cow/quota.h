/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_QUOTA_H
#define VFS_COW_QUOTA_H
/*
 * How much a sandbox may write.  Counted is what the upper layer holds: of a regular file its length
 * or its blocks, whichever is more (holes too, since a memory mapping fills them unseen); of
 * everything else its blocks; and each object once as a file.  A file that was removed counts while a
 * guest still holds it.
 *
 * Without a quota nothing of this runs and no write traps.  With one, each growth is charged before it
 * happens, and what is freed is not followed: when the sum reaches the limit and something may have
 * become less, a worker measures the layer and the call is looked at again.
 */
#include <sys/statfs.h>

#include "vfs.h"

struct quota;

#define QUOTA_BLOCK 4096u /* growth is charged in these */

int quota_init(struct vfs *v); /* after the upper is open and the tree scanned; 0, -errno */
void quota_fini(struct vfs *v);

/* Charges what is about to be added; 0, -ENOSPC.  Free without a quota. */
int quota_take(struct vfs *v, uint64_t bytes, uint64_t files);
/* Counts what has to be made in any case: whiteouts. */
void quota_note(struct vfs *v, uint64_t bytes, uint64_t files);
/* What was taken and not used after all. */
void quota_give(struct vfs *v, uint64_t bytes, uint64_t files);
/* Something may have become less. */
void quota_freed(struct vfs *v);
/* What a file of this length counts for. */
uint64_t quota_size(uint64_t length);

/* dir/name, a name in the upper, is about to go: 0, -ENOSPC when it could not be counted on. */
int quota_removal(struct vfs *v, int dir, const char *name);
/* fd is a new file without a name. */
int quota_nameless(struct vfs *v, int fd);

/* -ENOSPC as the answer: measures first and lets the handler try again, where that may help. */
enum bv_verdict quota_reply(struct vfs *v, struct bv_call *call);
/* ENOSPC for good; told, if somebody audits. */
enum bv_verdict quota_refuse(struct vfs *v, struct bv_call *call);
/* Is what is known inexact?  Then quota_measure() runs the call's handler again with exact figures. */
bool quota_unsure(const struct vfs *v, const struct bv_call *call);
enum bv_verdict quota_measure(struct vfs *v, struct bv_call *call);
/* st is of a place that the upper takes writes for; fs is the store's own. */
void quota_statfs(struct vfs *v, const struct statfs *fs, struct statfs *st);

extern const struct bv_handler quota_handlers[]; /* routed only with a quota */
int quota_rules(struct vfs *v);

/* ---- between quota.c and its parts ---- */

struct usage {
	uint64_t bytes, files; /* as the quota counts them */
	uint64_t disk; /* bytes */
};
/* Of everything below root; may block; any thread.  0, -errno. */
int quota_walk(int root, struct usage *out);
uint64_t quota_counted(const struct stat *st);

/* Bytes that may be added now. */
bool quota_has_room(struct vfs *v, uint64_t bytes);
uint64_t quota_room(const struct vfs *v);
/* CLOCK_MONOTONIC nanoseconds before which no write is done on the loop. */
uint64_t *quota_slow_until(struct vfs *v);
/* Answers with r, when the layer was measured and does not hold more than it may; else the process is
 * killed. */
enum bv_verdict quota_verify(struct vfs *v, struct bv_call *call, int64_t r);

#endif
