/* SPDX-License-Identifier: Apache-2.0 */
/* The "vfs" service: what other modules may ask of the virtual tree, and mount in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "fetch.h"
#include "watch.h"

static struct vfs *vfs_of(const struct bv_vfs *svc)
{
	return (struct vfs *)(uintptr_t)((const char *)svc - offsetof(struct vfs, svc));
}

/* Absolute, without empty components, "." and "..", and no trailing slash. */
static int svc_mount(const struct bv_vfs *svc, struct bv_self *self, const char *path, const struct bv_vfs_ops *ops,
                     void *ctx)
{
	struct vfs *v = vfs_of(svc);

	if (v->host->first_pid(v->self) != 0)
		return -EBUSY; /* the tree a guest has seen does not change its rules */
	if (!path_is_normal(path) || !path[1] || ops->head.magic != BV_MAGIC_SERVICE ||
	    ops->head.major != BV_ABI_MAJOR || !BV_HAS(struct bv_vfs_ops, ops, lookup))
		return -EINVAL;
	struct mount *m = mount_add(v, R_SYNTH, path, path);
	if (!m)
		return -ENOMEM;
	m->ops = ops;
	m->ctx = ctx;
	/* Only to be asked for the device number that belongs here; -1 when the host has no such thing. */
	m->fd = real_openat(v->base->fd, path + 1, O_PATH | O_NOFOLLOW, 0);
	if (m->fd < 0)
		m->fd = -1;
	return 0;
}

/* The real parent of something that exists. */
static int where_is(struct vfs *v, struct loc *l, struct bv_vfs_where *out)
{
	const char *name = "";

	out->exists = 1;
	out->mode = l->st.st_mode;
	if (l->fd >= 0 || l->view == V_SYNTH || l->len == 1) {
		out->dir = loc_open_path(v, l);
	} else {
		out->dir = real_parent(v, l, l->view == V_MERGED ? V_LOWER : l->view, O_PATH, &name);
		out->is_upper = l->view == V_UPPER || l->view == V_RW;
	}
	snprintf(out->name, sizeof(out->name), "%s", name);
	return out->dir < 0 ? out->dir : 0;
}

/* The real parent of something that is to be made. */
static int where_to(struct vfs *v, struct bv_call *call, struct loc *l, struct bv_vfs_where *out)
{
	const char *name;
	int r = perm_create(v, call, l);

	if (r < 0)
		return r;
	if (l->must_dir)
		return -ENOENT;
	v->host->as_creds(NULL);
	out->dir = upper_parent_fd(v, l, &name);
	if (out->dir < 0)
		return out->dir;
	out->is_upper = 1;
	snprintf(out->name, sizeof(out->name), "%s", name);
	return 0;
}

static int svc_where(const struct bv_vfs *svc, struct bv_call *call, int dirfd, const char *path, unsigned flags,
                     struct bv_vfs_where *out)
{
	struct vfs *v = vfs_of(svc);
	struct loc l;
	unsigned w = (flags & BV_VFS_NOFOLLOW ? W_NOFOLLOW : 0) | (flags & BV_VFS_CREATE ? W_CREATE : W_PROBE);

	memset(out, 0, offsetof(struct bv_vfs_where, path));
	out->dir = -1;
	int r = vfs_walk(v, call, dirfd, path, w, &l);
	if (r < 0)
		return r;
	memcpy(out->path, l.path, l.len + 1);
	if (l.probed)
		r = where_is(v, &l, out);
	else
		r = where_to(v, call, &l, out);
	loc_fini(&l);
	return r;
}

/* A file of the upper that has no name any more is still the guest's own, and may be named. */
static ssize_t shown_deleted(const struct vfs *v, const char *real, char out[PATH_MAX])
{
	static const char deleted[] = " (deleted)";
	size_t len = strlen(real), tail = sizeof(deleted) - 1;

	if (len < tail || strcmp(real + len - tail, deleted) != 0 || strncmp(real, v->upper.root, v->upper_len) != 0 ||
	    real[v->upper_len] != '/' || len - v->upper_len >= PATH_MAX)
		return -ENOENT;
	memcpy(out, real + v->upper_len, len - v->upper_len + 1);
	return (ssize_t)(len - v->upper_len);
}

static ssize_t svc_shown(const struct bv_vfs *svc, const char *host_path, char *out, size_t size)
{
	struct vfs *v = vfs_of(svc);
	char path[PATH_MAX];
	enum view view;
	ssize_t n = real_shown(v, host_path, path, &view);

	if (n == -ENOENT)
		n = shown_deleted(v, host_path, path);
	if (n < 0)
		return n;
	if ((size_t)n >= size)
		return -ENAMETOOLONG;
	memcpy(out, path, (size_t)n + 1);
	return n;
}

static int svc_open_read(const struct bv_vfs *svc, const char *path)
{
	struct vfs *v = vfs_of(svc);
	char self[FD_PATH_MAX];
	struct loc l;
	int fd;

	if (path[0] != '/')
		return -EINVAL;
	int r = vfs_walk(v, NULL, AT_FDCWD, path, W_PROBE, &l);
	if (r < 0)
		return r;
	if (!S_ISREG(l.st.st_mode) && !S_ISDIR(l.st.st_mode)) {
		fd = -ENXIO; /* a device, a FIFO: opening those is no mere look */
	} else if (l.view == V_SYNTH && l.fd < 0) {
		fd = synth_open(v, NULL, &l, O_RDONLY);
	} else if (fetch_needed(v, &l)) {
		fd = -EAGAIN; /* its bytes are elsewhere, and the loop does not wait */
	} else {
		bv_autofd int at = loc_open_path(v, &l);

		real_fd_path(self, at);
		fd = at < 0 ? at : open(self, O_RDONLY | O_NOCTTY | O_CLOEXEC);
		if (at >= 0 && fd < 0)
			fd = -errno;
	}
	loc_fini(&l);
	return fd;
}

static int svc_created(const struct bv_vfs *svc, const struct bv_vfs_where *where)
{
	struct vfs *v = vfs_of(svc);
	struct loc l = {.fd = -1, .path_fd = -1};
	struct spot s;
	char *slash;

	if (!path_is_normal(where->path) || !where->path[1])
		return -EINVAL;
	l.len = strlen(where->path);
	memcpy(l.path, where->path, l.len + 1);
	slash = strrchr(l.path, '/');
	*slash = '\0';
	spot_at(v, l.path, &s);
	*slash = '/';
	l.dir_view = s.view;
	spot_step(&s, slash + 1, strlen(slash + 1));
	l.node = s.node;
	l.mount = s.mount;
	l.view = s.view;
	int r = upper_created(v, &l, false);
	if (r == 0)
		watch_made(v, &l, false);
	return r;
}

static int svc_instead(const struct bv_vfs *svc, struct bv_self *self, const char *path,
                       const void *bytes, size_t n)
{
	(void)self;
	return instead_add(vfs_of(svc), path, bytes, n);
}

static int svc_append(const struct bv_vfs *svc, struct bv_self *self, const char *path,
                      const void *bytes, size_t n)
{
	(void)self;
	return instead_append(vfs_of(svc), path, bytes, n);
}

const struct bv_vfs vfs_service = {
	.head = BV_HEAD(SERVICE, struct bv_vfs),
	.mount = svc_mount,
	.where = svc_where,
	.shown = svc_shown,
	.open_read = svc_open_read,
	.created = svc_created,
	.instead = svc_instead,
	.append = svc_append,
};
