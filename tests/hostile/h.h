/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_HOSTILE_H_H
#define TESTS_HOSTILE_H_H
/*
 * What every hostile guest uses.  A guest ends with status 0 only when nothing it tried got
 * through, as far as it can see; that the host's tree is unchanged is for the runner to see.
 * Arguments: HOST RW RO CANARY ROUNDS
 *   HOST    a tree of the host (fixture.c), copy-on-write; HOST/hidden is hidden
 *   RW, RO  trees of the host, passed through for writing and for reading
 *   CANARY  a process outside the sandbox
 * With HOSTILE_CONTROL in the environment the guest runs natively on a tree to be thrown away, to
 * prove that the attack works where nothing stops it; it must then touch nothing else.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
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

#define UNUSED __attribute__((unused))
#define SECRET "TOPSECRET" /* what HOST/hidden/secret.txt and HOST/hidden/sub/secret.txt hold */

struct hostile {
	const char *host, *rw, *ro;
	pid_t canary;
	int rounds;
	bool control;
};

/* Shared with children, so that a breach seen by any of them counts. */
UNUSED static atomic_int *h_breaches;

__attribute__((format(printf, 1, 2))) UNUSED static void breach(const char *fmt, ...)
{
	va_list ap;

	if ((*h_breaches)++ > 20)
		return;
	va_start(ap, fmt);
	dprintf(1, "BREACH: ");
	vdprintf(1, fmt, ap);
	dprintf(1, "\n");
	va_end(ap);
}

#define MUST(e)                                                                                  \
	do {                                                                                     \
		if (!(e)) {                                                                      \
			dprintf(1, "%s:%d: cannot set up: %s: %s\n", __FILE__, __LINE__, #e,     \
			        strerror(errno));                                                \
			_exit(90);                                                               \
		}                                                                                \
	} while (0)

UNUSED static struct hostile h_start(int argc, char **argv)
{
	struct hostile h;

	MUST(argc == 6);
	h = (struct hostile){ argv[1], argv[2], argv[3], atoi(argv[4]), atoi(argv[5]), getenv("HOSTILE_CONTROL") != NULL };
	h_breaches = mmap(NULL, sizeof(*h_breaches), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(h_breaches != MAP_FAILED);
	return h;
}

UNUSED static int h_end(void)
{
	return *h_breaches != 0;
}

UNUSED static const char *h_fmt(char b[PATH_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
UNUSED static const char *h_fmt(char b[PATH_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(b, PATH_MAX, fmt, ap);
	va_end(ap);
	return b;
}

/* Reads what fd gives and says whether it is the secret; closes it. */
UNUSED static bool h_leaks(int fd, const char *how)
{
	char b[64] = "";
	bool leaked;

	if (fd < 0)
		return false;
	leaked = pread(fd, b, sizeof(b) - 1, 0) > 0 && strstr(b, SECRET);
	if (leaked)
		breach("the hidden file was read: %s", how);
	close(fd);
	return leaked;
}

UNUSED static bool h_leaks_path(const char *path)
{
	return h_leaks(open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), path);
}

/* Everything one can do to a file by its name; the runner sees whether it reached the host. */
UNUSED static void h_attack_path(const char *path)
{
	struct timespec ts[2] = { { 1, 0 }, { 2, 0 } };
	int fd = open(path, O_RDWR | O_NONBLOCK);

	if (fd >= 0) {
		(void)!pwrite(fd, "BREACH", 6, 0);
		(void)!ftruncate(fd, 6);
		fchmod(fd, 0777);
		close(fd);
	}
	(void)!truncate(path, 3);
	chmod(path, 0666);
	(void)!chown(path, 4242, 4242);
	utimensat(AT_FDCWD, path, ts, 0);
	fd = open(path, O_WRONLY | O_TRUNC | O_NONBLOCK);
	if (fd >= 0)
		close(fd);
	fd = open(path, O_WRONLY | O_APPEND | O_NONBLOCK);
	if (fd >= 0) {
		(void)!write(fd, "BREACH", 6);
		close(fd);
	}
}

/* Waits, with a limit: a guest that hangs is a finding. */
UNUSED static void h_time_limit(unsigned seconds)
{
	signal(SIGALRM, SIG_DFL);
	alarm(seconds);
}

UNUSED static uint32_t h_random(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

#endif
