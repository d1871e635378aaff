/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Objects of synthetic trees as stat and open see them.  A text becomes a sealed memory file, made
 * anew at each open; a directory is represented by a real one, so that it has a descriptor: the
 * host's own at that place in /proc or /sys, else an empty one that mirrors its path below the
 * run directory.  The host's objects are opened as they are, never through a symlink.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statfs.h>
#include <time.h>

#include "vfs.h"

#define CAP_DAC_OVERRIDE 1
#define CAP_DAC_READ_SEARCH 2

/* A symlink among the host's objects is a link in the virtual tree like any other. */
static int link_of(struct bv_vfs_node *n)
{
	char text[sizeof(n->target)];
	struct stat st;
	bv_autofd int fd = real_openat(AT_FDCWD, n->target, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd == -ELOOP ? -ENOENT : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISLNK(st.st_mode))
		return 0;
	ssize_t len = readlinkat(fd, "", text, sizeof(text) - 1);
	if (len < 0)
		return -errno;
	text[len] = '\0';
	n->kind = BV_VFS_LINK;
	n->mode = 0777;
	n->ino = st.st_ino;
	n->uid = st.st_uid;
	n->gid = st.st_gid;
	memcpy(n->target, text, (size_t)len + 1);
	return 0;
}

static int ask(struct mount *m, struct bv_call *call, const char *rel, struct bv_vfs_node *n)
{
	memset(n, 0, sizeof(*n));
	int r = m->ops->lookup(m->ctx, call, rel, n);
	n->target[sizeof(n->target) - 1] = '\0';
	if (r == 0 && (n->kind == BV_VFS_HOST || n->kind == BV_VFS_MAGIC) && n->target[0] != '/')
		return -EIO;
	if (r == 0 && n->kind == BV_VFS_HOST)
		r = link_of(n);
	return r;
}

/* Something below a HOST directory whose children need not be asked for. */
static int ask_above(struct mount *m, struct bv_call *call, const char *rel, struct bv_vfs_node *n)
{
	bv_autofree char *above = strdup(rel);

	if (!above)
		return -ENOMEM;
	for (char *slash; (slash = strrchr(above, '/'));) {
		*slash = '\0';
		int r = ask(m, call, above, n);
		if (r == -ENOENT)
			continue;
		if (r < 0)
			return r;
		if (n->kind != BV_VFS_HOST || !n->below)
			return -ENOENT;
		size_t at = strlen(n->target);
		const char *rest = rel + (slash - above);
		if (at + strlen(rest) >= sizeof(n->target))
			return -ENAMETOOLONG;
		strcpy(n->target + at, rest);
		n->ino = 0;
		return link_of(n);
	}
	return -ENOENT;
}

int synth_lookup(struct vfs *v, struct bv_call *call, struct mount *m, const char *rel, struct bv_vfs_node **out)
{
	bv_autofree struct bv_vfs_node *n = malloc(sizeof(*n));

	if (!n)
		return -ENOMEM;
	int r = ask(m, call, rel, n);
	if (r == -ENOENT)
		r = ask_above(m, call, rel, n);
	if (r == 0)
		*out = bv_take(n);
	return r;
}

/* Stable for a path; never 0, which getdents readers take for a deleted entry. */
static ino_t ino_of(const struct loc *l)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a: distinct is enough */

	if (l->syn->ino)
		return l->syn->ino;
	for (const char *c = l->path; *c; c++)
		h = (h ^ (unsigned char)*c) * 0x100000001b3u;
	return (h & 0x7fffffff) | 0x40000000;
}

/*
 * The host's own directory at the same path: it represents ours where it is one of /proc or /sys,
 * because programs test a descriptor's statfs(2) type.  Read-only by nature; what it lists is
 * never shown (getdents.c).
 */
static int twin_open(const struct loc *l, int flags)
{
	struct statfs fs;
	bv_autofd int fd = real_openat(AT_FDCWD, l->path, flags | O_DIRECTORY | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != PROC_SUPER_MAGIC && fs.f_type != SYSFS_MAGIC)
		return -ENOENT;
	return bv_take_fd(&fd);
}

