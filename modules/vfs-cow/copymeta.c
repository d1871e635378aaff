/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "vfs.h"

void upper_copy_meta(int src, int dst, const struct stat *st)
{
	char from[FD_PATH_MAX], to[FD_PATH_MAX], names[4096];
	bv_autofree char *value = NULL;
	struct timespec times[2] = {st->st_atim, st->st_mtim};

	real_fd_path(from, src);
	real_fd_path(to, dst);
	if (chown(to, st->st_uid, st->st_gid) < 0) {
		/* An unprivileged supervisor's copies are its user's; stat of merged directories
		 * still answers the lower's owner. */
	}
	ssize_t n = listxattr(from, names, sizeof(names));
	for (const char *name = names; n > 0 && name < names + n; name += strlen(name) + 1) {
		if (strcmp(name, BV_ABSENT_XATTR) == 0)
			continue; /* only a store says so, of files of its own */
		if (!value)
			value = malloc(65536); /* XATTR_SIZE_MAX, limits.h of the kernel */
		ssize_t len = value ? getxattr(from, name, value, 65536) : -1;
		if (len >= 0)
			(void)setxattr(to, name, value, (size_t)len, 0);
	}
	(void)chmod(to, st->st_mode & 07777);
	(void)utimensat(AT_FDCWD, to, times, 0);
}
