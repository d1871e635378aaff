/* SPDX-License-Identifier: Apache-2.0 */
/* Working directories that were removed: they have no place any more, but their parent has. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vfs.h"

/* d_path of fs/d_path.c marks what was unlinked so. */
static const char deleted[] = " (deleted)";

bool gone_dir(struct vfs *v, struct loc *l, const char *real)
{
	size_t len = strlen(real), mark = sizeof(deleted) - 1;

	if (len < mark || strcmp(real + len - mark, deleted) != 0)
		return false;
	struct spot s;
	spot_at(v, l->path, &s);
	l->mount = s.mount;
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	return fd < 0;
}

/* Where a removed working directory was: its ".." still leads to the parent, as on Linux. */
ssize_t gone_path(struct vfs *v, const char *real, char out[PATH_MAX])
{
	size_t len = strlen(real), mark = sizeof(deleted) - 1;

	if (len >= PATH_MAX)
		return -ENOENT;
	if (strncmp(real, v->upper.root, v->upper_len) == 0 && real[v->upper_len] == '/') {
		real += v->upper_len;
		len -= v->upper_len;
	}
	if (len > mark && strcmp(real + len - mark, deleted) == 0)
		len -= mark;
	memcpy(out, real, len);
	out[len] = '\0';
	return (ssize_t)len;
}

