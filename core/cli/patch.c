/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes as a patch, by the host's diff(1), with the headers of git(1), so that `patch -p1` and
 * `git apply` take it.  What diff reads are descriptors that the review opened, never paths.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "named.h"
#include "renames.h"

extern char **environ;

struct patch {
	const struct bv_review *review;
	FILE *to;
	bool stat; /* counts instead of text */
	struct renames renames;
	size_t files, plus, minus;
};

/* ---- one file ---- */

/* Both sides of one file, as descriptors; -1: there is none. */
struct pair {
	int old, new;
	unsigned old_mode, new_mode; /* st_mode; 0: none */
};

static void pair_fini(struct pair *p)
{
	if (p->old >= 0)
		close(p->old);
	if (p->new >= 0)
		close(p->new);
}

/* A symlink is, as in git, a file that holds its target. */
static int link_file(const struct bv_review *review, const char *path, enum bv_side side)
{
	char text[PATH_MAX];
	ssize_t n = review->link(review, path, side, text, sizeof(text));

	if (n < 0)
		return (int)n;
	bv_autofd int fd = memfd_create("link", MFD_CLOEXEC);
	if (fd < 0 || write(fd, text, (size_t)n) != n || lseek(fd, 0, SEEK_SET) < 0)
		return -errno;
	return bv_take_fd(&fd);
}

static int side_open(const struct bv_review *review, const char *path, enum bv_side side, unsigned mode)
{
	if (S_ISLNK(mode))
		return link_file(review, path, side);
	return S_ISREG(mode) ? review->open(review, path, side) : -1;
}

/* "a/PATH" as git writes it: in quotes with escapes if it holds anything odd. */
static char *label(char side, const char *path)
{
	char *text = NULL, *out = NULL;
	size_t size;
	FILE *f;
	bv_autofree char *plain = NULL;

	if (asprintf(&plain, "%c%s", side, path) < 0) {
		plain = NULL;
		return NULL;
	}
	f = open_memstream(&text, &size);
	if (!f)
		return NULL;
	review_quote(plain, f);
	if (fclose(f) == 0)
		out = text;
	else
		free(text);
	return out;
}

