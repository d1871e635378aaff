/* SPDX-License-Identifier: Apache-2.0 */
/* Operations and what of their results has to be the same everywhere, see fsd.c. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "fsd.h"

static int slot[SLOTS];
static char top[PATH_MAX];
static size_t top_len;
char out[8192];
size_t out_len;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(out + out_len, sizeof(out) - out_len, fmt, ap);
	va_end(ap);
	out_len = out_len + (size_t)n < sizeof(out) ? out_len + (size_t)n : sizeof(out) - 1;
}

const char *err(void)
{
	return strerrorname_np(errno);
}

static void result(long r)
{
	if (r < 0)
		say("%s", err());
	else
		say("%ld", r);
}

uint32_t hash(const void *data, size_t n)
{
	uint32_t h = 2166136261u;

	for (const unsigned char *c = data; n; n--)
		h = (h ^ *c++) * 16777619u;
	return h;
}

struct place {
	int dir;
	const char *path;
	char absolute[2 * PATH_MAX];
};

static struct place *place(struct place *p, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	p->dir = AT_FDCWD;
	p->path = text;
	if (*text == '@') {
		snprintf(p->absolute, sizeof(p->absolute), "%s/%s", top, text + 1);
		p->path = p->absolute;
	} else if (end > text && *end == ':' && n < SLOTS) {
		p->dir = slot[n] < 0 ? 77777 : slot[n]; /* none: EBADF, not AT_FDCWD */
		p->path = end + 1;
	}
	return p;
}

static bool within(const char *path)
{
	return strncmp(path, top, top_len) == 0 && (path[top_len] == '/' || !path[top_len]);
}

/* Nobody may climb out of the tree step by step: the host's is next to it. */
static bool led_out(int fd)
{
	char self[40], path[PATH_MAX + 1];
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISDIR(st.st_mode))
		return false;
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(self, path, sizeof(path) - 1);
	path[n < 0 ? 0 : n] = '\0';
	return !within(path);
}

static void stay(long r)
{
	char path[PATH_MAX + 1];

	if (r == 0 && (!getcwd(path, sizeof(path)) || !within(path))) {
		if (chdir(top) < 0)
			die(top);
		say("outside");
		return;
	}
	result(r);
}

/* Text with the tree's own place taken out. */
static void say_path(const char *path)
{
	if (within(path))
		say("TOP%s", path + top_len);
	else if (strncmp(path, top, top_len - 1) == 0) /* beside it: DIR is x/t */
		say("UP%s", path + top_len - 1);
	else
		say("%s", path);
}

static void set_slot(unsigned n, int fd)
{
	if (fd >= 0 && led_out(fd)) {
		close(fd);
		say("outside");
		return;
	}
	if (fd >= 0) {
		if (slot[n] >= 0)
			close(slot[n]);
		slot[n] = fd;
	}
	say(fd < 0 ? "%s" : "ok", fd < 0 ? err() : "");
}

static void say_time(const struct timespec *t)
{
	/* Only what was set is sure. */
	if (t->tv_sec < 100000)
		say(" %ld", (long)t->tv_sec);
	else
		say(" now");
}

void say_stat(int r, const struct stat *st)
{
	if (r < 0) {
		say("%s", err());
		return;
	}
	say("%o %u:%u", st->st_mode, st->st_uid, st->st_gid);
	if (S_ISDIR(st->st_mode))
		return;
	say(" n%lu", (unsigned long)st->st_nlink);
	if (!S_ISLNK(st->st_mode))
		say_time(&st->st_mtim);
	if (S_ISREG(st->st_mode) || S_ISLNK(st->st_mode))
		say(" size %ld", (long)st->st_size);
}

