/* SPDX-License-Identifier: Apache-2.0 */
/* Mode, owner and times: the chmod, chown and utimes families, by path and by descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#include "target.h"

/* A merged directory's mode, owner and times are its upper copy's once they were set. */
static void mark_meta(struct target *t)
{
	if (t->l.view == V_MERGED && t->l.node)
		t->l.node->meta = true;
}

static bool member(const struct bv_creds *c, gid_t gid)
{
	if (gid == c->fsgid)
		return true;
	for (uint32_t i = 0; i < c->n_groups; i++)
		if (c->group[i] == gid)
			return true;
	return false;
}

/* ---- chmod ---- */

static int set_mode(struct vfs *v, struct bv_call *call, struct target *t, mode_t mode)
{
	struct bv_creds c;
	char path[FD_PATH_MAX];
	int r = v->host->creds(call, &c);

	if (r < 0)
		return r;
	if (S_ISLNK(t->st.st_mode))
		return -EOPNOTSUPP;
	/* chmod(2): the set-group-ID bit needs membership, which acting as ourselves would hide. */
	if ((mode & S_ISGID) && !S_ISDIR(t->st.st_mode) && !(c.cap_effective & (1ull << CAP_FSETID)) &&
	    !member(&c, t->st.st_gid))
		mode &= ~(mode_t)S_ISGID;
	real_fd_path(path, t->fd);
	if (t->l.view == V_RW)
		v->host->as_guest(call);
	r = chmod(path, mode) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	if (r == 0)
		mark_meta(t);
	return r;
}

static enum bv_verdict do_chmod(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, mode_t mode,
                                unsigned walk, bool by_fd, bv_handler_fn *handler)
{
	struct target t;
	int r = target_open(v, call, dirfd, ptr, walk, by_fd, true, &t);

	if (r < 0)
		return REPLY(v, call, r);
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &t.l, handler)
	                                            : REPLY(v, call, set_mode(v, call, &t, mode & 07777));
	target_fini(&t);
	return verdict;
}

BV_SYSCALL(chmod)
{
	return do_chmod(self, call, AT_FDCWD, call->arg[0], (mode_t)call->arg[1], 0, false, sys_chmod);
}

BV_SYSCALL(fchmod)
{
	return do_chmod(self, call, (int)call->arg[0], 0, (mode_t)call->arg[1], 0, true, sys_fchmod);
}

BV_SYSCALL(fchmodat)
{
	return do_chmod(self, call, (int)call->arg[0], call->arg[1], (mode_t)call->arg[2], 0, false, sys_fchmodat);
}

static unsigned walk_of(int flags)
{
	return (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? W_EMPTY : 0);
}

BV_SYSCALL(fchmodat2)
{
	int flags = (int)call->arg[3];

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return REPLY((struct vfs *)self, call, -EINVAL);
	return do_chmod(self, call, (int)call->arg[0], call->arg[1], (mode_t)call->arg[2], walk_of(flags), false,
	                sys_fchmodat2);
}

/* ---- chown ---- */

static int may_chown(struct vfs *v, struct bv_call *call, const struct stat *st, uid_t uid, gid_t gid)
{
	struct bv_creds c;
	int r = v->host->creds(call, &c);

	if (r < 0)
		return r;
	if (c.cap_effective & (1ull << CAP_CHOWN))
		return 0;
	if (uid != (uid_t)-1 && (uid != st->st_uid || c.fsuid != st->st_uid))
		return -EPERM;
	if (gid == (gid_t)-1)
		return 0;
	if (c.fsuid != st->st_uid)
		return -EPERM;
	return gid == st->st_gid || member(&c, gid) ? 0 : -EPERM;
}

static int set_owner(struct vfs *v, struct bv_call *call, struct target *t, uid_t uid, gid_t gid)
{
	int r = may_chown(v, call, &t->st, uid, gid);

	if (r < 0)
		return r;
	if (t->l.view == V_RW)
		v->host->as_guest(call);
	r = fchownat(t->fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	if (r == 0)
		mark_meta(t);
	return r;
}

static enum bv_verdict do_chown(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, uint64_t uid,
                                uint64_t gid, unsigned walk, bool by_fd, bv_handler_fn *handler)
{
	struct target t;
	int r = target_open(v, call, dirfd, ptr, walk, by_fd, false, &t);

	if (r < 0)
		return REPLY(v, call, r);
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &t.l, handler)
	                                            : REPLY(v, call, set_owner(v, call, &t, (uid_t)uid, (gid_t)gid));
	target_fini(&t);
	return verdict;
}

BV_SYSCALL(chown)
{
	return do_chown(self, call, AT_FDCWD, call->arg[0], call->arg[1], call->arg[2], 0, false, sys_chown);
}

BV_SYSCALL(lchown)
{
	return do_chown(self, call, AT_FDCWD, call->arg[0], call->arg[1], call->arg[2], W_NOFOLLOW, false, sys_lchown);
}

BV_SYSCALL(fchown)
{
	return do_chown(self, call, (int)call->arg[0], 0, call->arg[1], call->arg[2], 0, true, sys_fchown);
}

