/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree the differential and hostile tests work on, and listings of it.
 *   fixture make DIR    makes the tree
 *   fixture dirty DIR   adds and removes one entry in every directory (makes them merged, inside)
 *   fixture list DIR    type, mode, owner, size, links, xattrs and content of everything below
 *   fixture sum DIR...  the same with modification times: what "the host is unchanged" means
 * It runs natively and inside.
 */
#include "t.h"
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/xattr.h>

static void file(const char *path, mode_t mode, const char *text)
{
	t_put(path, text);
	MUST(chmod(path, mode) == 0);
}

static void dir(const char *path, mode_t mode)
{
	MUST(mkdir(path, 0755) == 0);
	MUST(chmod(path, mode) == 0);
}

static void pattern(const char *path, size_t n)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
	unsigned char b[4096];

	MUST(fd >= 0);
	for (size_t done = 0; done < n; done += sizeof(b)) {
		for (size_t i = 0; i < sizeof(b); i++)
			b[i] = (unsigned char)((done >> 12) * 7 + i);
		MUST(write(fd, b, sizeof(b)) == sizeof(b));
	}
	close(fd);
}

static void fill(const char *at, const char *stem, int n)
{
	char p[300];

	dir(at, 0755);
	for (int i = 0; i < n; i++) {
		snprintf(p, sizeof(p), "%s/%s%04d", at, stem, i);
		file(p, 0644, "");
	}
}

static void sock(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	MUST(fd >= 0);
	/* Not every sandbox has AF_UNIX; a fifo keeps the listing's length. */
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		MUST(mkfifo(path, 0755) == 0);
	close(fd);
}

static void links(void)
{
	char cwd[PATH_MAX], p[PATH_MAX + 16], to[32];

	MUST(getcwd(cwd, sizeof(cwd)));
	MUST(symlink("a.txt", "link_a") == 0);
	MUST(symlink("dir", "link_dir") == 0);
	MUST(symlink("dir/", "link_dir_slash") == 0);
	MUST(symlink("nowhere", "dangling") == 0);
	MUST(symlink("loop2", "loop1") == 0);
	MUST(symlink("loop1", "loop2") == 0);
	MUST(symlink("..", "dir/up") == 0);
	MUST(symlink("../a.txt", "dir/up_a") == 0);
	MUST(symlink("dir/../link_dir/up_a", "zigzag") == 0);
	snprintf(p, sizeof(p), "%s/a.txt", cwd);
	MUST(symlink(p, "abs_a") == 0);
	snprintf(p, sizeof(p), "%s/dir", cwd);
	MUST(symlink(p, "abs_dir") == 0);
	/* chain41 takes 41 steps to a.txt: one more than Linux follows (path_resolution(7)). */
	MUST(symlink("a.txt", "chain1") == 0);
	for (int i = 2; i <= 41; i++) {
		snprintf(p, sizeof(p), "chain%d", i);
		snprintf(to, sizeof(to), "chain%d", i - 1);
		MUST(symlink(to, p) == 0);
	}
}

/* For fs_watch. */
static void watched(void)
{
	static const char *const dirs[] = {"w",          "w/dir",      "w/dir/sub",
	                                   "w/dir/deep", "w/other",    "w/num",
	                                   "w/ends",     "w/ends/sub", "w/ends/empty"};
	static const char *const files[] = {
		"w/dir/x",     "w/dir/y",   "w/dir/z",      "w/dir/kept", "w/dir/r",
		"w/dir/sub/s", "w/other/o", "w/other/p",    "w/other/q",  "w/file",
		"w/num/a",     "w/num/b",   "w/ends/sub/f", "w/ends/gone"};

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		dir(dirs[i], 0755);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		file(files[i], 0644, files[i]);
}

static void make(const char *at)
{
	char name[NAME_MAX + 1];

	umask(022);
	if (mkdir(at, 0755) < 0)
		MUST(errno == EEXIST);
	MUST(chdir(at) == 0);
	file("a.txt", 0644, "alpha\n");
	file("b.txt", 0640, "beta\n");
	file("empty", 0644, "");
	file("ro.txt", 0444, "read only\n");
	file("none.txt", 0000, "no mode\n");
	file("setuid", 04755, "#!/bin/sh\necho setuid\n");
	file("script.sh", 0755, "#!/bin/sh\necho script: \"$@\"\n");
	file("noexec.sh", 0644, "#!/bin/sh\necho never\n");
	file("weird\nname", 0644, "newline\n");
	file("inv\xff\xfe\x80", 0644, "not utf-8\n");
	memset(name, 'n', NAME_MAX);
	name[NAME_MAX] = '\0';
	file(name, 0644, "long name\n");
	pattern("big.bin", 1 << 20);
	file("sparse", 0644, "");
	MUST(truncate("sparse", 8 << 20) == 0);
	dir("dir", 0755);
	file("dir/x", 0644, "x\n");
	file("dir/y", 0600, "y\n");
	file("dir/z", 0644, "z\n");
	dir("dir/sub", 0755);
	file("dir/sub/f", 0644, "f in sub\n");
	dir("dir/sub/deep", 0755);
	file("dir/sub/deep/leaf", 0644, "leaf\n");
	dir("emptydir", 0755);
	dir("other", 0755);
	file("other/x", 0644, "other x\n");
	watched();
	dir("sticky", 01777);
	dir("setgid", 02775);
	dir("closed", 0000);
	fill("full", "entry", 200);
	links();
	file("hard1", 0644, "hard\n");
	MUST(link("hard1", "hard2") == 0);
	MUST(mkfifo("fifo", 0644) == 0);
	sock("sock");
	if (setxattr("a.txt", "user.one", "1", 1, 0) == 0)
		setxattr("dir", "user.two", "22", 2, 0);
}

