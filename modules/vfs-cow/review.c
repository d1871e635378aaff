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
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "fetch.h"
#include "names.h"
#include "review.h"
#include "same.h"
#include "who.h"

struct review {
	struct vfs *v;
	struct changes list;
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

static int report(struct review *r, char kind, uint32_t what, const struct stat *low, const struct stat *high)
{
	struct changes *list = &r->list;
	const struct stat *st = kind == 'D' ? low : high;

	if (list->n == list->cap) {
		size_t cap = list->cap ? list->cap * 2 : 64;
		struct bv_change *grown = realloc(list->at, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		list->at = grown;
		list->cap = cap;
	}
	char *path = strdup(r->l.path);
	if (!path)
		return -ENOMEM;
	struct bv_change *c = &list->at[list->n++];
	*c = (struct bv_change){.kind = kind, .type = type_of(st->st_mode), .path = path, .what = what};
	if (high) {
		c->size = S_ISREG(high->st_mode) ? (uint64_t)high->st_size : 0;
		c->mode = high->st_mode;
		c->uid = high->st_uid;
		c->gid = high->st_gid;
	}
	if (low) {
		c->old_size = S_ISREG(low->st_mode) ? (uint64_t)low->st_size : 0;
		c->old_mode = low->st_mode;
		c->old_uid = low->st_uid;
		c->old_gid = low->st_gid;
	}
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
	return names_read(real_open(r->v, &r->l, view, O_RDONLY | O_DIRECTORY, 0), out);
}

/* ---- equal? ---- */

static uint32_t meta_changes(const struct stat *a, const struct stat *b)
{
	/* An unprivileged supervisor's copies are its user's, without a guest having done it. */
	bool owner = geteuid() != 0 || (a->st_uid == b->st_uid && a->st_gid == b->st_gid);

	return (owner ? 0 : BV_CHANGED_OWNER) | ((a->st_mode & 07777) == (b->st_mode & 07777) ? 0 : BV_CHANGED_MODE);
}

/* A directory that merely had to be open to an unprivileged supervisor is not changed; nor is one that a guest
 * has closed again. */
static uint32_t dir_changes(struct review *r, const struct stat *low, const struct stat *high)
{
	struct stat mine = *low;
	bv_autofd int a = real_open(r->v, &r->l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
	bv_autofd int b = real_open(r->v, &r->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);

	if (geteuid() != 0 && mine.st_mode != high->st_mode)
		mine.st_mode |= 0700;
	return meta_changes(&mine, high) | (a >= 0 && b >= 0 && !same_xattrs(a, b) ? BV_CHANGED_XATTR : 0);
}

/* The place is of one type in both layers, and no directory: BV_CHANGED_*. */
static uint32_t object_changes(struct review *r, const struct stat *low, const struct stat *high)
{
	if (S_ISLNK(low->st_mode)) {
		bv_autofd int a = real_open(r->v, &r->l, V_LOWER, O_PATH | O_NOFOLLOW, 0);
		bv_autofd int b = real_open(r->v, &r->l, V_UPPER, O_PATH | O_NOFOLLOW, 0);

		return a >= 0 && b >= 0 && same_targets(a, b) ? 0 : BV_CHANGED_DATA;
	}
	uint32_t what = meta_changes(low, high);
	if (!S_ISREG(low->st_mode))
		return what;
	bv_autofd int a = real_open(r->v, &r->l, V_LOWER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	bv_autofd int b = real_open(r->v, &r->l, V_UPPER, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
	if (a < 0 || b < 0 || fetch_now(r->v, r->l.path, b) < 0)
		return what | BV_CHANGED_DATA;
	if (!same_xattrs(a, b))
		what |= BV_CHANGED_XATTR;
	if (low->st_size != high->st_size || !same_bytes(a, b))
		return what | BV_CHANGED_DATA;
	if (low->st_mtim.tv_sec != high->st_mtim.tv_sec || low->st_mtim.tv_nsec != high->st_mtim.tv_nsec)
		what |= BV_CHANGED_TIME;
	return what;
}

/* ---- walking ---- */

static int added(struct review *r, const struct stat *st)
{
	bv_autostrbuf struct strbuf names = {0};
	int err = report(r, 'A', 0, NULL, st);

	if (err < 0 || !S_ISDIR(st->st_mode))
		return err;
	mode_t closed = upper_open_up(r->v, &r->l);
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
	upper_close_again(r->v, &r->l, closed);
	return err;
}

static int replaced(struct review *r, const struct stat *low, const struct stat *high);

/* A directory of the upper that took the place of one of the lower: nothing shines through. */
static int replaced_dir(struct review *r)
{
	bv_autostrbuf struct strbuf names = {0}, old = {0};
	mode_t closed = upper_open_up(r->v, &r->l);
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
			err = report(r, 'D', 0, &low, NULL);
		up(r, was);
	}
	upper_close_again(r->v, &r->l, closed);
	return err;
}

static int replaced(struct review *r, const struct stat *low, const struct stat *high)
{
	int err;

	if ((low->st_mode & S_IFMT) != (high->st_mode & S_IFMT)) {
		err = report(r, 'T', 0, low, high);
		if (err < 0 || !S_ISDIR(high->st_mode))
			return err;
		/* Below a new directory all is new. */
		struct changes *list = &r->list;
		size_t before = list->n;
		err = added(r, high);
		if (err == 0) { /* its own line was given as 'T' */
			free((char *)(uintptr_t)list->at[before].path);
			memmove(&list->at[before], &list->at[before + 1], (list->n - before - 1) * sizeof(list->at[0]));
			list->n--;
		}
		return err;
	}
	uint32_t what = S_ISDIR(high->st_mode) ? dir_changes(r, low, high) : object_changes(r, low, high);
	err = what ? report(r, 'M', what, low, high) : 0;
	return err < 0 || !S_ISDIR(high->st_mode) ? err : replaced_dir(r);
}

static int walk(struct review *r, const struct node *n, const struct mount *mount);

/* What one node says of its own place. */
static int visit(struct review *r, const struct node *n, const struct mount *mount)
{
	struct stat low, high;
	bool counts = mount->rule == R_COW || mount->rule == R_BIND;

	r->l.mount = (struct mount *)(uintptr_t)mount;
	if (counts && n->state == N_WHITEOUT)
		return look(r, V_LOWER, &low) == 0 ? report(r, 'D', 0, &low, NULL) : 0;
	if (counts && n->state == N_UPPER) {
		int err = look(r, V_UPPER, &high);

		if (err < 0)
			return err == -ENOENT ? 0 : err;
		err = real_lower_has(r->v, &r->l, &low) ? replaced(r, &low, &high) : added(r, &high);
		if (err < 0)
			return err;
	} else if (counts && n->state == N_MERGED && n->meta && look(r, V_LOWER, &low) == 0 &&
	           look(r, V_UPPER, &high) == 0 && dir_changes(r, &low, &high)) {
		int err = report(r, 'M', dir_changes(r, &low, &high), &low, &high);

		if (err < 0)
			return err;
	}
	mode_t closed = counts && n->state == N_MERGED ? upper_open_up(r->v, &r->l) : 0;
	int err = walk(r, n, mount);
	upper_close_again(r->v, &r->l, closed);
	return err;
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
	return strcmp(((const struct bv_change *)a)->path, ((const struct bv_change *)b)->path);
}

int changes_collect(struct vfs *v, struct changes *out)
{
	bv_autofree struct review *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->v = v;
	r->l.fd = r->l.path_fd = -1;
	memcpy(r->l.path, "/", 2);
	r->l.len = 1;
	int err = visit(r, v->root, v->base);
	if (err < 0) {
		changes_free(&r->list);
		return err;
	}
	if (r->list.n)
		qsort(r->list.at, r->list.n, sizeof(r->list.at[0]), by_path);
	*out = r->list;
	return 0;
}

void changes_free(struct changes *c)
{
	for (size_t i = 0; i < c->n; i++)
		free((char *)(uintptr_t)c->at[i].path);
	free(c->at);
	*c = (struct changes){0};
}

/* The first change whose path is not before this one. */
static size_t not_before(const struct changes *c, const char *path)
{
	size_t from = 0, to = c->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (strcmp(c->at[mid].path, path) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

size_t changes_below(const struct changes *c, const char *path, size_t *end)
{
	char below[PATH_MAX + 1];
	size_t len = strlen(path);

	*end = c->n;
	if (len == 1)
		return c->n && !c->at[0].path[1] ? 1 : 0;
	/* "p-x" stands between "p" and "p/x". */
	memcpy(below, path, len + 1);
	strcpy(below + len, "/");
	size_t first = not_before(c, below);
	below[len]++;
	*end = not_before(c, below);
	return first;
}

const struct bv_change *changes_find(const struct changes *c, const char *path)
{
	size_t i = not_before(c, path);

	return i < c->n && strcmp(c->at[i].path, path) == 0 ? &c->at[i] : NULL;
}

bool changes_touch(const struct changes *c, const char *path)
{
	size_t i, end;

	if (changes_find(c, path))
		return true;
	i = changes_below(c, path, &end);
	return i < end;
}

static struct vfs *vfs_of(const struct bv_review *review)
{
	return (struct vfs *)(uintptr_t)((const char *)review - offsetof(struct vfs, svc_review));
}

static int svc_changes(const struct bv_review *review, int (*each)(void *arg, const struct bv_change *change), void *arg)
{
	struct changes c = {0};
	int err = changes_collect(vfs_of(review), &c);

	for (size_t i = 0; i < c.n && err == 0; i++)
		err = each(arg, &c.at[i]);
	changes_free(&c);
	return err;
}

void place_at(struct vfs *v, const char *path, struct loc *l)
{
	struct spot s;

	spot_at(v, path, &s);
	l->len = strlen(path);
	memcpy(l->path, path, l->len + 1);
	l->mount = s.mount;
	l->node = s.node;
	l->fd = l->path_fd = -1;
}

static int svc_open(const struct bv_review *review, const char *path, enum bv_side side)
{
	struct vfs *v = vfs_of(review);
	bv_autofree struct loc *l = calloc(1, sizeof(*l));

	if (!l || path[0] != '/' || strlen(path) >= PATH_MAX)
		return l ? -EINVAL : -ENOMEM;
	place_at(v, path, l);
	int fd = real_open(v, l, side == BV_NEW ? V_UPPER : V_LOWER,
	                   O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0);
	int r = fd >= 0 && side == BV_NEW ? fetch_now(v, path, fd) : fd;
	if (r < 0 && fd >= 0)
		close(fd);
	return r < 0 ? r : fd;
}

static ssize_t svc_link(const struct bv_review *review, const char *path, enum bv_side side, char *out, size_t size)
{
	struct vfs *v = vfs_of(review);
	bv_autofree struct loc *l = calloc(1, sizeof(*l));

	if (!l || path[0] != '/' || strlen(path) >= PATH_MAX || !size)
		return l ? -EINVAL : -ENOMEM;
	place_at(v, path, l);
	bv_autofd int fd = real_open(v, l, side == BV_NEW ? V_UPPER : V_LOWER, O_PATH | O_NOFOLLOW, 0);
	if (fd < 0)
		return fd;
	ssize_t n = readlinkat(fd, "", out, size);
	if (n < 0 || (size_t)n >= size)
		return n < 0 ? -errno : -ENAMETOOLONG;
	out[n] = '\0';
	return n;
}

static int svc_commit(const struct bv_review *review, const struct bv_selection *what)
{
	return commit_changes(vfs_of(review), what);
}

static int svc_rollback(const struct bv_review *review, const struct bv_selection *what)
{
	return rollback_changes(vfs_of(review), what);
}

static int svc_who(const struct bv_review *review, const char *path, struct bv_who *out)
{
	const struct vfs *v = vfs_of(review);
	struct who who;

	if (!v->who || !whos_find(v->who, path, &who))
		return 0;
	*out = (struct bv_who){.time = who.time, .command = who.command};
	return 1;
}

static int svc_note(const struct bv_review *review, const char *records, size_t len)
{
	return noted_take(vfs_of(review), records, len);
}

static int svc_undo(const struct bv_review *review, const char *records, size_t len)
{
	return undo_take(vfs_of(review), records, len);
}

const struct bv_review review_service = {
	.head = BV_HEAD(SERVICE, struct bv_review),
	.changes = svc_changes,
	.open = svc_open,
	.link = svc_link,
	.commit = svc_commit,
	.rollback = svc_rollback,
	.who = svc_who,
	.note = svc_note,
	.undo = svc_undo,
};
