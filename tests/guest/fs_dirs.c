/* SPDX-License-Identifier: Apache-2.0 */
/* mkdir(2), rmdir(2), unlink(2), and deleting trees that exist in one layer or in both. */
#include "t.h"
#include <ftw.h>

static int rm(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path);
}

static void making(void)
{
	struct stat st;

	T(mkdir("m", 0777));
	T(stat("m", &st));
	t_stat("m", &st);
	T(mkdir("m", 0777));
	T(mkdir("a.txt", 0777));
	T(mkdir("link_a", 0777));
	T(mkdir("dangling", 0777));
	T(mkdir("dir", 0777));
	T(mkdir("missing/m", 0777));
	T(mkdir("a.txt/m", 0777));
	T(mkdir("dir/m", 01777));
	T(stat("dir/m", &st));
	t_stat("dir/m", &st);
	T(mkdir("link_dir/m2", 0700));
	T(mkdir("setgid/m", 0755)); /* the bit is inherited */
	T(stat("setgid/m", &st));
	t_stat("setgid/m", &st);
	TOPEN(open("setgid/f", O_CREAT | O_WRONLY, 0644));
	T(stat("setgid/f", &st));
	t_stat("setgid/f", &st);
	T(mkdir("loop1/x", 0755));
	T(mkdirat(999, "x", 0755));
	T(syscall(SYS_mkdirat, AT_FDCWD, t_bad, 0755));
	t_ls("dir");
}

static void removing(void)
{
	T(rmdir("full"));
	T(rmdir("dir"));
	T(rmdir("a.txt"));
	T(rmdir("missing"));
	T(rmdir("link_dir"));
	T(rmdir("dangling"));
	T(rmdir("emptydir/added") < 0 ? errno : 0); /* present only in a merged tree */
	T(unlink("emptydir/added") * 0);
	T(rmdir("emptydir"));
	T(access("emptydir", F_OK));
	T(rmdir("emptydir"));
	T(mkdir("emptydir", 0700)); /* opaque: nothing of the old one shines through */
	t_ls("emptydir");
	T(rmdir("/"));
	T(rmdir(""));
	T(rmdir("closed"));
	T(unlinkat(AT_FDCWD, "dir", 0));
	T(unlinkat(AT_FDCWD, "a.txt", AT_REMOVEDIR));
	T(unlinkat(AT_FDCWD, "a.txt", 0x40));
	T(unlink("dir"));
	T(unlink("missing"));
	T(unlink("a.txt/x"));
	T(unlink("link_a"));
	T(access("a.txt", F_OK));
	T(access("link_a", F_OK));
	T(unlink("dangling"));
	T(unlink("loop1"));
	T(unlink("fifo"));
	T(unlink("sock"));
	T(unlink("none.txt"));
	T(unlink("ro.txt"));
	T(unlink("a.txt"));
	T(unlink("a.txt"));
	T(syscall(SYS_unlinkat, AT_FDCWD, t_bad, 0));
	T(syscall(SYS_unlinkat, 999, "x", 0));
}

static void again(void)
{
	struct stat st;
	int fd;

	/* Deleted and made again, as the same and as another kind. */
	TOPEN(open("a.txt", O_WRONLY | O_CREAT | O_EXCL, 0600));
	t_cat("a.txt");
	T(unlink("a.txt"));
	T(mkdir("a.txt", 0755));
	t_put("a.txt/in", "in\n");
	t_ls("a.txt");
	T(unlink("a.txt/in"));
	T(rmdir("a.txt"));
	T(access("a.txt", F_OK));

	/* A directory with content: emptied, removed, made again, filled again. */
	T(nftw("dir", rm, 16, FTW_DEPTH | FTW_PHYS));
	T(access("dir", F_OK));
	T(access("dir/sub/f", F_OK));
	T(mkdir("dir", 0755));
	t_ls("dir");
	T(mkdir("dir/sub", 0755));
	t_ls("dir/sub");
	T(access("dir/sub/f", F_OK));
	t_put("dir/sub/f", "new f\n");
	t_cat("dir/sub/f");
	T(nftw("full", rm, 16, FTW_DEPTH | FTW_PHYS));
	T(symlink("dir", "full"));
	t_ls("full/");
	T(unlink("full"));

	/* Still open when its name goes. */
	fd = open("dir/sub/f", O_RDWR);
	T(unlink("dir/sub/f"));
	T(write(fd, "still", 5));
	T(fstat(fd, &st));
	t_stat("unlinked", &st);
	T(rmdir("dir/sub"));
	T(pread(fd, &st, 5, 0));
	close(fd);
	fd = open("big.bin", O_RDONLY);
	T(unlink("big.bin"));
	T(pread(fd, &st, 64, 4096));
	TOPEN(open("big.bin", O_WRONLY | O_CREAT, 0600));
	T(pread(fd, &st, 64, 4096));
	close(fd);
}

int main(void)
{
	umask(027);
	making();
	removing();
	again();
	return 0;
}
