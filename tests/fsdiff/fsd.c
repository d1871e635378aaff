/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest of the differential filesystem tester (fsdiff.py).
 *
 *   fsd tree DIR             makes the tree that every run begins with
 *   fsd gen SEED N           prints N random operations, one a line; none depends on a result of
 *                            another, so any subset is a test as well
 *   fsd run OPS DIR          carries them out in DIR and prints what each of them gave, then the tree
 *
 * Two processes take turns, each with descriptors, working directory and umask of its own.  What is
 * printed is what must be the same on any Linux: no inode numbers, no current times, no order of
 * entries, no link counts of directories.
 */
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

#define SLOTS 8
#define ARGS 8
#define LINE 1024

static void die(const char *what)
{
	perror(what);
	_exit(99);
}

/* ---- generating ---- */

static uint64_t rng;

static unsigned rnd(unsigned n)
{
	/* xorshift64*: Marsaglia 2003, Vigna 2016 */
	rng ^= rng >> 12;
	rng ^= rng << 25;
	rng ^= rng >> 27;
	return (unsigned)((rng * 0x2545f4914f6cdd1dULL) >> 33) % n;
}

static const char *const names[] = {"a", "b", "c", "d", "e", "f", "ln", "dl"};
#define N_NAMES (sizeof(names) / sizeof(names[0]))

static void put_name(char *to)
{
	if (rnd(60) == 0) {
		memset(to, 'x', 250 + rnd(12));
		to[250 + rnd(12)] = '\0';
		to[261] = '\0';
		to[strnlen(to, 261)] = '\0';
		return;
	}
	strcpy(to, names[rnd(N_NAMES)]);
}

/* A path of up to three parts; sometimes odd. */
static void put_path(char *to)
{
	char name[300] = "";

	*to = '\0';
	if (rnd(12) == 0)
		strcat(to, rnd(2) ? "./" : "../");
	for (unsigned n = 1 + rnd(3); n; n--) {
		memset(name, 0, sizeof(name));
		put_name(name);
		strcat(to, name);
		if (n > 1)
			strcat(to, rnd(20) ? "/" : rnd(2) ? "//" : "/./");
		if (n > 1 && rnd(25) == 0)
			strcat(to, "../");
	}
	if (rnd(15) == 0)
		strcat(to, rnd(3) ? "/" : "/.");
}

/* "slot:path" names a path by a directory's descriptor, "@path" an absolute one. */
static void put_at(char *to)
{
	unsigned how = rnd(10);

	if (how == 0)
		to += sprintf(to, "%u:", rnd(SLOTS));
	else if (how == 1)
		to += sprintf(to, "@");
	put_path(to);
}

struct kind {
	const char *name;
	const char *args; /* p path, s slot, f/m/n/... numbers of a kind, see put_arg */
	unsigned weight;
};

