/* SPDX-License-Identifier: Apache-2.0 */
/* The stat family, statx, access, faccessat2 and readlink, and how they agree with each other. */
#include "t.h"
#include <sys/sysmacros.h>

static void agree(const char *path)
{
	struct stat a, b, c;
	struct statx x;
	int fd = open(path, O_RDONLY | O_NONBLOCK);

	SAY("%s\n", path);
	if (T(stat(path, &a)) < 0 || fd < 0)
		return;
	t_stat("stat", &a);
	MUST(fstat(fd, &b) == 0);
	MUST(fstatat(fd, "", &c, AT_EMPTY_PATH) == 0);
	MUST(statx(AT_FDCWD, path, 0, STATX_BASIC_STATS | STATX_BTIME, &x) == 0);
	SAY("  fstat same object %d, mode %d, size %d, mtime %d, blocks %d, blksize %d\n",
	    a.st_ino == b.st_ino && a.st_dev == b.st_dev, a.st_mode == b.st_mode, a.st_size == b.st_size,
	    a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec,
	    a.st_blocks == b.st_blocks, a.st_blksize == b.st_blksize);
	SAY("  empty path same object %d\n", a.st_ino == c.st_ino && a.st_dev == c.st_dev);
	SAY("  statx same object %d, mode %d, links %d, owner %d\n",
	    x.stx_ino == a.st_ino && makedev(x.stx_dev_major, x.stx_dev_minor) == a.st_dev,
	    x.stx_mode == a.st_mode, x.stx_nlink == a.st_nlink, x.stx_uid == a.st_uid && x.stx_gid == a.st_gid);
	close(fd);
}