/* Adds and deletes something everywhere, so that no directory is purely the lower layer's. */
static void dirty_below(const char *at)
{
	char p[PATH_MAX];
	DIR *d = opendir(at);
	struct dirent *e;

	MUST(d);
	snprintf(p, sizeof(p), "%s/added", at);
	file(p, 0644, "added\n");
	while ((e = readdir(d))) {
		struct stat st;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(p, sizeof(p), "%s/%s", at, e->d_name);
		MUST(lstat(p, &st) == 0);
		if (S_ISDIR(st.st_mode) && (st.st_mode & 0700))
			dirty_below(p);
		else if (!strcmp(e->d_name, "entry0095"))
			MUST(unlink(p) == 0);
	}
	closedir(d);
}

static uint64_t hash(const char *path)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
	static unsigned char b[1 << 16];
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NOATIME | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return (uint64_t)errno;
	while ((n = read(fd, b, sizeof(b))) > 0)
		for (ssize_t i = 0; i < n; i++)
			h = (h ^ b[i]) * 0x100000001b3u;
	close(fd);
	return h;
}

static void xattrs(const char *path)
{
	char names[4096], value[256];
	ssize_t n = llistxattr(path, names, sizeof(names));

	for (char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
		ssize_t len = lgetxattr(path, p, value, sizeof(value));

		if (!strncmp(p, "user.", 5)) {
			printf(" %s=%.*s", p, (int)(len > 0 ? len : 0), value);
		}
	}
}

static void show_name(const char *s)
{
	for (; *s; s++)
		if (*s > ' ' && *s < 127 && *s != '\\')
			putchar(*s);
		else
			printf("\\x%02x", (unsigned char)*s);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *path, bool times)
{
	struct stat st;
	struct dirent **v = NULL;
	char to[PATH_MAX];
	int n;

	if (lstat(path, &st) < 0) {
		show_name(path);
		printf(" %s\n", strerrorname_np(errno));
		return;
	}
	show_name(path);
	printf(" %c %04o %u:%u", t_type(st.st_mode), st.st_mode & 07777, st.st_uid, st.st_gid);
	if (times)
		printf(" @%lld.%09ld", (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
	if (!S_ISDIR(st.st_mode))
		printf(" links %lu", (unsigned long)st.st_nlink);
	if (S_ISREG(st.st_mode))
		printf(" size %lld #%016llx", (long long)st.st_size, (unsigned long long)hash(path));
	if (S_ISLNK(st.st_mode)) {
		ssize_t len = readlink(path, to, sizeof(to) - 1);

		to[len > 0 ? len : 0] = '\0';
		printf(" -> %s", to);
	} else {
		xattrs(path);
	}
	putchar('\n');
	if (!S_ISDIR(st.st_mode))
		return;
	n = scandir(path, &v, NULL, by_name);
	if (n < 0)
		printf("  %s\n", strerrorname_np(errno));
	for (int i = 0; i < n; i++) {
		char *p;

		if (strcmp(v[i]->d_name, ".") && strcmp(v[i]->d_name, "..")) {
			MUST(asprintf(&p, "%s/%s", path, v[i]->d_name) > 0);
			list(p, times);
			free(p);
		}
		free(v[i]);
	}
	free(v);
}

int main(int argc, char **argv)
{
	if (argc >= 3 && !strcmp(argv[1], "make")) {
		make(argv[2]);
	} else if (argc >= 3 && !strcmp(argv[1], "dirty")) {
		umask(022);
		dirty_below(argv[2]);
	} else if (argc >= 3 && (!strcmp(argv[1], "list") || !strcmp(argv[1], "sum"))) {
		for (int i = 2; i < argc; i++)
			list(argv[i], argv[1][0] == 's');
	} else {
		fprintf(stderr, "usage: fixture make|dirty|list|sum DIR\n");
		return 2;
	}
	return 0;
}