int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names and types, sorted.  fd is taken. */
static void list(int fd)
{
	char *entry[400];
	size_t n = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		say("%s", err());
		if (fd >= 0)
			close(fd);
		return;
	}
	rewinddir(d);
	while ((errno = 0, e = readdir(d)) && n < 400)
		if (asprintf(&entry[n], "%.12s%s/%d", e->d_name, strlen(e->d_name) > 12 ? "~" : "", e->d_type) >= 0)
			n++;
	if (errno)
		say("%s ", err());
	closedir(d);
	qsort(entry, n, sizeof(entry[0]), by_text);
	for (size_t i = 0; i < n; i++) {
		say("%s ", entry[i]);
		free(entry[i]);
	}
}

static char *pattern(unsigned n, unsigned seed)
{
	static char buf[80000];

	for (unsigned i = 0; i < n && i < sizeof(buf); i++)
		buf[i] = (char)('a' + (i * 7 + seed) % 26);
	return buf;
}

static struct timespec time_of(unsigned v)
{
	return (struct timespec){.tv_sec = v < 2 ? 0 : (time_t)v, .tv_nsec = v == 0 ? UTIME_NOW : v == 1 ? UTIME_OMIT : 0};
}

static const char *const attrs[] = {"user.one", "user.two", "user.three", "none"};

