/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A directory moves in one step only when no part of it is the host's.  A small one is therefore
 * copied up as a whole before; for a big one rename(2) says EXDEV, as across file systems, and
 * mv(1) and its like copy it themselves.
 */
#include "flatten.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "listing.h"
#include "watch.h"

#define MAX_ENTRIES 600
#define MAX_BYTES (8 << 20)
#define MAX_DEPTH 32

struct budget {
	unsigned entries;
	uint64_t bytes;
	unsigned depth;
	bool dry; /* only counts */
};

static int flatten_dir(struct vfs *v, struct bv_call *call, struct loc *l, struct budget *b);

static int spend(struct budget *b, const struct stat *st)
{
	uint64_t bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_blocks * 512 : 0;

	if (!b->dry)
		return 0;
	if (++b->entries > MAX_ENTRIES || (b->bytes += bytes) > MAX_BYTES)
		return -EXDEV;
	return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode) ? -EXDEV : 0;
}

static int flatten_one(struct vfs *v, struct bv_call *call, const char *path, struct budget *b)
{
	bv_autofree struct loc *l = malloc(sizeof(*l));

	if (!l)
		return -ENOMEM;
	int r = vfs_walk(v, call, AT_FDCWD, path, W_NOFOLLOW | W_PROBE, l);
	if (r < 0)
		return r;
	r = spend(b, &l->st);
	if (r == 0 && (l->view == V_LOWER || l->view == V_MERGED)) {
		if (S_ISDIR(l->st.st_mode))
			r = flatten_dir(v, call, l, b);
		else if (!b->dry)
			r = copyup(v, call, l, 0) ? -EXDEV : 0;
	} else if (r == 0 && l->view != V_UPPER) {
		r = -EXDEV;
	}
	loc_fini(l);
	return r;
}

/* The names are copied, since a listing lives only until the next one is asked for. */
static int flatten_entries(struct vfs *v, struct bv_call *call, struct loc *l, struct budget *b)
{
	struct listing *s;
	bv_autofree char *path = malloc(PATH_MAX), *names = NULL;
	int r = listing_get(v, call, l, &s);

	if (r < 0 || !path)
		return r < 0 ? r : -ENOMEM;
	size_t n = s->n, size = 0;
	for (size_t i = 0; i < n; i++)
		size += s->item[i].len + 1u;
	names = malloc(size ? size : 1);
	if (!names)
		return -ENOMEM;
	char *to = names;
	for (size_t i = 0; i < n; i++) {
		memcpy(to, s->names.data + s->item[i].name, s->item[i].len);
		to[s->item[i].len] = '\0';
		to += s->item[i].len + 1u;
	}
	const char *name = names;
	for (size_t i = 0; i < n && r == 0; i++, name += strlen(name) + 1) {
		if ((size_t)snprintf(path, PATH_MAX, "%s/%s", l->path, name) >= PATH_MAX)
			return -ENAMETOOLONG;
		r = flatten_one(v, call, path, b);
	}
	return r;
}

/* Everything is in the upper now: whiteouts and nodes below have no meaning any more. */
static int close_up(struct vfs *v, struct loc *l, const struct stat *st)
{
	static const char whiteout[] = ".wh.";
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	const struct dirent *e;
	struct node *child, *next;
	int fd = real_open(v, l, V_UPPER, O_RDONLY | O_DIRECTORY, 0);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int r = fd < 0 ? fd : -errno;

		if (fd >= 0)
			close(fd);
		return r;
	}
	int r = upper_created(v, l, true);
	if (r == 0)
		r = moved_copied(v, l->path);
	if (r == 0 && l->node)
		HASH_ITER(hh, l->node->children, child, next)
			tree_drop(child);
	while (r == 0 && (e = readdir(d)))
		if (strncmp(e->d_name, whiteout, sizeof(whiteout) - 1) == 0)
			(void)unlinkat(fd, e->d_name, 0);
	if (r == 0) {
		(void)fchmod(fd, st->st_mode & 07777);
		(void)futimens(fd, times);
	}
	closedir(d);
	return r;
}

static int flatten_dir(struct vfs *v, struct bv_call *call, struct loc *l, struct budget *b)
{
	struct stat st;
	int r = loc_stat(v, call, l, &st);

	if (++b->depth > MAX_DEPTH)
		r = -EXDEV;
	if (r == 0 && !b->dry)
		r = upper_dir(v, l);
	if (r == 0)
		r = flatten_entries(v, call, l, b);
	if (r == 0 && !b->dry)
		r = close_up(v, l, &st);
	b->depth--;
	return r;
}

int flatten(struct vfs *v, struct bv_call *call, struct loc *l)
{
	struct budget b = {.dry = true};

	/* What the walk finds and copies is the tree's business, whatever the guest itself may read. */
	v->host->as_creds(NULL);
	watch_quiet(v);
	int r = flatten_dir(v, call, l, &b);
	if (r == 0) {
		b = (struct budget){.dry = false};
		r = flatten_dir(v, call, l, &b);
	}
	watch_heard(v, l->path, IN_ATTRIB | IN_CLOSE_WRITE);
	if (r < 0)
		return r == -ENOMEM || r == -ENOSPC || r == -EDQUOT ? r : -EXDEV;
	/* The descriptor the walk left is of the lower. */
	loc_let_go(l);
	return 0;
}
