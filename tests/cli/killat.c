/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preloaded into bvisor by named.py: kills the process with SIGKILL just before its KILL_AT'th call
 * that changes something in the file system, so that every moment of a commit is met once.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default")))

static void step(void)
{
	static long left;

	if (!left) {
		const char *at = getenv("KILL_AT");

		left = at ? atol(at) : -1;
	}
	if (left > 0 && --left == 0)
		kill(getpid(), SIGKILL);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

SHOWN int fsync(int fd)
{
	step();
	return REAL(fsync)(fd);
}

SHOWN ssize_t write(int fd, const void *buf, size_t n)
{
	if (fd > 2)
		step();
	return REAL(write)(fd, buf, n);
}

SHOWN int renameat(int a, const char *from, int b, const char *to)
{
	step();
	return REAL(renameat)(a, from, b, to);
}

SHOWN int unlinkat(int dir, const char *name, int flags)
{
	step();
	return REAL(unlinkat)(dir, name, flags);
}

SHOWN int mkdirat(int dir, const char *name, mode_t mode)
{
	step();
	return REAL(mkdirat)(dir, name, mode);
}

SHOWN int symlinkat(const char *target, int dir, const char *name)
{
	step();
	return REAL(symlinkat)(target, dir, name);
}

SHOWN int linkat(int a, const char *from, int b, const char *to, int flags)
{
	step();
	return REAL(linkat)(a, from, b, to, flags);
}

SHOWN int chmod(const char *path, mode_t mode)
{
	step();
	return REAL(chmod)(path, mode);
}

SHOWN int openat64(int dir, const char *name, int flags, ...)
{
	va_list ap;

	va_start(ap, flags);
	mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	if (flags & O_CREAT)
		step();
	return REAL(openat64)(dir, name, flags, mode);
}
