/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The "review" service: what a sandbox changed, by comparing the upper layer with the lower one
 * where the tree says that they meet.  Nothing is taken from records made on the way, so it is
 * right after any history.  Private directories (rule `tmp`) are scratch and left out; so is what
 * the host's own directories (`rw`) received, which is no longer a proposal.
 *
 * A file counts as modified when its bytes, mode, owner or times of modification differ; one that
 * was only opened for writing does not.  Equal times are not trusted: a guest can set them.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>

#include "vfs.h"

struct change {
	char kind, type;
	uint64_t size;
	char *path;
};

struct review {
	struct vfs *v;
	struct change *change;
	size_t n, cap;
	struct loc l; /* the place being looked at */
};

static char type_of(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	default:
		return 'f';
	}
}

static int report(struct review *r, char kind, const struct stat *st)
{
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 64;
		struct change *grown = realloc(r->change, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		r->change = grown;
		r->cap = cap;
	}
	char *path = strdup(r->l.path);
	if (!path)
		return -ENOMEM;
	r->change[r->n++] = (struct change){kind, type_of(st->st_mode),
	                                    kind != 'D' && S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0, path};
	return 0;
}

/* ---- the place ---- */

static int down(struct review *r, const char *name, size_t *was)
{
	size_t len = strlen(name), slash = r->l.len > 1;

	*was = r->l.len;
	if (r->l.len + slash + len >= PATH_MAX)
		return -ENAMETOOLONG;
	if (slash)
		r->l.path[r->l.len] = '/';
	memcpy(r->l.path + r->l.len + slash, name, len + 1);
	r->l.len += slash + len;
	return 0;
}

static void up(struct review *r, size_t was)
{
	r->l.len = was;
	r->l.path[was] = '\0';
}

/* lstat of the place in one layer; -ENOENT... */
static int look(struct review *r, enum view view, struct stat *st)
{
	bv_autofd int fd = real_open(r->v, &r->l, view, O_PATH | O_NOFOLLOW, 0);

	if (fd < 0)
		return fd;
	return fstat(fd, st) < 0 ? -errno : 0;
}