BV_SYSCALL(fchownat)
{
	int flags = (int)call->arg[4];

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return REPLY((struct vfs *)self, call, -EINVAL);
	return do_chown(self, call, (int)call->arg[0], call->arg[1], call->arg[2], call->arg[3], walk_of(flags), false,
	                sys_fchownat);
}

/* ---- times ---- */

static bool valid_nsec(const struct timespec *t)
{
	return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT || (t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

static int set_times(struct vfs *v, struct bv_call *call, struct target *t, const struct timespec times[2])
{
	bool now = !times || (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW);
	int r = perm_owner(v, call, &t->st);

	/* utimensat(2): the owner may set any time; who may write may set the present. */
	if (r < 0)
		r = now ? perm_access(v, call, &t->l, W_OK) : r;
	/* AT_EMPTY_PATH with an O_PATH descriptor: Linux 5.8. */
	if (r == 0)
		r = (int)syscall(SYS_utimensat, t->fd, "", times, AT_EMPTY_PATH) < 0 ? -errno : 0;
	if (r == 0)
		mark_meta(t);
	return r;
}

static enum bv_verdict do_times(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr,
                                const struct timespec times[2], unsigned walk, bool by_fd, bv_handler_fn *handler)
{
	struct target t;

	/* Nothing to set: the kernel looks at nothing either, not even the path. */
	if (times && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
		return REPLY(v, call, 0);
	int r = target_open(v, call, dirfd, ptr, walk, by_fd, false, &t);
	if (r < 0)
		return REPLY(v, call, r);
	enum bv_verdict verdict = r == COPYUP_LATER ? copyup_defer(v, call, &t.l, handler)
	                                            : REPLY(v, call, set_times(v, call, &t, times));
	target_fini(&t);
	return verdict;
}

BV_SYSCALL(utimensat)
{
	struct vfs *v = self;
	struct timespec t[2];
	int flags = (int)call->arg[3];
	/* futimens(3) is utimensat with a NULL path and a descriptor. */
	bool by_fd = !call->arg[1] && (int)call->arg[0] != AT_FDCWD;

	if (call->arg[2]) {
		int r = v->host->mem_read(call, t, call->arg[2], sizeof(t));

		if (r < 0)
			return REPLY(v, call, r);
		if (!valid_nsec(&t[0]) || !valid_nsec(&t[1]))
			return REPLY(v, call, -EINVAL);
	}
	if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) || (by_fd && flags))
		return REPLY(v, call, -EINVAL);
	return do_times(v, call, (int)call->arg[0], call->arg[1], call->arg[2] ? t : NULL, walk_of(flags), by_fd,
	                sys_utimensat);
}

static enum bv_verdict timevals(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, uint64_t times,
                                bv_handler_fn *handler)
{
	struct timeval tv[2];
	struct timespec t[2];

	if (times) {
		int r = v->host->mem_read(call, tv, times, sizeof(tv));

		if (r < 0)
			return REPLY(v, call, r);
		for (int i = 0; i < 2; i++) {
			if (tv[i].tv_usec < 0 || tv[i].tv_usec >= 1000000)
				return REPLY(v, call, -EINVAL);
			t[i] = (struct timespec){tv[i].tv_sec, tv[i].tv_usec * 1000};
		}
	}
	return do_times(v, call, dirfd, ptr, times ? t : NULL, 0, !ptr && dirfd != AT_FDCWD, handler);
}

BV_SYSCALL(utimes)
{
	return timevals(self, call, AT_FDCWD, call->arg[0], call->arg[1], sys_utimes);
}

BV_SYSCALL(futimesat)
{
	return timevals(self, call, (int)call->arg[0], call->arg[1], call->arg[2], sys_futimesat);
}

BV_SYSCALL(utime)
{
	struct vfs *v = self;
	struct utimbuf b;
	struct timespec t[2];

	if (call->arg[1]) {
		int r = v->host->mem_read(call, &b, call->arg[1], sizeof(b));

		if (r < 0)
			return REPLY(v, call, r);
		t[0] = (struct timespec){b.actime, 0};
		t[1] = (struct timespec){b.modtime, 0};
	}
	return do_times(v, call, AT_FDCWD, call->arg[0], call->arg[1] ? t : NULL, 0, false, sys_utime);
}

const struct bv_handler meta_handlers[] = {
    BV_ON(chmod, BV_SERVE),
    BV_ON(fchmod, BV_SERVE),
    BV_ON(fchmodat, BV_SERVE),
    BV_ON_MAYBE(fchmodat2, BV_SERVE),
    BV_ON(chown, BV_SERVE),
    BV_ON(lchown, BV_SERVE),
    BV_ON(fchown, BV_SERVE),
    BV_ON(fchownat, BV_SERVE),
    BV_ON(utimensat, BV_SERVE),
    BV_ON(utimes, BV_SERVE),
    BV_ON(futimesat, BV_SERVE),
    BV_ON(utime, BV_SERVE),
    {0},
};
