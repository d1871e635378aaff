/* SPDX-License-Identifier: Apache-2.0 */
/* What a kept layer takes on the disk. */
#include <errno.h>

#include "quota.h"
#include "store_local.h"

int local_usage(void *ctx, const char *name, struct bv_layer_usage *out, const char **why)
{
	struct store_why *t = ctx;
	struct usage sum;
	bv_autofd int tree = local_view(ctx, name, why);
	int r = tree < 0 ? tree : quota_walk(tree, &sum);

	if (tree >= 0 && r < 0)
		return store_fail(t, -r, "'%s'", name);
	if (r == 0) {
		out->bytes = sum.disk;
		out->files = sum.files;
	}
	return r;
}
