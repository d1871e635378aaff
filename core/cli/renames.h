/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLI_RENAMES_H
#define CORE_CLI_RENAMES_H
/* Files that are gone under one name and there, with the same bytes, under another. */
#include <bvisor/svc/review.h>

#include "cli.h"

struct rename_pair {
	char *from, *to;
};

struct renames {
	struct rename_pair *at; /* sorted by `to` */
	size_t n;
};

/* Reads files of equal size to compare them.  0, -errno.  Free with renames_fini(). */
int renames_find(const struct bv_review *review, struct renames *out);
void renames_fini(struct renames *r);
/* What the added file `to` was called before; NULL: it is new. */
const char *renames_from(const struct renames *r, const char *to);
/* Is the deleted file `from` only called otherwise now? */
bool renames_gone(const struct renames *r, const char *from);

#endif
