/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What core reads of a process in /proc.  A number alone can come to mean another process between
 * two calls: callers hold something that vouches for it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "guest_mem.h"
#include "proc.h"

int proc_pidfd(pid_t pid, unsigned flags)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, flags);

	return fd < 0 ? -errno : fd;
}

int proc_open(pid_t tid)
{
	char path[32];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d", (int)tid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	return fd;
}

static ssize_t read_at(int dir, const char *name, char *buf, size_t size)
{
	bv_autofd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return n;
}

const char *proc_stat_field(const char *text, int n)
{
	/* "pid (comm) state ...": comm may hold anything, so count from the last parenthesis. */
	const char *at = strrchr(text, ')');

	for (int field = 2; at && field < n; field++)
		at = strchr(at + 1, ' ');
	return at ? at + 1 : NULL;
}

static int read_stat(pid_t pid, char *buf, size_t size)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	return read_at(AT_FDCWD, path, buf, size) < 0 ? -ESRCH : 0;
}

char proc_state(pid_t pid)
{
	char buf[1024];
	const char *at = read_stat(pid, buf, sizeof(buf)) == 0 ? proc_stat_field(buf, 3) : NULL;

	return at ? *at : '?';
}

uint64_t proc_start(pid_t pid)
{
	char buf[1024];

	if (read_stat(pid, buf, sizeof(buf)) < 0)
		return 0;
	const char *at = proc_stat_field(buf, 22), *state = proc_stat_field(buf, 3);
	return at && state && *state != 'Z' && *state != 'X' ? strtoull(at, NULL, 10) : 0;
}

pid_t proc_group(int proc_fd)
{
	char buf[512];

	if (read_at(proc_fd, "status", buf, sizeof(buf)) < 0)
		return -ESRCH;
	const char *tgid = strstr(buf, "\nTgid:");
	return tgid ? (pid_t)strtol(tgid + 6, NULL, 10) : -ESRCH;
}

pid_t proc_parent(pid_t pid)
{
	char buf[512];

	if (read_stat(pid, buf, sizeof(buf)) < 0)
		return -ESRCH;
	const char *at = proc_stat_field(buf, 4);
	return at ? (pid_t)strtol(at, NULL, 10) : -ESRCH;
}

int proc_image(int proc_fd, pid_t tid, unsigned char out[16])
{
	bv_autofd int fd = openat(proc_fd, "auxv", O_RDONLY | O_CLOEXEC);
	uint64_t v[2 * 64];
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, v, sizeof(v));
	for (size_t i = 0; n > 0 && i + 1 < (size_t)n / sizeof(v[0]); i += 2) {
		if (v[i] != AT_RANDOM)
			continue;
		int r = guest_mem_read(tid, out, v[i + 1], 16);
		for (size_t b = 0; r == 0 && b < sizeof(v[1]); b++)
			out[b] ^= (unsigned char)(v[i + 1] >> (8 * b));
		return r;
	}
	return -ESRCH;
}
