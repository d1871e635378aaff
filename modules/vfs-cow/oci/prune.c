/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whiteouts that hide nothing of the host's go: in a directory that is not merged with one of the
 * host's they would be files like any other (docs/layer-format.md).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#include <names.h>
#include <vfs.h>
#include <whiteout.h>

#include "oci.h"

static bool host_has_dir(const char *path)
{
	bv_autofd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bv_autofd int fd = real_openat(root, path, O_PATH | O_DIRECTORY, 0);

	return fd >= 0;
}

/* Of the directory at path ("" for the root). */
static int prune(int tree, const char *path, bool merged)
{
	bv_autostrbuf struct strbuf names = {0};
	bv_autofd int dir = real_openat(tree, path, O_RDONLY | O_DIRECTORY, 0);
	int r = dir == -EACCES ? 0 : dir < 0 ? dir : names_read(fcntl(dir, F_DUPFD_CLOEXEC, 3), &names);

	struct stat before;
	bool pruned = false;

	if (r == 0 && dir >= 0 && fstat(dir, &before) < 0)
		r = -errno;
	for (const char *name = names_first(&names); name && r == 0; name = names_next(&names, name)) {
		char hidden[NAME_MAX + 1], child[PATH_MAX];
		struct stat st;

		if (whiteout_read(dir, name, hidden) == WHITEOUT_OF && whiteout_looks_real(dir, name)) {
			if (!merged) {
				r = unlinkat(dir, name, 0) < 0 ? -errno : 0;
				pruned = true;
			}
			continue;
		}
		if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			continue;
		if ((size_t)snprintf(child, sizeof(child), "%s%s%s", path, *path ? "/" : "", name) >= sizeof(child))
			return -ENAMETOOLONG;
		r = prune(tree, child, merged && !whiteout_there(dir, name) && host_has_dir(child));
	}
	/* Its times are the image's. */
	if (r == 0 && pruned && futimens(dir, (const struct timespec[2]){before.st_atim, before.st_mtim}) < 0)
		r = -errno;
	return r;
}

int prune_whiteouts(int tree)
{
	int r = prune(tree, "", true);

	return r < 0 ? oci_fail("the layer: %s", strerror(-r)) : 0;
}
