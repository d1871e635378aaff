/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads and processes on one tree: no call fails that would not natively, nothing is lost. */
#include "t.h"
#include <pthread.h>
#include <stdatomic.h>

#define THREADS 8
#define ROUNDS 60

static atomic_int wrong;

#define EXPECT(e)                                                                                \
	do {                                                                                     \
		if (!(e)) {                                                                      \
			if (wrong++ < 5)                                                         \
				SAY("line %d: %s: %s\n", __LINE__, #e, strerrorname_np(errno));  \
		}                                                                                \
	} while (0)

/* Each in its own corner: must never disturb the others. */
static void *corner(void *arg)
{
	int k = (int)(intptr_t)arg;
	char d[64], a[96], b[96], text[32];

	snprintf(d, sizeof(d), "corner%d", k);
	EXPECT(mkdir(d, 0755) == 0);
	for (int i = 0; i < ROUNDS; i++) {
		struct stat st;
		int fd, len = snprintf(text, sizeof(text), "%d:%d", k, i);

		snprintf(a, sizeof(a), "%s/a%d", d, i);
		snprintf(b, sizeof(b), "%s/b%d", d, i);
		EXPECT((fd = open(a, O_RDWR | O_CREAT | O_EXCL, 0644)) >= 0);
		EXPECT(write(fd, text, (size_t)len) == len);
		EXPECT(fstat(fd, &st) == 0 && st.st_size == len);
		close(fd);
		EXPECT(rename(a, b) == 0);
		EXPECT(stat(a, &st) < 0 && errno == ENOENT);
		EXPECT(stat(b, &st) == 0 && st.st_size == len);
		EXPECT((fd = open(b, O_RDONLY)) >= 0);
		memset(text, 0, sizeof(text));
		EXPECT(read(fd, text, sizeof(text)) == len && atoi(text) == k);
		close(fd);
		EXPECT(unlink(b) == 0);
		EXPECT(access("dir/sub/f", R_OK) == 0);
	}
	EXPECT(rmdir(d) == 0);
	return NULL;
}

static atomic_int winners;

/* All want the same name: exactly one may win each round. */
static void *race(void *arg)
{
	char p[32];

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		int fd;

		snprintf(p, sizeof(p), "race%d", i);
		fd = open(p, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd >= 0) {
			winners++;
			close(fd);
		} else {
			EXPECT(errno == EEXIST);
		}
	}
	return NULL;
}

static atomic_int unlinked, made, renamed;

static void *race_more(void *arg)
{
	char p[32], q[32];

	(void)arg;
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(p, sizeof(p), "race%d", i);
		unlinked += unlink(p) == 0;
		snprintf(p, sizeof(p), "raced%d", i);
		made += mkdir(p, 0755) == 0;
		snprintf(p, sizeof(p), "full/entry%04d", i);
		snprintf(q, sizeof(q), "won%d", i);
		renamed += rename(p, q) == 0;
	}
	return NULL;
}

/* The first write to a file of the host, by all at once: nobody's bytes get lost. */
static void *copy_up(void *arg)
{
	int k = (int)(intptr_t)arg, fd = open("big.bin", O_RDWR);
	char c = (char)('A' + k);

	EXPECT(fd >= 0);
	for (int i = 0; i < 100; i++)
		EXPECT(pwrite(fd, &c, 1, k * 1000 + i) == 1);
	close(fd);
	return NULL;
}

static void *append(void *arg)
{
	int fd = open("a.txt", O_WRONLY | O_APPEND);

	(void)arg;
	EXPECT(fd >= 0);
	for (int i = 0; i < 50; i++)
		EXPECT(write(fd, "0123456789abcde\n", 16) == 16);
	close(fd);
	return NULL;
}

static void all(const char *what, void *(*fn)(void *))
{
	pthread_t t[THREADS];

	for (int i = 0; i < THREADS; i++)
		MUST(pthread_create(&t[i], NULL, fn, (void *)(intptr_t)i) == 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	SAY("%s: wrong %d\n", what, wrong);
}

int main(void)
{
	struct stat st;
	char b[100];
	int fd, bytes = 0, there;

	umask(022);
	for (int i = 0; i < ROUNDS; i++) { /* entry0000 is gone in a merged tree */
		snprintf(b, sizeof(b), "full/entry%04d", i);
		close(open(b, O_WRONLY | O_CREAT, 0644));
	}
	there = ROUNDS;
	all("corners", corner);
	all("exclusive", race);
	SAY("winners %d\n", winners);
	all("unlink, mkdir, rename", race_more);
	SAY("unlinked %d, made %d, renamed %d of %d\n", unlinked, made, renamed, there);
	all("first writes", copy_up);
	fd = open("big.bin", O_RDONLY);
	for (int k = 0; k < THREADS; k++) {
		EXPECT(pread(fd, b, 100, k * 1000) == 100);
		for (int i = 0; i < 100; i++)
			bytes += b[i] == 'A' + k;
	}
	close(fd);
	SAY("bytes there %d\n", bytes);
	all("appends", append);
	T(stat("a.txt", &st));
	SAY("grown by %lld\n", (long long)st.st_size - 6);
	/* Processes instead of threads. */
	for (int i = 0; i < 4; i++) {
		if (fork() == 0) {
			corner((void *)(intptr_t)(10 + i));
			_exit(wrong != 0);
		}
	}
	for (int i = 0; i < 4; i++)
		t_wait(-1);
	return wrong != 0;
}
