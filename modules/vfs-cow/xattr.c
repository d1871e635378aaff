/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, by path and by descriptor (xattr(7)). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "quota.h"
#include "target.h"

#define NAME_SIZE 256       /* XATTR_NAME_MAX + NUL, limits.h of the kernel */
#define VALUE_MAX_SIZE 65536 /* XATTR_SIZE_MAX */
#define LIST_MAX_SIZE 65536  /* XATTR_LIST_MAX */

/* How the object is named. */
enum by { BY_PATH, BY_LINK, BY_FD };

static unsigned walk_of(enum by by)
{
	return by == BY_LINK ? W_NOFOLLOW : 0;
}

static int read_name(struct vfs *v, struct bv_call *call, uint64_t ptr, char name[NAME_SIZE])
{
	ssize_t n = v->host->mem_read_str(call, name, ptr, NAME_SIZE);

	if (n == -ENAMETOOLONG || n == 0)
		return -ERANGE; /* as import_xattr_name of fs/xattr.c */
	return n < 0 ? (int)n : 0;
}

/*
 * Only what acts on the file alone may be set: a capability or a trusted mark needs a privilege
 * that no guest has, and would mean something to the host should the layer ever be applied.
 */
static int settable(const char *name)
{
	if (strncmp(name, "user.", 5) == 0 || strncmp(name, "system.posix_acl_", 17) == 0)
		return 0;
	return strncmp(name, "security.", 9) == 0 || strncmp(name, "trusted.", 8) == 0 ? -EPERM : -EOPNOTSUPP;
}

/* ---- reading ---- */

struct source {
	struct loc l;
	int fd;
	char path[FD_PATH_MAX]; /* our magic link to exactly that object, since these calls take no O_PATH */
};

static int source_open(struct vfs *v, struct bv_call *call, enum by by, struct source *s)
{
	int r;

	s->fd = -1;
	if (by == BY_FD) {
		r = vfs_loc_fd(v, call, (int)call->arg[0], &s->l);
	} else {
		r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[0], walk_of(by) | W_PROBE, &s->l);
	}
	if (r < 0)
		return r;
	if (s->l.view == V_SYNTH)
		s->fd = -EOPNOTSUPP;
	else if (s->l.view == V_MERGED && s->l.node && s->l.node->meta)
		s->fd = real_open(v, &s->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	else
		s->fd = loc_open_path(v, &s->l);
	if (s->fd < 0) {
		loc_fini(&s->l);
		return s->fd;
	}
	real_fd_path(s->path, s->fd);
	return 0;
}

static void source_fini(struct source *s)
{
	close(s->fd);
	loc_fini(&s->l);
}

static int write_back(struct vfs *v, struct bv_call *call, uint64_t to, const void *from, int n, size_t size)
{
	int r = n > 0 && size ? v->host->mem_write(call, to, from, (size_t)n) : 0;

	return r < 0 ? r : n;
}

static int get(struct vfs *v, struct bv_call *call, enum by by)
{
	char name[NAME_SIZE];
	bv_autofree char *value = NULL;
	struct source s;
	size_t size = call->arg[3] > VALUE_MAX_SIZE ? VALUE_MAX_SIZE : call->arg[3];
	int r = read_name(v, call, call->arg[1], name);

	if (r == 0)
		r = source_open(v, call, by, &s);
	if (r < 0)
		return r;
	value = malloc(size ? size : 1);
	if (!value) {
		r = -ENOMEM;
	} else if (S_ISLNK(s.l.st.st_mode)) {
		r = -ENODATA; /* a symlink has no user.* attributes */
	} else {
		v->host->as_guest(call);
		r = (int)getxattr(s.path, name, value, size);
		r = r < 0 ? -errno : r;
		v->host->as_creds(NULL);
	}
	source_fini(&s);
	return write_back(v, call, call->arg[2], value, r, size);
}

static int list(struct vfs *v, struct bv_call *call, enum by by)
{
	bv_autofree char *names = NULL;
	struct source s;
	size_t size = call->arg[2] > LIST_MAX_SIZE ? LIST_MAX_SIZE : call->arg[2];
	int r = source_open(v, call, by, &s);

	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r; /* procfs has none to list */
	names = malloc(size ? size : 1);
	if (!names) {
		r = -ENOMEM;
	} else if (!S_ISLNK(s.l.st.st_mode)) {
		v->host->as_guest(call);
		r = (int)listxattr(s.path, names, size);
		r = r < 0 ? -errno : r;
		v->host->as_creds(NULL);
	}
	source_fini(&s);
	return write_back(v, call, call->arg[1], names, r, size);
}

/* ---- changing ---- */

struct change {
	const char *name;
	const void *value; /* NULL: remove */
	size_t size;
	int flags;
};

static bool is_user(const struct change *c)
{
	return strncmp(c->name, "user.", 5) == 0;
}

