/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that were removed: they have no place any more, but their parent has. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

/* Where a removed directory was: its ".." still leads to the parent, as on Linux. */
ssize_t gone_path(struct vfs *v, const char *real, char out[PATH_MAX])
{
	size_t len = strlen(real), mark = sizeof(deleted) - 1;

	if (len >= PATH_MAX)
		return -ENOENT;
	bool own = strncmp(real, v->upper.root, v->upper_len) == 0 && real[v->upper_len] == '/';
	char place[PATH_MAX];

	memcpy(place, real, len + 1);
	if (len > mark && strcmp(place + len - mark, deleted) == 0)
		place[len -= mark] = '\0';
	if (own) {
		memcpy(out, place + v->upper_len, len - v->upper_len + 1);
		return (ssize_t)(len - v->upper_len);
	}
	ssize_t n = real_place(v, place, out);
	const char *moved = n < 0 ? NULL : moved_last(v, out);
	if (moved)
		n = snprintf(out, PATH_MAX, "%s", moved);
	return n < PATH_MAX ? n : -ENOENT;
}

