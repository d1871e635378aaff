/* SPDX-License-Identifier: Apache-2.0 */
/* Magic links of /proc/self and /dev/fd, inotify, and what the links say. */
#include "t.h"
#include <poll.h>
#include <sys/inotify.h>

static char start[PATH_MAX];

/* Prints a magic link's text, relative to where we began. */
static void link_text(const char *path)
{
	char b[PATH_MAX];
	ssize_t n = readlink(path, b, sizeof(b) - 1);
	size_t len = strlen(start);

	if (n < 0) {
		SAY("  %s\n", strerrorname_np(errno));
		return;
	}
	b[n] = '\0';
	if (!strncmp(b, start, len))
		SAY("  -> START%s\n", b + len);
	else if (!strncmp(b, "pipe:", 5) || !strncmp(b, "socket:", 7) || !strncmp(b, "anon", 4))
		SAY("  -> %.5s\n", b);
	else
		SAY("  -> %s\n", b);
}

static void reopen(void)
{
	char p[64], d[64], b[16] = "";
	struct stat st;
	int fd = open("a.txt", O_RDONLY), dir = open("dir", O_RDONLY), n, path = open("b.txt", O_RDONLY), pipes[2];

	snprintf(p, sizeof(p), "/proc/self/fd/%d", fd);
	snprintf(d, sizeof(d), "/dev/fd/%d", fd);
	T(lseek(fd, 3, SEEK_SET));
	n = TFD(open(p, O_RDONLY));
	T(lseek(n, 0, SEEK_CUR)); /* an open of its own */
	T(read(n, b, 5));
	close(n);
	n = TFD(open(d, O_RDONLY));
	close(n);
	link_text(p);
	T(lstat(p, &st));
	SAY("  %c\n", t_type(st.st_mode));
	T(stat(p, &st));
	t_stat("through the link", &st);
	n = TFD(open(p, O_RDWR)); /* for writing: a copy of our own */
	T(write(n, "WRITE", 5));
	close(n);
	t_cat("a.txt");
	T(open(p, O_RDONLY | O_NOFOLLOW));
	T(truncate(p, 2));
	t_cat("a.txt");
	T(chmod(p, 0640));
	T(access(p, W_OK));
	snprintf(p, sizeof(p), "/proc/self/fd/%d", dir);
	link_text(p);
	t_ls(p);
	snprintf(p, sizeof(p), "/proc/self/fd/%d/sub/f", dir);
	t_cat("dir/sub/f");
	TOPEN(open(p, O_RDONLY));
	snprintf(p, sizeof(p), "/proc/self/fd/%d/../b.txt", dir);
	TOPEN(open(p, O_RDONLY));
	snprintf(p, sizeof(p), "/proc/self/fd/%d/made", dir);
	TOPEN(open(p, O_WRONLY | O_CREAT, 0644));
	T(access("dir/made", F_OK));
	snprintf(p, sizeof(p), "/proc/self/fd/%d", path);
	TOPEN(open(p, O_RDONLY));
	link_text(p);
	T(open("/proc/self/fd/999", O_RDONLY));
	T(stat("/proc/self/fd/x", &st));
	/* Renamed and deleted: the text follows. */
	T(rename("b.txt", "b_moved.txt"));
	link_text(p);
	TOPEN(open(p, O_RDONLY));
	T(unlink("b_moved.txt"));
	link_text(p);
	MUST(pipe(pipes) == 0);
	snprintf(p, sizeof(p), "/proc/self/fd/%d", pipes[0]);
	link_text(p);
	n = TFD(open(p, O_WRONLY)); /* the pipe's other end */
	T(write(n, "via proc", 8));
	T(read(pipes[0], b, 8));
	close(n);
	close(fd);
	close(dir);
	close(path);
	close(pipes[0]);
	close(pipes[1]);
	n = memfd_create("mem", 0);
	T(write(n, "memory", 6));
	snprintf(p, sizeof(p), "/proc/self/fd/%d", n);
	fd = TFD(open(p, O_RDONLY));
	T(read(fd, b, 6));
	close(fd);
	close(n);
}

static void magic(void)
{
	struct stat st, other;

	link_text("/proc/self/cwd");
	T(chdir("dir"));
	link_text("/proc/self/cwd");
	T(access("/proc/self/cwd/x", F_OK));
	T(access("/proc/self/cwd/../a.txt", F_OK));
	TOPEN(open("/proc/self/cwd/x", O_RDWR));
	T(chdir("/proc/self/cwd/sub"));
	link_text("/proc/self/cwd");
	T(chdir(start));
	link_text("/proc/self/root");
	T(stat("/proc/self/root", &st));
	T(stat("/", &other));
	SAY("  root same %d\n", st.st_ino == other.st_ino && st.st_dev == other.st_dev);
	T(access("/proc/self/root/usr/bin/env", F_OK));
	T(access("/proc/thread-self/cwd/a.txt", F_OK));
	T(readlink("/proc/self/exe", (char[8]){ 0 }, 8));
	TOPEN(open("/proc/self/exe", O_RDONLY));
	T(open("/proc/self/exe", O_WRONLY));
	T(stat("/dev/stdin", &st) * 0);
	T(lstat("/dev/fd", &st));
	SAY("  %c\n", t_type(st.st_mode));
	T(access("/proc/self/status", R_OK));
	T(access("/proc/self/nothing", R_OK));
	T(mkdir("/proc/self/x", 0755) < 0);
	T(unlink("/proc/self/status") < 0);
}

static void drain(int fd)
{
	char b[4096] __attribute__((aligned(8)));
	struct pollfd pfd = { fd, POLLIN, 0 };
	ssize_t n;

	while (poll(&pfd, 1, 100) > 0 && (n = read(fd, b, sizeof(b))) > 0) {
		for (char *p = b; p < b + n;) {
			struct inotify_event *e = (void *)p;

			SAY("  event %#x %s\n", e->mask, e->len ? e->name : "");
			p += sizeof(*e) + e->len;
		}
	}
}

static void watch(void)
{
	int in = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), wd;

	if (in < 0)
		return;
	T(inotify_add_watch(in, "missing", IN_MODIFY));
	T(inotify_add_watch(in, "a.txt", 0));
	T(inotify_add_watch(in, "a.txt", IN_ONLYDIR | IN_MODIFY));
	T(inotify_add_watch(999, "a.txt", IN_MODIFY));
	T(inotify_add_watch(1, "a.txt", IN_MODIFY));
	T(syscall(SYS_inotify_add_watch, in, t_bad, IN_MODIFY));
	/* On what we made ourselves the events are exact. */
	MUST(mkdir("watched", 0755) == 0);
	wd = (int)T(inotify_add_watch(in, "watched", IN_CREATE | IN_DELETE | IN_CLOSE_WRITE | IN_MOVED_TO));
	t_put("watched/one", "1");
	T(rename("a.txt", "watched/two"));
	T(unlink("watched/one"));
	drain(in);
	T(inotify_rm_watch(in, wd));
	T(inotify_rm_watch(in, 77));
	close(in);
}

int main(void)
{
	umask(022);
	MUST(getcwd(start, sizeof(start)));
	reopen();
	magic();
	watch();
	return 0;
}