/* xattr(7): user.* for whoever may write, in a sticky directory for its owner; lists for the owner. */
static int may_set(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const struct change *c = arg;
	char path[FD_PATH_MAX];
	int perm;

	int r = settable(c->name);
	/* An attribute of no kind fails last (vfs_setxattr of fs/xattr.c). */
	if (r == -EOPNOTSUPP && (perm = perm_access(v, call, &t->l, W_OK)) < 0)
		return perm;
	if (r < 0)
		return r;
	if (is_user(c) && !S_ISREG(t->st.st_mode) && !S_ISDIR(t->st.st_mode))
		return -EPERM;
	r = is_user(c) ? perm_access(v, call, &t->l, W_OK) : perm_owner(v, call, &t->st);
	if (r == 0 && is_user(c) && S_ISDIR(t->st.st_mode) && (t->st.st_mode & S_ISVTX))
		r = perm_owner(v, call, &t->st);
	if (r < 0 || S_ISLNK(t->st.st_mode))
		return r;
	if (t->l.view != V_LOWER || (c->value && !c->flags))
		return 0;
	/* What is bound to fail is no reason to copy a file of the host. */
	bv_autofd int fd = loc_open_path(v, &t->l);
	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	bool there = getxattr(path, c->name, NULL, 0) >= 0;
	if (!there && errno != ENODATA)
		return -errno;
	if (there && c->value && (c->flags & XATTR_CREATE))
		return -EEXIST;
	return there || (c->value && !(c->flags & XATTR_REPLACE)) ? 0 : -ENODATA;
}

static int apply(struct vfs *v, struct bv_call *call, struct target *t, const void *arg)
{
	const struct change *c = arg;

	/* A symlink, too, is named by our magic link, which leads to it and not on from it. */
	if (c->value) {
		/* Small ones find room in the inode; how much others take, the file system knows. */
		int r = t->l.view != V_RW && c->size > 128 ? quota_take(v, quota_size(c->size), 0)
		                                           : 0;

		if (r < 0)
			return r;
		if (c->size > 128)
			quota_freed(v);
		return setxattr(t->path, c->name, c->value, c->size, c->flags) < 0 ? -errno : 0;
	}
	return removexattr(t->path, c->name) < 0 ? -errno : 0;
}

static enum bv_verdict change(struct vfs *v, struct bv_call *call, enum by by, const struct change *c,
                              bv_handler_fn *handler)
{
	static const struct target_op op = {may_set, apply};
	const struct target_name name = {
	    .dirfd = by == BY_FD ? (int)call->arg[0] : AT_FDCWD,
	    .path = call->arg[0],
	    .walk = walk_of(by),
	    .by_fd = by == BY_FD,
	};

	return target_change(v, call, handler, &name, &op, c);
}

static enum bv_verdict set(struct vfs *v, struct bv_call *call, enum by by, bv_handler_fn *handler)
{
	char name[NAME_SIZE];
	bv_autofree char *value = NULL;
	size_t size = call->arg[3];
	int flags = (int)call->arg[4];

	if (flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return REPLY(v, call, -EINVAL);
	int r = read_name(v, call, call->arg[1], name);
	if (r == 0 && size > VALUE_MAX_SIZE)
		r = -E2BIG;
	if (r == 0) {
		value = malloc(size ? size : 1);
		r = !value ? -ENOMEM : size ? v->host->mem_read(call, value, call->arg[2], size) : 0;
	}
	return r < 0 ? REPLY(v, call, r) : change(v, call, by, &(struct change){name, value, size, flags}, handler);
}

static enum bv_verdict drop(struct vfs *v, struct bv_call *call, enum by by, bv_handler_fn *handler)
{
	char name[NAME_SIZE];
	int r = read_name(v, call, call->arg[1], name);

	return r < 0 ? REPLY(v, call, r) : change(v, call, by, &(struct change){.name = name}, handler);
}

BV_SYSCALL(setxattr)
{
	return set(self, call, BY_PATH, sys_setxattr);
}

BV_SYSCALL(lsetxattr)
{
	return set(self, call, BY_LINK, sys_lsetxattr);
}

BV_SYSCALL(fsetxattr)
{
	return set(self, call, BY_FD, sys_fsetxattr);
}

BV_SYSCALL(removexattr)
{
	return drop(self, call, BY_PATH, sys_removexattr);
}

BV_SYSCALL(lremovexattr)
{
	return drop(self, call, BY_LINK, sys_lremovexattr);
}

BV_SYSCALL(fremovexattr)
{
	return drop(self, call, BY_FD, sys_fremovexattr);
}

BV_SYSCALL(getxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, BY_PATH));
}

BV_SYSCALL(lgetxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, BY_LINK));
}

BV_SYSCALL(fgetxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, BY_FD));
}

BV_SYSCALL(listxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, BY_PATH));
}

BV_SYSCALL(llistxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, BY_LINK));
}

BV_SYSCALL(flistxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, BY_FD));
}

const struct bv_handler xattr_handlers[] = {
    BV_ON(setxattr, BV_SERVE),    BV_ON(lsetxattr, BV_SERVE),    BV_ON(fsetxattr, BV_SERVE),
    BV_ON(getxattr, BV_SERVE),    BV_ON(lgetxattr, BV_SERVE),    BV_ON(fgetxattr, BV_SERVE),
    BV_ON(listxattr, BV_SERVE),   BV_ON(llistxattr, BV_SERVE),   BV_ON(flistxattr, BV_SERVE),
    BV_ON(removexattr, BV_SERVE), BV_ON(lremovexattr, BV_SERVE), BV_ON(fremovexattr, BV_SERVE),
    {0},
};
