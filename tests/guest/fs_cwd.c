/* SPDX-License-Identifier: Apache-2.0 */
/* getcwd(2), chdir(2), fchdir(2): and what relative paths mean afterwards. */
#include "t.h"
#include <pthread.h>

static char start[PATH_MAX];

/* Where we are, relative to where we began. */
static void here(void)
{
	char b[PATH_MAX];
	size_t n = strlen(start);

	if (!getcwd(b, sizeof(b)))
		SAY("  cwd: %s\n", strerrorname_np(errno));
	else if (!strncmp(b, start, n))
		SAY("  cwd: START%s\n", b + n);
	else
		SAY("  cwd: %s\n", b);
}

static void moving(void)
{
	int top = open(".", O_RDONLY), path = open("dir/sub", O_PATH), file = open("a.txt", O_RDONLY);

	here();
	T(chdir("dir"));
	here();
	T(access("x", F_OK));
	T(chdir("sub/deep"));
	here();
	T(chdir(".."));
	here();
	T(chdir("../up"));
	here();
	T(chdir("link_dir"));
	here();
	T(access("../a.txt", F_OK));
	T(fchdir(top));
	T(chdir("abs_dir"));
	here();
	T(chdir("."));
	T(chdir(start));
	T(chdir("a.txt"));
	T(chdir("missing"));
	T(chdir("dangling"));
	T(chdir("loop1"));
	T(chdir(""));
	T(chdir("a.txt/"));
	T(chdir("closed"));
	T(fchdir(top));
	here();
	T(fchdir(path));
	here();
	T(fchdir(top));
	T(fchdir(file));
	T(fchdir(-1));
	T(fchdir(999));
	T(syscall(SYS_chdir, t_bad));
	T(chdir("/"));
	here();
	T(chdir("//usr//bin/.."));
	here();
	T(chdir("/../.."));
	here();
	T(fchdir(top));
	close(path);
	close(file);
	close(top);
}

static void made(void)
{
	struct stat st;
	int top = open(".", O_RDONLY), fd;

	T(mkdir("m", 0755));
	T(mkdir("m/n", 0755));
	T(chdir("m/n"));
	here();
	TOPEN(open("file", O_WRONLY | O_CREAT, 0644));
	T(access("../../a.txt", F_OK));
	T(chdir(".."));
	here();
	t_ls("n");
	/* Renamed under our feet. */
	T(chdir("n"));
	T(rename("../../m", "../../m2"));
	here();
	T(access("file", F_OK));
	T(chdir(".."));
	here();
	T(chdir(".."));
	/* Removed under our feet. */
	T(mkdir("gone", 0755));
	fd = open("gone", O_RDONLY);
	T(chdir("gone"));
	T(rmdir("../gone"));
	here();
	T(stat(".", &st));
	SAY("  links %lu\n", (unsigned long)st.st_nlink);
	T(stat("..", &st));
	TOPEN(open("x", O_WRONLY | O_CREAT, 0644));
	T(mkdir("x", 0755));
	T(access("a.txt", F_OK));
	T(stat("./", &st));
	T(stat("./././", &st));
	T(stat("./x", &st));
	T(stat("x/y", &st));
	T(stat("./..", &st));
	TOPEN(open("x/", O_RDONLY | O_CREAT, 0644));
	TOPEN(open(".//x//", O_WRONLY | O_CREAT | O_EXCL, 0644));
	TOPEN(open("x/", O_RDONLY));
	TOPEN(open("./", O_RDONLY | O_CREAT, 0644));
	TOPEN(open("x/y/", O_RDONLY | O_CREAT, 0644));
	/* Both parents first, then which kind of name each is, then whether there is one. */
	T(renameat(AT_FDCWD, "x", 999, "y"));
	T(renameat(999, "y", AT_FDCWD, "x"));
	T(renameat(AT_FDCWD, "x", top, "a.txt/y"));
	T(renameat(AT_FDCWD, "x", top, "missing/y"));
	T(renameat(AT_FDCWD, "x/z", 999, "y"));
	T(renameat(AT_FDCWD, "x", top, "."));
	T(renameat(AT_FDCWD, ".", top, "y"));
	T(renameat(top, ".", AT_FDCWD, "y"));
	T(renameat(top, "a.txt", AT_FDCWD, "y"));
	T(renameat(top, "a.txt", AT_FDCWD, "y/"));
	T(renameat(top, "missing", AT_FDCWD, "y"));
	T(renameat(AT_FDCWD, "x/", AT_FDCWD, "./y"));
	T(syscall(SYS_renameat2, AT_FDCWD, "x", top, ".", RENAME_NOREPLACE));
	T(syscall(SYS_renameat2, top, "a.txt", AT_FDCWD, "y", RENAME_EXCHANGE));
	t_ls(".");
	T(fchdir(fd));
	T(chdir("."));
	T(chdir(".."));
	T(fchdir(top));
	here();
	close(fd);
	/* A directory that was there before, renamed while we stand in it. */
	T(chdir("dir/sub"));
	T(rename("../../dir", "../../dir_moved"));
	here();
	t_cat("f");
	t_put("written_after_move", "w\n");
	T(chdir(".."));
	here();
	t_ls("sub");
	T(fchdir(top));
	T(rename("dir_moved", "dir"));
	T(access("dir/sub/written_after_move", F_OK));
	close(top);
}

static void buffers(void)
{
	char b[PATH_MAX];
	long n;

	MUST(chdir("/usr") == 0);
	T(syscall(SYS_getcwd, b, sizeof(b)));
	T(syscall(SYS_getcwd, b, 5));
	T(syscall(SYS_getcwd, b, 4));
	T(syscall(SYS_getcwd, b, 0));
	T(syscall(SYS_getcwd, t_bad, 100));
	n = syscall(SYS_getcwd, b, sizeof(b));
	SAY("  %ld %s\n", n, n > 0 ? b : "-");
	MUST(chdir(start) == 0);
}

static void *in_thread(void *arg)
{
	T(chdir("dir/sub"));
	return arg;
}

static void shared(void)
{
	pthread_t t;

	/* Threads share the cwd; a child has its own. */
	MUST(pthread_create(&t, NULL, in_thread, NULL) == 0);
	pthread_join(t, NULL);
	here();
	if (fork() == 0) {
		here();
		T(chdir(start));
		_exit(0);
	}
	wait(NULL);
	here();
	MUST(chdir(start) == 0);
}

int main(void)
{
	umask(022);
	MUST(getcwd(start, sizeof(start)));
	moving();
	made();
	buffers();
	shared();
	return 0;
}
