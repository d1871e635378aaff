/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inotify(7), whichever layer a thing is in and wherever it goes meanwhile: the same events in the same
 * order, with the same numbers, names and pairs.
 */
#include "t.h"
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/inotify.h>

static const char *const bit_name[] = {
	"ACCESS",     "MODIFY",   "ATTRIB",     "CLOSE_WRITE", "CLOSE_NOWRITE", "OPEN",
	"MOVED_FROM", "MOVED_TO", "CREATE",     "DELETE",      "DELETE_SELF",   "MOVE_SELF",
	"",           "UNMOUNT",  "Q_OVERFLOW", "IGNORED"};

/* A cookie says only which two belong together. */
static unsigned pair_of(uint32_t cookie)
{
	static uint32_t seen[64];
	unsigned i = 0;

	while (i < 63 && seen[i] && seen[i] != cookie)
		i++;
	seen[i] = cookie;
	return i;
}

static void show(const struct inotify_event *e)
{
	SAY("  %d", e->wd);
	for (unsigned i = 0; i < 16; i++)
		if (e->mask & 1u << i)
			SAY(" %s", bit_name[i]);
	SAY("%s%s%s", e->mask & IN_ISDIR ? " dir" : "", e->len ? " " : "", e->len ? e->name : "");
	if (e->cookie)
		SAY(" pair %u", pair_of(e->cookie));
	SAY("\n");
}

static void show_all(const char *b, ssize_t n)
{
	for (const char *at = b; at < b + n;) {
		const struct inotify_event *e = (const void *)at;

		show(e);
		at += sizeof(*e) + e->len;
	}
}

/* All that comes until nothing has for a while. */
static void take(int in)
{
	_Alignas(struct inotify_event) char b[8192];
	struct pollfd p = {in, POLLIN, 0};
	ssize_t n;

	while (poll(&p, 1, 150) > 0 && (n = read(in, b, sizeof(b))) > 0)
		show_all(b, n);
}

/* What is there already: the events of a call are there when it returns. */
static void take_now(int in)
{
	_Alignas(struct inotify_event) char b[8192];

	show_all(b, read(in, b, sizeof(b)));
}

static void append(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND);

	T(write(fd, "more", 4));
	close(fd);
}

static void look(const char *path)
{
	char c;
	int fd = open(path, O_RDONLY);

	T(read(fd, &c, 1) >= 0);
	close(fd);
}

static int watcher(const char *path, uint32_t mask)
{
	int in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

	MUST(in >= 0);
	T(inotify_add_watch(in, path, mask));
	return in;
}

static void names(void)
{
	const uint32_t mask = IN_CREATE | IN_DELETE | IN_MOVE | IN_MODIFY | IN_ATTRIB |
	                      IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF;
	int in = watcher("w/dir", mask);

	SAY("-- names\n");
	T(unlink("w/dir/x"));
	take_now(in);
	T(access("w/dir/x", F_OK));
	T(rename("w/dir/y", "w/dir/y2"));
	take_now(in);
	t_put("w/dir/new", "n");
	take(in);
	append("w/dir/z");
	take(in);
	append("w/dir/z");
	take(in);
	T(unlink("w/dir/z"));
	take_now(in);
	t_put("w/dir/x", "again");
	take(in);
	T(rename("w/dir/new", "w/moved"));
	take_now(in);
	T(rename("w/moved", "w/dir/back"));
	take_now(in);
	T(rename("w/dir/back", "w/dir/x"));
	take_now(in);
	T(symlink("x", "w/dir/link"));
	T(link("w/dir/x", "w/dir/hard"));
	T(mkdir("w/dir/made", 0755));
	T(mkfifo("w/dir/fifo", 0600));
	take_now(in);
	T(chmod("w/dir/kept", 0600));
	T(chmod("w/dir/sub", 0700));
	T(truncate("w/dir/kept", 1));
	take_now(in);
	T(rmdir("w/dir/made"));
	T(rename("w/dir/link", "w/dir/link2"));
	T(chmod("w/dir", 0700));
	take_now(in);
	t_put("w/dir/sub/inner", "not mine");
	take(in);
	T(rename("w/dir/sub", "w/dir/sub2"));
	T(rename("w/dir/sub2", "w/sub"));
	take_now(in);
	T(renameat2(AT_FDCWD, "w/dir/x", AT_FDCWD, "w/other/o", RENAME_EXCHANGE));
	take_now(in);
	T(renameat2(AT_FDCWD, "w/dir/x", AT_FDCWD, "w/dir/kept", RENAME_EXCHANGE));
	take_now(in);
	close(in);
}

