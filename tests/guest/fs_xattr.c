/* SPDX-License-Identifier: Apache-2.0 */
/* Extended attributes: by path, through links and by descriptor. */
#include "t.h"
#include <sys/xattr.h>

/* Names may come in any order. */
static void names(const char *path)
{
	char b[1024], *v[32];
	ssize_t n = llistxattr(path, b, sizeof(b));
	size_t k = 0;

	SAY("  %s:", path);
	if (n < 0)
		SAY(" %s", strerrorname_np(errno));
	for (ssize_t i = 0; i < n && k < 32; i += (ssize_t)strlen(b + i) + 1)
		if (!strncmp(b + i, "user.", 5))
			v[k++] = b + i;
	qsort(v, k, sizeof(v[0]), t_cmp);
	for (size_t i = 0; i < k; i++)
		SAY(" %s", v[i]);
	SAY("\n");
}

static void value(const char *path, const char *name)
{
	char b[256];
	ssize_t n = getxattr(path, name, b, sizeof(b));

	SAY("  %s %s = ", path, name);
	if (n < 0)
		SAY("%s", strerrorname_np(errno));
	else
		t_bytes(b, (size_t)n);
	SAY("\n");
}

int main(void)
{
	char b[256], list[256], big[70000] = { 0 };
	int fd = open("a.txt", O_RDONLY), rw = open("b.txt", O_RDWR), dir = open("dir", O_RDONLY);

	names("a.txt");
	value("a.txt", "user.one");
	value("dir", "user.two");
	value("link_a", "user.one");
	T(lgetxattr("link_a", "user.one", b, sizeof(b)));
	T(getxattr("a.txt", "user.one", NULL, 0));
	T(getxattr("a.txt", "user.none", b, sizeof(b)));
	T(getxattr("missing", "user.one", b, sizeof(b)));
	T(getxattr("dangling", "user.one", b, sizeof(b)));
	T(getxattr("a.txt/x", "user.one", b, sizeof(b)));
	T(setxattr("a.txt", "user.three", "333", 3, 0));
	T(getxattr("a.txt", "user.three", b, 2));
	T(getxattr("a.txt", "user.three", b, 3));
	names("a.txt");
	value("a.txt", "user.one");
	T(setxattr("a.txt", "user.three", "again", 5, XATTR_CREATE));
	T(setxattr("a.txt", "user.four", "again", 5, XATTR_REPLACE));
	T(setxattr("a.txt", "user.three", "replaced", 8, XATTR_REPLACE));
	value("a.txt", "user.three");
	T(setxattr("link_a", "user.via", "v", 1, 0));
	names("a.txt");
	T(lsetxattr("link_a", "user.on_link", "v", 1, 0));
	T(setxattr("a.txt", "user.empty", "", 0, 0));
	value("a.txt", "user.empty");
	T(setxattr("a.txt", "user.bin", "\0\1\2\xff", 4, 0));
	value("a.txt", "user.bin");
	T(removexattr("a.txt", "user.one"));
	T(removexattr("a.txt", "user.one"));
	names("a.txt");
	t_cat("a.txt");
	T(fgetxattr(fd, "user.three", b, sizeof(b)) * 0);
	T(fsetxattr(fd, "user.by_fd", "f", 1, 0));
	value("a.txt", "user.by_fd");
	T(fgetxattr(fd, "user.by_fd", b, sizeof(b)));
	T(fremovexattr(fd, "user.by_fd"));
	T(flistxattr(fd, list, sizeof(list)) > 0);
	T(fsetxattr(rw, "user.rw", "rw", 2, 0));
	value("b.txt", "user.rw");
	T(write(rw, "BETA", 4));
	value("b.txt", "user.rw");
	T(fsetxattr(dir, "user.dir", "d", 1, 0));
	names("dir");
	T(setxattr("dir", "user.dir2", "d", 1, 0));
	T(removexattr("dir", "user.two"));
	names("dir");
	t_ls("dir");
	T(rename("a.txt", "a2.txt"));
	names("a2.txt");
	T(rename("a2.txt", "a.txt"));
	T(setxattr("fifo", "user.x", "x", 1, 0));
	T(setxattr("a.txt", "", "x", 1, 0));
	T(setxattr("a.txt", "user.", "x", 1, 0));
	T(setxattr("a.txt", "nonsense", "x", 1, 0));
	T(setxattr("a.txt", "bogus.x", "x", 1, 0));
	T(setxattr("a.txt", "user.big", big, sizeof(big), 0));
	T(setxattr("a.txt", "user.flag", "x", 1, 8));
	memset(big, 'n', 300);
	memcpy(big, "user.", 5);
	T(setxattr("a.txt", big, "x", 1, 0));
	T(getxattr("a.txt", big, b, sizeof(b)));
	T(syscall(SYS_setxattr, "a.txt", "user.p", t_bad, 3, 0));
	T(syscall(SYS_setxattr, "a.txt", t_bad, "x", 1, 0));
	T(syscall(SYS_getxattr, t_bad, "user.p", b, 3));
	T(syscall(SYS_getxattr, "a.txt", "user.bin", t_bad, 10));
	T(syscall(SYS_listxattr, "a.txt", t_bad, 1000));
	T(listxattr("a.txt", list, 1));
	T(fsetxattr(-1, "user.x", "x", 1, 0));
	T(setxattr("missing", "user.x", "x", 1, 0));
	T(setxattr("ro.txt", "user.x", "x", 1, 0));
	names("ro.txt");
	t_put("made", "m");
	T(setxattr("made", "user.m", "m", 1, 0));
	T(link("made", "made2"));
	names("made2");
	close(fd);
	close(rw);
	close(dir);
	return 0;
}
