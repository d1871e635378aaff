/* SPDX-License-Identifier: Apache-2.0 */
/* Calls on pidfds.  A pidfd of a foreign process can only have come in from outside. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "procns.h"

int pidfd_target(int pidfd)
{
	bv_autostrbuf struct strbuf b = {0};
	char path[48];
	const char *line;
	int32_t pid;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	if (read_whole(AT_FDCWD, path, &b) < 0 || !b.data)
		return -EBADF;
	line = strstr(b.data, "\nPid:");
	if (!line)
		return -EBADF; /* no pidfd */
	pid = (int32_t)strtol(line + 5, NULL, 10);
	return pid > 0 ? pid : -ESRCH;
}

BV_SYSCALL(pidfd_open)
{
	struct procns *p = self;
	int32_t pid = (int32_t)call->arg[0];
	unsigned flags = (unsigned)call->arg[1];
	bv_autofd int fd = -1;

	/* O_NONBLOCK and O_EXCL (PIDFD_THREAD, 6.9) are all there is; the kernel rejects what it lacks. */
	if (pid <= 0 || (flags & ~(unsigned)(O_NONBLOCK | O_EXCL)))
		return REPLY(p, call, -EINVAL);
	if (!pid_own(p, call, pid))
		return pid_foreign(p, call, pid);
	fd = (int)syscall(SYS_pidfd_open, pid, flags);
	if (fd < 0)
		return REPLY(p, call, -errno);
	/* Asked again now that fd holds the process, since the number alone might have moved on. */
	if (!pid_own(p, call, pid) || pidfd_target(fd) != pid)
		return REPLY(p, call, -ESRCH);
	return p->host->reply_fd(call, bv_take_fd(&fd), O_CLOEXEC);
}

/* by: what the kernel requires of the caller is behind Landlock's ptrace rule. */
static enum bv_verdict by_pidfd(struct procns *p, struct bv_call *call)
{
	bv_autofd int pidfd = p->host->get_fd(call, (int)call->arg[0]);
	int32_t pid;

	if (pidfd < 0)
		return REPLY(p, call, pidfd);
	pid = pidfd_target(pidfd);
	if (pid < 0)
		return REPLY(p, call, pid);
	if (!pid_own(p, call, pid))
		return REPLY(p, call, -ESRCH);
	/* The number may lead to another pidfd by now; Landlock lets none work outside the sandbox. */
	return p->traced ? BV_CONTINUE : REPLY(p, call, -EPERM);
}

BV_SYSCALL(pidfd_getfd)
{
	return by_pidfd(self, call);
}

BV_SYSCALL(process_madvise)
{
	return by_pidfd(self, call);
}

/* Works on dying processes only, so a pidfd swapped meanwhile harms nobody: no more is needed. */
BV_SYSCALL(process_mrelease)
{
	return by_pidfd(self, call);
}

const struct bv_handler pidfd_handlers[] = {
	BV_ON(pidfd_open, BV_SERVE),
	BV_ON(pidfd_getfd, BV_SERVE),
	BV_ON(process_madvise, BV_SERVE),
	BV_ON_MAYBE(process_mrelease, BV_SERVE),
	{0},
};
