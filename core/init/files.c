/* SPDX-License-Identifier: Apache-2.0 */
#include "files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(const char *path)
{
	int err = errno;
	const char *name = strerrorname_np(err);

	fprintf(stderr, "%s %s: %s\n", name ? name : "EIO", path, strerror(err));
	return 1;
}

static int pump(int from, int to)
{
	static char buf[1 << 16];

	for (;;) {
		ssize_t n = read(from, buf, sizeof(buf));

		if (n == 0)
			return 0;
		if (n < 0)
			return -1;
		for (ssize_t at = 0; at < n;) {
			ssize_t done = write(to, buf + at, (size_t)(n - at));

			if (done < 0)
				return -1;
			at += done;
		}
	}
}

static int read_file(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return fail(path);
	if (S_ISDIR(st.st_mode)) {
		errno = EISDIR;
		return fail(path);
	}
	return pump(fd, 1) < 0 ? fail(path) : 0;
}

static int write_file(const char *path, const char *mode, int flags)
{
	mode_t bits = (mode_t)strtoul(mode, NULL, 8) & 07777;
	int fd = open(path, O_WRONLY | O_CREAT | flags, *mode == '-' ? 0644 : bits);

	if (fd < 0 || pump(0, fd) < 0 || (*mode != '-' && fchmod(fd, bits) < 0) || close(fd) < 0)
		return fail(path);
	return 0;
}

static void record(const struct stat *st, const char *name, int dir)
{
	static const char types[] = {[S_IFREG >> 12] = 'f',  [S_IFDIR >> 12] = 'd',
	                             [S_IFLNK >> 12] = 'l',  [S_IFIFO >> 12] = 'p',
	                             [S_IFSOCK >> 12] = 's', [S_IFCHR >> 12] = 'c',
	                             [S_IFBLK >> 12] = 'b'};
	char target[PATH_MAX] = "";
	ssize_t n = S_ISLNK(st->st_mode) ? readlinkat(dir, name, target, sizeof(target) - 1) : 0;

	target[n > 0 ? n : 0] = '\0';
	printf("%c %o %u %u %lld %lld %llu %llu %s%c%s%c", types[(st->st_mode & S_IFMT) >> 12],
	       st->st_mode & 07777, st->st_uid, st->st_gid, (long long)st->st_size,
	       (long long)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec,
	       (unsigned long long)st->st_nlink, (unsigned long long)st->st_ino, name, 0, target,
	       0);
}

static int stat_one(const char *path, int flags)
{
	struct stat st;

	if (fstatat(AT_FDCWD, path, &st, flags) < 0)
		return fail(path);
	record(&st, path, AT_FDCWD);
	return 0;
}

static int list(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *e;
	struct stat st;

	if (!d)
		return fail(path);
	while ((errno = 0, e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			record(&st, e->d_name, dirfd(d));
	return errno ? fail(path) : 0;
}

/* With all above it that is missing; what is there already is fine. */
static int make_dirs(const char *path, mode_t mode)
{
	char *part = strdup(path);
	struct stat st;

	if (!part)
		return fail(path);
	for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
		*slash = '\0';
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return fail(part);
		*slash = '/';
	}
	if (mkdir(part, mode) == 0)
		return 0;
	if (errno == EEXIST && stat(part, &st) == 0 && S_ISDIR(st.st_mode))
		return 0;
	errno = EEXIST;
	return fail(path);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)at;
	return (type == FTW_DP ? rmdir(path) : unlink(path)) < 0 ? -1 : 0;
}

static int flush(int r)
{
	if (r == 0 && (fflush(stdout) != 0 || ferror(stdout)))
		return fail("standard output");
	return r;
}

int files_main(int argc, char **argv)
{
	const char *verb = argv[0], *path = argc > 1 ? argv[1] : "",
		   *word = argc > 2 ? argv[2] : "-";
	mode_t mode = *word == '-' ? 0755 : (mode_t)strtoul(word, NULL, 8) & 07777;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "EINVAL bvisor-init: VERB PATH...\n");
		return 2;
	}
	if (strcmp(verb, "read") == 0)
		return read_file(path);
	if (strcmp(verb, "write") == 0)
		return write_file(path, word, O_TRUNC);
	if (strcmp(verb, "append") == 0)
		return write_file(path, word, O_APPEND);
	if (strcmp(verb, "list") == 0)
		return flush(list(path));
	if (strcmp(verb, "stat") == 0)
		return flush(stat_one(path, 0));
	if (strcmp(verb, "lstat") == 0)
		return flush(stat_one(path, AT_SYMLINK_NOFOLLOW));
	if (strcmp(verb, "mkdir") == 0)
		return mkdir(path, mode) < 0 ? fail(path) : 0;
	if (strcmp(verb, "mkdirs") == 0)
		return make_dirs(path, mode);
	if (strcmp(verb, "watch") == 0)
		return files_watch(path) < 0 ? fail(path) : 0;
	if (strcmp(verb, "move") == 0)
		return rename(path, word) < 0 ? fail(path) : 0;
	if (strcmp(verb, "remove") == 0)
		return remove(path) < 0 ? fail(path) : 0;
	if (strcmp(verb, "remove-all") == 0)
		return nftw(path, remove_one, 64, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT
		               ? fail(path)
		               : 0;
	fprintf(stderr, "EINVAL %s: no such verb\n", verb);
	return 2;
}
