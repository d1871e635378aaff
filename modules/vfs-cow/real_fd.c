/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only place that opens host paths: always below a base descriptor and never through a symlink
 * (openat2(2), RESOLVE_NO_SYMLINKS, Linux 5.6), so a link that a guest made, or swaps in at the wrong
 * moment, ends in ELOOP and not outside.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vfs.h"

void real_fd_path(char out[FD_PATH_MAX], int fd)
{
	snprintf(out, FD_PATH_MAX, "/proc/self/fd/%d", fd);
}

int real_openat(int base, const char *rel, int flags, mode_t mode)
{
	if (base < 0 && base != AT_FDCWD)
		return -ENOENT;
	if (!*rel) {
		char path[FD_PATH_MAX];

		/* Our own magic link: exactly the base object, whatever its type. */
		real_fd_path(path, base);
		int fd = open(path, (flags & ~(O_NOFOLLOW | O_CREAT | O_EXCL)) | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	struct open_how how = {
		.flags = (uint64_t)(uint32_t)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode & 07777 : 0,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int fd = (int)syscall(SYS_openat2, base, rel, &how, sizeof(how));
	return fd < 0 ? -errno : fd;
}
