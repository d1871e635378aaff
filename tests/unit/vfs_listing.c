/* SPDX-License-Identifier: Apache-2.0 */
/* modules/vfs-cow/listing.c: what a directory holds, and the positions between its entries. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "listing.h"
#include "scrub.h"

struct world {
	char low[32], up[32], mirror[64];
	struct vfs v;
	struct loc l;
};

static void make(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	cr_assert(fd >= 0, "%s", name);
	close(fd);
}

/* A host directory, and an upper layer that mirrors it at the same path. */
static void world_init(struct world *w)
{
	char path[128];

	memset(w, 0, sizeof(*w));
	strcpy(w->low, "/tmp/bvlow.XXXXXX");
	strcpy(w->up, "/tmp/bvup.XXXXXX");
	cr_assert(mkdtemp(w->low) && mkdtemp(w->up));
	snprintf(path, sizeof(path), "%s/tmp", w->up);
	cr_assert_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s%s", w->up, w->low);
	cr_assert_eq(mkdir(path, 0755), 0);
	w->v.root = tree_add(NULL, "", 0);
	w->v.base = mount_add(&w->v, R_COW, "/", "/");
	w->v.upper.root_fd = open(w->up, O_PATH | O_DIRECTORY | O_CLOEXEC);
	strcpy(w->v.upper.root, w->up);
	w->v.upper_len = strlen(w->up);
	strcpy(w->l.path, w->low);
	w->l.len = strlen(w->low);
	w->l.view = V_LOWER;
	w->l.mount = w->v.base;
	w->l.path_fd = -1;
	w->l.fd = open(w->low, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int upper_dir_fd(const struct world *w)
{
	return openat(w->v.upper.root_fd, w->low + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static void look_again(struct world *w, struct listing **s)
{
	cr_assert_eq(fstat(w->l.fd, &w->l.st), 0);
	w->l.probed = true;
	w->l.node = tree_find(w->v.root, w->low);
	cr_assert_eq(listing_get(&w->v, NULL, &w->l, s), 0);
}

static void merge(struct world *w)
{
	struct node *n = tree_make(w->v.root, w->low);

	n->state = n->parent->state = w->v.root->state = N_MERGED;
	w->l.view = V_MERGED;
}

static const struct item *find(const struct listing *s, const char *name)
{
	for (size_t i = 0; i < s->n; i++)
		if (s->item[i].len == strlen(name) && memcmp(s->names.data + s->item[i].name, name, s->item[i].len) == 0)
			return &s->item[i];
	return NULL;
}

static void tree_fini(struct vfs *v)
{
	tree_drop(v->root);
	while (v->mounts) {
		struct mount *m = v->mounts;

		v->mounts = m->next;
		if (m->fd >= 0)
			close(m->fd);
		free(m->at);
		free(m->source);
		free(m);
	}
	close(v->upper.root_fd);
}

static void world_fini(struct world *w)
{
	int low = open(w->low, O_RDONLY | O_CLOEXEC), up = open(w->up, O_RDONLY | O_CLOEXEC);

	listing_free_all(&w->v);
	close(w->l.fd);
	cr_expect_eq(scrub(low, NULL), 0);
	cr_expect_eq(scrub(up, NULL), 0);
	close(low);
	close(up);
	rmdir(w->low);
	rmdir(w->up);
	tree_fini(&w->v);
}

Test(vfs_listing, positions_ascend_and_outlive_other_entries)
{
	struct world w;
	struct listing *s;
	char name[32];
	uint64_t was[200];

	world_init(&w);
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "entry-%d", i);
		make(w.l.fd, name);
	}
	look_again(&w, &s);
	cr_assert_eq(s->n, 3000u);
	cr_expect(s->item[0].cookie >= COOKIE_FIRST && s->item[s->n - 1].cookie <= INT64_MAX);
	for (size_t i = 1; i < s->n; i++)
		cr_assert_gt(s->item[i].cookie, s->item[i - 1].cookie);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "entry-%d", i * 15);
		was[i] = find(s, name)->cookie;
	}
	/* Others go, new ones come, the host's directory becomes a merged one: the place stays. */
	for (int i = 0; i < 3000; i++)
		if (i % 15) {
			snprintf(name, sizeof(name), "entry-%d", i);
			unlinkat(w.l.fd, name, 0);
		}
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "later-%d", i);
		make(w.l.fd, name);
	}
	merge(&w);
	look_again(&w, &s);
	cr_assert_eq(s->n, 300u);
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "entry-%d", i * 15);
		cr_assert_eq(find(s, name)->cookie, was[i], "%s", name);
	}
	world_fini(&w);
}

