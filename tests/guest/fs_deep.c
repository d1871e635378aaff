/* SPDX-License-Identifier: Apache-2.0 */
/* Directories deeper than any path can name (PATH_MAX), made and removed step by step. */
#include "t.h"

int main(void)
{
	char p[PATH_MAX] = "";
	struct stat st;
	int fd = open("emptydir", O_RDONLY | O_DIRECTORY), top = dup(fd), n;

	/* 300 levels of 20 bytes: 6,000 bytes deep, past PATH_MAX, step by step. */
	for (n = 0; n < 300; n++) {
		int next;

		if (mkdirat(fd, "abcdefghijklmnopqrs", 0755) < 0)
			break;
		next = openat(fd, "abcdefghijklmnopqrs", O_RDONLY | O_DIRECTORY);
		if (next < 0)
			break;
		close(fd);
		fd = next;
	}
	/* How far it goes where a path must do depends on where we are. */
	SAY("levels made: %s\n", n == 300 ? "all" : n > 100 ? "many" : "few");
	T(fchdir(fd));
	T(getcwd(p, sizeof(p)) != NULL);
	SAY("  errno %s\n", p[0] == '/' ? "none" : strerrorname_np(errno));
	TOPEN(open("bottom", O_WRONLY | O_CREAT, 0644));
	T(stat("bottom", &st));
	t_ls(".");
	T(stat("../../../..", &st));
	T(unlink("bottom"));
	T(fchdir(top));
	/* Down again by a relative path of 3,999 bytes. */
	p[0] = '\0';
	for (n = 0; n < 199; n++)
		strcat(p, n ? "/abcdefghijklmnopqrs" : "abcdefghijklmnopqrs");
	T(chdir(p));
	T(stat("abcdefghijklmnopqrs", &st));
	T(fchdir(top));
	T(chdir(".."));
	(void)unlinkat(fd, "abcdefghijklmnopqrs", AT_REMOVEDIR); /* made, but not entered */
	/* And up again by "..", removing as we go. */
	for (n = 0;; n++) {
		int up = openat(fd, "..", O_RDONLY | O_DIRECTORY);

		if (up < 0 || unlinkat(up, "abcdefghijklmnopqrs", AT_REMOVEDIR) < 0) {
			close(up);
			break;
		}
		close(fd);
		fd = up;
	}
	SAY("levels removed: %s\n", n == 300 ? "all" : n > 100 ? "many" : "few");
	t_ls("emptydir");
	close(fd);
	close(top);
	return 0;
}
