/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every step is one rename or one manifest, in such an order that share_end(), the next time the
 * layer is used, can tell from what is where how far an interrupted one had come:
 *
 *   own upper, none in the tree      it was being shared, or given back: what is in the tree comes home
 *   own upper, one in the tree       it was copied, and the manifest was not yet told
 *   none of its own                  it is shared
 */
#include "store_share.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>

#include "names.h"
#include "scrub.h"

#define TREES "../trees"

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static bool has(int dir, const char *name)
{
	return faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int share_lock(struct store_why *t, int base)
{
	if (mkdirat(base, TREES, 0711) < 0 && errno != EEXIST)
		return store_fail(t, errno, "the shared trees");
	bv_autofd int fd = open_dir(base, TREES);
	if (fd < 0)
		return store_fail(t, -fd, "the shared trees");
	return flock(fd, LOCK_EX) < 0 ? store_fail(t, errno, "the shared trees") : bv_take_fd(&fd);
}

/* The shared tree of that name. */
static int tree_open(int base, const char *id)
{
	bv_autofd int trees = open_dir(base, TREES);

	return trees < 0 ? trees : open_dir(trees, id);
}

int state_part(int base, int dir, const char *part)
{
	char why[600];
	bv_autofree struct manifest *m = malloc(sizeof(*m));
	int fd = open_dir(dir, part);

	if (fd != -ENOENT)
		return fd;
	int r = m ? manifest_load(dir, m, why, sizeof(why)) : -ENOMEM;
	if (r < 0 || !m->tree[0])
		return r < 0 ? r : -ENOENT;
	bv_autofd int tree = tree_open(base, m->tree);
	return tree < 0 ? tree : open_dir(tree, part);
}

/* Brings home what an interrupted step left in the tree, of which upper is not a part. */
static int come_home(int dir, int tree)
{
	if (tree >= 0 && has(tree, "meta") && !has(dir, "meta") && renameat(tree, "meta", dir, "meta") < 0)
		return -errno;
	return 0;
}

static int tell(const struct store_why *t, int dir, struct manifest *m, const char *id)
{
	snprintf(m->tree, sizeof(m->tree), "%s", id);
	return manifest_save(dir, m, !t->fleeting);
}

/* Finishes what was interrupted.  Afterwards the state has all of its own (1) or nothing (0); -errno. */
static int settle(const struct store_why *t, int base, int dir, struct manifest *m)
{
	if (!m->tree[0])
		return 1;
	bv_autofd int tree = tree_open(base, m->tree);
	int r = 0;

	if (tree < 0 && tree != -ENOENT)
		return tree;
	if (!has(dir, "upper")) {
		/* Being given back, its meta went first. */
		if (tree < 0)
			return -ENOENT;
		if (has(tree, "meta") || !has(dir, "meta"))
			return 0;
		r = renameat(tree, "upper", dir, "upper") < 0 ? -errno : 0;
	} else if (tree < 0 || !has(tree, "upper")) {
		r = come_home(dir, tree);
	}
	if (r == 0)
		r = tell(t, dir, m, "");
	return r < 0 ? r : 1;
}

static int make_tree(int trees, char id[TREE_ID])
{
	uint64_t n;

	if (getrandom(&n, sizeof(n), 0) != (ssize_t)sizeof(n))
		return -EIO;
	snprintf(id, TREE_ID, "%016llx", (unsigned long long)n);
	/* As open to guests of other users as a sandbox's own directory is. */
	if (mkdirat(trees, id, geteuid() == 0 ? 0711 : 0700) < 0)
		return -errno;
	return open_dir(trees, id);
}

int share_state(struct store_why *t, int base, int dir, struct manifest *m)
{
	char id[TREE_ID];
	int r = settle(t, base, dir, m);

	if (r < 0)
		return store_fail(t, -r, "the layer's shared tree");
	if (r == 0)
		return 0; /* it does already */
	bv_autofd int trees = open_dir(base, TREES);
	bv_autofd int tree = trees < 0 ? trees : make_tree(trees, id);
	if (tree < 0)
		return store_fail(t, -tree, "a shared tree");
	r = tell(t, dir, m, id);
	if (r == 0 && (renameat(dir, "meta", tree, "meta") < 0 || renameat(dir, "upper", tree, "upper") < 0))
		r = -errno;
	if (r == 0 && !t->fleeting && (fsync(tree) < 0 || fsync(trees) < 0 || fsync(dir) < 0))
		r = -errno;
	return r < 0 ? store_fail(t, -r, "a shared tree") : 0;
}

/* ---- who shares what ---- */

struct refs {
	const char *id; /* NULL: all of them are gathered */
	unsigned n;
	struct strbuf ids;
};

static void look(struct refs *r, int dir)
{
	char why[600];
	bv_autofree struct manifest *m = malloc(sizeof(*m));

	if (!m || manifest_load(dir, m, why, sizeof(why)) < 0 || !m->tree[0])
		return;
	if (r->id)
		r->n += strcmp(r->id, m->tree) == 0;
	else
		strbuf_add(&r->ids, m->tree, strlen(m->tree) + 1);
}

/* Every state below dir. */
static int each(struct refs *r, int dir, bool snapshots)
{
	bv_autostrbuf struct strbuf names = {0};
	int got = names_read(fcntl(dir, F_DUPFD_CLOEXEC, 3), &names);

	for (const char *name = names_first(&names); name && got == 0; name = names_next(&names, name)) {
		bv_autofd int state = open_dir(dir, name);
		bv_autofd int held = state < 0 || snapshots ? -1 : open_dir(state, SNAPSHOTS);

		if (state >= 0)
			look(r, state);
		if (held >= 0)
			got = each(r, held, true);
	}
	return got;
}

void share_collect(int base)
{
	struct refs r = {0};
	bv_autostrbuf struct strbuf names = {0};
	bv_autofd int trees = open_dir(base, TREES);

	/* Not knowing all of them, none is removed. */
	int got = trees < 0 ? trees : each(&r, base, false);
	if (got == 0)
		got = names_read(fcntl(trees, F_DUPFD_CLOEXEC, 3), &names);
	for (const char *id = names_first(&names); id && got == 0 && !r.ids.failed; id = names_next(&names, id)) {
		bool used = false;

		for (const char *s = names_first(&r.ids); s && !used; s = names_next(&r.ids, s))
			used = strcmp(s, id) == 0;
		bv_autofd int tree = used ? -1 : open_dir(trees, id);
		if (tree >= 0 && scrub(tree, NULL) == 0)
			(void)unlinkat(trees, id, AT_REMOVEDIR);
	}
	strbuf_fini(&r.ids);
}

/* ---- back to a tree of its own ---- */

static void discard(int dir, const char *name)
{
	bv_autofd int fd = open_dir(dir, name);

	if (fd >= 0 && scrub(fd, NULL) == 0)
		(void)unlinkat(dir, name, AT_REMOVEDIR);
}

static int copy_tree(const struct store_why *t, int tree, int dir)
{
	static const char *const part[] = {"meta", "upper"}; /* upper last: with it the layer is whole */
	static const char *const temp[] = {"meta.new", "upper.new"};
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(part) && r == 0; i++) {
		discard(dir, temp[i]);
		bv_autofd int from = open_dir(tree, part[i]);

		r = from < 0 ? from : layer_copy(from, dir, temp[i]);
	}
	if (r == 0 && !t->fleeting && syncfs(dir) < 0)
		r = -errno;
	/* One that was interrupted between the two left its meta. */
	if (r == 0 && has(dir, "meta"))
		discard(dir, "meta");
	for (size_t i = 0; i < BV_ROWS_OF(part) && r == 0; i++)
		if (renameat(dir, temp[i], dir, part[i]) < 0)
			r = -errno;
	return r;
}

