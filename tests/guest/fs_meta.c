/* SPDX-License-Identifier: Apache-2.0 */
/* Modes, owners and times: by path, by descriptor, through links, with and without rights. */
#include "t.h"
#include <sys/time.h>

static void show(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		SAY("  %s: %s\n", path, strerrorname_np(errno));
	else
		t_stat(path, &st);
}

static void times(const char *path)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		SAY("  %s: %s\n", path, strerrorname_np(errno));
	else
		SAY("  %s: atime %lld.%09ld mtime %lld.%09ld\n", path, (long long)st.st_atim.tv_sec, st.st_atim.tv_nsec,
		    (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
}

static void modes(void)
{
	int fd = open("a.txt", O_RDONLY), dir = open("dir", O_RDONLY);

	T(chmod("a.txt", 0600));
	show("a.txt");
	T(fchmod(fd, 0751));
	show("a.txt");
	T(chmod("link_a", 04711)); /* the target */
	show("a.txt");
	show("link_a");
	T(chmod("dir", 0711));
	show("dir");
	t_ls("dir");
	T(fchmod(dir, 02755));
	show("dir");
	T(fchmodat(dir, "x", 0, 0));
	show("dir/x");
	T(fchmodat(dir, "up_a", 0644, 0));
	show("a.txt");
	T(fchmodat(AT_FDCWD, "link_a", 0600, AT_SYMLINK_NOFOLLOW));
	T(chmod("missing", 0600));
	T(chmod("dangling", 0600));
	T(chmod("a.txt/x", 0600));
	T(chmod("loop1", 0600));
	T(chmod("", 0600));
	T(chmod("fifo", 0600));
	show("fifo");
	T(chmod("sock", 0700));
	show("sock");
	T(chmod("none.txt", 0644));
	show("none.txt");
	T(chmod("b.txt", 07777));
	show("b.txt");
	T(chmod("b.txt", 0170000 | 0644));
	show("b.txt");
	T(fchmod(-1, 0600));
	T(fchmod(0x10000, 0600));
	T(syscall(SYS_fchmodat, AT_FDCWD, t_bad, 0600));
#ifdef SYS_fchmodat2
	T(syscall(SYS_fchmodat2, AT_FDCWD, "script.sh", 0700, 0));
	T(syscall(SYS_fchmodat2, AT_FDCWD, "link_a", 0700, AT_SYMLINK_NOFOLLOW));
	T(syscall(SYS_fchmodat2, fd, "", 0700, AT_EMPTY_PATH));
	T(syscall(SYS_fchmodat2, fd, "", 0700, 0x1));
	show("a.txt");
#endif
	/* A descriptor opened before still reads, and sees what later writers write. */
	t_put("a.txt", "rewritten\n");
	t_cat("a.txt");
	T(chmod("closed", 0755));
	t_ls("closed");
	close(fd);
	close(dir);
	fd = open("dir/y", O_RDWR);
	T(fchmod(fd, 0400));
	T(write(fd, "Y", 1));
	close(fd);
	show("dir/y");
	t_cat("dir/y");
}

static void owners(void)
{
	int fd = open("b.txt", O_RDONLY);

	T(chown("a.txt", 1234, 4321));
	show("a.txt");
	T(chown("a.txt", (uid_t)-1, 77));
	show("a.txt");
	T(chown("link_a", 55, (gid_t)-1));
	show("a.txt");
	show("link_a");
	T(lchown("link_a", 66, 67));
	show("link_a");
	show("a.txt");
	T(fchown(fd, 88, 89));
	show("b.txt");
	T(fchownat(AT_FDCWD, "dir", 10, 11, 0));
	show("dir");
	T(fchownat(AT_FDCWD, "link_dir", 12, 13, AT_SYMLINK_NOFOLLOW));
	show("link_dir");
	T(fchownat(AT_FDCWD, "a.txt", 1, 1, 0x1));
	T(chown("missing", 0, 0));
	T(chown("dangling", 0, 0));
	T(lchown("dangling", 3, 4));
	show("dangling");
	T(chown("setuid", (uid_t)-1, (gid_t)-1));
	show("setuid");
	T(chown("setuid", 100, 100)); /* drops the bit */
	show("setuid");
	T(fchown(-1, 0, 0));
	T(syscall(SYS_fchownat, AT_FDCWD, t_bad, 0, 0, 0));
	close(fd);
	/* As somebody else: what a user may and may not. */
	if (geteuid() == 0 && fork() == 0) {
		if (setgid(3333) < 0 || setuid(3333) < 0)
			_exit(91);
		T(chmod("a.txt", 0600));
		T(chown("a.txt", 3333, 3333));
		TOPEN(open("ro.txt", O_WRONLY));
		TOPEN(open("none.txt", O_WRONLY));
		TOPEN(open("byuser", O_WRONLY | O_CREAT, 0644));
		T(mkdir("byuser", 0755));
		T(unlink("b.txt"));
		T(rename("b.txt", "b2.txt"));
		TOPEN(open("sticky/mine", O_WRONLY | O_CREAT, 0644));
		show("sticky/mine");
		T(chmod("sticky/mine", 0600));
		T(chown("sticky/mine", 0, 0));
		T(utimensat(AT_FDCWD, "b.txt", NULL, 0));
		T(access("dir/y", R_OK));
		TOPEN(open("dir/y", O_RDONLY));
		T(truncate("ro.txt", 0));
		T(access("a.txt", W_OK));
		_exit(0);
	}
	if (geteuid() == 0) {
		int st;

		wait(&st);
		SAY("  user: %d\n", WEXITSTATUS(st));
	}
}

static void stamps(void)
{
	struct timespec ts[2] = { { 1000000001, 123456789 }, { 1000000002, 987654321 } };
	struct timeval tv[2] = { { 900000000, 111111 }, { 900000001, 222222 } };
	struct timespec bad[2] = { { 1, 2000000000 }, { 1, 0 } };
	struct stat st;
	int fd = open("script.sh", O_RDONLY), ro;

	T(utimensat(AT_FDCWD, "script.sh", ts, 0));
	times("script.sh");
	ts[0].tv_sec = 5;
	ts[1].tv_nsec = UTIME_OMIT;
	T(futimens(fd, ts));
	times("script.sh");
	T(utimensat(AT_FDCWD, "link_a", (struct timespec[]){ { 7, 7 }, { 8, 8 } }, AT_SYMLINK_NOFOLLOW));
	T(lstat("link_a", &st));
	SAY("  link mtime %lld\n", (long long)st.st_mtim.tv_sec);
	T(utimensat(AT_FDCWD, "link_a", (struct timespec[]){ { 9, 9 }, { 10, 10 } }, 0));
	times("a.txt");
	T(utimensat(AT_FDCWD, "dir", (struct timespec[]){ { 11, 0 }, { 12, 0 } }, 0));
	times("dir");
	T(utimensat(AT_FDCWD, "script.sh", bad, 0));
	T(utimensat(AT_FDCWD, "missing", ts, 0));
	T(utimensat(AT_FDCWD, "dangling", ts, 0));
	T(utimensat(AT_FDCWD, "script.sh", ts, 0x1));
	T(utimensat(fd, "", (struct timespec[]){ { 13, 0 }, { 14, 0 } }, AT_EMPTY_PATH));
	times("script.sh");
	T(syscall(SYS_utimensat, fd, NULL, (struct timespec[]){ { 15, 0 }, { 16, 0 } }, 0));
	times("script.sh");
	T(syscall(SYS_utimensat, AT_FDCWD, NULL, ts, 0));
	T(syscall(SYS_utimensat, AT_FDCWD, "script.sh", t_bad, 0));
	T(syscall(SYS_utimensat, AT_FDCWD, t_bad, ts, 0));
	T(utimes("b.txt", tv));
	times("b.txt");
	T(futimes(fd, tv));
	times("script.sh");
	T(utimensat(AT_FDCWD, "b.txt", NULL, 0));
	T(stat("b.txt", &st));
	SAY("  now %d\n", st.st_mtim.tv_sec > 1600000000);
	T(utimensat(AT_FDCWD, "b.txt", (struct timespec[]){ { 0, UTIME_OMIT }, { 0, UTIME_OMIT } }, 0));
	/* Through a descriptor opened for reading, then read on through it. */
	ro = open("dir/z", O_RDONLY);
	T(futimens(ro, (struct timespec[]){ { 21, 0 }, { 22, 0 } }));
	T(fstat(ro, &st));
	SAY("  descriptor sees %lld\n", (long long)st.st_mtim.tv_sec);
	T(fchmod(ro, 0604));
	T(fchown(ro, 31, 32));
	T(fstat(ro, &st));
	t_stat("descriptor", &st);
	show("dir/z");
	T(lseek(ro, 1, SEEK_SET));
	T(read(ro, &st, 1));
	close(ro);
	close(fd);
}

int main(void)
{
	umask(022);
	modes();
	owners();
	stamps();
	return 0;
}