static int stat_node(const struct loc *l, struct stat *st)
{
	static const mode_t types[] = {
		[BV_VFS_TEXT] = S_IFREG, [BV_VFS_DIR] = S_IFDIR, [BV_VFS_LINK] = S_IFLNK, [BV_VFS_MAGIC] = S_IFLNK};
	const struct bv_vfs_node *n = l->syn;
	struct stat mount;

	memset(st, 0, sizeof(*st));
	/* One device for the whole tree: that of the host's object at the mount point, if any. */
	if (l->mount->fd >= 0 && fstat(l->mount->fd, &mount) == 0)
		st->st_dev = mount.st_dev;
	st->st_ino = ino_of(l);
	st->st_mode = types[n->kind] | (n->mode & 07777);
	st->st_nlink = n->kind == BV_VFS_DIR ? 2 : 1;
	st->st_uid = n->uid;
	st->st_gid = n->gid;
	st->st_blksize = 1024;
	if (n->kind == BV_VFS_LINK)
		st->st_size = (off_t)strlen(n->target);
	clock_gettime(CLOCK_REALTIME_COARSE, &st->st_mtim);
	st->st_atim = st->st_ctim = st->st_mtim;
	return 0;
}

int synth_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st)
{
	const struct bv_vfs_node *n = l->syn;

	switch (n->kind) {
	case BV_VFS_HOST: {
		bv_autofd int fd = real_openat(AT_FDCWD, n->target, O_PATH | O_NOFOLLOW, 0);

		if (fd < 0)
			return fd;
		return fstat(fd, st) < 0 ? -errno : 0;
	}
	case BV_VFS_MAGIC:
		return fstatat(AT_FDCWD, n->target, st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
	case BV_VFS_DIR: {
		bv_autofd int fd = synth_dir_fd(v, l, O_PATH);

		if (fd < 0)
			return fd;
		return fstat(fd, st) < 0 ? -errno : 0;
	}
	case BV_VFS_TEXT:
	case BV_VFS_LINK:
		return stat_node(l, st);
	default:
		return -EIO;
	}
}

/* What the kernel would check of a file of ours: the bits, and root's way around them. */
static int may_read(struct vfs *v, struct bv_call *call, const struct bv_vfs_node *n)
{
	struct bv_creds c;
	unsigned bits = n->mode;

	if (!call)
		return 0;
	int r = v->host->creds(call, &c);
	if (r < 0)
		return r;
	if (c.cap_effective & (1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH))
		return 0;
	bool in_group = c.fsgid == n->gid;
	for (uint32_t i = 0; i < c.n_groups && i < BV_NGROUPS; i++)
		in_group |= c.group[i] == n->gid;
	if (c.fsuid == n->uid)
		bits >>= 6;
	else if (in_group)
		bits >>= 3;
	return bits & 4 ? 0 : -EACCES;
}

/* readlink of the descriptor says "/memfd:bv:PATH (deleted)", which real_shown() takes apart. */
static int text_open(struct vfs *v, struct bv_call *call, struct loc *l, int flags)
{
	const char *rel = l->path + (l->mount->at[1] ? strlen(l->mount->at) : 0);
	const struct bv_vfs_node *n = l->syn;
	char name[250], path[FD_PATH_MAX]; /* memfd_create(2): at most 249 bytes */

	if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
		return -EACCES;
	int r = may_read(v, call, n);
	if (r < 0)
		return r;
	if (!l->mount->ops->text)
		return -EIO;
	if ((size_t)snprintf(name, sizeof(name), "bv:%s", l->path) >= sizeof(name))
		strcpy(name, "bv");
	bv_autofd int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = l->mount->ops->text(l->mount->ctx, call, *rel == '/' ? rel + 1 : rel, fd);
	if (r < 0)
		return r;
	real_fd_path(path, fd);
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	int got = open(path, (flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_NOFOLLOW)) | O_CLOEXEC);
	if (got < 0)
		return -errno;
	/* An unprivileged supervisor's files are its user's, whoever stat says they belong to. */
	(void)fchmod(got, n->mode & 0777);
	if (geteuid() == 0)
		(void)!fchown(got, n->uid, n->gid);
	return got;
}

