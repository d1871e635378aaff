/* SPDX-License-Identifier: Apache-2.0 */
/* Directories deeper than any path can name (PATH_MAX), made, used and removed step by step. */
#include "t.h"

#define LEVELS 300 /* of 20 bytes: 6,000 bytes */
#define NAME "abcdefghijklmnopqrs"

int main(void)
{
	static int fd[LEVELS + 1];
	char p[PATH_MAX] = "";
	struct stat st;
	int n, gone;

	umask(022);
	fd[0] = open("emptydir", O_RDONLY | O_DIRECTORY);
	for (n = 0; n < LEVELS; n++) {
		if (mkdirat(fd[n], NAME, 0755) < 0)
			break;
		fd[n + 1] = openat(fd[n], NAME, O_RDONLY | O_DIRECTORY);
		if (fd[n + 1] < 0) {
			unlinkat(fd[n], NAME, AT_REMOVEDIR);
			break;
		}
	}
	/* How far it goes where a path must do depends on where we are. */
	SAY("levels made: %s\n", n == LEVELS ? "all" : n > 100 ? "many" : "few");
	T(fchdir(fd[n]));
	if (n == LEVELS) {
		T(getcwd(p, sizeof(p)) != NULL);
		TOPEN(open("bottom", O_WRONLY | O_CREAT, 0644));
		T(stat("bottom", &st));
		t_ls(".");
		T(stat("../../../..", &st));
		T(unlink("bottom"));
	}
	T(fchdir(fd[0]));
	/* Down again by a relative path of 3,799 bytes. */
	p[0] = '\0';
	for (int i = 0; i < 190; i++)
		strcat(p, i ? "/" NAME : NAME);
	T(chdir(p));
	T(stat("../" NAME, &st));
	T(fchdir(fd[0]));
	T(chdir(".."));
	for (gone = 0; gone < n && unlinkat(fd[n - gone - 1], NAME, AT_REMOVEDIR) == 0; gone++)
		close(fd[n - gone]);
	SAY("levels removed: %s\n", gone == n ? "as many" : "fewer");
	t_ls("emptydir");
	return 0;
}