static int take_back(const struct store_why *t, int base, int dir, int tree, struct manifest *m)
{
	char id[TREE_ID];

	snprintf(id, sizeof(id), "%s", m->tree);
	if (renameat(tree, "meta", dir, "meta") < 0 || renameat(tree, "upper", dir, "upper") < 0)
		return -errno;
	int r = tell(t, dir, m, "");
	bv_autofd int trees = open_dir(base, TREES);
	if (trees >= 0)
		(void)unlinkat(trees, id, AT_REMOVEDIR);
	return r;
}

int share_end(struct store_why *t, int base, int dir, struct manifest *m, int *lock)
{
	int r = settle(t, base, dir, m);

	if (r == 1)
		return 0;
	struct refs refs = {.id = m->tree};
	bv_autofd int tree = r < 0 ? r : tree_open(base, m->tree);
	if (r == 0)
		r = tree < 0 ? tree : each(&refs, base, false);
	if (r == 0 && refs.n < 2) {
		r = take_back(t, base, dir, tree, m);
	} else if (r == 0) {
		/* Ours is the layer, and its manifest names the tree: nobody takes either away meanwhile. */
		close(bv_take_fd(lock));
		r = copy_tree(t, tree, dir);
		if (r == 0)
			r = tell(t, dir, m, "");
	}
	return r < 0 ? store_fail(t, -r, "the layer's shared tree") : 0;
}
