/* SPDX-License-Identifier: Apache-2.0 */
#include "merge.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "names.h"
#include "same.h"
#include "scrub.h"
#include "vfs.h"
#include "whiteout.h"

/* What a layer says of one place. */
struct side {
	int root;
	bool covered; /* a whiteout of its name is there */
	bool there;
	struct stat st;
};

static bool is_dir(const struct side *s)
{
	return s->there && S_ISDIR(s->st.st_mode);
}

/* The parent directory of path in a tree: descriptor, -errno; *name is the last component. */
static int parent(int root, const char *path, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	*name = slash ? slash + 1 : path;
	memcpy(dir, path, len);
	dir[len] = '\0';
	return root < 0 ? -ENOENT : treecopy_open(root, dir, O_PATH | O_DIRECTORY);
}

static int look(int root, const char *path, struct side *out)
{
	const char *name;
	bv_autofd int dir = parent(root, path, &name);

	*out = (struct side){.root = root};
	if (dir < 0)
		return dir == -ENOENT || dir == -ENOTDIR ? 0 : dir;
	out->there = fstatat(dir, name, &out->st, AT_SYMLINK_NOFOLLOW) == 0;
	if (!out->there && errno != ENOENT)
		return -errno;
	out->covered = whiteout_there(dir, name);
	return 0;
}

/* The names a directory of a layer speaks of: its entries, and those its whiteouts hide. */
static int names_of(int root, const char *path, struct strbuf *out)
{
	bv_autostrbuf struct strbuf raw = {0};
	bv_autofd int dir = root < 0 ? -ENOENT : treecopy_open(root, path, O_RDONLY | O_DIRECTORY);
	int r;

	if (dir < 0)
		return dir == -ENOENT || dir == -ENOTDIR ? 0 : dir;
	r = names_read(fcntl(dir, F_DUPFD_CLOEXEC, 3), &raw);
	for (const char *file = names_first(&raw); file && r == 0; file = names_next(&raw, file)) {
		char name[NAME_MAX + 1];

		enum whiteout_kind kind = whiteout_read(dir, file, name);

		if (kind == WHITEOUT_TEMP)
			continue;
		/* Below a directory of the layer's own any name may stand. */
		const char *of = kind == WHITEOUT_OF && whiteout_looks_real(dir, file) ? name : file;
		strbuf_add(out, of, strlen(of) + 1);
	}
	return r;
}

/* ---- the same? ---- */

static int same_tree(const struct side *a, const struct side *b, const char *path);

static int same_dir(int a, int b, const char *path)
{
	bv_autostrbuf struct strbuf names = {0};
	char child[PATH_MAX];
	mode_t closed[2] = {treecopy_open_up(a, path), treecopy_open_up(b, path)};
	int r = names_of(a, path, &names);

	if (r == 0)
		r = names_of(b, path, &names);
	if (r == 0)
		r = names_sort(&names);
	r = r < 0 ? r : 1;
	for (const char *name = names_first(&names); name && r == 1;
	     name = names_next(&names, name)) {
		struct side x, y;

		r = treecopy_join(child, sizeof(child), path, name);
		if (r == 0)
			r = look(a, child, &x);
		if (r == 0)
			r = look(b, child, &y);
		if (r == 0)
			r = same_tree(&x, &y, child);
	}
	treecopy_close_again(a, path, closed[0]);
	treecopy_close_again(b, path, closed[1]);
	return r;
}

static bool same_meta(const struct stat *a, const struct stat *b)
{
	return a->st_mode == b->st_mode && a->st_uid == b->st_uid && a->st_gid == b->st_gid;
}

/* 1, 0 or -errno.  Of a file it does not matter whether the whiteout it replaces is still there. */
static int same_tree(const struct side *a, const struct side *b, const char *path)
{
	if (a->there != b->there || (!a->there && a->covered != b->covered))
		return 0;
	if (!a->there)
		return 1;
	if (!same_meta(&a->st, &b->st) || (S_ISDIR(a->st.st_mode) && a->covered != b->covered) ||
	    (S_ISREG(a->st.st_mode) && a->st.st_size != b->st.st_size) ||
	    a->st.st_rdev != b->st.st_rdev)
		return 0;
	if (S_ISDIR(a->st.st_mode))
		return same_dir(a->root, b->root, path);
	if (!S_ISREG(a->st.st_mode) && !S_ISLNK(a->st.st_mode))
		return 1;
	int flags = S_ISREG(a->st.st_mode) ? O_RDONLY | O_NONBLOCK | O_NOCTTY : O_PATH;
	bv_autofd int x = treecopy_open(a->root, path, flags),
		      y = treecopy_open(b->root, path, flags);
	if (x < 0 || y < 0)
		return x < 0 ? x : y;
	if (S_ISLNK(a->st.st_mode))
		return same_targets(x, y);
	return same_bytes(x, y) && same_xattrs(x, y);
}

/* ---- taking theirs ---- */

