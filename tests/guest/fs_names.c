/* SPDX-License-Identifier: Apache-2.0 */
/* Names and paths at their limits: lengths, bytes, slashes, dots. */
#include "t.h"

/* Builds a path of exactly n bytes: "./././...x". */
static const char *padded(char *b, size_t n, const char *tail)
{
	size_t t = strlen(tail), fill = n - t;

	for (size_t i = 0; i < fill; i++)
		b[i] = i % 2 ? '/' : '.';
	if (fill % 2)
		b[fill - 1] = '/'; /* "...//tail": doubled, still one separator */
	memcpy(b + fill, tail, t + 1);
	return b;
}

static void lengths(void)
{
	static char b[PATH_MAX + 8], name[300];
	struct stat st;

	memset(name, 'm', 256);
	name[255] = '\0';
	TOPEN(open(name, O_WRONLY | O_CREAT, 0644));
	T(mkdir(name, 0755));
	T(rename(name, "short"));
	T(rename("short", name));
	T(unlink(name));
	name[255] = 'm';
	name[256] = '\0';
	T(stat(name, &st));
	TOPEN(open(name, O_WRONLY | O_CREAT, 0644));
	TOPEN(open(name, O_RDONLY));
	T(mkdir(name, 0755));
	T(unlink(name));
	T(rename("a.txt", name));
	T(rename(name, "a.txt"));
	T(symlink(name, "tolong"));
	T(stat("tolong", &st));
	T(symlink("x", name));
	T(link("a.txt", name));
	T(access(name, F_OK));
	T(chdir(name));
	T(truncate(name, 0));
	T(mknod(name, S_IFIFO | 0644, 0));
	/* Component too long in the middle, below something missing, below a file. */
	snprintf(b, sizeof(b), "dir/%s/x", name);
	T(stat(b, &st));
	snprintf(b, sizeof(b), "missing/%s", name);
	T(stat(b, &st));
	snprintf(b, sizeof(b), "a.txt/%s", name);
	T(stat(b, &st));

	T(stat(padded(b, 4095, "a.txt"), &st));
	SAY("  length %zu\n", strlen(b));
	TOPEN(open(b, O_RDONLY));
	T(access(b, R_OK));
	T(stat(padded(b, 4096, "a.txt"), &st));
	SAY("  length %zu\n", strlen(b));
	TOPEN(open(b, O_RDONLY));
	T(mkdir(padded(b, 4095, "longmade"), 0755));
	T(mkdir(padded(b, 4096, "longmade2"), 0755));
	T(rename(padded(b, 4095, "longmade"), "longmoved"));
	T(rmdir("longmoved"));
	T(unlink(padded(b, 4096, "a.txt")));
	/* A symlink's text may be 4095 bytes; what it leads to is limited again. */
	padded(b, 4095, "a.txt");
	T(symlink(b, "longlink"));
	T(stat("longlink", &st));
	T(lstat("longlink", &st));
	SAY("  link size %lld\n", (long long)st.st_size);
	padded(b, 4096, "a.txt");
	T(symlink(b, "longlink2"));
	T(symlink("", "emptylink"));
	padded(b, 4095, "dir");
	T(symlink(b, "longdir"));
	TOPEN(open("longdir/x", O_RDONLY));
	TOPEN(open("longdir/sub/deep/leaf", O_RDONLY));
}

static void bytes(void)
{
	static const char *const odd[] = { "weird\nname", "inv\xff\xfe\x80", "\x01\x02", "sp ace", "-rf", "*", "\\", "\x7f",
	                                   "caf\xc3\xa9", "caf\xe9", ".hidden", "...", "..x", ". ", "%s%n", "\t" };
	char moved[64];

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		T(access(odd[i], F_OK));
		TOPEN(open(odd[i], O_WRONLY | O_CREAT, 0644));
		t_cat(odd[i]);
		snprintf(moved, sizeof(moved), "dir/%s", odd[i]);
		T(rename(odd[i], moved));
		T(access(odd[i], F_OK));
		T(access(moved, F_OK));
	}
	t_ls("dir");
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		snprintf(moved, sizeof(moved), "dir/%s", odd[i]);
		T(unlink(moved));
	}
	t_ls("dir");
}

/* Names that a copy-on-write layer may use for itself are ordinary names to a guest. */
static void reserved(void)
{
	static const char *const name[] = { ".wh.x", ".wh..wh..opq", ".wh.", ".wh.a.txt", ".wh..wh.plnk" };
	char p[64];

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		snprintf(p, sizeof(p), "other/%s", name[i]);
		SAY("%s: before %d\n", name[i], access(p, F_OK));
	}
	T(access("other/x", F_OK));
	T(access("a.txt", F_OK));
	t_ls("other");
}

static void slashes(void)
{
	struct stat st;

	T(stat("dir/", &st));
	T(stat("dir///", &st));
	T(stat("./dir/./", &st));
	T(stat("a.txt/", &st));
	T(stat("a.txt/.", &st));
	T(stat("a.txt/..", &st));
	T(stat("link_a/", &st));
	T(lstat("link_dir/", &st));
	t_stat("link_dir/", &st);
	T(lstat("link_dir", &st));
	t_stat("link_dir", &st);
	T(lstat("link_dir_slash", &st));
	T(stat("dangling/", &st));
	T(stat("missing/", &st));
	T(stat("missing/..", &st));
	T(stat("missing/../a.txt", &st));
	T(stat("dir/../a.txt", &st));
	T(stat("link_dir/../a.txt", &st));
	T(stat("//", &st));
	T(stat("/..", &st));
	T(stat("/../../..", &st));
	T(stat("loop1/", &st));
	T(lstat("loop1", &st));
	T(lstat("loop1/", &st));
	T(stat(".", &st));
	T(stat("", &st));
	T(lstat("", &st));
	T(mkdir("m1/", 0755));
	T(mkdir("m2/.", 0755));
	T(mkdir("m3/..", 0755));
	T(mkdir("dir/.", 0755));
	T(mkdir("dir/..", 0755));
	T(mkdir("/", 0755));
	T(mkdir("", 0755));
	T(mkdir("dangling", 0755));
	T(mkdir("dangling/", 0755));
	T(rmdir("m1/"));
	T(rmdir("dir/."));
	T(rmdir("dir/.."));
	T(rmdir("dir/sub/.."));
	T(rmdir("link_dir"));
	T(rmdir("link_dir/"));
	T(unlink("a.txt/"));
	T(unlink("dir/"));
	T(unlink("link_dir/"));
	T(unlink("link_a/"));
	T(unlink("."));
	T(unlink("/"));
	T(symlink("x", "s1/"));
	T(symlink("x", "dir/"));
	T(link("a.txt", "l1/"));
	T(mknod("n1/", S_IFREG | 0644, 0));
	T(mknod("n2/", S_IFIFO | 0644, 0));
}

int main(void)
{
	umask(022);
	lengths();
	bytes();
	reserved();
	slashes();
	return 0;
}