/* Starts diff -u on the pair with its output on `out`: the pid, or -errno. */
static pid_t start_diff(const struct pair *p, const char *a, const char *b, int out)
{
	char *argv[] = {(char *)"diff", (char *)"-u", (char *)"--label", (char *)a, (char *)"--label", (char *)b,
	                (char *)"--", p->old >= 0 ? (char *)"/dev/fd/3" : (char *)"/dev/null",
	                p->new >= 0 ? (char *)"/dev/fd/4" : (char *)"/dev/null", NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	/* Above what they are duplicated to, so that none is overwritten before its turn. */
	bv_autofd int from = p->old < 0 ? -1 : fcntl(p->old, F_DUPFD_CLOEXEC, 10);
	bv_autofd int to = p->new < 0 ? -1 : fcntl(p->new, F_DUPFD_CLOEXEC, 10);
	bv_autofd int pipe = fcntl(out, F_DUPFD_CLOEXEC, 10);

	if (pipe < 0 || (p->old >= 0 && from < 0) || (p->new >= 0 && to < 0))
		return -errno;
	int r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, pipe, STDOUT_FILENO);
	if (r == 0 && from >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, from, 3);
	if (r == 0 && to >= 0)
		r = posix_spawn_file_actions_adddup2(&actions, to, 4);
	if (r == 0)
		r = posix_spawnp(&pid, "diff", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	return r ? -r : pid;
}

/* Reads what diff says: to p->to, or counted. */
static int take_output(struct patch *p, FILE *from, size_t *plus, size_t *minus, bool *binary)
{
	char *line = NULL;
	size_t size = 0, n = 0;
	ssize_t len;

	while ((len = getline(&line, &size, from)) >= 0) {
		*binary |= n == 0 && strncmp(line, "Binary files ", 13) == 0;
		if (n++ >= 2) { /* behind the two lines that name the sides */
			*plus += line[0] == '+';
			*minus += line[0] == '-';
		}
		if (!p->stat)
			fwrite(line, 1, (size_t)len, p->to);
	}
	free(line);
	return ferror(from) || ferror(p->to) ? -EIO : 0;
}

static int run_diff(struct patch *p, const struct pair *pair, const char *a, const char *b, size_t *plus,
                    size_t *minus, bool *binary)
{
	int fd[2], status;

	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = start_diff(pair, pair->old >= 0 ? a : "/dev/null", pair->new >= 0 ? b : "/dev/null", fd[1]);
	close(fd[1]);
	FILE *from = fdopen(fd[0], "r");
	if (!from)
		close(fd[0]);
	int r = pid < 0 ? pid : from ? take_output(p, from, plus, minus, binary) : -ENOMEM;
	if (from)
		fclose(from);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		continue;
	/* 1: they differ; 2: trouble, or binary files. */
	if (r == 0 && pid > 0 && (!WIFEXITED(status) || (WEXITSTATUS(status) > 1 && !*binary)))
		return -EIO;
	return r;
}

static void header(const struct patch *p, const struct pair *pair, const char *a, const char *b)
{
	fprintf(p->to, "diff --git %s %s\n", a, b);
	if (!pair->old_mode)
		fprintf(p->to, "new file mode %o\n", pair->new_mode);
	else if (!pair->new_mode)
		fprintf(p->to, "deleted file mode %o\n", pair->old_mode);
	else if (pair->old_mode != pair->new_mode)
		fprintf(p->to, "old mode %o\nnew mode %o\n", pair->old_mode, pair->new_mode);
}

static void stat_line(struct patch *p, const struct pair *pair, const char *path, size_t plus, size_t minus, bool binary)
{
	enum { WIDTH = 40 };
	size_t all = plus + minus;
	int up = (int)(all > WIDTH ? plus * WIDTH / all : plus);
	int down = (int)(all > WIDTH ? minus * WIDTH / all : minus);

	putc(' ', p->to);
	review_quote(path, p->to);
	if (binary)
		fputs(" | binary\n", p->to);
	else if (!all && pair->old_mode != pair->new_mode && pair->old_mode && pair->new_mode)
		fprintf(p->to, " | mode %o -> %o\n", pair->old_mode & 07777, pair->new_mode & 07777);
	else
		fprintf(p->to, " | %zu %.*s%.*s\n", all, up, "++++++++++++++++++++++++++++++++++++++++", down,
		        "----------------------------------------");
	p->files++;
	p->plus += plus;
	p->minus += minus;
}

static int one(struct patch *p, const char *path, const struct pair *pair)
{
	bv_autofree char *a = label('a', path), *b = label('b', path);
	size_t plus = 0, minus = 0;
	bool binary = false;
	int r = 0;

	if (!a || !b)
		return -ENOMEM;
	if (!p->stat)
		header(p, pair, a, b);
	if (pair->old >= 0 || pair->new >= 0) {
		fflush(p->to);
		r = run_diff(p, pair, a, b, &plus, &minus, &binary);
	}
	if (r == 0 && p->stat)
		stat_line(p, pair, path, plus, minus, binary);
	return r;
}

/* ---- changes ---- */

/* git's modes: it knows of a file's only whether it may be executed. */
static unsigned git_mode(unsigned mode)
{
	if (S_ISREG(mode))
		return S_IFREG | (mode & 07777);
	return S_ISLNK(mode) ? S_IFLNK : 0;
}

/* A directory of the old side that is gone: every file in it.  dir: opened for reading, taken. */
static int gone_dir(struct patch *p, const char *path, int dir)
{
	struct dirent **name = NULL;
	int n = scandirat(dir, ".", &name, NULL, alphasort), r = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		bv_autofree char *child = NULL;
		struct stat st;
		struct pair pair = {-1, -1, 0, 0};

		if (r == 0 && strcmp(name[i]->d_name, ".") != 0 && strcmp(name[i]->d_name, "..") != 0 &&
		    asprintf(&child, "%s/%s", path, name[i]->d_name) >= 0 &&
		    fstatat(dir, name[i]->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
			int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;

			pair.old_mode = git_mode(st.st_mode);
			if (S_ISDIR(st.st_mode)) {
				int fd = openat(dir, name[i]->d_name, flags | O_DIRECTORY);

				r = fd < 0 ? -errno : gone_dir(p, child, fd);
			} else if (pair.old_mode) {
				pair.old = S_ISLNK(st.st_mode) ? link_file(p->review, child, BV_OLD)
				                               : openat(dir, name[i]->d_name, flags);
				r = pair.old < 0 ? -errno : one(p, child, &pair);
			}
			pair_fini(&pair);
		}
		free(name[i]);
	}
	free(name);
	close(dir);
	return r;
}

static int renamed(struct patch *p, const char *from, const char *to)
{
	bv_autofree char *a = label('a', from), *b = label('b', to);

	if (!a || !b)
		return -ENOMEM;
	if (p->stat) {
		putc(' ', p->to);
		review_quote(from, p->to);
		fputs(" -> ", p->to);
		review_quote(to, p->to);
		fputs(" | 0\n", p->to);
		p->files++;
		return 0;
	}
	/* Behind "rename" git writes the path without its side, relative to the top. */
	fprintf(p->to, "diff --git %s %s\nsimilarity index 100%%\nrename from ", a, b);
	review_quote(from + 1, p->to);
	fputs("\nrename to ", p->to);
	review_quote(to + 1, p->to);
	putc('\n', p->to);
	return 0;
}

static int each(void *arg, const struct bv_change *c)
{
	struct patch *p = arg;
	struct pair pair = {-1, -1, git_mode(c->old_mode), git_mode(c->mode)};
	const char *from = c->kind == 'A' ? renames_from(&p->renames, c->path) : NULL;
	int r;

	if (from)
		return renamed(p, from, c->path);
	if (c->kind == 'D' && renames_gone(&p->renames, c->path))
		return 0;

	if (S_ISDIR(c->old_mode) && (c->kind == 'D' || c->kind == 'T')) {
		int dir = p->review->open(p->review, c->path, BV_OLD);

		r = dir < 0 ? dir : gone_dir(p, c->path, dir);
		if (r < 0)
			return r;
	}
	if (!pair.old_mode && !pair.new_mode)
		return 0; /* directories and the like have no place in a patch */
	if (c->kind == 'M' && !(c->what & BV_CHANGED_DATA)) {
		if (pair.old_mode == pair.new_mode)
			return 0;
	} else {
		pair.old = pair.old_mode ? side_open(p->review, c->path, BV_OLD, c->old_mode) : -1;
		pair.new = pair.new_mode ? side_open(p->review, c->path, BV_NEW, c->mode) : -1;
		if ((pair.old_mode && pair.old < 0) || (pair.new_mode && pair.new < 0)) {
			r = pair.old_mode && pair.old < 0 ? pair.old : pair.new;
			pair_fini(&pair);
			return r;
		}
	}
	r = one(p, c->path, &pair);
	pair_fini(&pair);
	return r;
}

int patch_print(const struct bv_review *review, FILE *to)
{
	struct patch p = {.review = review, .to = to};
	int r = renames_find(review, &p.renames);

	if (r == 0)
		r = review->changes(review, each, &p);
	renames_fini(&p.renames);
	return r;
}

int patch_stat(const struct bv_review *review, FILE *to)
{
	struct patch p = {.review = review, .to = to, .stat = true};
	int r = renames_find(review, &p.renames);

	if (r == 0)
		r = review->changes(review, each, &p);
	renames_fini(&p.renames);
	if (r == 0)
		fprintf(to, " %zu file%s changed, %zu insertion%s(+), %zu deletion%s(-)\n", p.files,
		        p.files == 1 ? "" : "s", p.plus, p.plus == 1 ? "" : "s", p.minus, p.minus == 1 ? "" : "s");
	return r;
}
