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

static bool has_it(pid_t pid, int fd, const struct stat *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	DIR *d = opendir(path);
	const struct dirent *e;
	bool found = false;

	while (d && !found && (e = readdir(d))) {
		struct stat st;

		if (e->d_name[0] != '.' && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    st.st_dev == file->st_dev && st.st_ino == file->st_ino)
			found = same_file(pid, atoi(e->d_name), fd) != 0;
	}
	if (d)
		closedir(d);
	return found;
}

bool holders_have(struct vfs *v, pid_t pid, int fd)
{
	struct stat file;

	if (fstat(fd, &file) < 0 ||
	    (v->host->is_guest(v->self, pid) == 1 && has_it(pid, fd, &file)))
		return true;
	DIR *d = opendir("/proc");
	const struct dirent *e;
	bool found = !d;

	while (d && !found && (e = readdir(d))) {
		pid_t other = atoi(e->d_name);

		found = other > 0 && v->host->is_guest(v->self, other) == 1 &&
		        has_it(other, fd, &file);
	}
	if (d)
		closedir(d);
	return found;
}
