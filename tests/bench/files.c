/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Benchmarks of files in the layers; runs natively and in whatever is compared.  Each prints lines
 * "name nanoseconds".
 *   files dirs N           open, stat and readdir in `clean`, which nobody changes, `merged`, in which
 *                          a file is made first, and `upper`, which is made whole; N operations a round
 *   files open FILE...     the first open for writing of each: the median
 *   files beside BIG FILE  opens of FILE for reading while a thread opens BIG for writing: the slowest
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 9
#define ENTRIES 1000
#define MUST(e)                                                                  \
	do {                                                                     \
		if (!(e)) {                                                      \
			fprintf(stderr, "files: %s: %s\n", #e, strerror(errno)); \
			exit(1);                                                 \
		}                                                                \
	} while (0)

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

static void say(const char *what, const char *where, uint64_t *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	printf("%s%s%s\t%llu\n", what, *where ? ", " : "", where, (unsigned long long)v[n / 2]);
}

static void touch(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	MUST(fd >= 0);
	close(fd);
}

static void op_open(const char *file, const char *dir)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	(void)dir;
	MUST(fd >= 0);
	close(fd);
}

static void op_stat(const char *file, const char *dir)
{
	struct stat st;

	(void)dir;
	MUST(stat(file, &st) == 0);
}

static void op_list(const char *file, const char *dir)
{
	char d[32768];
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	long n, all = 0;

	(void)file;
	MUST(fd >= 0);
	while ((n = syscall(SYS_getdents64, fd, d, sizeof(d))) > 0)
		all += n;
	MUST(all > ENTRIES * 20);
	close(fd);
}

static const struct {
	const char *name;
	void (*op)(const char *file, const char *dir);
	unsigned part; /* of the operations asked for */
} row[] = {{"open+close", op_open, 1}, {"stat", op_stat, 1}, {"readdir of 1,000", op_list, 50}};

static void measure(const char *dir, unsigned n)
{
	char file[PATH_MAX], *here = getcwd(NULL, 0);
	uint64_t v[ROUNDS];

	/* Absolute, as the floor's: where a guest stands has to be asked for as well (micro.c). */
	MUST(here);
	snprintf(file, sizeof(file), "%s/%s/file7", here, dir);
	free(here);
	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		unsigned count = n / row[i].part ? n / row[i].part : 1;

		row[i].op(file, dir);
		for (int r = 0; r < ROUNDS; r++) {
			uint64_t t = now_ns();

			for (unsigned k = 0; k < count; k++)
				row[i].op(file, dir);
			v[r] = (now_ns() - t) / count;
		}
		say(row[i].name, dir, v, ROUNDS);
	}
}

static int dirs(unsigned n)
{
	char path[64];

	measure("clean", n);
	touch("merged/one-more");
	measure("merged", n);
	MUST(mkdir("upper", 0755) == 0);
	for (int i = 0; i < ENTRIES; i++) {
		snprintf(path, sizeof(path), "upper/file%d", i);
		touch(path);
	}
	measure("upper", n);
	return 0;
}

static int open_each(int n, char **file)
{
	uint64_t v[4096];

	MUST(n > 0 && n <= 4096);
	for (int i = 0; i < n; i++) {
		uint64_t t = now_ns();
		int fd = open(file[i], O_RDWR | O_CLOEXEC);

		MUST(fd >= 0);
		v[i] = now_ns() - t;
		close(fd);
	}
	say("time", "", v, (size_t)n);
	return 0;
}

static atomic_bool opened;

static void *open_big(void *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	MUST(fd >= 0);
	atomic_store(&opened, true);
	close(fd);
	return NULL;
}

static int beside(const char *big, const char *file)
{
	pthread_t thread;
	uint64_t worst = 0;

	MUST((errno = pthread_create(&thread, NULL, open_big, (void *)(uintptr_t)big)) == 0);
	do {
		struct timespec pause = {.tv_nsec = 200000};
		uint64_t t = now_ns();

		op_open(file, "");
		t = now_ns() - t;
		worst = t > worst ? t : worst;
		nanosleep(&pause, NULL);
	} while (!atomic_load(&opened));
	pthread_join(thread, NULL);
	printf("time\t%llu\n", (unsigned long long)worst);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "dirs"))
		return dirs((unsigned)atoi(argv[2]));
	if (argc >= 3 && !strcmp(argv[1], "open"))
		return open_each(argc - 2, argv + 2);
	if (argc == 4 && !strcmp(argv[1], "beside"))
		return beside(argv[2], argv[3]);
	fprintf(stderr, "usage: files dirs N | open FILE... | beside BIG FILE\n");
	return 2;
}
