/* SPDX-License-Identifier: Apache-2.0 */
/*
 * setxattrat and its kin (Linux 6.13), file_getattr (6.17): by directory, by empty path, with sizes
 * of the argument record that the kernel refuses.  Where the kernel lacks them, both sides say so.
 */
#include "t.h"

struct args {
	uint64_t value;
	uint32_t size, flags;
};

/* Numbers of their own: newer than many headers, one everywhere. */
static long set_at(int dir, const char *path, int at, const char *name, const void *args,
                   size_t size)
{
	return syscall(463, dir, path, at, name, args, size);
}
static long get_at(int dir, const char *path, int at, const char *name, const void *args,
                   size_t size)
{
	return syscall(464, dir, path, at, name, args, size);
}
static long list_at(int dir, const char *path, int at, char *list, size_t size)
{
	return syscall(465, dir, path, at, list, size);
}
static long remove_at(int dir, const char *path, int at, const char *name)
{
	return syscall(466, dir, path, at, name);
}
static long attr_of(int dir, const char *path, void *attr, size_t size, int at)
{
	return syscall(468, dir, path, attr, size, at);
}

static char b[300], out[300];

static struct args with(const char *value, uint32_t flags)
{
	memset(b, 0, sizeof(b));
	strcpy(b, value);
	return (struct args){(uintptr_t)b, (uint32_t)strlen(value), flags};
}

static void show(const char *path, const char *name)
{
	struct args a = {(uintptr_t)out, sizeof(out), 0};
	long n = get_at(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, name, &a, sizeof(a));

	SAY("  %s %s = ", path, name);
	if (n < 0)
		SAY("%s", strerrorname_np(errno));
	else
		t_bytes(out, (size_t)n);
	SAY("\n");
}

