/* SPDX-License-Identifier: Apache-2.0 */
/* rename(2) and renameat2(2): files, directories, links, over each other, across layers. */
#include "t.h"
#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#define RENAME_EXCHANGE 2
#endif
#define RENAME_WHITEOUT_ 4

static long re2(const char *from, const char *to, unsigned flags)
{
	return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static void files(void)
{
	struct stat before, after;

	MUST(stat("a.txt", &before) == 0);
	T(rename("a.txt", "a2.txt"));
	T(access("a.txt", F_OK));
	t_cat("a2.txt");
	T(stat("a2.txt", &after));
	SAY("  mtime kept %d, mode kept %d\n", before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
	    before.st_mtim.tv_nsec == after.st_mtim.tv_nsec, before.st_mode == after.st_mode);
	T(rename("a2.txt", "b.txt"));
	t_cat("b.txt");
	T(rename("b.txt", "b.txt"));
	T(rename("missing", "b.txt"));
	T(rename("missing", "missing2"));
	T(rename("b.txt", "missing/b"));
	T(rename("b.txt", "b.txt/x"));
	T(rename("b.txt", "dir"));
	T(rename("b.txt", "newname/"));
	T(rename("b.txt/", "newname"));
	T(rename("b.txt", "dir/moved"));
	t_cat("dir/moved");
	T(rename("dir/moved", "a.txt"));
	t_cat("a.txt");
	T(rename("hard1", "hard2")); /* one object: nothing happens */
	T(access("hard1", F_OK));
	T(access("hard2", F_OK));
	T(rename("link_a", "link_b"));
	t_cat("link_b");
	T(rename("dangling", "dangling2"));
	T(rename("fifo", "fifo2"));
	T(rename("sock", "sock2"));
	T(rename("big.bin", "dir/big"));
	T(stat("dir/big", &after));
	t_stat("big", &after);
	T(rename("none.txt", "none2"));
	T(rename("setuid", "dir/setuid"));
	T(rename("", "x"));
	T(rename("x", ""));
	T(rename(".", "x"));
	T(rename("..", "x"));
	T(rename("dir/.", "x"));
	T(rename("other", "."));
	T(rename("other", "dir/.."));
	T(rename("/", "x"));
	T(rename("a.txt", "/"));
	T(rename("a.txt", "loop1/x"));
	T(rename("a.txt", "loop1"));
	t_cat("loop1");
	T(rename("loop1", "a.txt"));
	t_ls("dir");
}

static void dirs(void)
{
	struct stat before, after;

	MUST(stat("dir", &before) == 0);
	T(rename("dir", "dir2"));
	T(stat("dir2", &after));
	SAY("  same directory %d\n", before.st_ino == after.st_ino && before.st_dev == after.st_dev);
	T(access("dir", F_OK));
	T(access("dir/sub/f", F_OK));
	t_ls("dir2");
	t_cat("dir2/sub/f");
	t_cat("dir2/sub/deep/leaf");
	t_put("dir2/sub/new", "new\n");
	T(rename("dir2", "dir2/sub/inside"));
	T(rename("dir2", "dir2/x"));
	T(rename("dir2/sub", "dir2"));
	T(rename("dir2", "full"));
	T(rename("dir2", "b.txt"));
	T(rename("dir2", "other"));
	T(unlink("other/added") * 0);
	T(unlink("other/x"));
	T(rename("dir2", "other")); /* onto an emptied one */
	t_ls("other");
	t_cat("other/sub/new");
	T(rename("other", "dir"));
	T(mkdir("fresh", 0755));
	T(rename("dir", "fresh"));
	T(rename("fresh/", "dir/"));
	T(mkdir("fresh", 0755));
	T(rename("dir/sub", "fresh/sub"));
	t_ls("fresh");
	t_ls("fresh/sub");
	T(rename("fresh/sub/deep", "dir/deep"));
	t_cat("dir/deep/leaf");
	T(rename("dir/deep", "fresh/sub/deep"));
	T(rename("fresh/sub", "dir/sub"));
	T(rmdir("fresh"));
	t_ls("dir");
	T(rename("full", "dir/full"));
	T(access("dir/full/entry0100", F_OK));
	T(unlink("dir/full/entry0100"));
	T(rename("dir/full", "full"));
	T(access("full/entry0100", F_OK));
	T(access("full/entry0101", F_OK));
	/* What was renamed away does not come back when the name is used again. */
	T(mkdir("dir/full", 0755));
	t_ls("dir/full");
	T(rename("closed", "closed2"));
	T(rename("link_dir", "linkdir2"));
	t_ls("linkdir2/");
	T(rename("sticky", "full"));
	T(rename("emptydir", "sticky"));
	T(rename("a.txt", "sticky"));
	T(rename("sticky", "a.txt"));
}

static void flags(void)
{
	t_put("n1", "one\n");
	t_put("n2", "two\n");
	T(re2("n1", "n2", RENAME_NOREPLACE));
	T(re2("n1", "n3", RENAME_NOREPLACE));
	T(re2("n3", "n1", 0));
	T(re2("script.sh", "n2", RENAME_NOREPLACE));
	T(re2("script.sh", "s.sh", RENAME_NOREPLACE));
	T(re2("s.sh", "dangling2", RENAME_NOREPLACE));
	T(re2("n1", "n2", RENAME_EXCHANGE));
	t_cat("n1");
	t_cat("n2");
	T(re2("n1", "s.sh", RENAME_EXCHANGE));
	t_cat("n1");
	t_cat("s.sh");
	T(re2("n1", "dir", RENAME_EXCHANGE));
	t_ls("n1");
	t_cat("dir");
	T(re2("n1", "dir", RENAME_EXCHANGE));
	T(re2("full", "dir", RENAME_EXCHANGE));
	T(access("dir/entry0050", F_OK));
	T(access("full/sub/f", F_OK));
	T(re2("full", "dir", RENAME_EXCHANGE));
	T(re2("n1", "missing", RENAME_EXCHANGE));
	T(re2("missing", "n1", RENAME_EXCHANGE));
	T(re2("dir", "dir/sub", RENAME_EXCHANGE));
	T(re2("dir/sub", "dir", RENAME_EXCHANGE));
	T(re2("n1", "n2", RENAME_EXCHANGE | RENAME_NOREPLACE));
	T(re2("n1", "n2", 0x80));
	T(re2("n1", "n2", RENAME_EXCHANGE | RENAME_WHITEOUT_));
	T(syscall(SYS_renameat2, AT_FDCWD, t_bad, AT_FDCWD, "x", 0));
	T(syscall(SYS_renameat2, AT_FDCWD, "n1", AT_FDCWD, t_bad, 0));
	T(syscall(SYS_renameat2, 999, "n1", AT_FDCWD, "x", 0));
	T(syscall(SYS_renameat2, AT_FDCWD, "n1", 999, "x", 0));
}

static void at(void)
{
	int dir = open("dir", O_RDONLY), sub = open("dir/sub", O_RDONLY), fd;

	T(renameat(dir, "x", sub, "x_in_sub"));
	T(renameat(sub, "x_in_sub", dir, "x"));
	/* An open file keeps its identity and stays writable under its new name. */
	fd = open("dir/x", O_RDWR);
	T(renameat(dir, "x", AT_FDCWD, "x_top"));
	T(write(fd, "through the descriptor\n", 23));
	t_cat("x_top");
	T(rename("x_top", "dir/x"));
	t_cat("dir/x");
	close(fd);
	/* Saved the editors' way: temporary file, then rename over. */
	for (int i = 0; i < 5; i++) {
		t_put("dir/.z.tmp", "saved\n");
		T(rename("dir/.z.tmp", "dir/z"));
	}
	t_cat("dir/z");
	close(dir);
	close(sub);
}

int main(void)
{
	umask(022);
	files();
	dirs();
	flags();
	at();
	return 0;
}
