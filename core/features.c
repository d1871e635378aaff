/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this kernel, with the rules it lays on us, offers.  Tried on a child rather than guessed
 * from the version: containers and older filters refuse calls that the kernel has.
 */
#include <errno.h>
#include <linux/filter.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bvisor.h"
#include "kernel.h"
#include "landlock.h"

enum { BIT_NOTIFY = 1, BIT_ADDFD_SEND = 2, BIT_SYNC = 4 };

/* In a child that ends afterwards: installs a filter that allows everything, for its listener. */
static int try_listener(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = {1, &allow};
	struct seccomp_notif_addfd none = {.flags = SECCOMP_ADDFD_FLAG_SEND};
	int bits = 0, fd;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	fd = (int)syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	if (fd < 0)
		return 0;
	bits |= BIT_NOTIFY;
	/* Unknown flags are refused (EINVAL) before the id, which nobody has, is looked up. */
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_ADDFD, &none) < 0 && errno == ENOENT)
		bits |= BIT_ADDFD_SEND;
	if (ioctl(fd, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP) == 0)
		bits |= BIT_SYNC;
	return bits;
}

static void probe_listener(struct features *f)
{
	pid_t pid = fork();
	int status, bits = 0;

	if (pid == 0)
		_exit(try_listener());
	if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status))
		bits = WEXITSTATUS(status);
	f->notify = bits & BIT_NOTIFY;
	f->addfd_send = bits & BIT_ADDFD_SEND;
	f->sync_wake_up = bits & BIT_SYNC;
	/* A known flag set with a NULL program is EFAULT, an unknown one EINVAL. */
	f->wait_killable = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	                           SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
	                           NULL) < 0 && errno == EFAULT;
}

/* May we read, copy descriptors of, and trace a child? */
static void probe_child(struct features *f)
{
	volatile int mark = 42;
	int seen = 0, fd;
	struct iovec here = {&seen, sizeof(seen)}, there = {(void *)&mark, sizeof(mark)};
	pid_t pid = fork();

	if (pid == 0)
		for (;;)
			pause();
	if (pid < 0)
		return;
	f->process_vm = process_vm_readv(pid, &here, 1, &there, 1, 0) == sizeof(seen) && seen == 42;
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	fd = pidfd >= 0 ? (int)syscall(SYS_pidfd_getfd, pidfd, 0, 0) : -1;
	/* EBADF: allowed, but the descriptor is closed here. */
	f->pidfd_getfd = fd >= 0 || (pidfd >= 0 && errno == EBADF);
	if (fd >= 0)
		close(fd);
	if (pidfd >= 0)
		close(pidfd);
	f->ptrace = ptrace(PTRACE_SEIZE, pid, NULL, (void *)PTRACE_O_EXITKILL) == 0;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, __WALL);
}

static int yama_scope(void)
{
	FILE *file = fopen("/proc/sys/kernel/yama/ptrace_scope", "re");
	int scope = -1;

	if (!file)
		return -1;
	if (fscanf(file, "%d", &scope) != 1)
		scope = -1;
	fclose(file);
	return scope;
}

void features_probe(struct features *f)
{
	struct utsname u;

	*f = (struct features){.landlock_abi = landlock_abi(), .yama = yama_scope()};
	if (uname(&u) == 0)
		snprintf(f->kernel, sizeof(f->kernel), "%.80s %.40s", u.release, u.machine);
	probe_listener(f);
	probe_child(f);
}