static bool files(const char *op, char **a, unsigned *v)
{
	struct place p, q;
	struct stat st;
	char buf[80000];
	ssize_t n;

	if (!strcmp(op, "open")) {
		place(&p, a[1]);
		int fd = openat(p.dir, p.path, (int)v[2] | O_NOCTTY | O_NONBLOCK, v[3]);
		/* What is open for reading only stays as it was, inside: see docs/compatibility.md. */
		if (fd >= 0 && (v[2] & O_ACCMODE) == O_RDONLY && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			n = read(fd, buf, 100);
			say("%zd %08x", n, n > 0 ? hash(buf, (size_t)n) : 0);
			close(fd);
		} else {
			set_slot(v[0], fd);
		}
	} else if (!strcmp(op, "opendir")) {
		place(&p, a[1]);
		set_slot(v[0], openat(p.dir, p.path, O_RDONLY | O_DIRECTORY));
	} else if (!strcmp(op, "openat2")) {
		struct {
			uint64_t flags, mode, resolve;
		} how = {(v[2] & (O_ACCMODE | O_DIRECTORY | O_NOFOLLOW)) | O_NONBLOCK, 0, v[3]};

		place(&p, a[1]);
		int fd;
		/* openat2(2): a rename anywhere on the machine meanwhile may end a scoped ".." in EAGAIN. */
		do
			fd = (int)syscall(SYS_openat2, p.dir, p.path, &how, sizeof(how));
		while (fd < 0 && errno == EAGAIN);
		if (fd >= 0 && (v[2] & O_ACCMODE) == O_RDONLY && fstat(fd, &st) == 0 && S_ISREG(st.st_mode)) {
			say("ok");
			close(fd);
		} else {
			set_slot(v[0], fd);
		}
	} else if (!strcmp(op, "creat")) {
		place(&p, a[1]);
		set_slot(v[0], openat(p.dir, p.path, O_CREAT | O_WRONLY | O_TRUNC | O_NONBLOCK, v[2]));
	} else if (!strcmp(op, "tmpfile")) {
		place(&p, a[1]);
		set_slot(v[0], openat(p.dir, p.path, O_TMPFILE | O_RDWR, v[2]));
	} else if (!strcmp(op, "close")) {
		result(slot[v[0]] < 0 ? (errno = EBADF, -1) : close(slot[v[0]]));
		slot[v[0]] = -1;
	} else if (!strcmp(op, "dup")) {
		set_slot(v[1], slot[v[0]] < 0 ? (errno = EBADF, -1) : dup(slot[v[0]]));
	} else if (!strcmp(op, "read") || !strcmp(op, "pread")) {
		if (fstat(slot[v[0]], &st) == 0 && S_ISDIR(st.st_mode)) {
			say("dir"); /* what comes of it depends on the position */
			return true;
		}
		n = op[0] == 'r' ? read(slot[v[0]], buf, v[1]) : pread(slot[v[0]], buf, v[1], v[2]);
		result(n);
		if (n > 0)
			say(" %08x", hash(buf, (size_t)n));
	} else if (!strcmp(op, "write")) {
		result(write(slot[v[0]], pattern(v[1], v[1]), v[1]));
	} else if (!strcmp(op, "pwrite")) {
		result(pwrite(slot[v[0]], pattern(v[1], v[2]), v[1], v[2]));
	} else if (!strcmp(op, "seek")) {
		fstat(slot[v[0]], &st);
		if (slot[v[0]] >= 0 && S_ISDIR(st.st_mode))
			say("dir"); /* positions in directories are the filesystem's own */
		else
			result(lseek(slot[v[0]], v[1], (int)v[2]));
	} else if (!strcmp(op, "ftruncate")) {
		result(ftruncate(slot[v[0]], v[1]));
	} else if (!strcmp(op, "truncate")) {
		place(&p, a[0]);
		result(p.dir == AT_FDCWD ? truncate(p.path, v[1]) : (errno = ENOSYS, -1));
	} else if (!strcmp(op, "fallocate")) {
		result(fallocate(slot[v[0]], 0, v[1], v[2] ? v[2] : 1));
	} else if (!strcmp(op, "fstat")) {
		int r = fstat(slot[v[0]], &st);
		say_stat(r, &st);
	} else if (!strcmp(op, "mmap")) {
		char *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, slot[v[0]], 0);

		if (m == MAP_FAILED || fstat(slot[v[0]], &st) < 0) {
			say("%s", err());
		} else {
			if (v[1] < 4096 && v[1] < st.st_size)
				m[v[1]] = 'M';
			say("ok");
		}
		if (m != MAP_FAILED)
			munmap(m, 4096);
	} else if ((!strcmp(op, "copyrange") || !strcmp(op, "sendfile")) &&
	           fstat(slot[v[0]], &st) == 0 && S_ISDIR(st.st_mode)) {
		say("dir");
	} else if (!strcmp(op, "copyrange")) {
		result(copy_file_range(slot[v[0]], NULL, slot[v[1]], NULL, v[2], 0));
	} else if (!strcmp(op, "sendfile")) {
		result(sendfile(slot[v[1]], slot[v[0]], NULL, v[2]));
	} else if (!strcmp(op, "flock")) {
		static const int how[] = {LOCK_SH | LOCK_NB, LOCK_EX | LOCK_NB, LOCK_UN};
		result(flock(slot[v[0]], how[v[1] % 3]));
	} else if (!strcmp(op, "fsync")) {
		result(fsync(slot[v[0]]));
	} else if (!strcmp(op, "linkfd")) {
		char self[40];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", slot[v[0]]);
		place(&q, a[1]);
		result(linkat(AT_FDCWD, self, q.dir, q.path, AT_SYMLINK_FOLLOW));
	} else if (!strcmp(op, "procfd")) {
		char self[40];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", slot[v[0]]);
		n = readlink(self, buf, sizeof(buf) - 1);
		if (n < 0) {
			say("%s", err());
		} else {
			buf[n] = '\0';
			/* Of a file without a name the kernel's text holds a number. */
			if (strstr(buf, "/#"))
				say("nameless");
			else
				say_path(buf);
		}
	} else if (!strcmp(op, "procopen")) {
		char self[40];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", slot[v[0]]);
		set_slot(v[1], open(self, (int)(v[2] & ~(unsigned)(O_CREAT | O_EXCL | O_TRUNC)) | O_NONBLOCK));
	} else if (!strcmp(op, "empty")) {
		int r = fstatat(slot[v[0]], "", &st, AT_EMPTY_PATH);
		say_stat(slot[v[0]] < 0 ? (errno = EBADF, -1) : r, &st);
	} else {
		return false;
	}
	return true;
}