/* All names of the place in one layer; the descriptor is not kept, so depth costs none. */
static int names_of(struct review *r, enum view view, struct strbuf *out)
{
	const struct dirent *e;
	int fd = real_open(r->v, &r->l, view, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int err = fd < 0 ? -fd : errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			strbuf_add(out, e->d_name, strlen(e->d_name) + 1);
	closedir(d);
	return out->failed ? -ENOMEM : 0;
}

/* ---- equal? ---- */

static bool same_bytes(int a, int b)
{
	enum { SIZE = 65536 };
	bv_autofree char *buf = malloc(2 * SIZE);
	ssize_t n, m;

	if (!buf)
		return false;
	do {
		n = read(a, buf, SIZE);
		for (m = 0; n > 0 && m < n;) {
			ssize_t got = read(b, buf + SIZE + m, (size_t)(n - m));

			if (got <= 0)
				return false;
			m += got;
		}
		if (n > 0 && memcmp(buf, buf + SIZE, (size_t)n) != 0)
			return false;
	} while (n > 0);
	return n == 0 && read(b, buf, 1) == 0;
}

static bool same_xattrs(int a, int b)
{
	enum { SIZE = 65536 }; /* XATTR_SIZE_MAX and XATTR_LIST_MAX, xattr(7) */
	char from[FD_PATH_MAX], to[FD_PATH_MAX];
	bv_autofree char *buf = malloc(4 * SIZE);

	if (!buf)
		return false;
	char *names = buf, *others = buf + SIZE, *value = buf + 2 * SIZE, *other = buf + 3 * SIZE;
	real_fd_path(from, a);
	real_fd_path(to, b);
	ssize_t n = listxattr(from, names, SIZE), m = listxattr(to, others, SIZE);
	if (n <= 0 && m <= 0)
		return true;
	if (n != m)
		return false;
	for (const char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t len = getxattr(from, name, value, SIZE);

		if (len != getxattr(to, name, other, SIZE) || (len > 0 && memcmp(value, other, (size_t)len) != 0))
			return false;
	}
	return true;
}

static bool same_meta(const struct stat *a, const struct stat *b)
{
	/* An unprivileged supervisor's copies are its user's, without a guest having done it. */
	bool owner = geteuid() != 0 || (a->st_uid == b->st_uid && a->st_gid == b->st_gid);

	return owner && (a->st_mode & 07777) == (b->st_mode & 07777);
}

/* The place is of one type in both layers, and no directory. */
static bool same_object(struct review *r, const struct stat *low, const struct stat *high)
{
	if (S_ISLNK(low->st_mode)) {
		char a[PATH_MAX], b[PATH_MAX];
		bv_autofd int la = real_open(r->v, &r->l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
		bv_autofd int lb = real_open(r->v, &r->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
		ssize_t n = la < 0 ? -1 : readlinkat(la, "", a, sizeof(a));

		return n >= 0 && lb >= 0 && readlinkat(lb, "", b, sizeof(b)) == n && memcmp(a, b, (size_t)n) == 0;
	}
	if (!same_meta(low, high))
		return false;
	if (!S_ISREG(low->st_mode))
		return true;
	if (low->st_size != high->st_size || low->st_mtim.tv_sec != high->st_mtim.tv_sec ||
	    low->st_mtim.tv_nsec != high->st_mtim.tv_nsec)
		return false;
	bv_autofd int a = real_open(r->v, &r->l, V_LOWER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	bv_autofd int b = real_open(r->v, &r->l, V_UPPER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	return a >= 0 && b >= 0 && same_xattrs(a, b) && same_bytes(a, b);
}

/* ---- walking ---- */

static int added(struct review *r, const struct stat *st)
{
	bv_autostrbuf struct strbuf names = {0};
	int err = report(r, 'A', st);

	if (err < 0 || !S_ISDIR(st->st_mode))
		return err;
	err = names_of(r, V_UPPER, &names);
	for (size_t at = 0; err == 0 && at < names.len; at += strlen(names.data + at) + 1) {
		struct stat child;
		size_t was;

		err = down(r, names.data + at, &was);
		if (err == 0)
			err = look(r, V_UPPER, &child);
		if (err == 0)
			err = added(r, &child);
		up(r, was);
	}
	return err;
}

static int replaced(struct review *r, const struct stat *low, const struct stat *high);

/* A directory of the upper that took the place of one of the lower: nothing shines through. */
static int replaced_dir(struct review *r)
{
	bv_autostrbuf struct strbuf names = {0}, old = {0};
	int err = names_of(r, V_UPPER, &names);
	struct stat low, high;
	size_t was;

	for (size_t at = 0; err == 0 && at < names.len; at += strlen(names.data + at) + 1) {
		err = down(r, names.data + at, &was);
		if (err == 0)
			err = look(r, V_UPPER, &high);
		if (err == 0)
			err = look(r, V_LOWER, &low) == 0 ? replaced(r, &low, &high) : added(r, &high);
		up(r, was);
	}
	if (err == 0)
		err = names_of(r, V_LOWER, &old);
	for (size_t at = 0; err == 0 && at < old.len; at += strlen(old.data + at) + 1) {
		err = down(r, old.data + at, &was);
		if (err == 0 && look(r, V_UPPER, &high) == -ENOENT && look(r, V_LOWER, &low) == 0)
			err = report(r, 'D', &low);
		up(r, was);
	}
	return err;
}

static int replaced(struct review *r, const struct stat *low, const struct stat *high)
{
	int err;

	if ((low->st_mode & S_IFMT) != (high->st_mode & S_IFMT)) {
		err = report(r, 'T', high);
		if (err < 0 || !S_ISDIR(high->st_mode))
			return err;
		/* Below a new directory all is new. */
		size_t before = r->n;
		err = added(r, high);
		if (err == 0) { /* its own line was given as 'T' */
			free(r->change[before].path);
			memmove(&r->change[before], &r->change[before + 1], (r->n - before - 1) * sizeof(r->change[0]));
			r->n--;
		}
		return err;
	}
	if (!S_ISDIR(high->st_mode))
		return same_object(r, low, high) ? 0 : report(r, 'M', high);
	err = same_meta(low, high) ? 0 : report(r, 'M', high);
	return err < 0 ? err : replaced_dir(r);
}

static int walk(struct review *r, const struct node *n, const struct mount *mount);

/* What one node says of its own place. */
static int visit(struct review *r, const struct node *n, const struct mount *mount)
{
	struct stat low, high;
	bool counts = mount->rule == R_COW || mount->rule == R_BIND;

	r->l.mount = (struct mount *)(uintptr_t)mount;
	if (counts && n->state == N_WHITEOUT)
		return look(r, V_LOWER, &low) == 0 ? report(r, 'D', &low) : 0;
	if (counts && n->state == N_UPPER) {
		int err = look(r, V_UPPER, &high);

		if (err < 0)
			return err == -ENOENT ? 0 : err;
		err = real_lower_has(r->v, &r->l, &low) ? replaced(r, &low, &high) : added(r, &high);
		if (err < 0)
			return err;
	} else if (counts && n->state == N_MERGED && n->meta && look(r, V_LOWER, &low) == 0 &&
	           look(r, V_UPPER, &high) == 0 && !same_meta(&low, &high)) {
		int err = report(r, 'M', &high);

		if (err < 0)
			return err;
	}
	return walk(r, n, mount);
}

static int walk(struct review *r, const struct node *n, const struct mount *mount)
{
	int err = 0;

	for (const struct node *c = n->children; c && err == 0; c = c->hh.next) {
		size_t was;

		err = down(r, c->name, &was);
		if (err == 0)
			err = visit(r, c, c->mount ? c->mount : mount);
		up(r, was);
	}
	return err;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct change *)a)->path, ((const struct change *)b)->path);
}

static int svc_changes(const struct bv_review *review, int (*each)(void *arg, const struct bv_change *change), void *arg)
{
	struct vfs *v = (struct vfs *)(uintptr_t)((const char *)review - offsetof(struct vfs, svc_review));
	bv_autofree struct review *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->v = v;
	r->l.fd = r->l.path_fd = -1;
	memcpy(r->l.path, "/", 2);
	r->l.len = 1;
	int err = visit(r, v->root, v->base);
	if (r->n)
		qsort(r->change, r->n, sizeof(r->change[0]), by_path);
	for (size_t i = 0; i < r->n; i++) {
		const struct change *c = &r->change[i];
		const struct bv_change out = {.kind = c->kind, .type = c->type, .path = c->path, .size = c->size};

		if (err == 0)
			err = each(arg, &out);
		free(c->path);
	}
	free(r->change);
	return err;
}

const struct bv_review review_service = {
	.head = BV_HEAD(SERVICE, struct bv_review),
	.changes = svc_changes,
};