static void reading(void)
{
	int in = watcher("w/dir", IN_ALL_EVENTS), fd;

	SAY("-- reading\n");
	look("w/dir/kept");
	take(in);
	look("w/dir/r");
	take(in);
	t_ls("w/dir");
	take(in);
	fd = open("w/dir/r", O_RDWR);
	take_now(in);
	T(write(fd, "w", 1));
	take(in);
	close(fd);
	take(in);
	TOPEN(open("w/dir/r", O_WRONLY | O_TRUNC));
	take(in);
	TOPEN(open("w/dir/brand", O_WRONLY | O_CREAT | O_EXCL, 0600));
	take(in);
	TOPEN(open("w/dir/deep", O_RDONLY | O_DIRECTORY));
	take(in);
	t_put("w/dir/deep/file", "x");
	take(in);
	fd = open("w/dir/brand", O_WRONLY);
	T(unlink("w/dir/brand"));
	T(write(fd, "late", 4));
	close(fd);
	take(in);
	T(inotify_add_watch(in, "w/dir", IN_ALL_EVENTS | IN_EXCL_UNLINK));
	fd = open("w/dir/r", O_WRONLY);
	T(unlink("w/dir/r"));
	T(write(fd, "late", 4));
	close(fd);
	take(in);
	close(in);
}

/* A file before, while and after it is copied up. */
static void one_file(void)
{
	int in = watcher("w/file", IN_ALL_EVENTS), again = watcher("w/file", IN_MODIFY), fd;

	SAY("-- a file\n");
	look("w/file");
	take(in);
	append("w/file");
	take(in);
	take(again);
	append("w/file");
	take(in);
	T(inotify_add_watch(in, "w/file", IN_MODIFY | IN_MASK_ADD));
	T(inotify_add_watch(in, "w/file", IN_MODIFY | IN_MASK_CREATE));
	T(chmod("w/file", 0640));
	T(truncate("w/file", 3));
	take_now(in);
	T(rename("w/file", "w/renamed"));
	take_now(in);
	append("w/renamed");
	take(in);
	fd = open("w/renamed", O_RDONLY);
	take(in);
	T(unlink("w/renamed"));
	take(in);
	close(fd);
	take(in);
	take(again);
	close(again);
	T(inotify_add_watch(in, "w/other/p", IN_MODIFY | IN_DELETE_SELF));
	T(inotify_add_watch(in, "w/other/q", IN_ALL_EVENTS));
	T(rename("w/other/q", "w/other/p"));
	take(in);
	close(in);
}