static const struct kind kinds[] = {
	{"open", "spom", 30},     {"creat", "spm", 4},    {"tmpfile", "spm", 2}, {"close", "s", 8},     {"dup", "ss", 2},
	{"read", "sn", 8},        {"write", "sn", 12},    {"pread", "sno", 4},   {"pwrite", "snN", 5},  {"seek", "sNw", 4},
	{"ftruncate", "sN", 3},   {"truncate", "pN", 4},  {"fallocate", "sNn", 2}, {"fstat", "s", 5},   {"stat", "p", 10},
	{"lstat", "p", 8},        {"statx", "p", 3},      {"access", "pa", 5},   {"eaccess", "pa", 3},  {"readlink", "p", 5},
	{"mkdir", "pm", 8},       {"rmdir", "p", 5},      {"unlink", "p", 10},   {"rename", "pp", 12},  {"rename2", "ppr", 6},
	{"link", "pp", 7},        {"linkf", "pp", 2},     {"linkfd", "sp", 2},   {"symlink", "tp", 6},  {"mkfifo", "pm", 2},
	{"chmod", "pm", 6},       {"fchmod", "sm", 2},    {"chown", "puu", 3},   {"lchown", "puu", 2},  {"utimens", "pTT", 4},
	{"futimens", "sTT", 2},   {"list", "p", 6},       {"flist", "s", 3},     {"chdir", "p", 3},     {"fchdir", "s", 2},
	{"cwd", "", 3},           {"umask", "m", 1},      {"setx", "pxn", 4},    {"getx", "px", 4},     {"listx", "p", 3},
	{"rmx", "px", 2},         {"fsetx", "sxn", 2},    {"same", "pp", 3},     {"mmap", "sn", 2},     {"copyrange", "ssn", 2},
	{"sendfile", "ssn", 1},   {"flock", "sl", 1},     {"procfd", "s", 2},    {"procopen", "sso", 2}, {"empty", "s", 2},
	{"fsuid", "u", 1},        {"openat2", "spoR", 3}, {"fsync", "s", 1},
};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static void put_arg(char *to, char kind)
{
	static const unsigned open_flags[] = {O_CREAT, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_NOFOLLOW, O_DIRECTORY, O_CLOEXEC, O_NONBLOCK};
	static const unsigned modes[] = {0644, 0600, 0755, 0700, 0444, 0000, 0777, 01777, 02755, 04755, 0311};
	static const char *const targets[] = {"a", "b", "c/d", "../a", "ln", "dl/b", ".", "/proc/nowhere", "d", "dl"};
	unsigned v;

	switch (kind) {
	case 'p':
		put_at(to);
		return;
	case 't':
		strcpy(to, targets[rnd(sizeof(targets) / sizeof(targets[0]))]);
		return;
	case 's':
		v = rnd(SLOTS);
		break;
	case 'o':
		v = rnd(3);
		for (unsigned n = rnd(3); n; n--)
			v |= open_flags[rnd(sizeof(open_flags) / sizeof(open_flags[0]))];
		break;
	case 'm':
		v = modes[rnd(sizeof(modes) / sizeof(modes[0]))];
		break;
	case 'n':
		v = rnd(8) ? rnd(300) : rnd(20000);
		break;
	case 'N':
		v = rnd(4) ? rnd(500) : rnd(70000);
		break;
	case 'w':
		v = rnd(3);
		break;
	case 'a':
		v = rnd(8);
		break;
	case 'r':
		v = 1 + rnd(3);
		break;
	case 'u':
		v = rnd(3) ? 0 : 1000;
		break;
	case 'T':
		v = rnd(4) ? 1000 + rnd(50000) : rnd(2); /* 0: now, 1: omit */
		break;
	case 'x':
		v = rnd(4);
		break;
	case 'l':
		v = rnd(3);
		break;
	case 'R':
		v = 1u << rnd(5);
		break;
	default:
		v = 0;
	}
	sprintf(to, "%u", v);
}

static int generate(uint64_t seed, unsigned n)
{
	unsigned total = 0;

	rng = seed * 0x9e3779b97f4a7c15ULL + 88172645463325252ULL;
	for (size_t i = 0; i < N_KINDS; i++)
		total += kinds[i].weight;
	while (n--) {
		unsigned pick = rnd(total);
		const struct kind *k = kinds;

		while (pick >= k->weight)
			pick -= k++->weight;
		printf("%u %s", rnd(4) == 0, k->name);
		for (const char *a = k->args; *a; a++) {
			char text[LINE] = "";

			put_arg(text, *a);
			printf(" %s", text);
		}
		putchar('\n');
	}
	return 0;
}

/* ---- carrying out ---- */

static int slot[SLOTS];
static char top[PATH_MAX];
static size_t top_len;
static char out[8192];
static size_t out_len;

__attribute__((format(printf, 1, 2))) static void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(out + out_len, sizeof(out) - out_len, fmt, ap);
	va_end(ap);
	out_len = out_len + (size_t)n < sizeof(out) ? out_len + (size_t)n : sizeof(out) - 1;
}

static const char *err(void)
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

static uint32_t hash(const void *data, size_t n)
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

static void say_stat(int r, const struct stat *st)
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

