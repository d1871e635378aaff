/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of AF_UNIX sockets.  A path is resolved in the virtual tree; the kernel is given the
 * directory or the socket itself by descriptor, so that it walks no path a guest could bend.
 * Abstract names carry the sandbox's token.
 *
 * Sockets that exist only on the host are refused (ECONNREFUSED, as if nobody listened).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#include "net.h"

/* Two slashes tell our own spelling from a guest's: what is shown for it is the virtual path. */
#define DIR_PREFIX "/proc/self//fd/"
#define NAME_TRIES 64

/* Letters only: the token is seen in the host's lists, and by guests in recvfrom(2). */
int unix_init(struct net *m)
{
	static const char letter[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
	unsigned char raw[ABSTRACT_TOKEN];

	if (getrandom(raw, sizeof(raw), 0) != (ssize_t)sizeof(raw))
		return -EIO;
	for (size_t i = 0; i < sizeof(raw); i++)
		m->token[i] = letter[raw[i] & 63];
	return 0;
}

void unix_fini(struct net *m)
{
	for (size_t i = 0; i < m->n_dirs; i++)
		close(m->dir[i].fd);
	m->n_dirs = 0;
}

/*
 * A descriptor of the directory that stays open, so that the name a socket is bound to there can
 * be shown later: the descriptor to use, and whether it stays.
 */
static int keep_dir(struct net *m, int fd, bool *kept)
{
	struct stat st;
	int copy;

	*kept = false;
	if (fstat(fd, &st) < 0)
		return fd;
	for (size_t i = 0; i < m->n_dirs; i++)
		if (m->dir[i].dev == st.st_dev && m->dir[i].ino == st.st_ino) {
			*kept = true;
			return m->dir[i].fd;
		}
	if (m->n_dirs == NET_DIRS)
		return fd;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return fd;
	m->dir[m->n_dirs].dev = st.st_dev;
	m->dir[m->n_dirs].ino = st.st_ino;
	m->dir[m->n_dirs++].fd = copy;
	*kept = true;
	return copy;
}

/* A name too long to stand behind the prefix is bound under a short one and then renamed. */
static int bind_long(const struct sock *s, int dir, const char *name)
{
	struct addr a;
	char shorter[32], path[64];

	snprintf(shorter, sizeof(shorter), ".wh..wh.sock.%x", s->ino);
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, shorter);
	addr_unix_set(&a, path);
	if (bind(s->fd, &a.sa, a.len) < 0)
		return -errno;
	if (renameat2(dir, shorter, dir, name, RENAME_NOREPLACE) < 0) {
		int err = errno;

		unlinkat(dir, shorter, 0);
		return err == EEXIST ? -EADDRINUSE : -err;
	}
	return 0;
}

static int bind_at(struct net *m, struct bv_call *call, const struct sock *s, const struct bv_vfs_where *w)
{
	struct addr a;
	char path[sizeof(DIR_PREFIX) + 16 + sizeof(w->name)];
	bool kept;
	int dir = keep_dir(m, w->dir, &kept), mask = m->host->umask(call), r;
	mode_t old;

	if (mask < 0)
		return mask;
	snprintf(path, sizeof(path), "%s%d/%s", kept ? DIR_PREFIX : "/proc/self/fd/", dir, w->name);
	r = m->host->as_guest(call);
	if (r < 0)
		return r;
	/* Workers have a umask of their own: only this thread sees the change. */
	old = umask((mode_t)mask);
	if (addr_unix_set(&a, path) < 0)
		r = bind_long(s, dir, w->name);
	else
		r = bind(s->fd, &a.sa, a.len) < 0 ? -errno : 0;
	umask(old);
	return r;
}

static int bind_path(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *in)
{
	char path[sizeof(in->un.sun_path) + 1];
	struct bv_vfs_where w;
	int r;

	addr_unix_path(in, path);
	r = m->vfs->where(m->vfs, call, AT_FDCWD, path, BV_VFS_CREATE | BV_VFS_NOFOLLOW, &w);
	if (r < 0)
		return r == -EEXIST ? -EADDRINUSE : r;
	if (w.exists || !w.name[0])
		r = -EADDRINUSE;
	else if (!w.is_upper)
		r = -EROFS;
	else
		r = bind_at(m, call, s, &w);
	if (r >= 0)
		r = m->vfs->created(m->vfs, &w);
	close(w.dir);
	return r < 0 ? r : 0;
}

/* As the kernel's unix_autobind(): five hexadecimal digits. */
static int bind_any(struct net *m, const struct sock *s)
{
	for (int i = 0; i < NAME_TRIES; i++) {
		struct addr plain = {.un.sun_family = AF_UNIX}, hidden;
		char name[8];

		snprintf(name, sizeof(name), "%05x", m->next_name++ & 0xfffff);
		memcpy(plain.un.sun_path + 1, name, 5);
		plain.len = ADDR_UN_HEAD + 6;
		abstract_hide(m->token, &plain, &hidden);
		if (bind(s->fd, &hidden.sa, hidden.len) == 0)
			return 0;
		if (errno != EADDRINUSE)
			return -errno;
	}
	return -ENOSPC;
}