static void numbers(void)
{
	int in = inotify_init1(IN_NONBLOCK), two, bad;
	int wd[4];

	SAY("-- numbers\n");
	MUST(in >= 0);
	wd[0] = (int)T(inotify_add_watch(in, "w/num", IN_CREATE | IN_DELETE));
	wd[1] = (int)T(inotify_add_watch(in, "w/num/a", IN_ATTRIB | IN_ONESHOT));
	wd[2] = (int)T(inotify_add_watch(in, "w/num/../num", IN_DELETE | IN_CREATE | IN_ONESHOT));
	wd[3] = (int)T(inotify_add_watch(in, "w/num/b", IN_DELETE_SELF));
	T(chmod("w/num/a", 0600));
	T(chmod("w/num/a", 0644));
	T(mkdir("w/num/once", 0700));
	T(mkdir("w/num/twice", 0700));
	take_now(in);
	T(inotify_rm_watch(in, wd[0]));
	T(inotify_rm_watch(in, wd[1]));
	T(inotify_rm_watch(in, wd[3]));
	T(inotify_rm_watch(in, wd[3]));
	take_now(in);
	T(inotify_add_watch(in, "w/num", IN_CREATE | IN_DELETE));
	two = dup(in);
	close(in);
	T(rmdir("w/num/twice"));
	take_now(two);
	/* Too little room for an event is EINVAL, what waits can be asked, and children have the same. */
	T(rmdir("w/num/once"));
	char small[4];
	T(read(two, small, sizeof(small)));
	int waits = 0;
	T(ioctl(two, FIONREAD, &waits));
	SAY("%d bytes\n", waits);
	if (fork() == 0) {
		T(inotify_add_watch(two, "w/num", IN_CREATE));
		T(mkdir("w/num/childs", 0700));
		take_now(two);
		_exit(0);
	}
	wait(NULL);
	T(rmdir("w/num/childs"));
	T(mkdir("w/num/mine", 0700));
	take_now(two);
	T(inotify_add_watch(two, "w/num/a", IN_ONLYDIR | IN_CREATE));
	T(inotify_add_watch(two, "w/num/none", IN_CREATE));
	T(inotify_add_watch(two, "", IN_CREATE));
	T(inotify_add_watch(two, "w/num/none", 0));
	T(inotify_add_watch(two, "w/num", IN_CREATE | IN_MASK_ADD | IN_MASK_CREATE));
	bad = open("w/num/a", O_RDONLY);
	T(inotify_add_watch(bad, "w/num/none", IN_CREATE));
	T(inotify_rm_watch(bad, 1));
	T(inotify_add_watch(-1, "w/num/none", IN_CREATE));
	close(bad);
	close(two);
}

static void ends(void)
{
	int in = watcher("w/ends", IN_ALL_EVENTS & ~(IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE));

	SAY("-- ends\n");
	T(inotify_add_watch(in, "w/ends/sub",
	                    IN_DELETE_SELF | IN_MOVE_SELF | IN_CREATE | IN_DELETE));
	T(inotify_add_watch(in, "w/ends/sub/f", IN_MODIFY));
	T(rename("w/ends/sub", "w/ends/sub2"));
	take_now(in);
	t_put("w/ends/sub2/g", "g");
	T(unlink("w/ends/sub2/g"));
	append("w/ends/sub2/f");
	take(in);
	T(unlink("w/ends/sub2/f"));
	T(unlink("w/ends/sub2/added"));
	T(rmdir("w/ends/sub2"));
	take(in);
	T(unlink("w/ends/empty/added"));
	T(rmdir("w/ends/empty"));
	T(inotify_add_watch(in, "w/ends/gone", IN_ATTRIB | IN_DELETE_SELF));
	T(unlink("w/ends/gone"));
	T(unlink("w/ends/added"));
	T(rmdir("w/ends"));
	take(in);
	close(in);
}

/* The root is in no directory.  (What others do there is their affair.) */
static void root(void)
{
	_Alignas(struct inotify_event) char b[8192];
	int in = watcher("/", IN_DELETE_SELF | IN_ACCESS), gone = 0;
	ssize_t n;

	SAY("-- the root\n");
	int fd = open("/", O_RDONLY | O_DIRECTORY);
	T(getdents64(fd, (char[512]){0}, 512) > 0);
	close(fd);
	while ((n = read(in, b, sizeof(b))) > 0)
		for (char *at = b; at < b + n;
		     at += sizeof(struct inotify_event) + ((struct inotify_event *)(void *)at)->len)
			gone += (((struct inotify_event *)(void *)at)->mask &
			         (IN_DELETE_SELF | IN_IGNORED)) != 0;
	SAY("gone %d\n", gone);
	T(inotify_rm_watch(in, 1));
	close(in);
}

/* Instances that are closed count no more, however many there were. */
static void many(void)
{
	int failed = 0;

	for (int i = 0; i < 300; i++) {
		int in = inotify_init1(IN_CLOEXEC);

		failed += in < 0 || inotify_add_watch(in, "w/dir", IN_CREATE) != 1;
		if (in >= 0)
			close(in);
	}
	SAY("%d of 300 failed\n", failed);
}

int main(void)
{
	umask(022);
	names();
	reading();
	one_file();
	numbers();
	ends();
	root();
	many();
	return 0;
}