static int by_text(const void *a, const void *b)
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
	} else if (!strcmp(op, "openat2")) {
		struct {
			uint64_t flags, mode, resolve;
		} how = {(v[2] & (O_ACCMODE | O_DIRECTORY | O_NOFOLLOW)) | O_NONBLOCK, 0, v[3]};

		place(&p, a[1]);
		int fd = (int)syscall(SYS_openat2, p.dir, p.path, &how, sizeof(how));
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
	} else if ((!strcmp(op, "copyrange") || !strcmp(op, "sendfile")) && fstat(slot[v[0]], &st) == 0 && S_ISDIR(st.st_mode)) {
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

static void perform(char *line)
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

/* The other process: a line in, a line out. */
static void serve(int in, int to)
{
	FILE *f = fdopen(in, "r");
	char line[LINE * 2];

	while (f && fgets(line, sizeof(line), f)) {
		perform(line);
		out[out_len++] = '\n';
		if (write(to, out, out_len) != (ssize_t)out_len)
			break;
	}
	_exit(0);
}

static void dump(const char *path, int depth)
{
	struct stat st;
	char buf[65536], names_of[4096];
	DIR *d;
	const struct dirent *e;
	char *entry[400];
	size_t n = 0;

	if (lstat(path, &st) < 0) {
		printf("%s %s\n", path + 1, err());
		return;
	}
	printf("%s ", path + 1);
	out_len = 0;
	say_stat(0, &st);
	fwrite(out, 1, out_len, stdout);
	if (S_ISLNK(st.st_mode)) {
		ssize_t len = readlink(path, buf, sizeof(buf));
		printf(" -> %.*s", (int)len, buf);
	} else {
		ssize_t len = listxattr(path, names_of, sizeof(names_of));
		printf(" x%zd", len);
	}
	if (S_ISREG(st.st_mode)) {
		int fd = open(path, O_RDONLY);
		uint32_t h = 0;
		ssize_t len;

		while ((len = read(fd, buf, sizeof(buf))) > 0)
			h = h * 31 + hash(buf, (size_t)len);
		printf(" %08x", h);
		close(fd);
	}
	putchar('\n');
	if (!S_ISDIR(st.st_mode) || depth > 40)
		return;
	d = opendir(path);
	if (!d) {
		printf("%s closed\n", path + 1);
		return;
	}
	while ((e = readdir(d)) && n < 400)
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			entry[n++] = strdup(e->d_name);
	closedir(d);
	qsort(entry, n, sizeof(entry[0]), by_text);
	for (size_t i = 0; i < n; i++) {
		char *child;

		if (asprintf(&child, "%s/%s", path, entry[i]) < 0)
			die("memory");
		dump(child, depth + 1);
		free(child);
		free(entry[i]);
	}
}

static int run(const char *ops, const char *dir)
{
	int down[2], back[2];
	char line[LINE * 2], text[LINE * 2];
	unsigned n = 0;
	FILE *f = fopen(ops, "re");

	if (!f || chdir(dir) < 0 || !getcwd(top, sizeof(top)) || pipe2(down, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		die(ops);
	top_len = strlen(top);
	umask(022);
	signal(SIGPIPE, SIG_IGN); /* FIFOs without a reader */
	for (int i = 0; i < SLOTS; i++)
		slot[i] = -1;
	pid_t child = fork();
	if (child < 0)
		die("fork");
	if (child == 0) {
		close(down[1]);
		close(back[0]);
		serve(down[0], back[1]);
	}
	close(down[0]);
	close(back[1]);
	FILE *answer = fdopen(back[0], "r");
	while (fgets(line, sizeof(line), f)) {
		strcpy(text, line);
		text[strcspn(text, "\n")] = '\0';
		printf("%u %.300s = ", ++n, text);
		if (line[0] == '1') {
			char got[8300] = "gone\n";

			if (write(down[1], line + 2, strlen(line + 2)) < 0 || !fgets(got, sizeof(got), answer))
				die("the other process");
			fputs(got, stdout);
		} else {
			perform(line + 2);
			printf("%.*s\n", (int)out_len, out);
		}
	}
	close(down[1]);
	waitpid(child, NULL, 0);
	if (geteuid() == 0) {
		setfsuid(0);
		setfsgid(0);
	}
	if (chdir(top) < 0)
		die(top);
	puts("== tree");
	dump(".", 0);
	return fflush(stdout) ? 99 : 0;
}

/* ---- the tree ---- */

static void file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, text, strlen(text)) < 0 || fchmod(fd, mode) < 0)
		die(path);
	close(fd);
	struct timespec t[2] = {{5000, 0}, {6000, 0}};
	utimensat(AT_FDCWD, path, t, 0);
}

static int tree(const char *dir)
{
	umask(0);
	if ((mkdir(dir, 0755) < 0 && errno != EEXIST) || chdir(dir) < 0)
		die(dir);
	file("a", "the file a\n", 0644);
	file("b", "the file b, a bit longer\n", 0600);
	mkdir("c", 0755);
	file("c/a", "a in c\n", 0644);
	file("c/b", "b in c\n", 0444);
	mkdir("c/d", 0700);
	file("c/d/e", "deep\n", 0755);
	mkdir("d", 01777);
	file("d/a", "", 0644);
	mkdir("d/d", 0755);
	mkdir("d/d/d", 0755);
	file("d/d/d/f", "deeper\n", 0644);
	mkdir("f", 0755);
	(void)!symlink("a", "ln");
	(void)!symlink("c", "dl");
	(void)!symlink("../b", "c/ln");
	(void)!symlink("nowhere", "d/ln");
	(void)!mkfifo("c/f", 0600);
	(void)!setxattr("a", "user.one", "1", 1, 0);
	return 0;
}

int main(int argc, char **argv)
{
	static char buf[1 << 16];

	setvbuf(stdout, buf, _IOFBF, sizeof(buf));
	if (argc == 3 && !strcmp(argv[1], "tree"))
		return tree(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "gen"))
		return generate(strtoull(argv[2], NULL, 10), (unsigned)atoi(argv[3]));
	if (argc == 4 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3]);
	fprintf(stderr, "usage: fsd tree DIR | gen SEED N | run OPS DIR\n");
	return 2;
}
