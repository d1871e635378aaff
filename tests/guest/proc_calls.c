/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls that name a process: on oneself, on a child, on a process that has been, and on numbers
 * that never are.  Outputs must be equal.
 */
#include "t.h"

#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/uio.h>
#include <time.h>

static pid_t child(void)
{
	pid_t pid = fork();

	MUST(pid >= 0);
	if (pid == 0) {
		for (;;)
			pause();
	}
	return pid;
}

static void groups(pid_t pid)
{
	T(getpgid(0) == getpgrp());
	T(getpgid(getpid()) == getpgrp());
	T(getpgid(pid) == getpgrp());
	T(getsid(0) == getsid(pid));
	T(getpgid(-1));
	T(getsid(-1));
	T(getpgid(INT_MAX));
	T(getsid(INT_MAX));
	T(setpgid(pid, pid));
	T(getpgid(pid) == pid);
	T(setpgid(pid, getpgrp()));
	T(getpgid(pid) == getpgrp());
	T(setpgid(pid, INT_MAX));
	T(setpgid(INT_MAX, 0));
	T(setpgid(-1, 0));
	T(setpgid(0, -1));
	T(setpgid(pid, 0));
	T(getpgid(pid) == pid);
}

static void scheduling(pid_t pid)
{
	struct sched_param param = {0};
	struct timespec interval;
	cpu_set_t set, all;

	T(sched_getaffinity(0, sizeof(all), &all));
	T(sched_getaffinity(pid, sizeof(set), &set));
	T(CPU_EQUAL(&set, &all));
	T(sched_setaffinity(pid, sizeof(set), &set));
	T(sched_getaffinity(pid, sizeof(set), t_bad));
	T(sched_getaffinity(INT_MAX, sizeof(set), &set));
	T(sched_getaffinity(-1, sizeof(set), &set));
	T(sched_getscheduler(0));
	T(sched_getscheduler(pid));
	T(sched_setscheduler(pid, SCHED_BATCH, &param));
	T(sched_getscheduler(pid));
	T(sched_setscheduler(pid, SCHED_OTHER, &param));
	T(sched_getscheduler(INT_MAX));
	T(sched_setscheduler(INT_MAX, SCHED_OTHER, &param));
	T(sched_getparam(pid, &param));
	T(sched_setparam(pid, &param));
	T(sched_setparam(INT_MAX, &param));
	T(sched_rr_get_interval(pid, &interval));
	T(sched_rr_get_interval(INT_MAX, &interval));
	T(sched_getscheduler(-5));
}

static void priorities(pid_t pid)
{
	T(setpriority(PRIO_PROCESS, (id_t)pid, 5));
	T(getpriority(PRIO_PROCESS, (id_t)pid));
	T(getpriority(PRIO_PROCESS, 0));
	T(setpriority(PRIO_PROCESS, INT_MAX, 5));
	T(getpriority(PRIO_PROCESS, INT_MAX));
	T(setpriority(PRIO_PGRP, (id_t)pid, 7));
	T(getpriority(PRIO_PGRP, (id_t)pid));
	T(getpriority(PRIO_PROCESS, (id_t)pid));
	T(getpriority(PRIO_PGRP, INT_MAX));
	T(setpriority(PRIO_PGRP, INT_MAX, 7));
	T(getpriority(9, 0));
	T(setpriority(9, 0, 0));
	T(syscall(SYS_ioprio_set, 1, pid, 3 << 13));
	T(syscall(SYS_ioprio_get, 1, pid) == 3 << 13);
	T(syscall(SYS_ioprio_set, 2, pid, (2 << 13) | 6));
	T(syscall(SYS_ioprio_get, 2, pid) == ((2 << 13) | 6));
	T(syscall(SYS_ioprio_get, 1, INT_MAX));
	T(syscall(SYS_ioprio_set, 1, INT_MAX, 3 << 13));
	T(syscall(SYS_ioprio_get, 2, INT_MAX));
	T(syscall(SYS_ioprio_get, 9, 0));
	T(syscall(SYS_ioprio_set, 1, pid, 7 << 13));
}

static void limits(pid_t pid)
{
	struct rlimit lim = {7, 9}, old = {0};

	T(prlimit(pid, RLIMIT_CORE, &(struct rlimit){0, 9}, NULL));
	T(prlimit(pid, RLIMIT_CORE, NULL, &old));
	SAY("  core of the child: %lu %lu\n", (unsigned long)old.rlim_cur, (unsigned long)old.rlim_max);
	T(prlimit(pid, RLIMIT_CORE, t_bad, NULL));
	T(prlimit(INT_MAX, RLIMIT_CORE, NULL, &old));
	T(prlimit(-1, RLIMIT_CORE, NULL, &old));
	T(prlimit(pid, 99, NULL, &old));
	T(prlimit(0, RLIMIT_CORE, NULL, &lim));
}

