/* SPDX-License-Identifier: Apache-2.0 */
/* link(2), symlink(2), mknod(2). */
#include "t.h"
#include <sys/sysmacros.h>

static void same(const char *a, const char *b)
{
	struct stat x, y;

	if (lstat(a, &x) < 0 || lstat(b, &y) < 0) {
		SAY("  %s and %s: %s\n", a, b, strerrorname_np(errno));
		return;
	}
	SAY("  %s and %s: same %d, links %lu %lu\n", a, b, x.st_ino == y.st_ino && x.st_dev == y.st_dev,
	    (unsigned long)x.st_nlink, (unsigned long)y.st_nlink);
}

static void hard(void)
{
	int fd;

	t_put("made", "made\n");
	T(link("made", "made2"));
	same("made", "made2");
	t_put("made2", "through made2\n");
	t_cat("made");
	T(unlink("made"));
	same("made2", "made2");
	T(link("a.txt", "a2"));
	same("a.txt", "a2");
	t_cat("a2");
	fd = TFD(open("a2", O_WRONLY | O_APPEND));
	T(write(fd, "more\n", 5));
	close(fd);
	t_cat("a.txt");
	same("a.txt", "a2");
	T(link("a.txt", "b.txt"));
	T(link("missing", "x"));
	T(link("dir", "dirlink"));
	T(link("a.txt", "dir"));
	T(link("a.txt", "missing/x"));
	T(link("a.txt", "dangling"));
	T(link("link_a", "link_a2")); /* links the link */
	same("link_a", "link_a2");
	T(linkat(AT_FDCWD, "link_a", AT_FDCWD, "followed", AT_SYMLINK_FOLLOW));
	same("a.txt", "followed");
	T(link("dangling", "dangling2"));
	T(linkat(AT_FDCWD, "dangling", AT_FDCWD, "d3", AT_SYMLINK_FOLLOW));
	T(linkat(AT_FDCWD, "a.txt", AT_FDCWD, "x", 0x1));
	T(link("fifo", "fifo2"));
	T(link("", "x"));
	T(link("a.txt", ""));
	fd = open("dir/x", O_RDONLY);
	T(linkat(fd, "", AT_FDCWD, "by_fd", AT_EMPTY_PATH));
	T(linkat(fd, "", AT_FDCWD, "by_fd2", 0));
	close(fd);
	T(syscall(SYS_linkat, AT_FDCWD, t_bad, AT_FDCWD, "x", 0));
	T(syscall(SYS_linkat, AT_FDCWD, "a.txt", AT_FDCWD, t_bad, 0));
	T(syscall(SYS_linkat, 999, "a.txt", AT_FDCWD, "x", 0));
}

/* By the links of /proc, a directory that has no name any more, and one that was the host's. */
static void removed_dir(const char *name)
{
	char self[40];
	int fd = open(name, O_RDONLY | O_DIRECTORY);

	MUST(fd >= 0);
	T(rmdir(name));
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	T(linkat(AT_FDCWD, self, AT_FDCWD, "from_nowhere", AT_SYMLINK_FOLLOW));
	T(linkat(AT_FDCWD, self, AT_FDCWD, "a.txt", AT_SYMLINK_FOLLOW));
	T(linkat(AT_FDCWD, self, AT_FDCWD, "missing/x", AT_SYMLINK_FOLLOW));
	close(fd);
}

static void soft(void)
{
	struct stat st;
	char b[64];

	T(symlink("a.txt", "s1"));
	t_cat("s1");
	T(lstat("s1", &st));
	t_stat("s1", &st);
	T(symlink("x", "s1"));
	T(symlink("x", "a.txt"));
	T(symlink("x", "dir"));
	T(symlink("x", "missing/s"));
	T(symlink("x", "dangling"));
	T(symlink("", "s2"));
	T(symlink("x", ""));
	T(symlink("../outside/../dir/x", "dir/s3"));
	T(symlink("/etc/hostname", "s4"));
	T(readlink("s4", b, sizeof(b)));
	T(access("s4", F_OK));
	T(symlink("s5", "s5"));
	TOPEN(open("s5", O_RDONLY));
	T(symlink("./dir", "s6"));
	t_ls("s6/");
	T(symlink("dir/sub/../../dir/./sub//f", "s7"));
	t_cat("s7");
	T(symlinkat("a.txt", 999, "s8"));
	T(syscall(SYS_symlinkat, t_bad, AT_FDCWD, "s9"));
	T(syscall(SYS_symlinkat, "x", AT_FDCWD, t_bad));
	/* A link through a link that is changed afterwards. */
	T(symlink("s6", "via"));
	T(unlink("s6"));
	T(symlink("full", "s6"));
	T(access("via/entry0003", F_OK));
	T(unlink("link_dir"));
	T(symlink("full", "link_dir"));
	T(access("link_dir/entry0003", F_OK));
	T(access("zigzag", F_OK));
}

static void nodes(void)
{
	struct stat st;

	T(mknod("p1", S_IFIFO | 0666, 0));
	T(lstat("p1", &st));
	t_stat("p1", &st);
	T(mkfifo("p2", 0600));
	T(mkfifo("p2", 0600));
	T(mkfifo("a.txt", 0600));
	T(mkfifo("missing/p", 0600));
	T(mknod("r1", S_IFREG | 0640, 0));
	T(mknod("r2", 0640, 0));
	T(lstat("r2", &st));
	t_stat("r2", &st);
	T(mknod("s1n", S_IFSOCK | 0755, 0));
	T(lstat("s1n", &st));
	t_stat("s1n", &st);
	T(mknod("d1", S_IFDIR | 0755, 0));
	T(mknod("l1", S_IFLNK | 0755, 0));
	T(mknodat(999, "x", S_IFIFO | 0600, 0));
	T(syscall(SYS_mknodat, AT_FDCWD, t_bad, S_IFIFO | 0600, 0));
}

int main(void)
{
	umask(022);
	hard();
	T(mkdir("young", 0755));
	removed_dir("young");
	removed_dir("emptydir");
	soft();
	nodes();
	return 0;
}
