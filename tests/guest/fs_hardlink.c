/* SPDX-License-Identifier: Apache-2.0 */
/* Two names of one file that were there before: a change through one shows through the other. */
#include "t.h"

static void same(void)
{
	struct stat x, y;

	T(lstat("hard1", &x));
	T(lstat("hard2", &y));
	SAY("  same %d, links %lu %lu\n", x.st_ino == y.st_ino && x.st_dev == y.st_dev, (unsigned long)x.st_nlink,
	    (unsigned long)y.st_nlink);
}

int main(void)
{
	struct stat st;
	int fd;

	same();
	fd = TFD(open("hard1", O_WRONLY | O_APPEND));
	T(write(fd, "appended\n", 9));
	close(fd);
	same();
	t_cat("hard1");
	t_cat("hard2");
	T(chmod("hard2", 0600));
	T(stat("hard1", &st));
	t_stat("hard1", &st);
	T(link("hard1", "hard3"));
	same();
	T(unlink("hard1"));
	T(access("hard2", F_OK));
	T(stat("hard2", &st));
	t_stat("hard2", &st);
	return 0;
}
