/* SPDX-License-Identifier: Apache-2.0 */
/* O_PATH descriptors: what names a file without opening it (open(2)). */
#include "t.h"
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

static void of_file(void)
{
	struct stat st, other;
	char b[64];
	int fd = TFD(open("a.txt", O_PATH));

	T(read(fd, b, 1));
	T(fstat(fd, &st));
	T(stat("a.txt", &other));
	SAY("  same object: %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(fchmod(fd, 0600));
	T(fchown(fd, (uid_t)-1, (gid_t)-1));
	T(ftruncate(fd, 0));
	T(fsetxattr(fd, "user.by_path", "f", 1, 0));
	T(fgetxattr(fd, "user.one", b, sizeof(b)));
	T(ioctl(fd, 0x5401 /* TCGETS */, b));
	T(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0) == MAP_FAILED ? errno : 0);
	T(lseek(fd, 0, SEEK_SET));
	T(fcntl(fd, F_GETFL) & O_PATH ? 1 : 0);
	T(fcntl(fd, F_GETFD));
	T(fchownat(fd, "", (uid_t)-1, (gid_t)-1, AT_EMPTY_PATH));
	T(utimensat(fd, "", (struct timespec[]){ { 13, 0 }, { 14, 0 } }, AT_EMPTY_PATH));
	T(fstatat(fd, "", &st, AT_EMPTY_PATH));
	SAY("  mtime %lld\n", (long long)st.st_mtime);
	/* The usual way on: reopen it. */
	snprintf(b, sizeof(b), "/proc/self/fd/%d", fd);
	TOPEN(open(b, O_RDONLY));
	TOPEN(open(b, O_RDWR));
	TOPEN(open(b, O_PATH | O_NOFOLLOW));
	T(chmod(b, 0604));
	T(stat("a.txt", &st));
	t_stat("a.txt", &st);
	close(fd);
	TOPEN(open("nothere", O_PATH | O_CREAT, 0600));
	TOPEN(open("dir", O_PATH | O_DIRECTORY));
	TOPEN(open("a.txt", O_PATH | O_DIRECTORY));
	TOPEN(open("none.txt", O_PATH));
	TOPEN(open("sock", O_PATH));
	TOPEN(open("fifo", O_PATH));
	TOPEN(open("script.sh", O_PATH | O_TRUNC | O_APPEND));
}

static void of_link(void)
{
	struct open_how how = { .flags = O_PATH | O_NOFOLLOW, .resolve = RESOLVE_NO_SYMLINKS };
	struct stat st;
	char b[64];
	int fd = TFD(open("link_a", O_PATH | O_NOFOLLOW)), dir = TFD(open("link_dir", O_PATH | O_NOFOLLOW));

	T(fstat(fd, &st));
	T(fstatat(fd, "", &st, AT_EMPTY_PATH));
	T(readlinkat(fd, "", b, sizeof(b)));
	T(openat(fd, "", O_RDONLY));
	T(fchown(fd, 1, 1));
	T(fchownat(fd, "", 5, 6, AT_EMPTY_PATH));
	T(lstat("link_a", &st));
	T(openat(dir, "x", O_RDONLY));
	T(linkat(fd, "", AT_FDCWD, "link_of_link", AT_EMPTY_PATH));
	TOPEN((int)syscall(SYS_openat2, AT_FDCWD, "link_a", &how, sizeof(how)));
	close(fd);
	close(dir);
}

static void of_directory(void)
{
	char b[512];
	int fd = TFD(open("dir", O_PATH)), closed = TFD(open("closed", O_PATH));

	T(syscall(SYS_getdents64, fd, b, sizeof(b)));
	TOPEN(openat(fd, "x", O_RDONLY));
	TOPEN(openat(fd, ".", O_RDONLY | O_DIRECTORY));
	TOPEN(openat(fd, "made", O_WRONLY | O_CREAT, 0644));
	T(mkdirat(fd, "madedir", 0755));
	T(fchdir(fd));
	T(access("x", F_OK));
	T(chdir(".."));
	T(faccessat(closed, ".", R_OK, 0));
	close(fd);
	close(closed);
}

int main(void)
{
	umask(022);
	of_file();
	of_link();
	of_directory();
	return 0;
}