static bool paths(const char *op, char **a, unsigned *v)
{
	struct place p, q;
	struct stat st;
	char buf[8192];
	ssize_t n;
	int r;

	place(&p, a[0] ? a[0] : "");
	place(&q, a[1] ? a[1] : "");
	if (!strcmp(op, "stat")) {
		r = fstatat(p.dir, p.path, &st, 0);
		say_stat(r, &st);
	} else if (!strcmp(op, "lstat")) {
		r = fstatat(p.dir, p.path, &st, AT_SYMLINK_NOFOLLOW);
		say_stat(r, &st);
	} else if (!strcmp(op, "statx")) {
		struct statx x;

		r = statx(p.dir, p.path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &x);
		if (r < 0)
			say("%s", err());
		else
			say("%o %u:%u", x.stx_mode, x.stx_uid, x.stx_gid);
	} else if (!strcmp(op, "access")) {
		result(faccessat(p.dir, p.path, (int)v[1], 0));
	} else if (!strcmp(op, "eaccess")) {
		result(syscall(SYS_faccessat2, p.dir, p.path, v[1], AT_EACCESS | AT_SYMLINK_NOFOLLOW));
	} else if (!strcmp(op, "readlink")) {
		n = readlinkat(p.dir, p.path, buf, sizeof(buf) - 1);
		result(n);
		if (n > 0)
			say(" %.*s", (int)n, buf);
	} else if (!strcmp(op, "mkdir")) {
		result(mkdirat(p.dir, p.path, v[1]));
	} else if (!strcmp(op, "rmdir")) {
		result(unlinkat(p.dir, p.path, AT_REMOVEDIR));
	} else if (!strcmp(op, "unlink")) {
		result(unlinkat(p.dir, p.path, 0));
	} else if (!strcmp(op, "rename")) {
		result(renameat(p.dir, p.path, q.dir, q.path));
	} else if (!strcmp(op, "rename2")) {
		result(syscall(SYS_renameat2, p.dir, p.path, q.dir, q.path, v[2] & 3));
	} else if (!strcmp(op, "link")) {
		result(linkat(p.dir, p.path, q.dir, q.path, 0));
	} else if (!strcmp(op, "linkf")) {
		result(linkat(p.dir, p.path, q.dir, q.path, AT_SYMLINK_FOLLOW));
	} else if (!strcmp(op, "symlink")) {
		result(symlinkat(a[0], q.dir, q.path));
	} else if (!strcmp(op, "mkfifo")) {
		result(mkfifoat(p.dir, p.path, v[1]));
	} else if (!strcmp(op, "chmod")) {
		result(fchmodat(p.dir, p.path, v[1], 0));
	} else if (!strcmp(op, "chown")) {
		result(fchownat(p.dir, p.path, v[1], v[2], 0));
	} else if (!strcmp(op, "lchown")) {
		result(fchownat(p.dir, p.path, v[1], v[2], AT_SYMLINK_NOFOLLOW));
	} else if (!strcmp(op, "utimens")) {
		struct timespec t[2] = {time_of(v[1]), time_of(v[2])};
		result(utimensat(p.dir, p.path, t, 0));
	} else if (!strcmp(op, "list")) {
		list(openat(p.dir, p.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	} else if (!strcmp(op, "chdir")) {
		stay(p.dir == AT_FDCWD ? chdir(p.path) : (errno = ENOSYS, -1));
	} else if (!strcmp(op, "setx")) {
		result(p.dir == AT_FDCWD ? setxattr(p.path, attrs[v[1] % 4], pattern(v[2] % 60, v[2]), v[2] % 60, 0) : (errno = ENOSYS, -1));
	} else if (!strcmp(op, "getx")) {
		n = p.dir == AT_FDCWD ? getxattr(p.path, attrs[v[1] % 4], buf, sizeof(buf)) : (errno = ENOSYS, -1);
		result(n);
		if (n > 0)
			say(" %08x", hash(buf, (size_t)n));
	} else if (!strcmp(op, "listx")) {
		n = p.dir == AT_FDCWD ? listxattr(p.path, buf, sizeof(buf)) : (errno = ENOSYS, -1);
		result(n);
	} else if (!strcmp(op, "rmx")) {
		result(p.dir == AT_FDCWD ? removexattr(p.path, attrs[v[1] % 4]) : (errno = ENOSYS, -1));
	} else if (!strcmp(op, "same")) {
		struct stat other;

		r = fstatat(p.dir, p.path, &st, AT_SYMLINK_NOFOLLOW);
		if (r == 0)
			r = fstatat(q.dir, q.path, &other, AT_SYMLINK_NOFOLLOW);
		if (r < 0)
			say("%s", err());
		else
			say("%s", st.st_dev == other.st_dev && st.st_ino == other.st_ino ? "same" : "others");
	} else {
		return false;
	}
	return true;
}

static void rest(const char *op, unsigned *v)
{
	char buf[PATH_MAX + 1];

	struct stat st;

	/* A removed directory of the host is not changed through a descriptor: docs/compatibility.md. */
	if ((!strcmp(op, "fchmod") || !strcmp(op, "futimens") || !strcmp(op, "fsetx")) && fstat(slot[v[0]], &st) == 0 &&
	    S_ISDIR(st.st_mode)) {
		say("dir");
	} else if (!strcmp(op, "fchmod")) {
		result(fchmod(slot[v[0]], v[1]));
	} else if (!strcmp(op, "futimens")) {
		struct timespec t[2] = {time_of(v[1]), time_of(v[2])};
		result(slot[v[0]] < 0 ? (errno = EBADF, -1) : futimens(slot[v[0]], t));
	} else if (!strcmp(op, "flist")) {
		list(slot[v[0]] < 0 ? (errno = EBADF, -1) : dup(slot[v[0]]));
	} else if (!strcmp(op, "fchdir")) {
		stay(fchdir(slot[v[0]]));
	} else if (!strcmp(op, "fsetx")) {
		result(fsetxattr(slot[v[0]], attrs[v[1] % 4], "value", v[2] % 6, 0));
	} else if (!strcmp(op, "cwd")) {
		if (!getcwd(buf, sizeof(buf)))
			say("%s", err());
		else
			say_path(buf);
	} else if (!strcmp(op, "umask")) {
		say("%o", umask((mode_t)v[0] & 077));
	} else if (!strcmp(op, "fsuid")) {
		if (geteuid() != 0) {
			say("user");
			return;
		}
		setfsgid(v[0]);
		say("%d", setfsuid(v[0]));
	} else {
		say("?");
	}
}

/* Of an ordinary user no owner's right is taken away: see docs/compatibility.md, closed directories. */
static unsigned mode_of(unsigned mode)
{
	return geteuid() == 0 ? mode : mode | 0700;
}

void perform(char *line)
{
	char *a[ARGS] = {NULL}, *save = NULL;
	unsigned v[ARGS] = {0};
	const char *op = strtok_r(line, " \n", &save);

	out_len = 0;
	out[0] = '\0';
	for (size_t i = 0; op && i < ARGS && (a[i] = strtok_r(NULL, " \n", &save)); i++)
		v[i] = (unsigned)strtoul(a[i], NULL, 10);
	if (!op)
		return;
	if (strchr("sop", 's') && v[0] >= SLOTS && a[0] && a[0][0] >= '0' && a[0][0] <= '9' && !strchr(a[0], ':'))
		v[0] %= SLOTS;
	if (!strcmp(op, "chmod") || !strcmp(op, "mkdir") || !strcmp(op, "fchmod"))
		v[1] = mode_of(v[1]);
	if (!files(op, a, v) && !paths(op, a, v))
		rest(op, v);
}

void ops_begin(const char *path)
{
	snprintf(top, sizeof(top), "%s", path);
	top_len = strlen(top);
	for (int i = 0; i < SLOTS; i++)
		slot[i] = -1;
}
