/* SPDX-License-Identifier: Apache-2.0 */
/* The working directory: the kernel's is the truth, here it is only translated. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vfs.h"

BV_SYSCALL(getcwd)
{
	struct vfs *v = self;
	char real[PATH_MAX + 1], path[PATH_MAX];
	unsigned long size = call->arg[1];
	enum view view;
	struct stat st;
	int proc_fd = v->host->proc_fd(call);
	ssize_t n = proc_fd < 0 ? -1 : readlinkat(proc_fd, "cwd", real, sizeof(real) - 1);

	if (n < 0)
		return REPLY(v, call, proc_fd < 0 ? proc_fd : -errno);
	real[n] = '\0';
	/* " (deleted)" may be part of a name; whether the directory lives tells its link count. */
	if (n > 10 && strcmp(real + n - 10, " (deleted)") == 0 && fstatat(proc_fd, "cwd", &st, 0) == 0 &&
	    st.st_nlink == 0)
		return REPLY(v, call, -ENOENT);
	n = real_shown(v, real, path, &view);
	if (n < 0)
		return REPLY(v, call, n == -ENAMETOOLONG ? -ERANGE : -ENOENT);
	if ((size_t)n + 1 > size)
		return REPLY(v, call, -ERANGE);
	int r = v->host->mem_write(call, call->arg[0], path, (size_t)n + 1);
	return REPLY(v, call, r < 0 ? r : n + 1);
}

/* Where the host kernel has the directory at l, as its own text; and which one it is. */
static int real_dir(struct vfs *v, struct loc *l, char out[PATH_MAX], struct stat *st)
{
	char self[FD_PATH_MAX];
	bv_autofd int fd = -1;

	if (l->view == V_SYNTH && l->fd < 0 && l->syn && l->syn->kind == BV_VFS_DIR)
		fd = synth_dir_fd(v, l, O_PATH);
	else
		fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	if (st->st_nlink == 0)
		return -ENOENT;
	real_fd_path(self, fd);
	ssize_t n = readlink(self, out, PATH_MAX);
	if (n < 0)
		return -errno;
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

BV_SYSCALL(chdir)
{
	struct vfs *v = self;
	char real[PATH_MAX];
	struct stat st;
	struct loc l;

	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], W_PROBE, &l);
	if (r < 0)
		return REPLY(v, call, r);
	if (!S_ISDIR(l.st.st_mode))
		r = -ENOTDIR;
	else
		r = perm_access(v, call, &l, X_OK);
	bool native = l.native;
	if (r == 0 && !native)
		r = real_dir(v, &l, real, &st);
	loc_fini(&l);
	if (r < 0)
		return REPLY(v, call, r);
	/*
	 * The kernel reads the path again, and another thread may have changed it.  That gains
	 * nothing: a working directory gives no access, since every relative path is resolved here,
	 * from what /proc/PID/cwd then says, and a hidden or foreign place there is ENOENT.
	 */
	if (native)
		return BV_CONTINUE;
	const struct bv_redirect to = {
	    .head = BV_HEAD(CALL, struct bv_redirect),
	    .path = real,
	    .dev = st.st_dev,
	    .ino = st.st_ino,
	};
	return v->host->redirect(call, &to);
}

const struct bv_handler cwd_handlers[] = {
    BV_ON(getcwd, BV_SERVE),
    BV_ON(chdir, BV_SERVE),
    {0},
};
