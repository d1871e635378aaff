/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/*
 * Descriptors of host files whose names were deleted, replaced, moved or hidden by a directory
 * since: all that is left of their place is a host path, which must lead nobody to the host.
 */
#include "h.h"
#include <sys/xattr.h>

static void attack(int fd)
{
	char b[PATH_MAX], c[PATH_MAX];

	h_attack_path(h_fmt(b, "/proc/self/fd/%d", fd));
	h_attack_path(h_fmt(b, "/dev/fd/%d", fd));
	setxattr(b, "user.breach", "1", 1, 0);
	removexattr(b, "user.one");
	if (linkat(AT_FDCWD, b, AT_FDCWD, h_fmt(c, "stale%d", fd), AT_SYMLINK_FOLLOW) == 0)
		h_attack_path(c);
	if (linkat(fd, "", AT_FDCWD, h_fmt(c, "stale_e%d", fd), AT_EMPTY_PATH) == 0)
		h_attack_path(c);
	fchmod(fd, 0777);
	(void)!fchown(fd, 4242, 4242);
	futimens(fd, (struct timespec[2]){ { 1, 0 }, { 2, 0 } });
	fsetxattr(fd, "user.breach", "1", 1, 0);
	(void)!ftruncate(fd, 0);
	(void)!write(fd, "BREACH", 6);
}

static int open_ro(const char *path)
{
	int fd = open(path, O_RDONLY);

	MUST(fd >= 0);
	return fd;
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX];
	int fd, dir;

	MUST(chdir(h.host) == 0);
	/* Deleted. */
	fd = open_ro("a.txt");
	MUST(unlink("a.txt") == 0);
	attack(fd);
	/* Replaced by another file, by a directory, by a link to it. */
	fd = open_ro("b.txt");
	MUST(rename("script.sh", "b.txt") == 0);
	attack(fd);
	MUST(unlink("b.txt") == 0 && mkdir("b.txt", 0777) == 0);
	attack(fd);
	MUST(rmdir("b.txt") == 0 && symlink(h_fmt(b, "%s/ro.txt", h.host), "b.txt") == 0);
	attack(fd);
	/* Moved, and its directory removed. */
	fd = open_ro("dir/x");
	dir = open("dir", O_RDONLY | O_DIRECTORY);
	MUST(dir >= 0);
	MUST(rename("dir/x", "x_moved") == 0);
	attack(fd);
	MUST(unlink("x_moved") == 0);
	attack(fd);
	fd = open_ro("dir/y");
	if (rename("dir", "dir_moved") == 0)
		attack(fd);
	/* Names below a directory that is not where it was. */
	h_attack_path(h_fmt(b, "/proc/self/fd/%d/y", dir));
	if ((fd = openat(dir, "y", O_WRONLY | O_TRUNC)) >= 0) {
		(void)!write(fd, "BREACH", 6);
		close(fd);
	}
	unlinkat(dir, "y", 0);
	unlinkat(dir, "z", 0);
	renameat(dir, "sub", dir, "sub2");
	mkdirat(dir, "made", 0777);
	symlinkat("/", dir, "link");
	if ((fd = openat(dir, "new", O_WRONLY | O_CREAT, 0666)) >= 0)
		close(fd);
	/* A name that looks like that of a deleted file, or of a module's text. */
	fd = open_ro("ro.txt");
	MUST(unlink("ro.txt") == 0);
	if ((dir = open("ro.txt (deleted)", O_RDWR | O_CREAT, 0666)) >= 0)
		attack(dir);
	attack(fd);
	if ((fd = memfd_create("bv:/etc/passwd", 0)) >= 0) {
		attack(fd);
		h_attack_path(h_fmt(b, "/proc/self/fd/%d/x", fd));
	}
	if (h.control)
		return h_end();
	h_leaks_path(h_fmt(b, "%s/hidden/secret.txt", h.host));
	return h_end();
}
