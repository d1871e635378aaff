/* SPDX-License-Identifier: Apache-2.0 */
/* The old names of calls, by number: what musl, Go and old static programs use. */
#include "t.h"
#include <utime.h>

#ifdef SYS_open
struct old_dirent {
	unsigned long ino, off;
	unsigned short reclen;
	char name[];
};

static void listing(void)
{
	char b[1024];
	int fd = (int)syscall(SYS_open, "dir", O_RDONLY | O_DIRECTORY), n = 0;
	long got;

	while ((got = syscall(SYS_getdents, fd, b, sizeof(b))) > 0)
		for (long i = 0; i < got; i += ((struct old_dirent *)(void *)(b + i))->reclen) {
			struct old_dirent *e = (void *)(b + i);
			unsigned char type = (unsigned char)b[i + e->reclen - 1]; /* the type hides in the last byte */

			n++;
			if (!strcmp(e->name, "sub"))
				SAY("  sub is a directory %d\n", type == DT_DIR);
		}
	SAY("  getdents: %d names, end %ld\n", n, got);
	T(syscall(SYS_getdents, fd, b, 1));
	close(fd);
}

int main(void)
{
	char b[256];
	struct stat st;
	struct utimbuf ut = { 100, 200 };
	struct timeval tv[2] = { { 300, 0 }, { 400, 0 } };
	int fd;

	umask(022);
	TOPEN((int)syscall(SYS_open, "a.txt", O_RDONLY));
	TOPEN((int)syscall(SYS_open, "new", O_WRONLY | O_CREAT, 0640));
	TOPEN((int)syscall(SYS_open, "missing", O_RDONLY));
	TOPEN((int)syscall(SYS_open, t_bad, O_RDONLY));
	TOPEN((int)syscall(SYS_creat, "created", 0600));
	T(syscall(SYS_stat, "a.txt", &st));
	t_stat("a.txt", &st);
	T(syscall(SYS_stat, "missing", &st));
	T(syscall(SYS_stat, "a.txt", t_bad));
	T(syscall(SYS_lstat, "link_a", &st));
	t_stat("link_a", &st);
	T(syscall(SYS_access, "a.txt", R_OK));
	T(syscall(SYS_access, "missing", R_OK));
	T(syscall(SYS_mkdir, "d", 0755));
	T(syscall(SYS_mkdir, "d", 0755));
	T(syscall(SYS_rename, "new", "d/new"));
	T(syscall(SYS_rename, "missing", "d/new"));
	T(syscall(SYS_rename, "d", "d2"));
	T(syscall(SYS_link, "a.txt", "d2/linked"));
	T(syscall(SYS_symlink, "a.txt", "d2/soft"));
	T(syscall(SYS_readlink, "d2/soft", b, sizeof(b)));
	T(syscall(SYS_unlink, "d2/linked"));
	T(syscall(SYS_unlink, "d2/soft"));
	T(syscall(SYS_unlink, "d2/new"));
	T(syscall(SYS_rmdir, "d2"));
	T(syscall(SYS_rmdir, "dir"));
	T(syscall(SYS_chmod, "a.txt", 0600));
	T(syscall(SYS_chown, "a.txt", -1, -1));
	T(syscall(SYS_lchown, "link_a", -1, -1));
	T(syscall(SYS_mknod, "p", S_IFIFO | 0600, 0));
	T(syscall(SYS_utime, "b.txt", &ut));
	T(stat("b.txt", &st));
	SAY("  %lld %lld\n", (long long)st.st_atime, (long long)st.st_mtime);
	T(syscall(SYS_utimes, "b.txt", tv));
	T(stat("b.txt", &st));
	SAY("  %lld %lld\n", (long long)st.st_atime, (long long)st.st_mtime);
	T(syscall(SYS_futimesat, AT_FDCWD, "b.txt", tv));
	T(syscall(SYS_utime, "missing", &ut));
	T(syscall(SYS_utime, "b.txt", NULL));
	T(syscall(SYS_truncate, "a.txt", 2));
	T(syscall(SYS_chdir, "dir"));
	T(syscall(SYS_getcwd, b, sizeof(b)) > 0);
	T(syscall(SYS_chdir, ".."));
	listing();
	fd = (int)syscall(SYS_open, "a.txt", O_RDONLY);
	T(syscall(SYS_dup2, fd, 50));
	T(syscall(SYS_poll, NULL, 0, 0));
	T(syscall(SYS_pipe, (int[2]){ 0, 0 }));
	return 0;
}
#else
int main(void)
{
	SAY("no old names on this architecture\n");
	return 0;
}
#endif
