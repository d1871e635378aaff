/* SPDX-License-Identifier: Apache-2.0 */
#include "holders.h"

#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>

static int same_file(pid_t pid, int theirs, int ours)
{
	long r = syscall(SYS_kcmp, (long)getpid(), (long)pid, KCMP_FILE, (unsigned long)ours,
	                 (unsigned long)theirs);

	return r >= 0 ? r == 0 : errno == ESRCH || errno == EBADF ? 0 : -1;
}

int holders_same(int a, int b)
{
	return same_file(getpid(), a, b);
}

/* Calls each(arg, fd) for the process's descriptors of what looks like `file`, until that says enough. */
static bool each_fd(pid_t pid, const struct stat *file, bool (*each)(void *arg, pid_t pid, int fd),
                    void *arg)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);
	const struct dirent *e;
	bool enough = false;

	while (d && !enough && (e = readdir(d))) {
		struct stat st;

		if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			enough = each(arg, pid, atoi(e->d_name));
	}
	if (d)
		closedir(d);
	return enough;
}

struct seeking {
	struct holder *h;
	size_t n, missing;
};

static bool is_one(void *arg, pid_t pid, int fd)
{
	struct seeking *s = arg;

	for (size_t i = 0; i < s->n; i++)
		if (!s->h[i].held && same_file(pid, fd, s->h[i].fd) != 0) {
			s->h[i].held = true;
			s->h[i].pid = pid;
			s->missing--;
			break;
		}
	return !s->missing;
}

void holders_find(struct vfs *v, struct holder *h, size_t n)
{
	struct stat file;
	struct seeking all = {h, n, n};

	if (n == 0 || fstat(h[0].fd, &file) < 0)
		return;
	/* Most are still where they were. */
	for (size_t i = 0; i < n; i++) {
		struct seeking one = {&h[i], 1, 1};

		h[i].held = false;
		if (v->host->is_guest(v->self, h[i].pid) == 1)
			(void)each_fd(h[i].pid, &file, is_one, &one);
		all.missing -= h[i].held;
	}
	DIR *d = all.missing ? opendir("/proc") : NULL;
	const struct dirent *e;
	bool enough = !d;

	while (!enough && (e = readdir(d))) {
		pid_t pid = atoi(e->d_name);

		enough = pid > 0 && v->host->is_guest(v->self, pid) == 1 &&
		         each_fd(pid, &file, is_one, &all);
	}
	for (size_t i = 0; i < n && all.missing && !d; i++)
		h[i].held = true; /* who cannot be asked may have it */
	if (d)
		closedir(d);
}

bool holders_have(struct vfs *v, pid_t pid, int fd)
{
	struct holder h = {.fd = fd, .pid = pid, .held = true};

	holders_find(v, &h, 1);
	return h.held;
}