static int host_open(struct vfs *v, struct bv_call *call, const struct loc *l, int flags)
{
	bool write = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC);
	char path[FD_PATH_MAX];
	struct stat st;
	bv_autofd int fd = real_openat(AT_FDCWD, l->syn->target, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode) && write)
		return -EISDIR;
	if (write && !l->syn->writable)
		return -EACCES;
	if (S_ISSOCK(st.st_mode) || S_ISFIFO(st.st_mode))
		return -ENXIO; /* an open that waits for a peer would hold everybody up */
	if ((flags & O_DIRECTORY) && !S_ISDIR(st.st_mode))
		return -ENOTDIR;
	real_fd_path(path, fd);
	int got = call ? v->host->as_guest(call) : 0;
	if (got < 0)
		return got;
	got = open(path, (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_NOCTTY | O_CLOEXEC);
	if (got < 0)
		got = -errno;
	if (call)
		v->host->as_creds(NULL);
	return got;
}

int synth_open(struct vfs *v, struct bv_call *call, struct loc *l, int flags)
{
	int r;

	switch (l->syn->kind) {
	case BV_VFS_TEXT:
		return flags & O_DIRECTORY ? -ENOTDIR : text_open(v, call, l, flags);
	case BV_VFS_HOST:
		return host_open(v, call, l, flags);
	case BV_VFS_DIR:
		if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC))
			return -EISDIR;
		r = may_read(v, call, l->syn);
		return r < 0 ? r : synth_dir_fd(v, l, flags);
	default:
		return -ELOOP; /* links are followed before; this one shall not be */
	}
}

/* The directory "synth" beside the upper, see real_shown(). */
static int synth_root(struct vfs *v)
{
	bv_autofd int run = openat(v->upper.root_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (run < 0)
		return -errno;
	if (mkdirat(run, "synth", 0711) < 0 && errno != EEXIST)
		return -errno;
	int fd = openat(run, "synth", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* One step down, making the directory; with `mode` as guests shall see it.  Closes at. */
static int synth_step(int at, const char *name, mode_t mode)
{
	char path[FD_PATH_MAX];
	bv_autofd int dir = at;
	bool made = mkdirat(dir, name, 0700) == 0;

	if (!made && errno != EEXIST)
		return -errno;
	int next = openat(dir, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (next < 0)
		return -errno;
	/* An unprivileged supervisor must be able to go on below. */
	if (geteuid() != 0)
		mode |= 0700;
	real_fd_path(path, next);
	if (made && chmod(path, mode) < 0) {
		close(next);
		return -errno;
	}
	return next;
}

int synth_dir_fd(struct vfs *v, struct loc *l, int flags)
{
	char name[NAME_MAX + 1];

	flags = (flags & (O_PATH | O_NOATIME)) | O_DIRECTORY | O_CLOEXEC;
	int twin = twin_open(l, flags);
	if (twin >= 0)
		return twin;
	int at = synth_root(v);
	for (const char *p = l->path; at >= 0 && *p;) {
		size_t len = strcspn(p, "/");

		if (len > NAME_MAX) {
			close(at);
			return -ENAMETOOLONG;
		}
		memcpy(name, p, len);
		name[len] = '\0';
		p += len + strspn(p + len, "/");
		if (len)
			at = synth_step(at, name, *p || !l->syn ? 0755 : l->syn->mode & 0777);
	}
	if (at < 0 || (flags & O_PATH))
		return at;
	int fd = openat(at, ".", flags);
	if (fd < 0)
		fd = -errno;
	close(at);
	return fd;
}