static void by_pidfd(pid_t pid)
{
	siginfo_t info = {0};
	int fd = TFD(syscall(SYS_pidfd_open, pid, 0));
	struct pollfd p = {fd, POLLIN, 0};

	TOPEN(syscall(SYS_pidfd_open, getpid(), 0));
	T(syscall(SYS_pidfd_open, INT_MAX, 0));
	T(syscall(SYS_pidfd_open, 0, 0));
	T(syscall(SYS_pidfd_open, -1, 0));
	T(syscall(SYS_pidfd_open, pid, 0x40000000));
	T(fcntl(fd, F_GETFD));
	T(poll(&p, 1, 0));
	T(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	T(syscall(SYS_pidfd_send_signal, fd, 99, NULL, 0));
	T(syscall(SYS_pidfd_send_signal, 0x7ff0, 0, NULL, 0));
	T(syscall(SYS_pidfd_send_signal, 1, 0, NULL, 0));
	T(syscall(SYS_pidfd_send_signal, fd, 0, t_bad, 0));
	int dup = TFD(syscall(SYS_pidfd_getfd, fd, 1, 0));
	if (dup >= 0)
		close(dup);
	T(syscall(SYS_pidfd_getfd, fd, 0x7ff0, 0));
	T(syscall(SYS_pidfd_getfd, 1, 1, 0));
	T(syscall(SYS_pidfd_send_signal, fd, SIGTERM, NULL, 0));
	T(poll(&p, 1, 5000));
	T(waitid(P_PIDFD, (id_t)fd, &info, WEXITED));
	SAY("  status %d is the child's %d\n", info.si_status, info.si_pid == pid);
	T(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
	close(fd);
}

static void memory(pid_t pid)
{
	static char text[] = "shared text";
	char got[sizeof(text)] = "";
	struct iovec local = {got, sizeof(got)}, remote = {text, sizeof(text)};
	void *head;
	size_t len;

	T(process_vm_readv(pid, &local, 1, &remote, 1, 0));
	SAY("  read: %s\n", got);
	strcpy(got, "other text.");
	T(process_vm_writev(pid, &local, 1, &remote, 1, 0));
	memset(got, 0, sizeof(got));
	T(process_vm_readv(pid, &local, 1, &remote, 1, 0));
	SAY("  read: %s; mine: %s\n", got, text);
	T(process_vm_readv(getpid(), &local, 1, &remote, 1, 0));
	T(process_vm_readv(INT_MAX, &local, 1, &remote, 1, 0));
	remote.iov_base = t_bad;
	T(process_vm_readv(pid, &local, 1, &remote, 1, 0));
	T(syscall(SYS_kcmp, getpid(), pid, 2, 0, 0) == 0);
	T(syscall(SYS_kcmp, getpid(), getpid(), 0, 1, 1));
	T(syscall(SYS_kcmp, INT_MAX, pid, 0, 0, 0));
	T(syscall(SYS_get_robust_list, 0, &head, &len));
	T(syscall(SYS_get_robust_list, pid, &head, &len));
	T(syscall(SYS_get_robust_list, INT_MAX, &head, &len));
}

static void clocks(pid_t pid)
{
	struct timespec ts;
	clockid_t id;

	T(clock_getcpuclockid(pid, &id));
	T(clock_gettime(id, &ts));
	T(clock_getres(id, &ts));
	T(clock_getcpuclockid(0, &id));
	T(clock_gettime(id, &ts));
	T(clock_getcpuclockid(INT_MAX >> 3, &id));
	T(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts));
	T(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts));
	T(clock_gettime((clockid_t)(~(unsigned)(INT_MAX >> 3) << 3) | 2, &ts));
	T(syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &ts));
	T(syscall(SYS_clock_gettime, 4711, &ts));
}

static void capabilities(pid_t pid)
{
	struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct mine[2], its[2];

	T(syscall(SYS_capget, &h, mine));
	h.pid = pid;
	T(syscall(SYS_capget, &h, its));
	T(memcmp(mine, its, sizeof(mine)));
	h.pid = INT_MAX;
	T(syscall(SYS_capget, &h, its));
	h.pid = -1;
	T(syscall(SYS_capget, &h, its));
	h.pid = 0;
	h.version = 0x12345678;
	T(syscall(SYS_capget, &h, its));
	T(h.version == _LINUX_CAPABILITY_VERSION_3);
	h.version = 0;
	T(syscall(SYS_capget, &h, NULL));
	T(syscall(SYS_capget, &h, NULL));
	T(syscall(SYS_capget, t_bad, its));
	T(syscall(SYS_capget, &h, t_bad));
}

int main(void)
{
	pid_t pid = child();

	groups(pid);
	scheduling(pid);
	priorities(pid);
	limits(pid);
	memory(pid);
	clocks(pid);
	capabilities(pid);
	by_pidfd(pid);
	/* Reaped: the number is nobody's. */
	T(getpgid(pid));
	T(sched_getscheduler(pid));
	T(syscall(SYS_pidfd_open, pid, 0));
	T(waitpid(pid, NULL, 0));
	T(waitpid(1, NULL, WNOHANG));
	return 0;
}