int main(void)
{
	struct args a, get = {(uintptr_t)out, sizeof(out), 0};
	struct {
		struct args a;
		char more[16];
	} longer = {{0}, {0}};
	int dir = open("dir", O_RDONLY | O_DIRECTORY), file = open("a.txt", O_RDONLY);
	char attr[8192] = {0};

	MUST(dir >= 0 && file >= 0);
	show("a.txt", "user.one");
	a = with("dir's", 0);
	T(set_at(dir, "one", 0, "user.at", &a, sizeof(a)));
	T(set_at(dir, "../b.txt", 0, "user.at", &a, sizeof(a)));
	show("b.txt", "user.at");
	T(set_at(AT_FDCWD, "link_a", AT_SYMLINK_NOFOLLOW, "user.on_link", &a, sizeof(a)));
	T(set_at(AT_FDCWD, "link_a", 0, "user.via", &a, sizeof(a)));
	show("a.txt", "user.via");
	T(set_at(file, "", AT_EMPTY_PATH, "user.by_fd", &a, sizeof(a)));
	T(set_at(file, NULL, AT_EMPTY_PATH, "user.by_null", &a, sizeof(a)));
	T(set_at(file, "", 0, "user.x", &a, sizeof(a)));
	T(set_at(dir, "", AT_EMPTY_PATH, "user.dir", &a, sizeof(a)));
	show("dir", "user.dir");
	T(set_at(AT_FDCWD, "", AT_EMPTY_PATH, "user.cwd", &a, sizeof(a)));
	T(get_at(AT_FDCWD, NULL, AT_EMPTY_PATH, "user.cwd", &get, sizeof(get)));
	T(remove_at(AT_FDCWD, ".", AT_SYMLINK_NOFOLLOW,
	            "user.cwd")); /* by "" Linux 6.18 says EBADF */
	show("a.txt", "user.by_fd");
	show("a.txt", "user.by_null");
	a = with("again", 1);
	T(set_at(dir, "../a.txt", 0, "user.by_fd", &a, sizeof(a)));
	a = with("again", 2);
	T(set_at(dir, "../a.txt", 0, "user.by_fd", &a, sizeof(a)));
	T(set_at(dir, "../a.txt", 0, "user.not", &a, sizeof(a)));
	show("a.txt", "user.by_fd");
	a = with("v", 4);
	T(set_at(dir, "../a.txt", 0, "user.f", &a, sizeof(a)));
	a = with("v", 0);
	T(set_at(dir, "../a.txt", 1, "user.f", &a, sizeof(a)));
	T(set_at(dir, "../a.txt", 0, "user.f", &a, 15));
	T(set_at(dir, "../a.txt", 0, "user.f", &a, 4097));
	T(set_at(dir, "../a.txt", 0, "user.f", t_bad, 16));
	T(set_at(dir, "../a.txt", 0, t_bad, &a, 16));
	T(set_at(dir, t_bad, 0, "user.f", &a, 16));
	T(set_at(dir, t_bad, AT_EMPTY_PATH, "user.f", &a, 16));
	T(set_at(-1, "a.txt", 0, "user.f", &a, 16));
	T(set_at(file, "a.txt", 0, "user.f", &a, 16));
	T(set_at(-1, "", AT_EMPTY_PATH, "user.f", &a, 16));
	T(set_at(AT_FDCWD, "missing", 0, "user.f", &a, 16));
	longer.a = a;
	T(set_at(dir, "../a.txt", 0, "user.longer", &longer, sizeof(longer)));
	longer.more[3] = 1;
	T(set_at(dir, "../a.txt", 0, "user.longer2", &longer, sizeof(longer)));
	a.size = 70000;
	T(set_at(dir, "../a.txt", 0, "user.f", &a, 16));
	get.flags = 1;
	T(get_at(dir, "../a.txt", 0, "user.longer", &get, sizeof(get)));
	get = (struct args){(uintptr_t)out, 2, 0};
	T(get_at(dir, "../a.txt", 0, "user.by_fd", &get, sizeof(get)));
	get.size = 0;
	T(get_at(dir, "../a.txt", 0, "user.by_fd", &get, sizeof(get)));
	get = (struct args){(uintptr_t)t_bad, 100, 0};
	T(get_at(dir, "../a.txt", 0, "user.by_fd", &get, sizeof(get)));
	T(get_at(dir, "../a.txt", 0, "user.none", &get, sizeof(get)));
	T(list_at(dir, "one", 0, out, sizeof(out)) * 0);
	T(list_at(dir, "../a.txt", 0, out, 1));
	T(list_at(dir, "../a.txt", 2, out, 1));
	T(list_at(dir, "../a.txt", 0, t_bad, 1000));
	T(remove_at(dir, "../a.txt", 0, "user.one"));
	T(remove_at(dir, "../a.txt", 0, "user.one"));
	T(remove_at(dir, "../a.txt", 8, "user.longer"));
	T(remove_at(file, "", AT_EMPTY_PATH, "user.longer"));
	show("a.txt", "user.longer");

	T(attr_of(dir, "one", attr, 24, 0));
	T(attr_of(dir, "../a.txt", attr, 4096, 0));
	T(attr_of(dir, "", attr, 24, AT_EMPTY_PATH));
	T(attr_of(file, NULL, attr, 24, AT_EMPTY_PATH));
	T(attr_of(AT_FDCWD, NULL, attr, 24, AT_EMPTY_PATH));
	T(attr_of(AT_FDCWD, "link_a", attr, 24, 0));
	T(attr_of(AT_FDCWD, "link_a", attr, 24, AT_SYMLINK_NOFOLLOW));
	T(attr_of(AT_FDCWD, "dangling", attr, 24, 0));
	T(attr_of(AT_FDCWD, "missing", attr, 24, 0));
	T(attr_of(AT_FDCWD, "a.txt", attr, 23, 0));
	T(attr_of(AT_FDCWD, "a.txt", attr, 4097, 0));
	T(attr_of(AT_FDCWD, "a.txt", attr, 24, 1));
	T(attr_of(AT_FDCWD, "a.txt", t_bad, 24, 0));
	T(attr_of(AT_FDCWD, t_bad, attr, 24, 0));
	T(attr_of(-1, "a.txt", attr, 24, 0));
	return 0;
}
