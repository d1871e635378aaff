/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Permission of the calling guest where the kernel does not check for us, because what is changed
 * (the upper) is not what is represented (the lower).  The question is put to the kernel all the
 * same: faccessat2 on the representing object, acting as the guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/syscall.h>

#include "vfs.h"

static bool has_cap(const struct bv_creds *c, unsigned cap)
{
	return c->cap_effective >> cap & 1;
}

static bool in_group(const struct bv_creds *c, gid_t gid)
{
	if (c->fsgid == gid)
		return true;
	for (uint32_t i = 0; i < c->n_groups && i < BV_NGROUPS; i++)
		if (c->group[i] == gid)
			return true;
	return false;
}

/* path_resolution(7), "Permissions": for objects the kernel cannot be asked about. */
static int by_bits(struct vfs *v, struct bv_call *call, const struct stat *st, int mode)
{
	struct bv_creds c;
	unsigned bits = st->st_mode;
	int r = v->host->creds(call, &c);

	if (r < 0)
		return r;
	if (c.fsuid == st->st_uid)
		bits >>= 6;
	else if (in_group(&c, st->st_gid))
		bits >>= 3;
	if (((unsigned)mode & ~bits & 7) == 0)
		return 0;
	if (has_cap(&c, CAP_DAC_READ_SEARCH) && (mode == R_OK || (S_ISDIR(st->st_mode) && !(mode & W_OK))))
		return 0;
	if (has_cap(&c, CAP_DAC_OVERRIDE) && (S_ISDIR(st->st_mode) || !(mode & X_OK) || (st->st_mode & 0111)))
		return 0;
	return -EACCES;
}

/* cow: the object is represented only, so that a read-only file system is no hindrance. */
static int ask(struct vfs *v, struct bv_call *call, int fd, int mode, bool cow)
{
	struct stat st;
	int r = v->host->as_guest(call);

	if (r < 0)
		return r;
	/* AT_EACCESS: as what the thread is now; AT_EMPTY_PATH: Linux 5.8, faccessat2 itself. */
	r = (int)syscall(SYS_faccessat2, fd, "", mode, AT_EMPTY_PATH | AT_EACCESS) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	if (r != -EROFS || !cow)
		return r;
	return fstat(fd, &st) < 0 ? -errno : by_bits(v, call, &st, mode);
}

static int access_synth(struct vfs *v, struct bv_call *call, struct loc *l, int mode)
{
	if (!l->syn || l->syn->kind != BV_VFS_HOST)
		return by_bits(v, call, &l->st, mode);
	if ((mode & W_OK) && !l->syn->writable)
		return -EACCES;
	bv_autofd int fd = loc_open_path(v, l);
	return fd < 0 ? fd : ask(v, call, fd, mode, false);
}

int perm_access(struct vfs *v, struct bv_call *call, struct loc *l, int mode)
{
	bv_autofd int fd = -1;

	if (l->view == V_SYNTH)
		return access_synth(v, call, l, mode);
	if (l->view == V_MERGED && l->node && l->node->meta)
		fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	else
		fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	int r = ask(v, call, fd, mode, l->view == V_LOWER || l->view == V_MERGED);
	/* access(2): writing to what is no file proper does not need a writable file system. */
	if (r == 0 && (mode & W_OK) && l->view == V_RO &&
	    (S_ISREG(l->st.st_mode) || S_ISDIR(l->st.st_mode) || S_ISLNK(l->st.st_mode)))
		r = -EROFS;
	return r;
}

/* An O_PATH descriptor of the directory that represents l's parent. */
static int parent_fd(struct vfs *v, struct loc *l)
{
	const char *name;
	enum view side = l->dir_view;

	if (side == V_MERGED) {
		char *slash = strrchr(l->path, '/');
		const struct node *n = v->root;

		if (slash > l->path) {
			*slash = '\0';
			n = tree_find(v->root, l->path);
			*slash = '/';
		}
		side = n && n->meta ? V_UPPER : V_LOWER;
	}
	return real_parent(v, l, side, O_PATH, &name);
}

/* procfs and its like: directories of mode 0555 and, behind that, no operation. */
static int refused_in_synth(struct vfs *v, struct bv_call *call)
{
	struct bv_creds c;
	int r = v->host->creds(call, &c);

	return r < 0 ? r : has_cap(&c, CAP_DAC_OVERRIDE) ? -EPERM : -EACCES;
}

/* May the guest write and search the parent?  *dir (owned, may be -1 for V_RW) is it. */
static int ask_parent(struct vfs *v, struct bv_call *call, struct loc *l, int *dir)
{
	*dir = -1;
	if (l->dir_view == V_SYNTH)
		return refused_in_synth(v, call);
	/* A mount point's parent is not below its own base. */
	if (l->node && l->node->mount)
		return -EBUSY;
	if (l->dir_view == V_RW)
		return 0; /* the act itself is the guest's, and the host kernel checks it */
	if (l->dir_view == V_RO)
		return -EROFS;
	*dir = parent_fd(v, l);
	return *dir < 0 ? *dir : ask(v, call, *dir, W_OK | X_OK, true);
}

int perm_create(struct vfs *v, struct bv_call *call, struct loc *l)
{
	bv_autofd int dir = -1;

	return ask_parent(v, call, l, &dir);
}

int perm_delete(struct vfs *v, struct bv_call *call, struct loc *l)
{
	struct stat parent, st;
	struct bv_creds c;
	bv_autofd int dir = -1;
	int r = ask_parent(v, call, l, &dir);

	if (r < 0 || dir < 0)
		return r;
	if (fstat(dir, &parent) < 0)
		return -errno;
	if (!(parent.st_mode & S_ISVTX))
		return 0;
	r = loc_stat(v, call, l, &st);
	if (r == 0)
		r = v->host->creds(call, &c);
	if (r < 0)
		return r;
	return c.fsuid == st.st_uid || c.fsuid == parent.st_uid || has_cap(&c, CAP_FOWNER) ? 0 : -EPERM;
}

int perm_owner(struct vfs *v, struct bv_call *call, const struct stat *st)
{
	struct bv_creds c;
	int r = v->host->creds(call, &c);

	if (r < 0)
		return r;
	return c.fsuid == st->st_uid || has_cap(&c, CAP_FOWNER) ? 0 : -EPERM;
}

int perm_chown(struct vfs *v, struct bv_call *call, const struct stat *st, uid_t uid, gid_t gid)
{
	struct bv_creds c;
	int r = v->host->creds(call, &c);

	if (r < 0 || has_cap(&c, CAP_CHOWN))
		return r < 0 ? r : 0;
	if (uid != (uid_t)-1 && (c.fsuid != st->st_uid || uid != st->st_uid))
		return -EPERM;
	if (gid != (gid_t)-1 && (c.fsuid != st->st_uid || (gid != st->st_gid && !in_group(&c, gid))))
		return -EPERM;
	return 0;
}