static int remove_ours(int dir, const char *name, const struct side *ours)
{
	whiteout_drop(dir, name);
	if (is_dir(ours)) {
		bv_autofd int fd =
			openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		int r = fd < 0 ? -errno : scrub(fd, NULL);

		if (r < 0)
			return r;
	}
	return ours->there && unlinkat(dir, name, is_dir(ours) ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;
}

static int note_taken(struct merge *m, const char *path)
{
	strbuf_puts(&m->taken, "/");
	strbuf_add(&m->taken, path, strlen(path) + 1);
	return m->taken.failed ? -ENOMEM : 0;
}

static int take(struct merge *m, struct treecopy *copy, const char *path, const struct side *ours,
                const struct side *theirs)
{
	const char *name;
	bv_autofd int dir = parent(m->ours, path, &name);
	int r = dir < 0 ? dir : remove_ours(dir, name, ours);

	if (r == 0 && theirs->covered)
		r = whiteout_make(dir, name);
	if (r == 0 && theirs->there)
		r = treecopy_entry(copy, path);
	return r < 0 ? r : note_taken(m, path);
}

/* ---- the walk ---- */

static const char *in_words(const struct side *s)
{
	if (!s->there)
		return s->covered ? "deleted" : "not changed";
	if (S_ISDIR(s->st.st_mode))
		return s->covered ? "a new directory" : "a directory";
	return S_ISREG(s->st.st_mode)   ? "a file"
	       : S_ISLNK(s->st.st_mode) ? "a symlink"
	                                : "a special file";
}

/* They differ, and from the base too. */
static int conflict(struct merge *m, struct treecopy *copy, const char *path,
                    const struct side *ours, const struct side *theirs)
{
	char full[PATH_MAX + 1];

	if (m->prefer == MERGE_OURS)
		return 0;
	if (m->prefer == MERGE_THEIRS)
		return take(m, copy, path, ours, theirs);
	snprintf(full, sizeof(full), "/%s", path);
	m->conflicts++;
	if (m->conflict)
		m->conflict(m->arg, full, in_words(ours), in_words(theirs));
	return 0;
}

static int merge_dir(struct merge *m, struct treecopy *copy, const char *path, int base);

/* A directory on both sides: its own mode and owner. */
static int merge_meta(struct merge *m, const char *path, const struct side *ours,
                      const struct side *theirs, const struct side *base)
{
	char full[PATH_MAX + 1];

	if (same_meta(&ours->st, &theirs->st) || m->prefer == MERGE_OURS ||
	    (is_dir(base) && same_meta(&theirs->st, &base->st)))
		return 0;
	if ((is_dir(base) && same_meta(&ours->st, &base->st)) || m->prefer == MERGE_THEIRS) {
		bv_autofd int to = treecopy_open(m->ours, path, O_RDONLY | O_DIRECTORY);
		bv_autofd int from = treecopy_open(m->theirs, path, O_RDONLY | O_DIRECTORY);

		if (to < 0 || from < 0)
			return to < 0 ? to : from;
		upper_copy_meta(from, to, &theirs->st);
		return 0;
	}
	snprintf(full, sizeof(full), "/%s", path);
	m->conflicts++;
	if (m->conflict)
		m->conflict(m->arg, full, "a directory", "a directory of other mode or owner");
	return 0;
}

static int merge_entry(struct merge *m, struct treecopy *copy, const char *path, int base_root)
{
	struct side ours, theirs, base;
	int r = look(m->ours, path, &ours);

	if (r == 0)
		r = look(m->theirs, path, &theirs);
	if (r == 0)
		r = look(base_root, path, &base);
	if (r < 0)
		return r;
	if (is_dir(&ours) && is_dir(&theirs) && ours.covered == theirs.covered) {
		bool based = is_dir(&base) && base.covered == ours.covered;

		r = merge_dir(m, copy, path, based ? base_root : -1);
		return r < 0 ? r : merge_meta(m, path, &ours, &theirs, &base);
	}
	r = same_tree(&ours, &theirs, path);
	if (r == 0 && (r = same_tree(&theirs, &base, path)) == 0) {
		r = same_tree(&ours, &base, path);
		if (r == 1)
			r = take(m, copy, path, &ours, &theirs);
		else if (r == 0)
			r = conflict(m, copy, path, &ours, &theirs);
	}
	return r < 0 ? r : 0;
}

static int merge_dir(struct merge *m, struct treecopy *copy, const char *path, int base)
{
	bv_autostrbuf struct strbuf names = {0};
	char child[PATH_MAX];
	const int root[] = {m->ours, m->theirs, base};
	mode_t closed[BV_ROWS_OF(root)];

	for (size_t i = 0; i < BV_ROWS_OF(root); i++)
		closed[i] = root[i] < 0 ? 0 : treecopy_open_up(root[i], path);
	int r = names_of(m->theirs, path, &names);
	/* What only ours speaks of stays as it is; what theirs gave up shows in the base. */
	if (r == 0)
		r = names_of(base, path, &names);
	if (r == 0)
		r = names_sort(&names);
	for (const char *name = names_first(&names); name && r == 0;
	     name = names_next(&names, name)) {
		r = treecopy_join(child, sizeof(child), path, name);
		if (r == 0)
			r = merge_entry(m, copy, child, base);
	}
	for (size_t i = 0; i < BV_ROWS_OF(root); i++)
		treecopy_close_again(root[i], path, closed[i]);
	return r;
}

int merge_run(struct merge *m)
{
	struct treecopy copy = {.from = m->theirs, .to = m->ours};
	int r = merge_dir(m, &copy, "", m->base);

	treecopy_fini(&copy);
	return r;
}
