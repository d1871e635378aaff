/* SPDX-License-Identifier: Apache-2.0 */
/* Reading directories: completeness, positions, change while reading, size, raw records. */
#include "t.h"

struct dirent64_ {
	uint64_t ino;
	int64_t off;
	unsigned short reclen;
	unsigned char type;
	char name[];
};

/* Every name once, "." and ".." included; prints what is wrong. */
static void complete(const char *path, int want)
{
	int n = 0, dup = 0, dots = 0, wrong = 0;
	DIR *d = opendir(path);
	char (*seen)[300] = calloc(4000, 300);
	struct dirent *e;
	struct stat st;

	MUST(d && seen);
	while ((e = readdir(d)) && n < 4000) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) {
			dots++;
			continue;
		}
		for (int i = 0; i < n && n < 400; i++)
			dup += !strcmp(seen[i], e->d_name);
		snprintf(seen[n++], 300, "%s", e->d_name);
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			wrong++;
		else if (e->d_type != DT_UNKNOWN && IFTODT(st.st_mode) != e->d_type)
			wrong++;
		else if (st.st_ino != e->d_ino)
			wrong += 0; /* a merged directory may number differently: see fs_stat */
	}
	SAY("%s: %d names (want %s), %d twice, dots %d, wrong %d\n", path, n, n == want ? "so" : "other", dup, dots, wrong);
	closedir(d);
	free(seen);
}

static void positions(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	char third[300] = "", all[64][300], again[64][300];
	long at = -1;
	int n = 0, m = 0, same = 1;

	MUST(d);
	while ((e = readdir(d)) && n < 64) {
		if (n == 2)
			at = telldir(d);
		if (n == 3)
			snprintf(third, sizeof(third), "%s", e->d_name);
		snprintf(all[n++], 300, "%s", e->d_name);
	}
	if (n > 3) {
		seekdir(d, at);
		e = readdir(d);
		SAY("%s: seekdir finds the place: %d\n", path, e && !strcmp(e->d_name, third));
	}
	rewinddir(d);
	while ((e = readdir(d)) && m < 64)
		snprintf(again[m++], 300, "%s", e->d_name);
	for (int i = 0; i < n && i < m; i++)
		same &= !strcmp(all[i], again[i]);
	SAY("%s: rewinddir: %d names, same order %d\n", path, n == m, same);
	/* An entry made after opening shows up after rewinding. */
	snprintf(third, sizeof(third), "%s/late", path);
	t_put(third, "");
	rewinddir(d);
	m = 0;
	while ((e = readdir(d)))
		m += !strcmp(e->d_name, "late");
	SAY("%s: late entry seen %d\n", path, m);
	unlink(third);
	closedir(d);
}

static void raw(const char *path)
{
	char b[512];
	int fd = open(path, O_RDONLY | O_DIRECTORY), copy, n = 0, calls = 0, bad = 0;
	long got;
	int64_t last = 0;

	MUST(fd >= 0);
	T(syscall(SYS_getdents64, fd, b, 1));
	T(syscall(SYS_getdents64, fd, b, 0));
	T(syscall(SYS_getdents64, fd, t_bad, 512));
	T(syscall(SYS_getdents64, -1, b, 512));
	while ((got = syscall(SYS_getdents64, fd, b, sizeof(b))) > 0) {
		calls++;
		for (long i = 0; i < got;) {
			struct dirent64_ *e = (void *)(b + i);

			if (e->reclen % 8 || i + e->reclen > got || memchr(e->name, 0, 256) == NULL)
				bad++;
			last = e->off;
			i += e->reclen;
			n++;
		}
	}
	SAY("%s: %d records, more than one call %d, malformed %d, end %ld\n", path, n, calls > 1, bad, got);
	T(syscall(SYS_getdents64, fd, b, sizeof(b)));
	/* The position is the kernel's: shared by dup, movable, kept by fork. */
	T(lseek(fd, 0, SEEK_SET));
	copy = dup(fd);
	got = syscall(SYS_getdents64, copy, b, sizeof(b));
	last = ((struct dirent64_ *)(void *)b)->off;
	SAY("  position moved through dup: %d\n", got > 0 && lseek(fd, 0, SEEK_CUR) != 0);
	SAY("  to the last record returned: %d\n", got > 0 && last != 0);
	if (fork() == 0) {
		lseek(fd, 0, SEEK_SET);
		_exit(0);
	}
	wait(NULL);
	SAY("  rewound by a child: %lld\n", (long long)lseek(copy, 0, SEEK_CUR));
	T(read(fd, b, sizeof(b)));
	close(fd);
	close(copy);
	fd = open("a.txt", O_RDONLY);
	T(syscall(SYS_getdents64, fd, b, sizeof(b)));
	close(fd);
}

/* rm -r the naive way: unlink while reading. */
static void eat(const char *path)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int n = 0, failed = 0;

	MUST(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			failed++;
		else
			n++;
	}
	closedir(d);
	SAY("%s: removed %d while reading, failed %d\n", path, n, failed);
	T(rmdir(path));
}

static void many(void)
{
	char p[64];

	MUST(mkdir("many", 0755) == 0);
	for (int i = 0; i < 3000; i++) {
		snprintf(p, sizeof(p), "many/a_rather_longish_file_name_%04d", i);
		MUST(mknod(p, S_IFREG | 0644, 0) == 0);
	}
	complete("many", 3000);
	positions("many");
	for (int i = 0; i < 3000; i += 3) {
		snprintf(p, sizeof(p), "many/a_rather_longish_file_name_%04d", i);
		MUST(unlink(p) == 0);
	}
	complete("many", 2000);
	eat("many");
}

int main(void)
{
	DIR *d;
	struct dirent *e;
	int gone = 0, there = 0;

	umask(022);
	complete("full", 200);
	complete(".", 75);
	complete("dir", 6);
	complete("emptydir", 0);
	/* Merged: some deleted, some added, some replaced. */
	T(unlink("full/entry0010"));
	T(unlink("full/entry0199"));
	t_put("full/new", "");
	t_put("full/entry0020", "replaced");
	T(rename("full/entry0030", "full/renamed"));
	T(unlink("full/entry0040"));
	T(mkdir("full/entry0040", 0755));
	complete("full", 199);
	t_ls("full");
	positions("full");
	raw("full");
	raw("dir");
	/* A deletion and an addition in mid-read. */
	d = opendir("full");
	MUST(d);
	MUST(readdir(d));
	T(unlink("full/entry0100"));
	rewinddir(d);
	while ((e = readdir(d))) {
		gone += !strcmp(e->d_name, "entry0100");
		there += !strcmp(e->d_name, "entry0101");
	}
	SAY("deleted name listed %d, kept name listed %d\n", gone, there);
	closedir(d);
	T(rmdir("full/entry0040"));
	eat("full");
	T(access("full", F_OK));
	many();
	/* Reading a removed directory. */
	MUST(mkdir("brief", 0755) == 0);
	d = opendir("brief");
	T(rmdir("brief"));
	T(readdir(d) == NULL);
	closedir(d);
	return 0;
}
