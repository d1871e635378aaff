/* SPDX-License-Identifier: Apache-2.0 */
/* open(2): every flag, on files, directories, links and what does not exist. */
#include "t.h"

static void creating(void)
{
	TOPEN(open("new1", O_RDONLY));
	TOPEN(open("new1", O_WRONLY | O_CREAT, 0600));
	TOPEN(open("new1", O_WRONLY | O_CREAT | O_EXCL, 0600));
	TOPEN(open("a.txt", O_RDONLY | O_CREAT, 0600));
	TOPEN(open("a.txt", O_RDONLY | O_CREAT | O_EXCL, 0600));
	TOPEN(open("dir", O_RDONLY | O_CREAT, 0600));
	TOPEN(open("dir", O_RDONLY | O_CREAT | O_EXCL, 0600));
	TOPEN(open("dir", O_WRONLY));
	TOPEN(open("dir", O_RDWR));
	TOPEN(open("dir", O_RDONLY | O_TRUNC));
	TOPEN(open("dir", O_RDONLY));
	TOPEN(open("newslash/", O_WRONLY | O_CREAT, 0600));
	TOPEN(open("a.txt/", O_RDONLY));
	TOPEN(open("a.txt/x", O_RDONLY));
	TOPEN(open("dir/", O_RDONLY));
	TOPEN(open("dir/.", O_RDONLY));
	TOPEN(open("dir/..", O_RDONLY));
	TOPEN(open("nodir/x", O_WRONLY | O_CREAT, 0600));
	TOPEN(open("dangling", O_RDONLY));
	TOPEN(open("dangling", O_WRONLY | O_CREAT | O_EXCL, 0600));
	TOPEN(open("dangling", O_WRONLY | O_CREAT | O_NOFOLLOW, 0600));
	T(access("nowhere", F_OK));
	TOPEN(open("dangling", O_WRONLY | O_CREAT, 0600)); /* makes what the link names */
	T(access("nowhere", F_OK));
	TOPEN(creat("creat1", 0640));
	TOPEN(creat("a.txt", 0600));
	t_cat("a.txt");
	TOPEN(open("dir/sub/new", O_RDWR | O_CREAT, 0644));
	TOPEN(open("link_dir/vialink", O_RDWR | O_CREAT, 0644));
	t_ls("dir");
	t_ls("dir/sub");
}

static void truncating(void)
{
	struct stat st;
	int fd;

	TOPEN(open("b.txt", O_RDONLY | O_TRUNC)); /* unspecified by POSIX; Linux truncates */
	t_cat("b.txt");
	fd = TFD(open("big.bin", O_RDWR | O_TRUNC));
	T(fstat(fd, &st));
	t_stat("big.bin", &st);
	T(write(fd, "abc", 3));
	T(pread(fd, &st, 10, 0));
	close(fd);
	t_cat("big.bin");
	TOPEN(open("dir/x", O_WRONLY | O_CREAT | O_TRUNC, 0600));
	T(stat("dir/x", &st));
	t_stat("dir/x keeps its mode", &st);
	TOPEN(open("ro.txt", O_RDONLY | O_TRUNC));
	T(stat("setuid", &st));
	t_stat("setuid", &st);
	fd = TFD(open("setuid", O_WRONLY));
	T(write(fd, "changed", 7)); /* clears the bit unless root */
	close(fd);
	T(stat("setuid", &st));
	t_stat("setuid written", &st);
}

static void appending(void)
{
	int fd = TFD(open("dir/y", O_WRONLY | O_APPEND)), other = TFD(open("dir/y", O_RDWR));

	T(write(fd, "one\n", 4));
	T(pwrite(other, "Y", 1, 0));
	T(lseek(fd, 0, SEEK_SET));
	T(write(fd, "two\n", 4));
	T(lseek(fd, 0, SEEK_CUR));
	T(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND));
	close(fd);
	close(other);
	t_cat("dir/y");
}

