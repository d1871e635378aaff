/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzes the merging of directories against a model.  Each byte is an operation on one of 32 names:
 * the host makes or removes it, a guest makes, removes or copies it up, or the directory is read on
 * from where a reader stands.  A reader that comes to the end has met every name that was there all
 * the time once, and no name twice that was there once (readdir(3)).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listing.h"
#include "whiteout.h"

#define NAMES 32

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The neighbours, which this tree never needs. */
int synth_lookup(struct vfs *v, struct bv_call *call, struct mount *m, const char *rel, struct bv_vfs_node **out)
{
	return -ENOENT;
}
int synth_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st)
{
	return -ENOENT;
}
ssize_t exec_shown(struct vfs *v, const char *real, char out[PATH_MAX])
{
	return -ENOENT;
}

static struct {
	char top[40];
	struct vfs v;
	struct loc l;
	int low, up;
	struct node *dir;
	char name[NAMES][NAME_MAX + 1];
} w;

struct model {
	bool low[NAMES];
	enum { CLEAN, UPPER, GONE } state[NAMES];
	/* A reader: */
	uint64_t at;
	unsigned seen[NAMES];
	bool always[NAMES], ever[NAMES]; /* visible since the reader began; or at any time */
};

static void must(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	abort();
}

static void leave(void)
{
	char path[128];
	const size_t top = strlen(w.top);

	snprintf(path, sizeof(path), "%s/u%s/h", w.top, w.top);
	while (strlen(path) > top) {
		(void)rmdir(path);
		*strrchr(path, '/') = '\0';
	}
	snprintf(path, sizeof(path), "%s/h", w.top);
	(void)rmdir(path);
	(void)rmdir(w.top);
}

