/* SPDX-License-Identifier: Apache-2.0 */
/* Mode, owner and times: the chmod, chown and utimes families, by path and by descriptor. */
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <utime.h>

#include "target.h"
#include "watch.h"

static unsigned walk_of(int flags)
{
	return (flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0) | (flags & AT_EMPTY_PATH ? W_EMPTY : 0);
}

/* ---- chmod ---- */

static int may_chmod(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const mode_t *mode = arg;
	int r = S_ISLNK(t->st.st_mode) ? -EOPNOTSUPP : perm_owner(v, call, &t->st);

	/* Set to what it is: no reason to copy a file of the host. */
	if (r < 0 || (t->st.st_mode & 07777) != *mode)
		return r;
	watch_touched(v, &t->l, S_ISDIR(t->st.st_mode));
	return TARGET_DONE;
}

static int set_mode(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const mode_t *mode = arg;

	if (S_ISLNK(t->st.st_mode))
		return -EOPNOTSUPP;
	return chmod(t->path, *mode) < 0 ? -errno : 0;
}

static enum bv_verdict do_chmod(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                                const struct target_name *name, uint64_t raw)
{
	static const struct target_op op = {may_chmod, set_mode};
	mode_t mode = (mode_t)raw & 07777;

	return target_change(v, call, handler, name, &op, &mode);
}

BV_SYSCALL(chmod)
{
	const struct target_name name = {.dirfd = AT_FDCWD, .path = call->arg[0]};

	return do_chmod(self, call, sys_chmod, &name, call->arg[1]);
}

BV_SYSCALL(fchmod)
{
	const struct target_name name = {.dirfd = (int)call->arg[0], .by_fd = true};

	return do_chmod(self, call, sys_fchmod, &name, call->arg[1]);
}

BV_SYSCALL(fchmodat)
{
	const struct target_name name = {.dirfd = (int)call->arg[0], .path = call->arg[1]};

	return do_chmod(self, call, sys_fchmodat, &name, call->arg[2]);
}

BV_SYSCALL(fchmodat2)
{
	int flags = (int)call->arg[3];
	const struct target_name name = {.dirfd = (int)call->arg[0], .path = call->arg[1], .walk = walk_of(flags)};

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return REPLY((struct vfs *)self, call, -EINVAL);
	return do_chmod(self, call, sys_fchmodat2, &name, call->arg[2]);
}

/* ---- chown ---- */

struct owner {
	uid_t uid;
	gid_t gid;
};

static int may_chown(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const struct owner *o = arg;
	bool same = (o->uid == (uid_t)-1 || o->uid == t->st.st_uid) && (o->gid == (gid_t)-1 || o->gid == t->st.st_gid);
	int r = perm_chown(v, call, &t->st, o->uid, o->gid);

	/* Set to what it is, and there are no set-id bits that go: no reason to copy. */
	if (r < 0 || !same || (t->st.st_mode & 06000))
		return r;
	if (o->uid != (uid_t)-1 || o->gid != (gid_t)-1)
		watch_touched(v, &t->l, S_ISDIR(t->st.st_mode));
	return TARGET_DONE;
}

