/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename(2).  What is in the upper is renamed there; a lower file is copied up first and leaves a
 * whiteout.  A directory that has a lower part cannot move in one step: EXDEV, as across
 * filesystems, upon which mv(1) and its like copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"

static bool is_below(const struct loc *l, const struct loc *top)
{
	return l->len > top->len && strncmp(l->path, top->path, top->len) == 0 && l->path[top->len] == '/';
}

static bool has_lower_part(const struct loc *l)
{
	return S_ISDIR(l->st.st_mode) && (l->view == V_LOWER || l->view == V_MERGED);
}

#define NOTHING_TO_DO 2

/* Everything that can be refused before anything changes; or NOTHING_TO_DO. */
static int check(struct vfs *v, struct bv_call *call, struct loc *from, struct loc *to, unsigned flags)
{
	bool exists = to->probed, dir = S_ISDIR(from->st.st_mode);
	int r;

	if (from->dotted || (to->dotted && !(flags & RENAME_NOREPLACE)))
		return -EBUSY;
	if (exists && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!exists && (flags & RENAME_EXCHANGE))
		return -ENOENT;
	if (from->view == V_SYNTH || to->view == V_SYNTH || to->dir_view == V_SYNTH)
		return from->view == V_SYNTH && to->dir_view == V_SYNTH ? -EPERM : -EXDEV;
	if (from->view == V_RO || to->dir_view == V_RO)
		return -EROFS;
	if ((from->view == V_RW) != (to->dir_view == V_RW) || (from->view == V_RW && from->mount != to->mount))
		return -EXDEV;
	if (tree_has_mount(from->node) || tree_has_mount(to->node))
		return -EBUSY;
	if (!dir && to->must_dir && !(flags & RENAME_EXCHANGE))
		return -ENOTDIR;
	if (is_below(to, from))
		return -EINVAL;
	if (is_below(from, to))
		return flags & RENAME_EXCHANGE ? -EINVAL : -ENOTEMPTY;
	r = perm_delete(v, call, from);
	if (r == 0)
		r = exists ? perm_delete(v, call, to) : perm_create(v, call, to);
	if (r < 0)
		return r;
	if (exists && from->st.st_ino == to->st.st_ino && from->st.st_dev == to->st.st_dev)
		return NOTHING_TO_DO; /* two names of one file: rename(2) does nothing */
	if (exists && !(flags & RENAME_EXCHANGE)) {
		if (dir && !S_ISDIR(to->st.st_mode))
			return -ENOTDIR;
		if (!dir && S_ISDIR(to->st.st_mode))
			return -EISDIR;
	}
	if (has_lower_part(from) || ((flags & RENAME_EXCHANGE) && has_lower_part(to)))
		return -EXDEV;
	return 0;
}

static int in_upper(struct vfs *v, struct bv_call *call, struct loc *from, struct loc *to, unsigned flags)
{
	const char *from_name, *to_name;
	bool dir = S_ISDIR(from->st.st_mode), other_dir = to->probed && S_ISDIR(to->st.st_mode);
	int r = 0;

	/* An empty directory with a lower part has to go first; it leaves a whiteout to build on. */
	if (dir && to->probed && !(flags & RENAME_EXCHANGE) && has_lower_part(to))
		r = change_rmdir(v, call, to);
	if (r < 0)
		return r;
	v->host->as_creds(NULL);
	bv_autofd int from_dir = upper_parent_fd(v, from, &from_name);
	if (from_dir < 0)
		return from_dir;
	bv_autofd int to_dir = upper_parent_fd(v, to, &to_name);
	if (to_dir < 0)
		return to_dir;
	bool rw = from->view == V_RW;
	if (rw)
		v->host->as_guest(call);
	/* RENAME_NOREPLACE was decided on the virtual tree; in an rw mount the host decides again. */
	r = renameat2(from_dir, from_name, to_dir, to_name, rw ? flags : flags & RENAME_EXCHANGE) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	if (r < 0)
		return r;
	if (flags & RENAME_EXCHANGE) {
		r = upper_created(v, from, other_dir);
		return r < 0 ? r : upper_created(v, to, dir);
	}
	r = upper_created(v, to, dir);
	return r < 0 ? r : upper_removed(v, from);
}

static enum bv_verdict do_rename(struct vfs *v, struct bv_call *call, int from_fd, uint64_t from_ptr, int to_fd,
                                 uint64_t to_ptr, unsigned flags, bv_handler_fn *handler)
{
	struct loc from, to;

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return REPLY(v, call, -EINVAL);
	if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
		return REPLY(v, call, -EINVAL);
	if (flags & RENAME_WHITEOUT)
		return REPLY(v, call, -EPERM); /* needs CAP_MKNOD, which no guest has */
	int r = vfs_walk_guest(v, call, from_fd, from_ptr, W_NOFOLLOW | W_PROBE, &from);
	if (r < 0)
		return REPLY(v, call, r);
	r = vfs_walk_guest(v, call, to_fd, to_ptr, W_NOFOLLOW | W_CREATE, &to);
	if (r < 0) {
		loc_fini(&from);
		return REPLY(v, call, r);
	}
	r = check(v, call, &from, &to, flags);
	if (r == 0)
		r = copyup(v, call, &from, 0);
	struct loc *later = &from;
	if (r == 0 && (flags & RENAME_EXCHANGE)) {
		later = &to;
		r = copyup(v, call, &to, 0);
	}
	enum bv_verdict verdict;
	if (r == COPYUP_LATER) {
		verdict = copyup_defer(v, call, later, handler);
	} else {
		if (r == 0)
			r = in_upper(v, call, &from, &to, flags);
		verdict = REPLY(v, call, r == NOTHING_TO_DO ? 0 : r);
	}
	loc_fini(&from);
	loc_fini(&to);
	return verdict;
}

BV_SYSCALL(rename)
{
	return do_rename(self, call, AT_FDCWD, call->arg[0], AT_FDCWD, call->arg[1], 0, sys_rename);
}

BV_SYSCALL(renameat)
{
	return do_rename(self, call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3], 0, sys_renameat);
}

BV_SYSCALL(renameat2)
{
	return do_rename(self, call, (int)call->arg[0], call->arg[1], (int)call->arg[2], call->arg[3],
	                 (unsigned)call->arg[4], sys_renameat2);
}

const struct bv_handler rename_handlers[] = {
    BV_ON(rename, BV_SERVE),
    BV_ON(renameat, BV_SERVE),
    BV_ON(renameat2, BV_SERVE),
    {0},
};
