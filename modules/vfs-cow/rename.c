/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rename(2).  What is in the upper is renamed there; what is the host's is copied up first and
 * leaves a whiteout.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/syscall.h>

#include "entry.h"
#include "flatten.h"
#include "quota.h"
#include "watch.h"

#define NOTHING_TO_DO 2

static bool is_below(const struct loc *l, const struct loc *top)
{
	return l->len > top->len && strncmp(l->path, top->path, top->len) == 0 && l->path[top->len] == '/';
}

static bool same_parent(const struct loc *a, const struct loc *b)
{
	size_t n = (size_t)(strrchr(a->path, '/') - a->path);

	return n == (size_t)(strrchr(b->path, '/') - b->path) && memcmp(a->path, b->path, n) == 0;
}

static bool is_dir(const struct entry *e)
{
	return S_ISDIR(e->l.st.st_mode);
}

static bool has_lower_part(const struct entry *e)
{
	return is_dir(e) && (e->l.view == V_LOWER || e->l.view == V_MERGED);
}

/* What counts as one file system: everything that the upper takes, each rw mount, each tree. */
static const struct mount *domain(const struct entry *e)
{
	return e->l.dir_view == V_RW || e->l.dir_view == V_RO || e->l.dir_view == V_SYNTH ? e->l.mount : NULL;
}

/* What may be refused by the names alone, in the kernel's order (do_renameat2 of fs/namei.c). */
static int check_names(const struct entry *from, const struct entry *to, unsigned flags)
{
	bool exists = to->l.probed, exchange = flags & RENAME_EXCHANGE;

	if (from->last != LAST_NORM)
		return -EBUSY;
	if (to->last != LAST_NORM)
		return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	/* procfs' lookup of a new name fails, so there is no place to rename to. */
	if (from->l.dir_view == V_SYNTH && to->l.dir_view == V_SYNTH)
		return exists ? -EPERM : -ENOENT;
	if (domain(from) != domain(to))
		return -EXDEV;
	if (from->l.dir_view == V_RO)
		return -EROFS;
	if (exists && (flags & RENAME_NOREPLACE))
		return -EEXIST;
	if (!exists && exchange)
		return -ENOENT;
	if (exchange && to->slashed && !is_dir(to))
		return -ENOTDIR;
	if (!is_dir(from) && (from->slashed || (!exchange && to->slashed)))
		return -ENOTDIR;
	if (is_dir(from) && is_below(&to->l, &from->l))
		return -EINVAL;
	if (exists && is_below(&from->l, &to->l))
		return exchange ? -EINVAL : -ENOTEMPTY;
	if (exists && from->l.st.st_ino == to->l.st.st_ino && from->l.st.st_dev == to->l.st.st_dev)
		return NOTHING_TO_DO; /* two names of one file, rename(2) */
	if (tree_has_mount(from->l.node) || tree_has_mount(to->l.node))
		return -EBUSY;
	return 0;
}

/* A directory that gets another parent is changed itself: its "..". */
static int may_move(struct vfs *v, struct bv_call *call, struct entry *e, const struct entry *to)
{
	return is_dir(e) && !same_parent(&e->l, &to->l) ? perm_access(v, call, &e->l, W_OK) : 0;
}

static int check(struct vfs *v, struct bv_call *call, struct entry *from, struct entry *to, unsigned flags)
{
	bool exchange = flags & RENAME_EXCHANGE;
	int r = check_names(from, to, flags);

	if (r != 0 || from->l.dir_view == V_RW)
		return r;
	r = perm_delete(v, call, &from->l);
	if (r == 0 && to->l.probed)
		r = perm_delete(v, call, &to->l);
	else if (r == 0 && !same_parent(&from->l, &to->l)) /* else it was asked just now */
		r = perm_create(v, call, &to->l);
	if (r == 0 && to->l.probed && !exchange && is_dir(from) != is_dir(to))
		r = is_dir(from) ? -ENOTDIR : -EISDIR;
	if (r == 0)
		r = may_move(v, call, from, to);
	if (r == 0 && exchange)
		r = may_move(v, call, to, from);
	if (r == 0 && to->l.probed && is_dir(to) && !exchange) {
		int empty = listing_is_empty(v, call, &to->l);

		r = empty < 0 ? empty : empty ? 0 : -ENOTEMPTY;
	}
	return r;
}

/* Brings what moves into the upper. */
static int lift(struct vfs *v, struct bv_call *call, struct entry *e)
{
	if (e->l.dir_view == V_RW)
		return 0;
	return has_lower_part(e) ? flatten(v, call, &e->l) : copyup(v, call, &e->l, 0);
}