static int set_owner(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const struct owner *o = arg;

	return fchownat(t->fd, "", o->uid, o->gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static enum bv_verdict do_chown(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                                const struct target_name *name, uint64_t uid, uint64_t gid)
{
	static const struct target_op op = {may_chown, set_owner};
	const struct owner o = {(uid_t)uid, (gid_t)gid};

	return target_change(v, call, handler, name, &op, &o);
}

BV_SYSCALL(chown)
{
	const struct target_name name = {.dirfd = AT_FDCWD, .path = call->arg[0]};

	return do_chown(self, call, sys_chown, &name, call->arg[1], call->arg[2]);
}

BV_SYSCALL(lchown)
{
	const struct target_name name = {.dirfd = AT_FDCWD, .path = call->arg[0], .walk = W_NOFOLLOW};

	return do_chown(self, call, sys_lchown, &name, call->arg[1], call->arg[2]);
}

BV_SYSCALL(fchown)
{
	const struct target_name name = {.dirfd = (int)call->arg[0], .by_fd = true};

	return do_chown(self, call, sys_fchown, &name, call->arg[1], call->arg[2]);
}

BV_SYSCALL(fchownat)
{
	int flags = (int)call->arg[4];
	const struct target_name name = {.dirfd = (int)call->arg[0], .path = call->arg[1], .walk = walk_of(flags)};

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return REPLY((struct vfs *)self, call, -EINVAL);
	return do_chown(self, call, sys_fchownat, &name, call->arg[2], call->arg[3]);
}

/* ---- times ---- */

static bool valid_nsec(const struct timespec *t)
{
	return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT || (t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

/* utimensat(2): the owner may set any time; who may write may set the present. */
static int may_set_times(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const struct timespec *times = arg;
	bool now = !times || (times[0].tv_nsec == UTIME_NOW && times[1].tv_nsec == UTIME_NOW);
	int r = perm_owner(v, call, &t->st);

	return r < 0 && now ? perm_access(v, call, &t->l, W_OK) : r;
}

static int set_times(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	/* AT_EMPTY_PATH with an O_PATH descriptor: Linux 5.8. */
	return syscall(SYS_utimensat, t->fd, "", arg, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static enum bv_verdict do_times(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                                const struct target_name *name, const struct timespec times[2])
{
	static const struct target_op op = {may_set_times, set_times};

	/* Nothing to set: the kernel looks at nothing either, not even the path. */
	if (times && times[0].tv_nsec == UTIME_OMIT && times[1].tv_nsec == UTIME_OMIT)
		return REPLY(v, call, 0);
	return target_change(v, call, handler, name, &op, times);
}

BV_SYSCALL(utimensat)
{
	struct vfs *v = self;
	struct timespec t[2];
	int flags = (int)call->arg[3];
	const struct target_name name = {
	    .dirfd = (int)call->arg[0],
	    .path = call->arg[1],
	    .walk = walk_of(flags),
	    /* futimens(3) is utimensat with a NULL path and a descriptor. */
	    .by_fd = !call->arg[1] && (int)call->arg[0] != AT_FDCWD,
	};

	if (call->arg[2]) {
		int r = v->host->mem_read(call, t, call->arg[2], sizeof(t));

		if (r < 0)
			return REPLY(v, call, r);
		if (t[0].tv_nsec == UTIME_OMIT && t[1].tv_nsec == UTIME_OMIT)
			return REPLY(v, call, 0); /* before the flags are looked at */
		if (!valid_nsec(&t[0]) || !valid_nsec(&t[1]))
			return REPLY(v, call, -EINVAL);
	}
	if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) || (name.by_fd && flags))
		return REPLY(v, call, -EINVAL);
	return do_times(v, call, sys_utimensat, &name, call->arg[2] ? t : NULL);
}

static enum bv_verdict do_timevals(struct vfs *v, struct bv_call *call, bv_handler_fn *handler,
                                   const struct target_name *name, uint64_t times)
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
	return do_times(v, call, handler, name, times ? t : NULL);
}

BV_SYSCALL(utimes)
{
	const struct target_name name = {.dirfd = AT_FDCWD, .path = call->arg[0]};

	return do_timevals(self, call, sys_utimes, &name, call->arg[1]);
}

BV_SYSCALL(futimesat)
{
	const struct target_name name = {
	    .dirfd = (int)call->arg[0],
	    .path = call->arg[1],
	    .by_fd = !call->arg[1] && (int)call->arg[0] != AT_FDCWD,
	};

	return do_timevals(self, call, sys_futimesat, &name, call->arg[2]);
}

BV_SYSCALL(utime)
{
	struct vfs *v = self;
	struct utimbuf b;
	struct timespec t[2];
	const struct target_name name = {.dirfd = AT_FDCWD, .path = call->arg[0]};

	if (call->arg[1]) {
		int r = v->host->mem_read(call, &b, call->arg[1], sizeof(b));

		if (r < 0)
			return REPLY(v, call, r);
		t[0] = (struct timespec){b.actime, 0};
		t[1] = (struct timespec){b.modtime, 0};
	}
	return do_times(v, call, sys_utime, &name, call->arg[1] ? t : NULL);
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
