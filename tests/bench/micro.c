/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Microbenchmarks of single operations; runs natively and in whatever is compared.
 *   micro all SCALE             lines "name nanoseconds": the median of several rounds per operation
 *   micro time N CMD ARG...     runs a command N times, output thrown away; "time nanoseconds"
 *   micro once CMD ARG...       runs it once
 * The current directory must hold `data` (64 KiB or more) and `many` (a directory to list).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 9
#define MUST(e)                                                                                  \
	do {                                                                                     \
		if (!(e)) {                                                                      \
			fprintf(stderr, "micro: %s: %s\n", #e, strerror(errno));                 \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

extern char **environ;

struct bench {
	int fd, out, to[2], from[2];
	char buf[4096];
	char data[PATH_MAX]; /* its absolute path */
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t median(uint64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static void op_getuid(struct bench *b)
{
	(void)b;
	syscall(SYS_getuid);
}

static void op_getppid(struct bench *b)
{
	(void)b;
	syscall(SYS_getppid);
}

static void op_read(struct bench *b)
{
	MUST(pread(b->fd, b->buf, sizeof(b->buf), 0) == sizeof(b->buf));
}

static void op_write(struct bench *b)
{
	MUST(pwrite(b->out, b->buf, sizeof(b->buf), 0) == sizeof(b->buf));
}

static void op_lseek(struct bench *b)
{
	MUST(lseek(b->fd, 100, SEEK_SET) == 100);
}

static void op_mmap(struct bench *b)
{
	volatile char *m = mmap(NULL, 65536, PROT_READ, MAP_SHARED, b->fd, 0);

	MUST(m != MAP_FAILED);
	for (int i = 0; i < 65536; i += 4096)
		(void)m[i];
	munmap((void *)m, 65536);
}

static void op_pipe(struct bench *b)
{
	char c = 'x';

	MUST(write(b->to[1], &c, 1) == 1 && read(b->from[0], &c, 1) == 1);
}

static void op_open(struct bench *b)
{
	int fd = open(b->data, O_RDONLY | O_CLOEXEC);

	MUST(fd >= 0);
	close(fd);
}

static void op_open_made(struct bench *b)
{
	int fd = open("made", O_RDONLY | O_CLOEXEC);

	(void)b;
	MUST(fd >= 0);
	close(fd);
}

static void op_stat(struct bench *b)
{
	struct stat st;

	MUST(stat(b->data, &st) == 0);
}

static void op_stat_relative(struct bench *b)
{
	struct stat st;

	(void)b;
	MUST(stat("data", &st) == 0);
}

static void op_stat_deep(struct bench *b)
{
	struct stat st;

	(void)b;
	MUST(stat("/usr/share/../lib/../include/../bin/env", &st) == 0);
}

static void op_stat_missing(struct bench *b)
{
	struct stat st;

	(void)b;
	MUST(stat("missing", &st) < 0);
}

static void op_create(struct bench *b)
{
	int fd = open("brief", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	(void)b;
	MUST(fd >= 0);
	close(fd);
	MUST(unlink("brief") == 0);
}

static void op_fork(struct bench *b)
{
	pid_t pid = fork();

	(void)b;
	MUST(pid >= 0);
	if (pid == 0)
		_exit(0);
	MUST(waitpid(pid, NULL, 0) == pid);
}

static void op_exec(struct bench *b)
{
	char *const argv[] = { (char *)"true", NULL };
	pid_t pid;

	(void)b;
	/* glibc's posix_spawn is clone(CLONE_VM | CLONE_VFORK) and exec. */
	MUST(posix_spawn(&pid, "/bin/true", NULL, NULL, argv, environ) == 0);
	MUST(waitpid(pid, NULL, 0) == pid);
}

static void op_getdents(struct bench *b)
{
	char d[32768];
	int fd = open("many", O_RDONLY | O_DIRECTORY | O_CLOEXEC), n = 0;

	(void)b;
	MUST(fd >= 0);
	while (syscall(SYS_getdents64, fd, d, sizeof(d)) > 0)
		n++;
	MUST(n > 0);
	close(fd);
}

static const struct {
	const char *name;
	void (*op)(struct bench *);
	unsigned count; /* operations a round at scale 100 */
} row[] = {
	{"getuid", op_getuid, 200000},
	{"getppid", op_getppid, 5000},
	{"read 4 KiB", op_read, 50000},
	{"write 4 KiB", op_write, 20000},
	{"lseek", op_lseek, 200000},
	{"mmap+touch 64 KiB", op_mmap, 10000},
	{"pipe ping", op_pipe, 5000},
	{"open+close", op_open, 5000},
	{"open+close, made inside", op_open_made, 5000},
	{"stat", op_stat, 5000},
	{"stat by a relative path", op_stat_relative, 5000},
	{"stat by a crooked path", op_stat_deep, 3000},
	{"stat of nothing", op_stat_missing, 5000},
	{"create+unlink", op_create, 1000},
	{"fork+exit+wait", op_fork, 300},
	{"vfork+exec+wait", op_exec, 100},
	{"getdents of 1,000", op_getdents, 100},
};

/* The other end of the pipes: answers each byte. */
static pid_t echoer(struct bench *b)
{
	pid_t pid;
	char c;

	MUST(pipe(b->to) == 0 && pipe(b->from) == 0);
	pid = fork();
	MUST(pid >= 0);
	if (pid)
		return pid;
	close(b->to[1]);
	while (read(b->to[0], &c, 1) == 1 && write(b->from[1], &c, 1) == 1)
		;
	_exit(0);
}

static int all(unsigned scale)
{
	struct bench b = { .fd = open("data", O_RDONLY), .out = open("made", O_RDWR | O_CREAT | O_TRUNC, 0644) };
	uint64_t v[ROUNDS];
	pid_t pid;

	MUST(b.fd >= 0 && b.out >= 0 && realpath("data", b.data));
	pid = echoer(&b);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		unsigned n = row[i].count * scale / 100;

		n = n ? n : 1;
		row[i].op(&b);
		for (int r = 0; r < ROUNDS; r++) {
			uint64_t t = now_ns();

			for (unsigned k = 0; k < n; k++)
				row[i].op(&b);
			v[r] = (now_ns() - t) / n;
		}
		printf("%s\t%llu\n", row[i].name, (unsigned long long)median(v, ROUNDS));
	}
	close(b.to[1]);
	waitpid(pid, NULL, 0);
	return unlink("made");
}

static int timed(int n, char **argv)
{
	uint64_t v[100];
	posix_spawn_file_actions_t fa;

	MUST(n > 0 && n <= 100);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&fa, 1, "/dev/null", O_WRONLY, 0);
	for (int i = 0; i <= n; i++) {
		uint64_t t = now_ns();
		int st;
		pid_t pid;

		errno = posix_spawnp(&pid, argv[0], &fa, NULL, argv, environ);
		MUST(errno == 0 && waitpid(pid, &st, 0) == pid);
		if (st) {
			fprintf(stderr, "micro: %s: wait status %#x\n", argv[0], (unsigned)st);
			return 1;
		}
		if (i) /* the first warms caches */
			v[i - 1] = now_ns() - t;
	}
	printf("time\t%llu\n", (unsigned long long)median(v, (size_t)n));
	return 0;
}

/* Of what cannot be done twice. */
static int once(char **argv)
{
	uint64_t t = now_ns();
	pid_t pid;
	int st;

	errno = posix_spawnp(&pid, argv[0], NULL, NULL, argv, environ);
	MUST(errno == 0 && waitpid(pid, &st, 0) == pid);
	printf("time\t%llu\n", (unsigned long long)(now_ns() - t));
	return st != 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "all"))
		return all((unsigned)atoi(argv[2]));
	if (argc >= 4 && !strcmp(argv[1], "time"))
		return timed(atoi(argv[2]), argv + 3);
	if (argc >= 3 && !strcmp(argv[1], "once"))
		return once(argv + 2);
	fprintf(stderr, "usage: micro all SCALE | time N CMD ARG... | once CMD ARG...\n");
	return 2;
}
