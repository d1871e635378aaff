/* SPDX-License-Identifier: Apache-2.0 */
/* Directories that are open, or stood in, while they move, change places and go: who has one keeps it. */
#include "t.h"

static int dir, sub, other;

/* What stands where: the names in it, by its descriptor in every way there is. */
static void see(const char *what, int fd)
{
	static int round;
	char self[64], name[32], target[PATH_MAX] = "", *base;
	struct stat a = {0}, b = {0};
	int again, made;

	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(self, target, sizeof(target) - 1);
	base = n > 0 ? strrchr(target, '/') + 1 : target;
	/* (Of what was removed the name is not always the latest.) */
	bool gone = strstr(base, " (deleted)") != NULL;
	SAY(" %s is %s:", what, gone ? "gone" : base);
	again = open(self, O_RDONLY | O_DIRECTORY);
	SAY(" again %s", again >= 0 ? "" : strerrorname_np(errno));
	MUST(fstat(fd, &a) == 0 && (again < 0 || fstat(again, &b) == 0));
	if (!gone) /* else what was changed by path since it was opened is not seen */
		SAY(" mode %04o", a.st_mode & 07777);
	snprintf(name, sizeof(name), "new%d", round++);
	made = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	SAY(" make %s;", made < 0 ? strerrorname_np(errno) : "");
	if (made >= 0)
		close(made);
	/* Once more from the beginning, with what has come. */
	int list = openat(fd, ".", O_RDONLY | O_DIRECTORY);
	DIR *d = list < 0 ? NULL : fdopendir(list);
	const char *entry[64];
	size_t count = 0;
	for (struct dirent *e; d && (e = readdir(d)) && count < 64;)
		if (e->d_name[0] != '.')
			entry[count++] = strdup(e->d_name);
	for (size_t i = 0; i < count; i++) /* sorted: the smallest of the rest */
		for (size_t k = i + 1; k < count; k++)
			if (strcmp(entry[k], entry[i]) < 0) {
				const char *t = entry[i];

				entry[i] = entry[k];
				entry[k] = t;
			}
	for (size_t i = 0; i < count; i++)
		SAY(" %s", entry[i]);
	SAY(" up %s\n",
	    faccessat(fd, "../a.txt", F_OK, 0) == 0 ? "the top" : strerrorname_np(errno));
	if (d)
		closedir(d);
	if (again >= 0)
		close(again);
}

static void see_all(int line)
{
	SAY("%d:\n", line);
	see("dir", dir);
	see("sub", sub);
	see("other", other);
}
#define SEE() see_all(__LINE__)

static long swap(const char *a, const char *b)
{
	return syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2);
}

static void empty(const char *path)
{
	DIR *d = opendir(path);

	MUST(d);
	for (struct dirent *e; (e = readdir(d));)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			MUST(unlinkat(dirfd(d), e->d_name,
			              e->d_type == DT_DIR ? AT_REMOVEDIR : 0) == 0);
	closedir(d);
}

int main(void)
{
	MUST((dir = open("dir", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST((sub = open("dir/sub", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST((other = open("other", O_RDONLY | O_DIRECTORY)) >= 0);
	MUST(chmod("dir", 0711) == 0 && chmod("other", 0705) == 0);
	SEE();
	/* Another one takes the place, and moves on. */
	T(rename("dir", "went"));
	T(mkdir("dir", 0700));
	t_put("dir/stranger", "");
	SEE();
	T(rename("dir", "stranger"));
	SEE();
	/* Back and forth, with others. */
	T(swap("went", "other"));
	SEE();
	T(swap("went", "other"));
	T(rename("went", "dir"));
	SEE();
	T(swap("dir", "stranger"));
	T(rename("dir", "dir2"));
	SEE();
	/* A directory leaves the one that moved, and another one comes to its place. */
	T(rename("stranger/sub", "sub"));
	T(mkdir("stranger/sub", 0700));
	t_put("stranger/sub/not-it", "");
	SEE();
	T(rename("stranger", "third"));
	T(rename("third/sub", "not-sub"));
	SEE();
	T(rename("sub", "third/sub"));
	T(chdir("third/sub"));
	T(rename("../../third", "../../fourth"));
	SEE();
	T(access("../../other", F_OK));
	T(access("../sub/deep", F_OK));
	T(rename("../../fourth/sub", "../../other/sub"));
	T(access("../sub/deep", F_OK));
	T(access("../../fourth", F_OK));
	SEE();
	T(fchdir(dir));
	T(chdir(".."));
	/* They go, and what comes after them is not them. */
	empty("fourth");
	T(rmdir("fourth"));
	SEE();
	T(mkdir("fourth", 0700));
	t_put("fourth/stranger", "");
	SEE();
	T(rename("fourth", "fifth"));
	SEE();
	/* Removed by being replaced. */
	T(mkdir("other2", 0700));
	empty("other/sub/deep");
	empty("other/sub");
	T(rename("other2", "other/sub"));
	SEE();
	t_put("other/sub/stranger", "");
	T(rename("other", "dir"));
	SEE();
	return 0;
}