Test(vfs_listing, layers_and_rules_are_merged)
{
	struct world w;
	struct listing *s;
	char path[128];
	struct stat st;

	world_init(&w);
	make(w.l.fd, "kept");
	make(w.l.fd, "deleted");
	make(w.l.fd, "changed");
	make(w.l.fd, "hidden");
	cr_assert_eq(mkdirat(w.l.fd, "replaced", 0755), 0);
	cr_assert_eq(mkdirat(w.l.fd, "both", 0755), 0);
	int up = upper_dir_fd(&w);
	make(up, ".wh.deleted");
	make(up, "changed");
	make(up, "added");
	make(up, ".wh.replaced");
	make(up, "replaced");
	cr_assert_eq(mkdirat(up, "both", 0755), 0);
	cr_assert_eq(fstatat(up, "changed", &st, 0), 0);
	close(up);
	merge(&w);
	struct node *n = tree_find(w.v.root, w.low);
	tree_add(n, "deleted", 7)->state = N_WHITEOUT;
	tree_add(n, "changed", 7)->state = N_UPPER;
	tree_add(n, "added", 5)->state = N_UPPER;
	tree_add(n, "replaced", 8)->state = N_UPPER;
	tree_add(n, "both", 4)->state = N_MERGED;
	snprintf(path, sizeof(path), "%s/hidden", w.low);
	cr_assert(mount_add(&w.v, R_HIDE, path, path));
	snprintf(path, sizeof(path), "%s/bound", w.low);
	cr_assert(mount_add(&w.v, R_BIND, "/etc", path));
	look_again(&w, &s);
	cr_expect_eq(s->n, 6u);
	cr_expect(find(s, "kept") && find(s, "changed") && find(s, "added") && find(s, "replaced") && find(s, "both") &&
	          find(s, "bound"));
	cr_assert(find(s, "replaced") && find(s, "both") && find(s, "bound") && find(s, "changed"));
	cr_expect_eq(find(s, "replaced")->type, DT_REG);
	cr_expect_eq(find(s, "bound")->type, DT_DIR);
	cr_expect_eq(find(s, "changed")->ino, st.st_ino);
	cr_assert_eq(fstatat(w.l.fd, "both", &st, 0), 0);
	cr_expect_eq(find(s, "both")->ino, st.st_ino, "a merged directory is its lower self");
	world_fini(&w);
}

Test(vfs_listing, a_change_is_seen_at_once)
{
	struct world w;
	struct listing *s;

	world_init(&w);
	make(w.l.fd, "a");
	merge(&w);
	look_again(&w, &s);
	cr_expect_eq(s->n, 1u);
	struct node *n = tree_find(w.v.root, w.low);
	tree_add(n, "a", 1)->state = N_WHITEOUT;
	n->gen++;
	cr_assert_eq(fstat(w.l.fd, &w.l.st), 0);
	cr_expect_eq(listing_is_empty(&w.v, NULL, &w.l), 1);
	int up = upper_dir_fd(&w);
	make(up, "b");
	close(up);
	tree_add(n, "b", 1)->state = N_UPPER;
	n->gen++;
	cr_expect_eq(listing_is_empty(&w.v, NULL, &w.l), 0);
	look_again(&w, &s);
	cr_expect(s->n == 1 && find(s, "b"));
	world_fini(&w);
}
