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

#include <strbuf.h>

#include "vfs.h"

struct instead {
	struct instead *next;
	int fd; /* -1: could not be made */
	char *body, *more; /* body NULL: the host's */
	size_t body_size, more_size;
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
	errno = 0;
	if (write(fd, bytes, n) != (ssize_t)n || fchmod(fd, st->st_mode & 0777) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return errno ? -errno : -EIO;
	if (geteuid() == 0)
		(void)!fchown(fd, st->st_uid, st->st_gid);
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	(void)futimens(fd, times);
	return bv_take_fd(&fd);
}

static struct instead *of_path(struct vfs *v, const char *path, size_t len)
{
	struct instead *i = v->instead;

	while (i && (i->len != len || memcmp(i->path, path, len) != 0))
		i = i->next;
	if (i)
		return i;
	i = calloc(1, sizeof(*i) + len + 1);
	if (!i)
		return NULL;
	memcpy(i->path, path, len + 1);
	i->len = len;
	i->fd = -1;
	i->next = v->instead;
	v->instead = i;
	return i;
}

/* What the host's own file holds. */
static int read_host(const char *path, struct strbuf *out)
{
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	char buf[4096];
	ssize_t n;

	if (fd < 0)
		return -errno;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		strbuf_add(out, buf, (size_t)n);
	return n < 0 ? -errno : 0;
}

/* The file anew, of both parts; an old one stays as it is when that fails. */
static int renew(struct instead *i, const struct stat *st)
{
	bv_autostrbuf struct strbuf all = {0};
	int r = 0;

	if (i->body)
		strbuf_add(&all, i->body, i->body_size);
	else
		r = read_host(i->path, &all);
	if (r == 0 && i->more_size && all.len && all.data[all.len - 1] != '\n')
		strbuf_puts(&all, "\n");
	if (i->more_size)
		strbuf_add(&all, i->more, i->more_size);
	if (r < 0 || all.failed)
		return r < 0 ? r : -ENOMEM;
	int fd = make(i->path, all.data ? all.data : "", all.len, st);
	if (fd < 0)
		return fd;
	if (i->fd >= 0)
		close(i->fd);
	i->fd = fd;
	return 0;
}

static int set(struct vfs *v, const char *path, const void *bytes, size_t n, bool more)
{
	size_t len = strlen(path);
	struct stat st;

	if (path[0] != '/' || len >= PATH_MAX)
		return -EINVAL;
	if (lstat(path, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	struct instead *i = of_path(v, path, len);
	char *copy = malloc(n + 1);
	if (!i || !copy) {
		free(copy);
		return -ENOMEM;
	}
	memcpy(copy, bytes, n);
	char **part = more ? &i->more : &i->body;
	free(*part);
	*part = copy;
	*(more ? &i->more_size : &i->body_size) = n;
	return renew(i, &st);
}

int instead_add(struct vfs *v, const char *path, const void *bytes, size_t n)
{
	return set(v, path, bytes, n, false);
}

int instead_append(struct vfs *v, const char *path, const void *bytes, size_t n)
{
	return set(v, path, bytes, n, true);
}

void instead_free(struct vfs *v)
{
	while (v->instead) {
		struct instead *i = v->instead;

		v->instead = i->next;
		if (i->fd >= 0)
			close(i->fd);
		free(i->body);
		free(i->more);
		free(i);
	}
}
