/* SPDX-License-Identifier: Apache-2.0 */
/* Calls by path that fit nowhere else: truncate, statfs, inotify_add_watch. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/statfs.h>

#include "vfs.h"

/* Exactly the object that was found and checked, as the guest; a path could be another by now. */
static int set_length(struct vfs *v, struct bv_call *call, struct loc *l, off_t length)
{
	char path[FD_PATH_MAX];

	if (l->view != V_UPPER && l->view != V_RW && !(l->view == V_ANON && l->ours))
		return -EACCES; /* nobody's but the host's: hidden, replaced, or a module's */
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	int r = v->host->as_guest(call);
	if (r == 0)
		r = truncate(path, length) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	return r;
}

BV_SYSCALL(truncate)
{
	struct vfs *v = self;
	struct loc l;
	off_t length = (off_t)call->arg[1];

	if (length < 0)
		return REPLY(v, call, -EINVAL);
	v->host->as_guest(call);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], W_PROBE, &l);
	v->host->as_creds(NULL);
	if (r < 0)
		return REPLY(v, call, r);
	if (S_ISDIR(l.st.st_mode))
		r = -EISDIR;
	else if (!S_ISREG(l.st.st_mode))
		r = -EINVAL;
	else if (l.view == V_SYNTH)
		r = -EACCES;
	else
		r = perm_access(v, call, &l, W_OK);
	if (r == 0 && l.view == V_LOWER) {
		r = l.fd_writable ? -EACCES : copyup(v, call, &l, length == 0 ? COPYUP_NODATA : 0);
		/* From here on the copy is meant, not the descriptor that led to the host's file. */
		if (r == 0 && l.fd >= 0) {
			close(l.fd);
			l.fd = -1;
		}
	}
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &l, sys_truncate)
	                                            : REPLY(v, call, r < 0 ? r : set_length(v, call, &l, length));
	loc_fini(&l);
	return verdict;
}

static int statfs_of(struct vfs *v, struct loc *l, struct statfs *st)
{
	bv_autofd int fd = -1;

	if (l->view == V_SYNTH && l->syn && l->syn->kind != BV_VFS_HOST) {
		fd = open("/proc", O_PATH | O_CLOEXEC); /* synthetic trees pass for procfs */
		if (fd < 0)
			return -errno;
	} else {
		fd = loc_open_path(v, l);
	}
	if (fd < 0)
		return fd;
	return fstatfs(fd, st) < 0 ? -errno : 0;
}

BV_SYSCALL(statfs)
{
	struct vfs *v = self;
	struct statfs st;
	struct loc l;

	v->host->as_guest(call);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], W_PROBE, &l);
	v->host->as_creds(NULL);
	if (r < 0)
		return REPLY(v, call, r);
	r = statfs_of(v, &l, &st);
	loc_fini(&l);
	if (r == 0)
		r = v->host->mem_write(call, call->arg[1], &st, sizeof(st));
	return REPLY(v, call, r);
}

static int watch(struct vfs *v, struct bv_call *call, int in, struct loc *l, uint32_t mask)
{
	char path[FD_PATH_MAX];

	if ((mask & IN_ONLYDIR) && !S_ISDIR(l->st.st_mode))
		return -ENOTDIR;
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	v->host->as_guest(call);
	/* Through our own magic link, which IN_DONT_FOLLOW would watch instead of the object. */
	int r = inotify_add_watch(in, path, mask & ~(uint32_t)IN_DONT_FOLLOW);
	r = r < 0 ? -errno : r;
	v->host->as_creds(NULL);
	return r;
}

/*
 * The watch is put on the real object that represents the path, through a duplicate of the
 * guest's inotify descriptor.  A merged directory is watched on its lower side.
 */
BV_SYSCALL(inotify_add_watch)
{
	struct vfs *v = self;
	struct loc l;
	uint32_t mask = (uint32_t)call->arg[2];

	bv_autofd int in = v->host->get_fd(call, (int)call->arg[0]);
	if (in < 0)
		return REPLY(v, call, in);
	v->host->as_guest(call);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[1], W_PROBE | (mask & IN_DONT_FOLLOW ? W_NOFOLLOW : 0), &l);
	v->host->as_creds(NULL);
	if (r < 0)
		return REPLY(v, call, r);
	r = watch(v, call, in, &l, mask);
	loc_fini(&l);
	return REPLY(v, call, r);
}

const struct bv_handler misc_handlers[] = {
    BV_ON(truncate, BV_SERVE),
    BV_ON(statfs, BV_SERVE),
    BV_ON(inotify_add_watch, BV_SERVE),
    {0},
};
