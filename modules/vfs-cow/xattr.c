/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes, by path and by descriptor (xattr(7)). */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fetch.h"
#include "quota.h"
#include "target.h"

#define NAME_SIZE 256       /* XATTR_NAME_MAX + NUL, limits.h of the kernel */
#define VALUE_MAX_SIZE 65536 /* XATTR_SIZE_MAX */
#define LIST_MAX_SIZE 65536  /* XATTR_LIST_MAX */

/* setxattrat and its kin, Linux 6.13: newer than many headers, one number everywhere. */
#ifndef SYS_setxattrat
#define SYS_setxattrat 463
#define SYS_getxattrat 464
#define SYS_listxattrat 465
#define SYS_removexattrat 466
#endif

/* struct xattr_args of linux/xattr.h. */
struct wire_args {
	uint64_t value;
	uint32_t size, flags;
};

/* One call of the family, whichever form it was made in. */
struct xcall {
	struct target_name who;
	uint64_t name, value, size; /* of the list, where names are read */
	int flags;
};

enum by { BY_PATH, BY_LINK, BY_FD };

/* As the older calls have it: the object, name, value, size (and flags). */
static struct xcall plain(const struct bv_call *call, enum by by)
{
	return (struct xcall){
		.who = {.dirfd = by == BY_FD ? (int)call->arg[0] : AT_FDCWD,
	                .path = call->arg[0],
	                .walk = by == BY_LINK ? W_NOFOLLOW : 0,
	                .by_fd = by == BY_FD},
		.name = call->arg[1],
		.value = call->arg[2],
		.size = call->arg[3],
		.flags = (int)call->arg[4],
	};
}

/* The object, list, size. */
static struct xcall plain_list(const struct bv_call *call, enum by by)
{
	struct xcall x = plain(call, by);

	x.value = call->arg[1];
	x.size = call->arg[2];
	return x;
}

/* The last two arguments of setxattrat and getxattrat: copy_struct_from_user of fs/xattr.c. */
static int args_at(struct vfs *v, struct bv_call *call, struct xcall *x)
{
	struct wire_args args;
	char more[4096];
	size_t size = call->arg[5];
	int r;

	if (size < sizeof(args))
		return -EINVAL;
	if (size > sizeof(more))
		return -E2BIG;
	r = v->host->mem_read(call, more, call->arg[4], size);
	if (r < 0)
		return r;
	for (size_t i = sizeof(args); i < size; i++)
		if (more[i])
			return -E2BIG;
	memcpy(&args, more, sizeof(args));
	x->value = args.value;
	x->size = args.size;
	x->flags = (int)args.flags;
	return 0;
}