int unix_bind(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *a)
{
	struct addr hidden;
	int kind = addr_unix_kind(a), r;

	switch (kind) {
	case UNIX_PATH:
		return bind_path(m, call, s, a);
	case UNIX_ABSTRACT:
		r = abstract_hide(m->token, a, &hidden);
		if (r < 0)
			return r;
		return bind(s->fd, &hidden.sa, hidden.len) < 0 ? -errno : 0;
	case UNIX_UNNAMED:
		r = bind_any(m, s);
		/* The kernel answers 0 for a socket that has a name already. */
		return r == -EINVAL ? 0 : r;
	default:
		return kind;
	}
}

void unix_autobind(struct net *m, const struct sock *s)
{
	struct addr a = {.len = sizeof(a.any)};

	/* unix_may_passcred: such a socket gets a name when it sends, so that it can be answered. */
	if (sock_option(s->fd, SOL_SOCKET, SO_PASSCRED) <= 0)
		return;
	if (getsockname(s->fd, &a.sa, &a.len) == 0 && a.len <= ADDR_UN_HEAD)
		bind_any(m, s);
}

static int target_path(struct net *m, struct bv_call *call, const char *path, struct addr *out, int *hold)
{
	char by_fd[64];
	struct bv_vfs_where w;
	struct stat st;
	int r = m->vfs->where(m->vfs, call, AT_FDCWD, path, 0, &w);
	bv_autofd int dir = -1, fd = -1;

	if (r < 0)
		return r;
	dir = w.dir;
	if (!w.exists)
		return -ENOENT;
	if (!w.name[0] || !S_ISSOCK(w.mode) || !w.is_upper)
		return -ECONNREFUSED;
	/* Pin the socket itself: whatever comes to stand at that name later is not followed. */
	fd = openat(dir, w.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0 || !S_ISSOCK(st.st_mode))
		return -ECONNREFUSED;
	snprintf(by_fd, sizeof(by_fd), "/proc/self/fd/%d", fd);
	r = addr_unix_set(out, by_fd);
	if (r < 0)
		return r;
	*hold = bv_take_fd(&fd);
	return 0;
}

/* Splits an address of our own spelling: the kept directory's descriptor, and the name in it. */
static int own_spelling(struct net *m, const char *path, const char **name)
{
	const char *number = path + strlen(DIR_PREFIX);
	char *end;
	long fd;

	if (strncmp(path, DIR_PREFIX, strlen(DIR_PREFIX)) != 0)
		return -1;
	fd = strtol(number, &end, 10);
	if (end == number || *end != '/')
		return -1;
	for (size_t i = 0; i < m->n_dirs; i++)
		if (m->dir[i].fd == fd) {
			*name = end + 1;
			return m->dir[i].fd;
		}
	return -1;
}

/* The virtual path of a socket bound to an address of our own spelling; false: not one. */
static bool shown_path(struct net *m, const char *path, char out[4096 + 256])
{
	char link[64], real[4096], dir[4096];
	const char *name;
	ssize_t n;
	int fd = own_spelling(m, path, &name);

	if (fd < 0)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, real, sizeof(real) - 1);
	if (n < 0)
		return false;
	real[n] = '\0';
	if (m->vfs->shown(m->vfs, real, dir, sizeof(dir)) < 0)
		return false;
	snprintf(out, 4096 + 256, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name);
	return true;
}

int unix_target(struct net *m, struct bv_call *call, const struct addr *in, struct addr *out, int *hold)
{
	char path[sizeof(in->un.sun_path) + 1], seen[4096 + 256];
	int kind = addr_unix_kind(in);

	switch (kind) {
	case UNIX_PATH:
		addr_unix_path(in, path);
		/* recvfrom(2) is not trapped: a guest may answer to the kernel's spelling. */
		return target_path(m, call, shown_path(m, path, seen) ? seen : path, out, hold);
	case UNIX_ABSTRACT: {
		struct addr plain;

		if (abstract_show(m->token, in, &plain)) {
			*out = *in;
			return 0;
		}
		/* Too long to have been bound in here. */
		return abstract_hide(m->token, in, out) < 0 ? -ECONNREFUSED : 0;
	}
	case UNIX_UNNAMED:
		return -EINVAL;
	default:
		return kind;
	}
}

void unix_show(struct net *m, const struct addr *in, struct addr *out)
{
	char path[sizeof(in->un.sun_path) + 1], seen[4096 + 256];
	struct addr made = *in;
	int kind = addr_unix_kind(in);

	if (kind == UNIX_ABSTRACT) {
		abstract_show(m->token, in, &made);
	} else if (kind == UNIX_PATH) {
		addr_unix_path(in, path);
		if (shown_path(m, path, seen))
			addr_unix_set(&made, seen);
	}
	*out = made;
}
