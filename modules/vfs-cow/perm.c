/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission of the calling guest where the kernel does not check for us, because what is changed
 * (the upper) is not what is represented (the lower).  The question is put to the kernel all the
 * same: faccessat2 on the representing object, acting as the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>

#include "vfs.h"

static int ask(struct vfs *v, struct bv_call *call, int fd, int mode)
{
	v->host->as_guest(call);
	/* AT_EMPTY_PATH: Linux 5.8, faccessat2 itself. */
	int r = (int)syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	return r;
}

int perm_access(struct vfs *v, struct bv_call *call, struct loc *l, int mode)
{
	bool cow = l->view == V_LOWER || l->view == V_MERGED;
	bv_autofd int fd = -1;
	int r;

	if ((mode & W_OK) && l->view == V_RO && !S_ISCHR(l->st.st_mode) && !S_ISFIFO(l->st.st_mode))
		return -EROFS;
	if (l->view == V_SYNTH && (!l->syn || l->syn->kind != BV_VFS_HOST)) {
		if ((mode & W_OK) && !(l->st.st_mode & 0222))
			return -EACCES;
		return (mode & X_OK) && !(l->st.st_mode & 0111) ? -EACCES : 0;
	}
	if (l->view == V_SYNTH && (mode & W_OK) && !l->syn->writable)
		return -EACCES;
	if (l->view == V_MERGED && l->node && l->node->meta)
		fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	else
		fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	r = ask(v, call, fd, mode);
	/* A read-only filesystem below is no hindrance: the change goes to the upper. */
	return r == -EROFS && cow ? 0 : r;
}

/* An O_PATH descriptor of the directory that represents l's parent. */
static int parent_fd(struct vfs *v, struct loc *l)
{
	const char *name;
	enum view side = l->dir_view;

	if (side == V_SYNTH)
		return -EACCES;
	if (side == V_NONE || side == V_HIDE || side == V_ANON)
		return -ENOENT;
	if (side == V_MERGED) {
		char *slash = strrchr(l->path, '/');
		struct node *n;

		*slash = '\0';
		n = tree_find(v->root, l->path);
		*slash = '/';
		side = n && n->meta ? V_UPPER : V_LOWER;
	}
	/* A mount point's parent is not below its own base. */
	if (l->node && l->node->mount && side != V_UPPER)
		return -EBUSY;
	return real_parent(v, l, side, O_PATH, &name);
}

int perm_create(struct vfs *v, struct bv_call *call, struct loc *l)
{
	if (l->dir_view == V_RO)
		return -EROFS;
	bv_autofd int fd = parent_fd(v, l);
	if (fd < 0)
		return fd;
	int r = ask(v, call, fd, W_OK | X_OK);
	return r == -EROFS && l->dir_view != V_RW ? 0 : r;
}

int perm_delete(struct vfs *v, struct bv_call *call, struct loc *l)
{
	struct bv_creds c;
	struct stat dir;

	if (l->dir_view == V_RO)
		return -EROFS;
	bv_autofd int fd = parent_fd(v, l);
	if (fd < 0)
		return fd;
	int r = ask(v, call, fd, W_OK | X_OK);
	if (r < 0 && !(r == -EROFS && l->dir_view != V_RW))
		return r;
	if (fstat(fd, &dir) < 0)
		return -errno;
	if (!(dir.st_mode & S_ISVTX))
		return 0;
	r = v->host->creds(call, &c);
	if (r < 0)
		return r;
	if (c.cap_effective & (1ull << CAP_FOWNER) || c.fsuid == dir.st_uid || (l->probed && c.fsuid == l->st.st_uid))
		return 0;
	return -EPERM;
}

int perm_owner(struct vfs *v, struct bv_call *call, const struct stat *st)
{
	struct bv_creds c;
	int r = v->host->creds(call, &c);

	if (r < 0)
		return r;
	return c.fsuid == st->st_uid || (c.cap_effective & (1ull << CAP_FOWNER)) ? 0 : -EPERM;
}
