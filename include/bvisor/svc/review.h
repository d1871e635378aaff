/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_REVIEW_H
#define BVISOR_SVC_REVIEW_H
/* Service "review" (provided by vfs-cow): what a sandbox changed.  Loop thread, after or between
 * calls.  Since 1.0. */
#include <bvisor/abi.h>

#define BV_REVIEW_SERVICE "review"

struct bv_change {
	char kind;        /* 'A' added, 'M' modified, 'D' deleted, 'T' type changed */
	char type;        /* 'f' file, 'd' directory, 'l' symlink, 'p' fifo, 's' socket, 'c', 'b'; of the new, or
	                     for D of the old object */
	const char *path; /* virtual path, any bytes but NUL; borrowed until the callback returns */
	uint64_t size;    /* bytes of the new file; 0 for others */
};

struct bv_review {
	struct bv_head head;
	/* Calls each(arg, change) in byte order of paths; stops at its first non-zero result and
	 * returns it; 0; -errno. */
	int (*changes)(const struct bv_review *review, int (*each)(void *arg, const struct bv_change *change),
	               void *arg);
};

#endif