static int act(struct vfs *v, struct bv_call *call, struct entry *from, struct entry *to, unsigned flags)
{
	const char *from_name, *to_name;
	bool rw = from->l.dir_view == V_RW, exchange = flags & RENAME_EXCHANGE;
	bool replaces = to->l.probed, to_dir = replaces && is_dir(to);
	int r = 0;

	/* An empty directory with a lower part goes first; it leaves a whiteout to build on. */
	if (to_dir && !exchange && has_lower_part(to)) {
		watch_cleared(v, &to->l);
		r = entry_rmdir(v, call, &to->l);
	}
	if (r < 0)
		return r;
	v->host->as_creds(NULL);
	bv_autofd int from_fd = upper_parent_fd(v, &from->l, &from_name);
	if (from_fd < 0)
		return from_fd;
	bv_autofd int to_fd = upper_parent_fd(v, &to->l, &to_name);
	if (to_fd < 0)
		return to_fd;
	if (rw)
		r = v->host->as_guest(call);
	loc_let_go(&to->l);
	if (r == 0 && !rw && !exchange && to->l.probed && to->l.view == V_UPPER)
		r = quota_removal(v, to_fd, to_name);
	/* RENAME_NOREPLACE was decided on the virtual tree; in an rw mount the host decides again. */
	if (r == 0)
		r = syscall(SYS_renameat2, from_fd, from_name, to_fd, to_name, rw ? flags : flags & RENAME_EXCHANGE) < 0
		            ? -errno
		            : 0;
	v->host->as_creds(NULL);
	if (r < 0)
		return r;
	if (to_dir && !exchange)
		moved_gone(v, to->l.path);
	if (is_dir(from) || (exchange && to_dir))
		moved_to(v, from->l.path, to->l.path, exchange);
	r = upper_created(v, &to->l, is_dir(from));
	if (r == 0)
		r = exchange ? upper_created(v, &from->l, to_dir) : upper_removed(v, &from->l);
	if (r == 0 && exchange)
		watch_swapped(v, &from->l, is_dir(from), &to->l, to_dir);
	else if (r == 0)
		watch_moved(v, &from->l, is_dir(from), &to->l, replaces);
	return r;
}

static enum bv_verdict rename_entries(struct vfs *v, struct bv_call *call, struct entry *from, struct entry *to,
                                      unsigned flags, bv_handler_fn *handler)
{
	struct entry *later = from;
	int r = check(v, call, from, to, flags);

	if (r == 0)
		r = lift(v, call, from);
	if (r == 0 && (flags & RENAME_EXCHANGE)) {
		later = to;
		r = lift(v, call, to);
	}
	if (r == COPYUP_LATER)
		return copyup_defer(v, call, &later->l, handler);
	if (r == 0)
		r = act(v, call, from, to, flags);
	return REPLY(v, call, r == NOTHING_TO_DO ? 0 : r);
}

/* The old name is not there, or the new one cannot be: what comes before that. */
static int missing(const struct entry *from, const struct entry *to, unsigned flags)
{
	if (from->last != LAST_NORM)
		return -EBUSY;
	if (to->last != LAST_NORM)
		return flags & RENAME_NOREPLACE ? -EEXIST : -EBUSY;
	return !from->l.gone && !to->l.gone && domain(from) != domain(to) ? -EXDEV : -ENOENT;
}

static enum bv_verdict do_rename(struct vfs *v, struct bv_call *call, int from_fd, uint64_t from_ptr, int to_fd,
                                 uint64_t to_ptr, unsigned flags, bv_handler_fn *handler)
{
	struct entry from, to;

	if (flags & ~(unsigned)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return REPLY(v, call, -EINVAL);
	if ((flags & RENAME_EXCHANGE) && (flags & (RENAME_NOREPLACE | RENAME_WHITEOUT)))
		return REPLY(v, call, -EINVAL);
	if (flags & RENAME_WHITEOUT)
		return REPLY(v, call, -EPERM); /* needs CAP_MKNOD, which no guest has */
	/* Both parents are looked up before it matters whether the old name exists. */
	int r = entry_walk(v, call, from_fd, from_ptr, W_PROBE | W_PARENT, &from);
	if (r < 0)
		return REPLY(v, call, r);
	r = entry_walk(v, call, to_fd, to_ptr, W_CREATE | W_PARENT, &to);
	if (r < 0) {
		loc_fini(&from.l);
		return REPLY(v, call, r);
	}
	enum bv_verdict verdict = from.l.probed && !to.l.gone
	                                  ? rename_entries(v, call, &from, &to, flags, handler)
	                                  : REPLY(v, call, missing(&from, &to, flags));
	loc_fini(&from.l);
	loc_fini(&to.l);
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
