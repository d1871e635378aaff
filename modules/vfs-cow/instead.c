/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of the host that guests see with other bytes, such as /etc/hosts.  The bytes are in a sealed
 * memory file that takes the place of the host's in the lower, so everything else (copy-up, whiteouts,
 * review) is as for any file of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vfs.h"

struct instead {
	struct instead *next;
	int fd;
	size_t len;
	char path[];
};

int instead_fd(const struct vfs *v, const char *path, size_t len)
{
	for (const struct instead *i = v->instead; i; i = i->next)
		if (i->len == len && memcmp(i->path, path, len) == 0)
			return i->fd;
	return -1;
}

static int make(const char *path, const void *bytes, size_t n, const struct stat *st)
{
	char name[249];

	/* The text that descriptors of it show leads back to the path (real_shown). */
	if ((size_t)snprintf(name, sizeof(name), INSTEAD_NAME "%s", path) >= sizeof(name))
		return -ENAMETOOLONG;
	bv_autofd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	if (write(fd, bytes, n) != (ssize_t)n || fchmod(fd, st->st_mode & 0777) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return errno ? -errno : -EIO;
	if (geteuid() == 0)
		(void)!fchown(fd, st->st_uid, st->st_gid);
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	(void)futimens(fd, times);
	return bv_take_fd(&fd);
}

int instead_add(struct vfs *v, const char *path, const void *bytes, size_t n)
{
	size_t len = strlen(path);
	struct stat st;

	if (path[0] != '/' || len >= PATH_MAX)
		return -EINVAL;
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	struct instead *i = calloc(1, sizeof(*i) + len + 1);
	if (!i)
		return -ENOMEM;
	i->fd = make(path, bytes, n, &st);
	if (i->fd < 0) {
		int r = i->fd;

		free(i);
		return r;
	}
	memcpy(i->path, path, len + 1);
	i->len = len;
	i->next = v->instead;
	v->instead = i;
	return 0;
}

void instead_free(struct vfs *v)
{
	while (v->instead) {
		struct instead *i = v->instead;

		v->instead = i->next;
		close(i->fd);
		free(i);
	}
}
