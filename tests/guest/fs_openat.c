/* SPDX-License-Identifier: Apache-2.0 */
/* openat(2) with every kind of dirfd, and openat2(2) with every RESOLVE flag. */
#include "t.h"
#include <linux/openat2.h>

static int at2(int dirfd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = flags, .mode = mode, .resolve = resolve };
	int fd;

	/* openat2(2): a rename anywhere on the machine meanwhile may end a scoped ".." in EAGAIN. */
	do
		fd = (int)syscall(SYS_openat2, dirfd, path, &how, sizeof(how));
	while (fd < 0 && errno == EAGAIN);
	return fd;
}

static void dirfds(void)
{
	char abs[PATH_MAX];
	int dir = open("dir", O_RDONLY | O_DIRECTORY), path = open("dir", O_PATH), file = open("a.txt", O_RDONLY);
	int fifo = open("fifo", O_RDWR), gone;

	MUST(dir >= 0 && path >= 0 && file >= 0 && fifo >= 0);
	MUST(realpath("a.txt", abs));
	TOPEN(openat(dir, "x", O_RDONLY));
	TOPEN(openat(path, "x", O_RDONLY));
	TOPEN(openat(dir, "../a.txt", O_RDONLY));
	TOPEN(openat(dir, "up/a.txt", O_RDONLY));
	TOPEN(openat(dir, "up_a", O_RDONLY));
	TOPEN(openat(dir, ".", O_RDONLY));
	TOPEN(openat(dir, "", O_RDONLY));
	TOPEN(openat(file, "x", O_RDONLY));
	TOPEN(openat(file, "", O_RDONLY));
	TOPEN(openat(file, ".", O_RDONLY));
	TOPEN(openat(fifo, "x", O_RDONLY));
	TOPEN(openat(-1, "x", O_RDONLY));
	TOPEN(openat(999, "x", O_RDONLY));
	TOPEN(openat(999, "", O_RDONLY));
	TOPEN(openat(999, abs, O_RDONLY)); /* an absolute path ignores dirfd */
	TOPEN(openat(file, abs, O_RDONLY));
	TOPEN(openat(AT_FDCWD, "a.txt", O_RDONLY));
	TOPEN((int)syscall(SYS_openat, 0xdead0000ffffff9cul, "a.txt", O_RDONLY)); /* int argument: -100 */
	TOPEN((int)syscall(SYS_openat, AT_FDCWD, "a.txt", 0xdead000000000000ul | O_RDONLY, 0));
	TOPEN(openat(dir, "made", O_WRONLY | O_CREAT, 0600));
	t_ls("dir");

	MUST(mkdir("dir/gone", 0755) == 0);
	gone = open("dir/gone", O_RDONLY);
	MUST(rmdir("dir/gone") == 0);
	TOPEN(openat(gone, "x", O_WRONLY | O_CREAT, 0600));
	TOPEN(openat(gone, ".", O_RDONLY));
	TOPEN(openat(gone, "x", O_RDONLY));
	/* A directory that moves while it is open takes its descriptor along. */
	MUST(mkdir("dir/moves", 0755) == 0);
	t_put("dir/moves/in", "in\n");
	close(gone);
	gone = open("dir/moves", O_RDONLY);
	MUST(rename("dir/moves", "moved") == 0);
	TOPEN(openat(gone, "in", O_RDONLY));
	TOPEN(openat(gone, "../a.txt", O_RDONLY));
	TOPEN(openat(gone, "made", O_WRONLY | O_CREAT, 0644));
	t_ls("moved");
	close(gone);
	/* The same for one that was there before. */
	gone = open("dir/sub", O_RDONLY);
	T(rename("dir/sub", "sub_moved"));
	TOPEN(openat(gone, "f", O_RDONLY));
	TOPEN(openat(gone, "deep/leaf", O_RDONLY));
	TOPEN(openat(gone, "../a.txt", O_RDONLY));
	TOPEN(openat(gone, "made", O_WRONLY | O_CREAT, 0644));
	t_ls("sub_moved");
	T(rename("sub_moved", "dir/sub"));
	T(unlinkat(gone, "made", 0));
	t_ls("dir/sub");
	close(gone);
	close(dir);
	close(path);
	close(file);
	close(fifo);
}

static void resolve(void)
{
	char abs[PATH_MAX], proc[64];
	int dir = open("dir", O_RDONLY), root = open("/", O_PATH);

	MUST(dir >= 0 && root >= 0 && realpath("a.txt", abs));
	TOPEN(at2(AT_FDCWD, "a.txt", O_RDONLY, 0, 0));
	TOPEN(at2(AT_FDCWD, "link_a", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
	TOPEN(at2(AT_FDCWD, "link_dir/x", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
	TOPEN(at2(AT_FDCWD, "dir/x", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
	TOPEN(at2(dir, "x", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, "../a.txt", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, "sub/../x", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, "up_a", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, abs, O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, "..", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, ".", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(AT_FDCWD, "abs_a", O_RDONLY, 0, RESOLVE_BENEATH));
	TOPEN(at2(dir, "../x", O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "/x", O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "/../../x", O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "up_a", O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "up/x", O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, abs, O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(root, abs, O_RDONLY, 0, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "x", O_RDONLY, 0, RESOLVE_BENEATH | RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "made2", O_WRONLY | O_CREAT, 0600, RESOLVE_BENEATH));
	TOPEN(at2(dir, "../made3", O_WRONLY | O_CREAT, 0600, RESOLVE_IN_ROOT));
	TOPEN(at2(dir, "../made4", O_WRONLY | O_CREAT, 0600, RESOLVE_BENEATH));
	t_ls("dir");
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", dir);
	TOPEN(at2(AT_FDCWD, proc, O_RDONLY, 0, 0));
	TOPEN(at2(AT_FDCWD, proc, O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
	TOPEN(at2(AT_FDCWD, "a.txt", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS));
	TOPEN(at2(AT_FDCWD, "dir/x", O_RDONLY, 0, RESOLVE_NO_XDEV));
	close(dir);
	close(root);
}

static void extensible(void)
{
	struct { struct open_how how; uint64_t tail; } big = { { .flags = O_RDONLY }, 0 };
	struct open_how how = { .flags = O_RDONLY };

	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", &how, 8));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", &how, 0));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", &big, sizeof(big)));
	big.tail = 1;
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", &big, sizeof(big)));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", &big, 1 << 20));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "a.txt", t_bad, sizeof(how)));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, t_bad, &how, sizeof(how)));
	TOPEN(at2(AT_FDCWD, "a.txt", O_RDONLY, 0600, 0));          /* a mode without O_CREAT */
	TOPEN(at2(AT_FDCWD, "n1", O_WRONLY | O_CREAT, 010000, 0)); /* not a mode */
	TOPEN(at2(AT_FDCWD, "a.txt", O_RDONLY, 0, 1 << 20));
	TOPEN(at2(AT_FDCWD, "a.txt", O_RDONLY | 0x40000000, 0, 0));
	TOPEN(at2(AT_FDCWD, "a.txt", 1ull << 40, 0, 0));
	TOPEN(at2(AT_FDCWD, "a.txt", O_PATH | O_RDWR, 0, 0));
	TOPEN(at2(AT_FDCWD, "dir", O_TMPFILE | O_RDONLY, 0600, 0));
	TOPEN(at2(AT_FDCWD, "", O_RDONLY, 0, 0));
}

int main(void)
{
	umask(022);
	dirfds();
	resolve();
	extensible();
	return 0;
}
