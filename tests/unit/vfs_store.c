/* SPDX-License-Identifier: Apache-2.0 */
/* modules/vfs-cow/store_tmp.c and scrub.c: run directories come, go, and are cleaned up after. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "scrub.h"
#include "store.h"

static char *make_dir(void)
{
	char *dir = strdup("/tmp/bvstore.XXXXXX");

	cr_assert(dir && mkdtemp(dir));
	return dir;
}

static unsigned entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	cr_assert(d, "%s", path);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static void remove_dir(char *dir)
{
	int fd = open(dir, O_RDONLY | O_CLOEXEC);

	cr_expect_eq(scrub(fd, NULL), 0);
	close(fd);
	cr_expect_eq(rmdir(dir), 0);
	free(dir);
}

Test(vfs_store, a_layer_lives_as_long_as_it_is_open)
{
	char *dir = make_dir(), base[64];
	struct store_why t;
	struct bv_layer a = {.root_fd = -1}, b = {.root_fd = -1};
	const char *why = NULL;
	struct stat st;

	snprintf(base, sizeof(base), "%s/.bvisor-%u", dir, geteuid());
	cr_assert_eq(store_tmp_ops.open(&t, dir, &a, &why), 0, "%s", why);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &b, &why), 0, "%s", why);
	cr_expect_eq(entries(base), 2u, "opening one must not collect the other");
	cr_expect(strncmp(a.root, base, strlen(base)) == 0 && strcmp(a.root, b.root) != 0);
	cr_expect(stat(a.root, &st) == 0 && S_ISDIR(st.st_mode));
	cr_expect_eq(mkdirat(a.root_fd, "x", 0), 0);
	cr_expect_eq(mkdirat(b.root_fd, "x", 0), 0);
	store_tmp_ops.close(&t, &a);
	cr_expect_eq(entries(base), 1u);
	store_tmp_ops.close(&t, &b);
	cr_expect_eq(entries(base), 0u);
	remove_dir(dir);
}

Test(vfs_store, an_unused_layer_is_left_for_the_next)
{
	char *dir = make_dir(), base[64], spare[128];
	struct store_why t;
	struct bv_layer a = {.root_fd = -1}, b = {.root_fd = -1};
	const char *why = NULL;
	struct stat first, st;

	snprintf(base, sizeof(base), "%s/.bvisor-%u", dir, geteuid());
	snprintf(spare, sizeof(spare), "%s/spare", base);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &a, &why), 0, "%s", why);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &b, &why), 0, "%s", why);
	cr_assert_eq(stat(a.root, &first), 0);
	store_tmp_ops.close(&t, &a);
	store_tmp_ops.close(&t, &b);
	cr_expect_eq(entries(base), 1u, "one is enough");
	cr_assert_eq(stat(spare, &st), 0);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &a, &why), 0, "%s", why);
	cr_expect(stat(a.root, &st) == 0 && st.st_ino == first.st_ino);
	cr_expect(!strstr(a.root, "/spare/") && access(spare, F_OK) < 0);
	/* Anything done to it, and it is not left again. */
	cr_expect(chmod(a.root, 0700) == 0 && chmod(a.root, 0755) == 0);
	store_tmp_ops.close(&t, &a);
	cr_expect_eq(entries(base), 0u);
	/* Nor is one taken that holds something. */
	snprintf(spare, sizeof(spare), "mkdir -p %s/spare/u/d", base);
	cr_assert_eq(system(spare), 0);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &a, &why), 0, "%s", why);
	cr_expect_eq(entries(a.root), 0u);
	cr_expect_eq(entries(base), 1u);
	store_tmp_ops.close(&t, &a);
	cr_expect_eq(entries(base), 1u);
	snprintf(spare, sizeof(spare), "rm -r %s/spare", base);
	cr_assert_eq(system(spare), 0);
	remove_dir(dir);
}

Test(vfs_store, what_a_crash_left_is_collected)
{
	char *dir = make_dir(), path[128];
	struct store_why t;
	struct bv_layer a = {.root_fd = -1};
	const char *why = NULL;

	snprintf(path, sizeof(path), "%s/.bvisor-%u", dir, geteuid());
	cr_assert_eq(mkdir(path, 0700), 0);
	/* One that nobody holds, one that did not come so far. */
	snprintf(path, sizeof(path), "mkdir -p %s/.bvisor-%u/old/u/d %s/.bvisor-%u/older", dir, geteuid(), dir,
	         geteuid());
	cr_assert_eq(system(path), 0);
	snprintf(path, sizeof(path), "%s/.bvisor-%u/old/u/d", dir, geteuid());
	cr_assert_eq(chmod(path, 0), 0);
	cr_assert_eq(store_tmp_ops.open(&t, dir, &a, &why), 0, "%s", why);
	snprintf(path, sizeof(path), "%s/.bvisor-%u", dir, geteuid());
	cr_expect_eq(entries(path), 1u);
	cr_expect_eq(mkdirat(a.root_fd, "x", 0), 0);
	store_tmp_ops.close(&t, &a);
	cr_expect_eq(entries(path), 0u);
	remove_dir(dir);
}

Test(vfs_store, a_base_that_others_prepared_is_refused)
{
	char *dir = make_dir(), path[64];
	struct store_why t;
	struct bv_layer a = {.root_fd = -1};
	const char *why = NULL;

	snprintf(path, sizeof(path), "%s/.bvisor-%u", dir, geteuid());
	cr_assert_eq(symlink("/etc", path), 0);
	cr_expect_lt(store_tmp_ops.open(&t, dir, &a, &why), 0);
	cr_expect(strstr(why, path), "%s", why);
	unlink(path);
	cr_assert(mkdir(path, 0777) == 0 && chmod(path, 0777) == 0);
	cr_expect_eq(store_tmp_ops.open(&t, dir, &a, &why), -EPERM);
	cr_expect(strstr(why, path), "%s", why);
	cr_expect_eq(store_tmp_ops.open(&t, "relative", &a, &why), -EINVAL);
	cr_expect_eq(store_tmp_ops.open(&t, "/nonexistent/dir", &a, &why), -ENOENT);
	remove_dir(dir);
}

Test(vfs_store, scrub_copes_with_what_guests_make)
{
	char *dir = make_dir(), *outside = make_dir(), path[64];
	int top = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int at = dup(top);

	snprintf(path, sizeof(path), "%s/victim", outside);
	int victim = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert(victim >= 0);
	close(victim);
	/* Deeper than descriptors or a path could reach, with links that lead out and closed doors. */
	for (int i = 0; i < 3000; i++) {
		cr_assert_eq(mkdirat(at, "d", 0700), 0);
		cr_assert_eq(symlinkat(outside, at, "link"), 0);
		int next = openat(at, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		cr_assert(next >= 0);
		if (i % 100 == 50)
			cr_assert_eq(fchmod(at, 0), 0);
		close(at);
		at = next;
	}
	close(at);
	int keep = openat(top, "keep", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(keep);
	cr_expect_eq(scrub(top, "keep"), 0);
	cr_expect_eq(entries(dir), 1u);
	cr_expect_eq(entries(outside), 1u, "nothing behind a symlink may be touched");
	close(top);
	remove_dir(dir);
	remove_dir(outside);
}