static void kinds(void)
{
	TOPEN(open("a.txt", O_RDONLY | O_DIRECTORY));
	TOPEN(open("dir", O_RDONLY | O_DIRECTORY));
	TOPEN(open("dir", O_RDWR | O_DIRECTORY));
	TOPEN(open("link_dir", O_RDONLY | O_DIRECTORY));
	TOPEN(open("link_dir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW));
	TOPEN(open("link_dir/", O_RDONLY | O_NOFOLLOW));
	TOPEN(open("link_dir/x", O_RDONLY | O_NOFOLLOW));
	TOPEN(open("link_a", O_RDONLY | O_NOFOLLOW));
	TOPEN(open("link_a", O_RDONLY));
	TOPEN(open("nodir", O_RDONLY | O_DIRECTORY | O_CREAT, 0755));
	TOPEN(open("loop1", O_RDONLY));
	TOPEN(open("loop1/x", O_RDONLY));
	TOPEN(open("chain40", O_RDONLY));
	TOPEN(open("chain41", O_RDONLY));
	TOPEN(open("zigzag", O_RDONLY));
	TOPEN(open("abs_a", O_RDONLY));
	TOPEN(open("abs_dir/up/link_dir/up_a", O_RDONLY));
	TOPEN(open("sock", O_RDONLY));
	TOPEN(open("fifo", O_RDWR));
	TOPEN(open("fifo", O_WRONLY | O_NONBLOCK));
	TOPEN(open("fifo", O_RDONLY | O_NONBLOCK));
	TOPEN(open("", O_RDONLY));
	TOPEN(open("", O_RDONLY | O_CREAT, 0600));
	TOPEN(open("none.txt", O_RDONLY)); /* root may */
	TOPEN(open("closed/x", O_RDONLY));
	TOPEN(open("ro.txt", O_WRONLY));
	TOPEN(open("a.txt", O_ACCMODE));
}

static void unnamed(void)
{
	char p[64];
	struct stat st;
	int fd;

	fd = TFD(open("dir", O_TMPFILE | O_RDWR, 0640));
	if (fd >= 0) {
		T(write(fd, "unnamed\n", 8));
		T(fstat(fd, &st));
		t_stat("unnamed", &st);
		t_ls("dir");
		snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
		T(linkat(AT_FDCWD, p, AT_FDCWD, "dir/named", AT_SYMLINK_FOLLOW));
		t_cat("dir/named");
		T(fstat(fd, &st));
		t_stat("named", &st);
		close(fd);
	}
	TOPEN(open("a.txt", O_TMPFILE | O_RDWR, 0600));
	TOPEN(open("dir", O_TMPFILE | O_RDONLY, 0600));
	TOPEN(open("dir", O_TMPFILE | O_RDWR | O_CREAT, 0600));
	fd = TFD(open("dir", O_TMPFILE | O_RDWR | O_EXCL, 0600));
	if (fd >= 0) {
		snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
		T(linkat(AT_FDCWD, p, AT_FDCWD, "dir/named2", AT_SYMLINK_FOLLOW));
		close(fd);
	}
}

static void numbers(void)
{
	int a = open("a.txt", O_RDONLY), b = open("b.txt", O_RDONLY | O_CLOEXEC), c;

	SAY("  descriptors follow each other: %d\n", b - a);
	SAY("  close-on-exec: %d %d\n", fcntl(a, F_GETFD), fcntl(b, F_GETFD));
	close(a);
	c = open("dir", O_RDONLY);
	SAY("  lowest number is reused: %d\n", c == a);
	close(b);
	close(c);
	/* 0, 1, 2 are all there is: nothing of the sandbox's leaks in. */
	SAY("  first free number: %d\n", a);
	/* Unknown bits are ignored by open(2) and refused by openat2(2). */
	TOPEN(open("a.txt", O_RDONLY | 0x40000000));
	TOPEN(open("a.txt", O_RDONLY | O_NOCTTY | O_SYNC | O_NOATIME | O_LARGEFILE));
	TOPEN(open("dir/mode", O_WRONLY | O_CREAT, 07777));
	TOPEN(open("dir/mode2", O_WRONLY | O_CREAT, 0170000 | 0666));
}

static void limits(void)
{
	struct stat st;
	int fd[64], n = 0;

	/* The guest's own descriptor limit, not the supervisor's. */
	SAY("limit\n");
	if (fork() == 0) {
		struct { unsigned long cur, max; } rl = { 16, 16 };

		syscall(SYS_prlimit64, 0, 7 /* RLIMIT_NOFILE */, &rl, NULL);
		while (n < 64 && (fd[n] = open("a.txt", O_RDONLY)) >= 0)
			n++;
		SAY("  opened until %s at %d\n", strerrorname_np(errno), fd[n - 1]);
		T(open("created_at_limit", O_WRONLY | O_CREAT, 0600));
		T(stat("created_at_limit", &st) < 0 ? errno == ENOENT : 2);
		_exit(0);
	}
	wait(NULL);
}

int main(void)
{
	umask(022);
	kinds();
	creating();
	truncating();
	appending();
	unnamed();
	numbers();
	limits();
	return 0;
}