/* A call of the *xattrat kind; 0 or -errno, found in the kernel's order. */
static int at(struct vfs *v, struct bv_call *call, long nr, struct xcall *x)
{
	int r = 0;

	/* What the host's kernel does not have, its guests do not have. */
	if (syscall(nr, -1, NULL, ~0u, NULL, NULL, 0) < 0 && errno == ENOSYS)
		return -ENOSYS;
	*x = (struct xcall){.name = call->arg[3]};
	if (nr == SYS_listxattrat) {
		x->value = call->arg[3];
		x->size = call->arg[4];
	} else if (nr != SYS_removexattrat) {
		r = args_at(v, call, x);
	}
	if (r == 0 && nr == SYS_getxattrat && x->flags)
		r = -EINVAL;
	return r < 0 ? r : target_name_at(v, call, (int)call->arg[2], &x->who);
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

static int write_back(struct vfs *v, struct bv_call *call, uint64_t to, const void *from, int n, size_t size)
{
	int r = n > 0 && size ? v->host->mem_write(call, to, from, (size_t)n) : 0;

	return r < 0 ? r : n;
}

static int get(struct vfs *v, struct bv_call *call, struct xcall x)
{
	char name[NAME_SIZE];
	bv_autofree char *value = NULL;
	struct source s;
	size_t size = x.size > VALUE_MAX_SIZE ? VALUE_MAX_SIZE : x.size;
	int r = read_name(v, call, x.name, name);

	if (r == 0)
		r = source_open(v, call, &x.who, &s);
	if (r < 0)
		return r;
	value = malloc(size ? size : 1);
	if (!value) {
		r = -ENOMEM;
	} else if (S_ISLNK(s.l.st.st_mode) || fetch_mark(v, name)) {
		r = -ENODATA; /* a symlink has no user.* attributes */
	} else {
		r = v->host->as_guest(call);
		if (r >= 0) {
			r = (int)getxattr(s.path, name, value, size);
			r = r < 0 ? -errno : r;
		}
		v->host->as_creds(NULL);
	}
	source_fini(&s);
	return write_back(v, call, x.value, value, r, size);
}

/* A list of names as listxattr(2) gives it to who has `size` bytes for it, without the store's mark. */
static int list_names(struct vfs *v, const char *path, char *names, size_t size)
{
	ssize_t n = listxattr(path, names, v->upper.flags & BV_LAYER_LAZY ? LIST_MAX_SIZE : size);
	size_t len;

	if (n < 0)
		return -errno;
	for (char *name = names; (v->upper.flags & BV_LAYER_LAZY) && name < names + n;
	     name += len) {
		len = strlen(name) + 1;
		if (!fetch_mark(v, name))
			continue;
		memmove(name, name + len, (size_t)(names + n - name) - len);
		n -= (ssize_t)len;
		len = 0;
	}
	return size && (size_t)n > size ? -ERANGE : (int)n;
}

static int list(struct vfs *v, struct bv_call *call, struct xcall x)
{
	bv_autofree char *names = NULL;
	struct source s;
	size_t size = x.size > LIST_MAX_SIZE ? LIST_MAX_SIZE : x.size;
	int r = source_open(v, call, &x.who, &s);

	if (r < 0)
		return r == -EOPNOTSUPP ? 0 : r; /* procfs has none to list */
	names = malloc(v->upper.flags & BV_LAYER_LAZY ? LIST_MAX_SIZE : size ? size : 1);
	if (!names) {
		r = -ENOMEM;
	} else if (!S_ISLNK(s.l.st.st_mode)) {
		r = v->host->as_guest(call);
		if (r >= 0)
			r = list_names(v, s.path, names, size);
		v->host->as_creds(NULL);
	}
	source_fini(&s);
	return write_back(v, call, x.value, names, r, size);
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

static enum bv_verdict change(struct vfs *v, struct bv_call *call, const struct target_name *who,
                              const struct change *c, bv_handler_fn *handler)
{
	static const struct target_op op = {may_set, apply};

	/* Who could set the store's mark would choose what the store brings. */
	if (fetch_mark(v, c->name))
		return REPLY(v, call, c->value ? -EPERM : -ENODATA);
	return target_change(v, call, handler, who, &op, c);
}

static enum bv_verdict set(struct vfs *v, struct bv_call *call, struct xcall x,
                           bv_handler_fn *handler)
{
	char name[NAME_SIZE];
	bv_autofree char *value = NULL;

	if (x.flags & ~(XATTR_CREATE | XATTR_REPLACE))
		return REPLY(v, call, -EINVAL);
	int r = read_name(v, call, x.name, name);
	if (r == 0 && x.size > VALUE_MAX_SIZE)
		r = -E2BIG;
	if (r == 0) {
		value = malloc(x.size ? x.size : 1);
		r = !value ? -ENOMEM : x.size ? v->host->mem_read(call, value, x.value, x.size) : 0;
	}
	if (r < 0)
		return REPLY(v, call, r);
	return change(v, call, &x.who, &(struct change){name, value, x.size, x.flags}, handler);
}

static enum bv_verdict drop(struct vfs *v, struct bv_call *call, struct xcall x,
                            bv_handler_fn *handler)
{
	char name[NAME_SIZE];
	int r = read_name(v, call, x.name, name);

	return r < 0 ? REPLY(v, call, r)
	             : change(v, call, &x.who, &(struct change){.name = name}, handler);
}

BV_SYSCALL(setxattr)
{
	return set(self, call, plain(call, BY_PATH), sys_setxattr);
}

BV_SYSCALL(lsetxattr)
{
	return set(self, call, plain(call, BY_LINK), sys_lsetxattr);
}

BV_SYSCALL(fsetxattr)
{
	return set(self, call, plain(call, BY_FD), sys_fsetxattr);
}

BV_SYSCALL(removexattr)
{
	return drop(self, call, plain(call, BY_PATH), sys_removexattr);
}

BV_SYSCALL(lremovexattr)
{
	return drop(self, call, plain(call, BY_LINK), sys_lremovexattr);
}

BV_SYSCALL(fremovexattr)
{
	return drop(self, call, plain(call, BY_FD), sys_fremovexattr);
}

BV_SYSCALL(getxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, plain(call, BY_PATH)));
}

BV_SYSCALL(lgetxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, plain(call, BY_LINK)));
}

BV_SYSCALL(fgetxattr)
{
	return REPLY((struct vfs *)self, call, get(self, call, plain(call, BY_FD)));
}

BV_SYSCALL(listxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, plain_list(call, BY_PATH)));
}

BV_SYSCALL(llistxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, plain_list(call, BY_LINK)));
}

BV_SYSCALL(flistxattr)
{
	return REPLY((struct vfs *)self, call, list(self, call, plain_list(call, BY_FD)));
}

BV_SYSCALL(setxattrat)
{
	struct xcall x;
	int r = at(self, call, SYS_setxattrat, &x);

	return r < 0 ? REPLY((struct vfs *)self, call, r) : set(self, call, x, sys_setxattrat);
}

BV_SYSCALL(removexattrat)
{
	struct xcall x;
	int r = at(self, call, SYS_removexattrat, &x);

	return r < 0 ? REPLY((struct vfs *)self, call, r) : drop(self, call, x, sys_removexattrat);
}

BV_SYSCALL(getxattrat)
{
	struct xcall x;
	int r = at(self, call, SYS_getxattrat, &x);

	return REPLY((struct vfs *)self, call, r < 0 ? r : get(self, call, x));
}

BV_SYSCALL(listxattrat)
{
	struct xcall x;
	int r = at(self, call, SYS_listxattrat, &x);

	return REPLY((struct vfs *)self, call, r < 0 ? r : list(self, call, x));
}

const struct bv_handler xattr_handlers[] = {
	BV_ON(setxattr, BV_SERVE),
	BV_ON(lsetxattr, BV_SERVE),
	BV_ON(fsetxattr, BV_SERVE),
	BV_ON(getxattr, BV_SERVE),
	BV_ON(lgetxattr, BV_SERVE),
	BV_ON(fgetxattr, BV_SERVE),
	BV_ON(listxattr, BV_SERVE),
	BV_ON(llistxattr, BV_SERVE),
	BV_ON(flistxattr, BV_SERVE),
	BV_ON(removexattr, BV_SERVE),
	BV_ON(lremovexattr, BV_SERVE),
	BV_ON(fremovexattr, BV_SERVE),
	BV_ON_MAYBE(setxattrat, BV_SERVE),
	BV_ON_MAYBE(getxattrat, BV_SERVE),
	BV_ON_MAYBE(listxattrat, BV_SERVE),
	BV_ON_MAYBE(removexattrat, BV_SERVE),
	{0},
};
