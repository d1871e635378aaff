/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_GUEST_T_H
#define TESTS_GUEST_T_H
/*
 * What every differential program uses: it prints each call with its result, and the runner
 * compares the output of a native run with one inside bvisor.  So nothing may be printed that
 * differs between two native runs: no inode or process numbers, no times, no descriptor numbers
 * (T for values, TFD for descriptors).  Output is unbuffered, so that forks do not repeat it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

UNUSED static long t_show(int line, const char *what, long r, bool fd)
{
	int e = errno;

	if (r == -1)
		dprintf(1, "%d: %s: %s\n", line, what, strerrorname_np(e) ? strerrorname_np(e) : "errno?");
	else if (fd)
		dprintf(1, "%d: %s: fd\n", line, what);
	else
		dprintf(1, "%d: %s: %ld\n", line, what, r);
	errno = e;
	return r;
}

/* Evaluates a call, prints its text and its value or errno; yields the value. */
#define T(e) t_show(__LINE__, #e, (errno = 0, (long)(e)), false)
#define TFD(e) ((int)t_show(__LINE__, #e, (errno = 0, (long)(e)), true))
/* The same where the result is a descriptor that is not needed any more. */
#define TOPEN(e)                                                                                             \
	do {                                                                                                 \
		/* Not TFD(e): its text would have macros replaced, by other numbers on other processors. */ \
		int t_fd_ = (int)t_show(__LINE__, #e, (errno = 0, (long)(e)), true);                         \
		if (t_fd_ >= 0)                                                                              \
			close(t_fd_);                                                                        \
	} while (0)
#define SAY(...) dprintf(1, __VA_ARGS__)

/* A program that cannot set its stage is broken, natively too: say so and stop. */
#define MUST(e)                                                                                  \
	do {                                                                                     \
		if (!(e)) {                                                                      \
			dprintf(1, "%s:%d: cannot set up: %s: %s\n", __FILE__, __LINE__, #e,     \
			        strerror(errno));                                                \
			_exit(90);                                                               \
		}                                                                                \
	} while (0)

/* Unmapped, and not NULL, which the compiler would complain about. */
UNUSED static void *volatile t_bad = (void *)0x10;

/* Prints bytes so that one line stays one line. */
UNUSED static void t_bytes(const void *p, size_t n)
{
	const unsigned char *b = p;

	for (size_t i = 0; i < n; i++) {
		if (b[i] >= ' ' && b[i] < 127 && b[i] != '\\')
			dprintf(1, "%c", b[i]);
		else
			dprintf(1, "\\x%02x", b[i]);
	}
}

UNUSED static char t_type(mode_t m)
{
	return S_ISREG(m) ? 'f' : S_ISDIR(m) ? 'd' : S_ISLNK(m) ? 'l' : S_ISFIFO(m) ? 'p' :
	       S_ISSOCK(m) ? 's' : S_ISCHR(m) ? 'c' : S_ISBLK(m) ? 'b' : '?';
}

/* What is comparable of a stat: sizes and link counts of directories are the file system's. */
UNUSED static void t_stat(const char *what, const struct stat *st)
{
	dprintf(1, "  %s: %c %04o %u:%u", what, t_type(st->st_mode), st->st_mode & 07777, st->st_uid,
	        st->st_gid);
	if (!S_ISDIR(st->st_mode))
		dprintf(1, " size %lld links %lu", (long long)st->st_size, (unsigned long)st->st_nlink);
	dprintf(1, "\n");
}

UNUSED static void t_put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	MUST(fd >= 0);
	MUST(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Prints the first bytes of a file. */
UNUSED static void t_cat(const char *path)
{
	char b[256];
	int fd = open(path, O_RDONLY);
	ssize_t n;

	dprintf(1, "  %s: ", path);
	if (fd < 0) {
		dprintf(1, "%s\n", strerrorname_np(errno));
		return;
	}
	n = read(fd, b, sizeof(b));
	if (n < 0)
		dprintf(1, "%s", strerrorname_np(errno));
	else
		t_bytes(b, (size_t)n);
	dprintf(1, "\n");
	close(fd);
}

UNUSED static int t_cmp(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints a directory's names, sorted, with their d_type. */
UNUSED static void t_ls(const char *path)
{
	char **v = NULL;
	size_t n = 0;
	DIR *d = opendir(path);
	struct dirent *e;

	dprintf(1, "  %s:", path);
	if (!d) {
		dprintf(1, " %s\n", strerrorname_np(errno));
		return;
	}
	while ((e = readdir(d))) {
		char t = e->d_type == DT_DIR ? 'd' : e->d_type == DT_REG ? 'f' : e->d_type == DT_LNK ? 'l' :
		         e->d_type == DT_FIFO ? 'p' : e->d_type == DT_SOCK ? 's' : '?';
		char *s;

		MUST(asprintf(&s, "%s(%c)", e->d_name, t) > 0);
		MUST((v = realloc(v, (n + 1) * sizeof(*v))));
		v[n++] = s;
	}
	closedir(d);
	qsort(v, n, sizeof(*v), t_cmp);
	for (size_t i = 0; i < n; i++) {
		dprintf(1, " ");
		t_bytes(v[i], strlen(v[i]));
		free(v[i]);
	}
	free(v);
	dprintf(1, "\n");
}

/* Waits for a child and prints how it ended. */
UNUSED static int t_wait(pid_t pid)
{
	int st = 0;
	pid_t r;

	do
		r = waitpid(pid, &st, 0);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		dprintf(1, "  wait: %s\n", strerrorname_np(errno));
	else if (WIFSIGNALED(st))
		dprintf(1, "  child: signal %d\n", WTERMSIG(st));
	else
		dprintf(1, "  child: exit %d\n", WEXITSTATUS(st));
	return st;
}

#endif
