/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fcntl(2)'s locks and leases.  Whoever can read a file can lock it, and a guest shall not make the
 * host's processes wait.  So the file is copied up, and the guest's descriptor becomes one of the
 * copy, which other guests that lock or open the file get too.  What cannot be copied, a directory or
 * what is mounted read-only, cannot be locked.
 *
 * OFD locks belong to the open file, so they are taken here, on a duplicate.  The others belong to the
 * process: the kernel goes on.  (A second thread could give it a descriptor of a host file at that
 * moment.  It is open for reading, so the most that comes of it is a shared lock.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "target.h"

struct wait {
	struct vfs *v;
	int fd, result;
	struct flock lock;
};

static void wait_work(void *arg)
{
	struct wait *w = arg;

	w->result = fcntl(w->fd, F_OFD_SETLKW, &w->lock) < 0 ? -errno : 0;
}

static enum bv_verdict wait_done(struct bv_call *call, void *arg)
{
	struct wait *w = arg;
	struct vfs *v = w->v;
	int r = w->result;

	close(w->fd);
	free(w);
	return call ? REPLY(v, call, r) : BV_PASS;
}

/* Takes fd.  Waits for the lock in a worker. */
static enum bv_verdict wait_for(struct vfs *v, struct bv_call *call, int fd,
                                const struct flock *lock)
{
	struct wait *w = malloc(sizeof(*w));

	if (!w) {
		close(fd);
		return REPLY(v, call, -ENOLCK);
	}
	*w = (struct wait){v, fd, 0, *lock};
	/* A lock that was given stays with the open file, whoever asked: it must not be taken back. */
	return v->host->defer(call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, wait_work, wait_done, w);
}

/* Makes sure that what the descriptor locks is not the host's.  0, -errno, or COPYUP_LATER. */
static int make_own(struct vfs *v, struct bv_call *call, struct loc *l)
{
	bool file = S_ISREG(l->st.st_mode), copied = l->stale;
	int r = 0;

	switch (l->view) {
	case V_LOWER:
		/* One that is open for writing the user handed in: it is meant to be the host's. */
		if (target_is_writable(l))
			return 0;
		r = file ? copyup(v, call, l, 0) : -ENOLCK;
		copied = true;
		break;
	case V_MERGED:
	case V_RO:
		r = -ENOLCK;
		break;
	case V_ANON:
		r = l->ours || !(file || S_ISDIR(l->st.st_mode)) || target_is_writable(l) ? 0
		                                                                          : -ENOLCK;
		break;
	default:
		break;
	}
	return r == 0 && copied && l->view == V_UPPER
	               ? target_replace_fd(v, call, l, (int)call->arg[0])
	               : r;
}

static enum bv_verdict ofd_lock(struct vfs *v, struct bv_call *call, int cmd)
{
	struct flock lock;
	int r = v->host->mem_read(call, &lock, call->arg[2], sizeof(lock));
	bv_autofd int fd = r < 0 ? -1 : v->host->get_fd(call, (int)call->arg[0]);

	if (r == 0)
		r = fd < 0                                                          ? fd
		    : fcntl(fd, cmd == F_OFD_SETLKW ? F_OFD_SETLK : cmd, &lock) < 0 ? -errno
		                                                                    : 0;
	if (r == -EAGAIN && cmd == F_OFD_SETLKW)
		return wait_for(v, call, bv_take_fd(&fd), &lock);
	if (r == 0 && cmd == F_OFD_GETLK)
		r = v->host->mem_write(call, call->arg[2], &lock, sizeof(lock));
	return REPLY(v, call, r);
}

BV_SYSCALL(fcntl)
{
	struct vfs *v = self;
	int cmd = (int)call->arg[1];
	struct loc l;

	switch (cmd) {
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
	case F_SETLEASE:
		break;
	default:
		return BV_PASS; /* another module's */
	}
	v->leases |= cmd == F_SETLEASE;
	int r = vfs_loc_fd(v, call, (int)call->arg[0], &l);
	if (r < 0)
		return REPLY(v, call, r);
	r = make_own(v, call, &l);
	enum bv_verdict later = r == COPYUP_LATER ? copyup_defer(v, call, &l, sys_fcntl) : BV_PASS;
	loc_fini(&l);
	if (r != 0)
		return r < 0 ? REPLY(v, call, r) : later;
	/* What is pointed to is the kind and the range of a lock, on a descriptor in a register. */
	return cmd >= F_OFD_GETLK && cmd <= F_OFD_SETLKW ? ofd_lock(v, call, cmd) : BV_CONTINUE;
}

const struct bv_handler lock_handlers[] = {
	BV_ON(fcntl, BV_SERVE),
	{0},
};

/* Of fcntl's commands only these trap. */
int lock_rules(struct vfs *v)
{
	static const struct bv_cond commands[] = {
		{.index = 1, .op = BV_EQ, .mask = UINT32_MAX, .value = F_GETLK},
		{.index = 1,
	         .op = BV_EQ,
	         .mask = UINT32_MAX & ~1u,
	         .value = F_SETLK}, /* and F_SETLKW */
		{.index = 1,
	         .op = BV_EQ,
	         .mask = UINT32_MAX & ~1u,
	         .value = F_OFD_GETLK}, /* and F_OFD_SETLK */
		{.index = 1, .op = BV_EQ, .mask = UINT32_MAX, .value = F_OFD_SETLKW},
		{.index = 1, .op = BV_EQ, .mask = UINT32_MAX, .value = F_SETLEASE},
	};
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(commands) && r == 0; i++)
		r = v->host->rule(v->self, &(struct bv_rule){.syscall = "fcntl",
		                                             .action = BV_ACT_TRAP,
		                                             .n_cond = 1,
		                                             .cond = {commands[i]}});
	return r;
}