static int dir_at(const char *tail)
{
	char path[128];

	snprintf(path, sizeof(path), "%s%s", w.top, tail);
	must(mkdir(path, 0755) == 0, path);
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void build(void)
{
	char path[128];

	/* In memory if it can be: ext4 takes its time over inodes that were freed just now. */
	strcpy(w.top, access("/dev/shm", W_OK) == 0 ? "/dev/shm/bv-dirents-XXXXXX" : "/tmp/bv-dirents-XXXXXX");
	must(mkdtemp(w.top), "mkdtemp");
	atexit(leave);
	w.low = dir_at("/h");
	w.v.root = tree_add(NULL, "", 0);
	w.v.base = mount_add(&w.v, R_COW, "/", "/");
	w.v.upper.root_fd = dir_at("/u");
	snprintf(w.v.upper.root, sizeof(w.v.upper.root), "%s/u", w.top);
	w.v.upper_len = strlen(w.v.upper.root);
	for (char *slash = w.top; slash; slash = strchr(slash + 1, '/')) {
		size_t len = slash == w.top ? 0 : (size_t)(slash - w.top);

		if (len) {
			snprintf(path, sizeof(path), "/u%.*s", (int)len, w.top);
			close(dir_at(path));
		}
	}
	snprintf(path, sizeof(path), "/u%s", w.top);
	close(dir_at(path));
	snprintf(path, sizeof(path), "/u%s/h", w.top);
	w.up = dir_at(path);
	w.l = (struct loc){.view = V_MERGED, .mount = w.v.base, .path_fd = -1, .fd = w.low, .probed = true};
	w.l.len = (size_t)snprintf(w.l.path, sizeof(w.l.path), "%s/h", w.top);
	w.dir = tree_make(w.v.root, w.l.path);
	must(w.dir, "tree_make");
	for (struct node *n = w.dir; n; n = n->parent)
		n->state = N_MERGED;
	w.l.node = w.dir;
	/* Short ones, one with room for no prefix, one that only looks like a whiteout. */
	for (int i = 0; i < NAMES; i++)
		snprintf(w.name[i], sizeof(w.name[i]), "%c%d", "nq"[i & 1], i);
	memset(w.name[3], 'x', 253);
	strcpy(w.name[5], ".whx");
	strcpy(w.name[7], "\xff\n");
}

static void file(int dir, const char *name, bool there)
{
	if (!there) {
		must(unlinkat(dir, name, 0) == 0, "unlinkat");
		return;
	}
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	must(fd >= 0, name);
	close(fd);
}

static bool visible(const struct model *m, int i)
{
	return m->state[i] == UPPER || (m->state[i] == CLEAN && m->low[i]);
}

static void note(struct model *m, int i)
{
	bool now = visible(m, i);

	m->always[i] &= now;
	m->ever[i] |= now;
	w.dir->gen++;
}

static void host(struct model *m, int i)
{
	m->low[i] = !m->low[i];
	file(w.low, w.name[i], m->low[i]);
	note(m, i);
}

static struct node *node_of(int i)
{
	struct node *n = tree_add(w.dir, w.name[i], strlen(w.name[i]));

	must(n, "tree_add");
	return n;
}

/* As upper_created() and upper_removed() would. */
static void guest(struct model *m, int i, bool copyup)
{
	bool shown = visible(m, i);

	if (copyup ? m->state[i] == CLEAN && m->low[i] : !shown) {
		file(w.up, w.name[i], true);
		whiteout_drop(w.up, w.name[i]);
		node_of(i)->state = N_UPPER;
		m->state[i] = UPPER;
	} else if (shown && !copyup) {
		if (m->low[i])
			must(whiteout_make(w.up, w.name[i]) == 0, "whiteout_make");
		if (m->state[i] == UPPER)
			file(w.up, w.name[i], false);
		tree_drop(tree_child(w.dir, w.name[i], strlen(w.name[i])));
		m->state[i] = m->low[i] ? GONE : CLEAN;
		if (m->low[i])
			node_of(i)->state = N_WHITEOUT;
	}
	note(m, i);
}

static void reader_begin(struct model *m)
{
	m->at = 0;
	memset(m->seen, 0, sizeof(m->seen));
	for (int i = 0; i < NAMES; i++)
		m->always[i] = m->ever[i] = visible(m, i);
}

static void reader_end(struct model *m)
{
	for (int i = 0; i < NAMES; i++)
		if ((m->always[i] && m->seen[i] != 1) || (!m->ever[i] && m->seen[i]))
			abort();
	reader_begin(m);
}

static int index_of(const char *name, size_t len)
{
	for (int i = 0; i < NAMES; i++)
		if (strlen(w.name[i]) == len && memcmp(w.name[i], name, len) == 0)
			return i;
	abort();
}

/* Lists all, which must be what the model has; the reader goes on by n entries. */
static void list(struct model *m, unsigned n)
{
	struct listing *s;
	bool here[NAMES] = {false};

	must(fstat(w.low, &w.l.st) == 0, "fstat");
	must(listing_get(&w.v, NULL, &w.l, &s) == 0, "listing_get");
	for (size_t k = 0; k < s->n; k++) {
		int i = index_of(s->names.data + s->item[k].name, s->item[k].len);

		if (here[i] || !visible(m, i) || s->item[k].cookie < COOKIE_FIRST || (k && s->item[k].cookie <= s->item[k - 1].cookie))
			abort();
		here[i] = true;
	}
	for (int i = 0; i < NAMES; i++)
		if (visible(m, i) != here[i])
			abort();
	for (size_t k = 0; k < s->n && n > 0; k++) {
		if (s->item[k].cookie <= m->at)
			continue;
		int i = index_of(s->names.data + s->item[k].name, s->item[k].len);

		/* Twice only what went away and came again in between. */
		if (m->seen[i]++ && m->always[i])
			abort();
		m->at = s->item[k].cookie;
		n--;
	}
	if (n > 0)
		reader_end(m);
}

static void restore(struct model *m)
{
	for (int i = 0; i < NAMES; i++) {
		if (m->low[i])
			file(w.low, w.name[i], false);
		if (m->state[i] == UPPER)
			file(w.up, w.name[i], false);
		whiteout_drop(w.up, w.name[i]);
		struct node *n = tree_child(w.dir, w.name[i], strlen(w.name[i]));
		if (n)
			tree_drop(n);
	}
	w.dir->gen++;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct model m;

	if (!w.dir)
		build();
	memset(&m, 0, sizeof(m));
	reader_begin(&m);
	for (size_t k = 0; k < size && k < 400; k++) {
		int i = data[k] % NAMES;

		switch (data[k] / NAMES) {
		case 0:
		case 1:
			host(&m, i);
			break;
		case 2:
		case 3:
			guest(&m, i, false);
			break;
		case 4:
			guest(&m, i, true);
			break;
		default:
			list(&m, (unsigned)i / 4 + 1);
		}
	}
	list(&m, NAMES + 1);
	restore(&m);
	return 0;
}
