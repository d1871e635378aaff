/* SPDX-License-Identifier: Apache-2.0 */
/* modules/vfs-cow/review.c: what counts as a change, and in which order it is told. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scrub.h"
#include "vfs.h"

struct world {
	char low[32], up[32];
	int lfd, ufd; /* the directory in both layers */
	struct vfs v;
	struct node *dir;
	struct strbuf out;
};

static void put(int dir, const char *name, const char *text)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "%s", name);
	close(fd);
}

/* As a copy-up leaves it: the same bytes and times. */
static void put_both(struct world *w, const char *name, const char *text)
{
	const struct timespec then[2] = {{1000, 5}, {1000, 5}};

	put(w->lfd, name, text);
	put(w->ufd, name, text);
	cr_assert(utimensat(w->lfd, name, then, 0) == 0 && utimensat(w->ufd, name, then, 0) == 0);
}

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
	cr_assert_eq(mkdir(path, 0700), 0);
	w->v.root = tree_add(NULL, "", 0);
	w->v.base = mount_add(&w->v, R_COW, "/", "/");
	w->v.upper.root_fd = open(w->up, O_PATH | O_DIRECTORY | O_CLOEXEC);
	strcpy(w->v.upper.root, w->up);
	w->v.svc_review = review_service;
	w->dir = tree_make(w->v.root, w->low);
	w->dir->state = w->dir->parent->state = w->v.root->state = N_MERGED;
	w->lfd = open(w->low, O_RDONLY | O_CLOEXEC);
	w->ufd = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(w->lfd >= 0 && w->ufd >= 0);
}

static void state(struct world *w, const char *name, enum state s)
{
	tree_add(w->dir, name, strlen(name))->state = s;
}

static int each(void *arg, const struct bv_change *c)
{
	struct world *w = arg;

	cr_assert_eq(strncmp(c->path, w->low, strlen(w->low)), 0, "%s", c->path);
	strbuf_printf(&w->out, "%c%c%s:%d ", c->kind, c->type, c->path + strlen(w->low), (int)c->size);
	return 0;
}

static void expect(struct world *w, const char *text)
{
	strbuf_puts(&w->out, "");
	w->out.len = 0;
	cr_assert_eq(w->v.svc_review.changes(&w->v.svc_review, each, w), 0);
	cr_expect_str_eq(w->out.len ? w->out.data : "", text);
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

	strbuf_fini(&w->out);
	close(w->lfd);
	close(w->ufd);
	scrub(low, NULL);
	scrub(up, NULL);
	close(low);
	close(up);
	rmdir(w->low);
	rmdir(w->up);
	tree_fini(&w->v);
}

Test(vfs_review, files)
{
	struct world w;

	world_init(&w);
	put_both(&w, "only-opened", "same");
	state(&w, "only-opened", N_UPPER);
	put(w.lfd, "gone", "x");
	state(&w, "gone", N_WHITEOUT);
	state(&w, "came-and-went", N_WHITEOUT);
	put(w.ufd, "new", "12345");
	state(&w, "new", N_UPPER);
	put(w.lfd, "longer", "1");
	put(w.ufd, "longer", "123");
	state(&w, "longer", N_UPPER);
	put_both(&w, "mode", "m");
	cr_assert_eq(fchmodat(w.ufd, "mode", 0600, 0), 0);
	state(&w, "mode", N_UPPER);
	put(w.lfd, "type", "m");
	cr_assert_eq(symlinkat("/x", w.ufd, "type"), 0);
	state(&w, "type", N_UPPER);
	cr_assert(symlinkat("/x", w.ufd, "link") == 0 && symlinkat("/x", w.lfd, "link") == 0);
	state(&w, "link", N_UPPER);
	cr_assert(symlinkat("/y", w.ufd, "relink") == 0 && symlinkat("/x", w.lfd, "relink") == 0);
	state(&w, "relink", N_UPPER);
	cr_assert_eq(mkfifoat(w.ufd, "fifo", 0600), 0);
	state(&w, "fifo", N_UPPER);
	expect(&w, "Ap/fifo:0 Df/gone:0 Mf/longer:3 Mf/mode:1 Af/new:5 Ml/relink:0 Tl/type:0 ");
	world_fini(&w);
}

Test(vfs_review, times_that_were_set_back_hide_nothing)
{
	const struct timespec then[2] = {{1000, 5}, {1000, 5}};
	struct world w;

	world_init(&w);
	put_both(&w, "f", "good");
	put(w.ufd, "f", "evil");
	cr_assert_eq(utimensat(w.ufd, "f", then, 0), 0);
	state(&w, "f", N_UPPER);
	expect(&w, "Mf/f:4 ");
	world_fini(&w);
}

Test(vfs_review, directories)
{
	struct world w;

	world_init(&w);
	/* New, with content; ordered by bytes of the whole path, where '-' comes before '/'. */
	cr_assert_eq(mkdirat(w.ufd, "new", 0755), 0);
	put(w.ufd, "new/f", "1");
	state(&w, "new", N_UPPER);
	put(w.ufd, "new-er", "1");
	state(&w, "new-er", N_UPPER);
	/* Replaced: what is the same is no change. */
	cr_assert(mkdirat(w.lfd, "again", 0755) == 0 && mkdirat(w.ufd, "again", 0755) == 0);
	put_both(&w, "again/same", "s");
	put(w.lfd, "again/lost", "l");
	put(w.ufd, "again/found", "f");
	state(&w, "again", N_UPPER);
	/* Deleted: one line for all of it. */
	cr_assert_eq(mkdirat(w.lfd, "gone", 0755), 0);
	put(w.lfd, "gone/f", "l");
	state(&w, "gone", N_WHITEOUT);
	/* A file became a directory. */
	put(w.lfd, "type", "l");
	cr_assert_eq(mkdirat(w.ufd, "type", 0755), 0);
	put(w.ufd, "type/f", "l");
	state(&w, "type", N_UPPER);
	expect(&w, "Af/again/found:1 Df/again/lost:0 Dd/gone:0 Ad/new:0 Af/new-er:1 Af/new/f:1 Td/type:0 Af/type/f:1 ");
	world_fini(&w);
}

Test(vfs_review, private_directories_are_left_out)
{
	struct world w;
	char path[64];

	world_init(&w);
	snprintf(path, sizeof(path), "%s/scratch", w.low);
	cr_assert_eq(mkdirat(w.ufd, "scratch", 0755), 0);
	put(w.ufd, "scratch/f", "1");
	cr_assert(mount_add(&w.v, R_TMP, path, path));
	expect(&w, "");
	world_fini(&w);
}
