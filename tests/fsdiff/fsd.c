/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the differential filesystem tester (fsdiff.py).
 *
 *   fsd tree DIR             makes the tree that every run begins with
 *   fsd gen SEED N           prints N random operations, one a line; none depends on a result of
 *                            another, so any subset is a test as well
 *   fsd run OPS DIR          carries them out in DIR and prints what each of them gave, then the tree
 *   fsd watch OPS DIR EVENTS the same, with what a watch of everything there for EVENTS (inotify(7), as a
 *                            number) saw of each
 *
 * Two processes take turns, each with descriptors, working directory and umask of its own.  What is
 * printed is what must be the same on any Linux: no inode numbers, no current times, no order of
 * entries, no link counts of directories.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fsd.h"

void die(const char *what)
{
	perror(what);
	_exit(99);
}

/* The other process: a line in, a line out. */
static void serve(int in, int to)
{
	FILE *f = fdopen(in, "r");
	char line[LINE * 2];

	while (f && fgets(line, sizeof(line), f)) {
		perform(line);
		out[out_len++] = '\n';
		if (write(to, out, out_len) != (ssize_t)out_len)
			break;
	}
	_exit(0);
}

static void dump(const char *path, int depth)
{
	struct stat st;
	char buf[65536], names_of[4096];
	DIR *d;
	const struct dirent *e;
	char *entry[400];
	size_t n = 0;

	if (lstat(path, &st) < 0) {
		printf("%s %s\n", path + 1, err());
		return;
	}
	printf("%s ", path + 1);
	out_len = 0;
	say_stat(0, &st);
	fwrite(out, 1, out_len, stdout);
	if (S_ISLNK(st.st_mode)) {
		ssize_t len = readlink(path, buf, sizeof(buf));
		printf(" -> %.*s", (int)len, buf);
	} else {
		ssize_t len = listxattr(path, names_of, sizeof(names_of));
		printf(" x%zd", len);
	}
	if (S_ISREG(st.st_mode)) {
		int fd = open(path, O_RDONLY);
		uint32_t h = 0;
		ssize_t len;

		while ((len = read(fd, buf, sizeof(buf))) > 0)
			h = h * 31 + hash(buf, (size_t)len);
		printf(" %08x", h);
		close(fd);
	}
	putchar('\n');
	if (!S_ISDIR(st.st_mode) || depth > 40)
		return;
	d = opendir(path);
	if (!d) {
		printf("%s closed\n", path + 1);
		return;
	}
	while ((e = readdir(d)) && n < 400)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			entry[n++] = strdup(e->d_name);
	closedir(d);
	qsort(entry, n, sizeof(entry[0]), by_text);
	for (size_t i = 0; i < n; i++) {
		char *child;

		if (asprintf(&child, "%s/%s", path, entry[i]) < 0)
			die("memory");
		dump(child, depth + 1);
		free(child);
		free(entry[i]);
	}
}

static int run(const char *ops, const char *dir, uint32_t events)
{
	int down[2], back[2];
	char line[LINE * 2], text[LINE * 2], top[PATH_MAX];
	unsigned n = 0;
	FILE *f = fopen(ops, "re");

	if (!f || chdir(dir) < 0 || !getcwd(top, sizeof(top)) || pipe2(down, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		die(ops);
	ops_begin(top);
	if (events)
		watch_begin(top, events);
	umask(022);
	signal(SIGPIPE, SIG_IGN); /* FIFOs without a reader */
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		close(down[1]);
		close(back[0]);
		serve(down[0], back[1]);
	}
	close(down[0]);
	close(back[1]);
	FILE *answer = fdopen(back[0], "r");
	while (fgets(line, sizeof(line), f)) {
		strcpy(text, line);
		text[strcspn(text, "\n")] = '\0';
		printf("%u %.300s = ", ++n, text);
		if (line[0] == '1') {
			char got[8300] = "gone\n";

			if (write(down[1], line + 2, strlen(line + 2)) < 0 || !fgets(got, sizeof(got), answer))
				die("the other process");
			printf("%.*s", (int)strcspn(got, "\n"), got);
		} else {
			perform(line + 2);
			printf("%.*s", (int)out_len, out);
		}
		watch_show(stdout);
		putchar('\n');
	}
	close(down[1]);
	waitpid(child, NULL, 0);
	if (geteuid() == 0) {
		setfsuid(0);
		setfsgid(0);
	}
	if (chdir(top) < 0)
		die(top);
	puts("== tree");
	dump(".", 0);
	return fflush(stdout) ? 99 : 0;
}

/* ---- the tree ---- */

static void file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		die(path);
	close(fd);
	struct timespec t[2] = {{5000, 0}, {6000, 0}};
	utimensat(AT_FDCWD, path, t, 0);
}

static int tree(const char *dir)
{
	umask(0);
	if ((mkdir(dir, 0755) < 0 && errno != EEXIST) || chdir(dir) < 0)
		die(dir);
	file("a", "the file a\n", 0644);
	file("b", "the file b, a bit longer\n", 0600);
	mkdir("c", 0755);
	file("c/a", "a in c\n", 0644);
	file("c/b", "b in c\n", 0444);
	mkdir("c/d", 0700);
	file("c/d/e", "deep\n", 0755);
	mkdir("d", 01777);
	file("d/a", "", 0644);
	mkdir("d/d", 0755);
	mkdir("d/d/d", 0755);
	file("d/d/d/f", "deeper\n", 0644);
	mkdir("f", 0755);
	(void)!symlink("a", "ln");
	(void)!symlink("c", "dl");
	(void)!symlink("../b", "c/ln");
	(void)!symlink("nowhere", "d/ln");
	(void)!mkfifo("c/f", 0600);
	(void)!setxattr("a", "user.one", "1", 1, 0);
	return 0;
}

int main(int argc, char **argv)
{
	static char buf[1 << 16];

	setvbuf(stdout, buf, _IOFBF, sizeof(buf));
	if (argc == 3 && !strcmp(argv[1], "tree"))
		return tree(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "gen"))
		return generate(strtoull(argv[2], NULL, 10), (unsigned)atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3], 0);
	if (argc == 5 && !strcmp(argv[1], "watch"))
		return run(argv[2], argv[3], (uint32_t)strtoul(argv[4], NULL, 0));
	fprintf(stderr, "usage: fsd tree DIR | gen SEED N | run OPS DIR | watch OPS DIR EVENTS\n");
	return 2;
}