static void stats(void)
{
	struct stat st, other;
	struct statx x;
	int dir = open("dir", O_RDONLY), file = open("a.txt", O_RDONLY), gone;

	MUST(dir >= 0 && file >= 0);
	T(stat("missing", &st));
	T(stat("dangling", &st));
	T(lstat("dangling", &st));
	t_stat("dangling", &st);
	T(stat("loop1", &st));
	T(stat("a.txt/x", &st));
	T(lstat("fifo", &st));
	t_stat("fifo", &st);
	T(lstat("sock", &st));
	T(fstatat(dir, "x", &st, 0));
	t_stat("dir/x", &st);
	T(fstatat(dir, "up_a", &st, 0));
	T(fstatat(dir, "up_a", &st, AT_SYMLINK_NOFOLLOW));
	t_stat("dir/up_a", &st);
	T(fstatat(dir, "", &st, 0));
	T(fstatat(dir, "", &st, AT_EMPTY_PATH));
	T(fstatat(AT_FDCWD, "", &st, AT_EMPTY_PATH));
	T(stat(".", &other));
	SAY("  cwd same %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(fstatat(file, "x", &st, 0));
	T(fstatat(-1, "x", &st, 0));
	T(fstatat(-1, "", &st, AT_EMPTY_PATH));
	T(fstatat(AT_FDCWD, "a.txt", &st, 0x40000));
	T(fstatat(AT_FDCWD, "a.txt", &st, AT_NO_AUTOMOUNT));
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", t_bad, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, t_bad, &st, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, NULL, &st, 0));
	T(statx(AT_FDCWD, "a.txt", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_SIZE, &x));
	T(statx(AT_FDCWD, "a.txt", 0, 0x80000000u, &x));
	T(statx(AT_FDCWD, "a.txt", 0x40000, STATX_SIZE, &x));
	T(statx(AT_FDCWD, "a.txt", 0, 0, &x));
	T(statx(dir, "", AT_EMPTY_PATH, STATX_TYPE, &x));
	T(statx(dir, "", 0, STATX_TYPE, &x));
	T(statx(AT_FDCWD, "link_a", AT_SYMLINK_NOFOLLOW, STATX_ALL, &x));
	SAY("  %c %lld\n", t_type(x.stx_mode), (long long)x.stx_size);
	T(syscall(SYS_statx, AT_FDCWD, "a.txt", 0, STATX_SIZE, t_bad));

	/* Two names of one object and one name over time. */
	T(stat("hard1", &st));
	T(stat("hard2", &other));
	SAY("  hard links same %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(stat("dir", &st));
	t_put("dir/newentry", "n");
	T(stat("dir", &other));
	SAY("  directory same after a new entry %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(fstat(dir, &other));
	SAY("  its open descriptor too %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(stat("dir/up", &st));
	T(stat(".", &other));
	SAY("  dir/.. same %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	/* A name written to is one object afterwards, whatever stood there before. */
	t_put("dir/z", "written\n");
	agree("dir/z");
	/* Deleted while open. */
	t_put("brief", "brief\n");
	gone = open("brief", O_RDONLY);
	T(unlink("brief"));
	T(fstat(gone, &st));
	t_stat("brief", &st);
	T(fstatat(gone, "", &st, AT_EMPTY_PATH));
	close(gone);
	close(dir);
	close(file);
}

static void accesses(void)
{
	int dir = open("dir", O_RDONLY), file = open("a.txt", O_RDONLY);

	T(access("a.txt", F_OK));
	T(access("a.txt", R_OK | W_OK));
	T(access("a.txt", X_OK));
	T(access("script.sh", R_OK | X_OK));
	T(access("dir", R_OK | W_OK | X_OK));
	T(access("missing", F_OK));
	T(access("dangling", F_OK));
	T(access("loop1", F_OK));
	T(access("a.txt/x", F_OK));
	T(access("", F_OK));
	T(access("ro.txt", W_OK));
	T(access("none.txt", R_OK));
	T(access("none.txt", X_OK));
	T(access("closed", X_OK));
	T(access("a.txt", 8));
	T(access("a.txt", -1));
	T(access("newentry", W_OK));
	T(faccessat(dir, "x", R_OK, 0));
	T(faccessat(dir, "up_a", R_OK, AT_SYMLINK_NOFOLLOW));
	T(faccessat(dir, "missing", R_OK, AT_EACCESS));
	T(faccessat(dir, "x", X_OK, AT_EACCESS));
	T(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, AT_SYMLINK_NOFOLLOW));
	T(syscall(SYS_faccessat2, AT_FDCWD, "dangling", F_OK, 0));
	T(syscall(SYS_faccessat2, file, "", R_OK, AT_EMPTY_PATH));
	T(syscall(SYS_faccessat2, file, "", X_OK, AT_EMPTY_PATH));
	T(syscall(SYS_faccessat2, file, "", R_OK, 0));
	T(syscall(SYS_faccessat2, dir, "x", R_OK, 0x8000));
	T(syscall(SYS_faccessat2, dir, t_bad, R_OK, 0));
	T(syscall(SYS_faccessat, file, "x", R_OK));
	close(dir);
	close(file);
}

static void readlinks(void)
{
	char b[PATH_MAX];
	int dir = open("dir", O_RDONLY);
	ssize_t n;

	n = T(readlink("link_a", b, sizeof(b)));
	t_bytes(b, n > 0 ? (size_t)n : 0);
	SAY("\n");
	memset(b, '#', 8);
	T(readlink("link_a", b, 3)); /* cut, not terminated */
	t_bytes(b, 8);
	SAY("\n");
	T(readlink("link_a", b, 0));
	T(syscall(SYS_readlinkat, AT_FDCWD, "link_a", b, -1));
	T(readlink("a.txt", b, sizeof(b)));
	T(readlink("dir", b, sizeof(b)));
	T(readlink("missing", b, sizeof(b)));
	T(readlink("link_dir/", b, sizeof(b)));
	T(readlink("link_dir/up", b, sizeof(b)));
	T(readlink("dangling", b, sizeof(b)));
	T(readlink("loop1", b, sizeof(b)));
	T(readlink("loop1/x", b, sizeof(b)));
	T(readlink("", b, sizeof(b)));
	T(readlinkat(dir, "up_a", b, sizeof(b)));
	T(readlinkat(dir, "", b, sizeof(b)));
	T(readlinkat(-1, "x", b, sizeof(b)));
	T(syscall(SYS_readlinkat, AT_FDCWD, "link_a", t_bad, 10));
	T(syscall(SYS_readlinkat, AT_FDCWD, t_bad, b, 10));
	close(dir);
}

int main(void)
{
	umask(022);
	agree("a.txt");
	agree("dir");
	agree("dir/sub/deep");
	agree("emptydir");
	agree("big.bin");
	agree("sparse");
	agree("script.sh");
	agree("zigzag");
	agree("/");
	agree("/usr");
	agree("/usr/bin/env");
	stats();
	accesses();
	readlinks();
	return 0;
}
