/* SPDX-License-Identifier: Apache-2.0 */
/* Processes outside the sandbox do not exist: the errno of each call, /proc, and who the parent is. */
#include "h.h"

#include <linux/capability.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/uio.h>

static void want(const char *what, long r, int err)
{
	if (r != -1)
		breach("%s succeeded", what);
	else if (errno != err)
		breach("%s: %s", what, strerror(errno));
}

#define WANT(e, err) (errno = 0, want(#e, (long)(e), err))
#define THAT(e)                                                                                  \
	do {                                                                                     \
		if (!(e))                                                                        \
			breach("not so: %s", #e);                                                \
	} while (0)

static void calls(pid_t pid)
{
	struct sched_param param = {0};
	struct iovec v = {&param, sizeof(param)};
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, pid};
	struct __user_cap_data_struct data[2];
	struct f_owner_ex owner = {F_OWNER_PID, pid};
	siginfo_t info = {.si_code = SI_QUEUE};
	struct timespec ts;
	struct rlimit lim;
	cpu_set_t set;
	void *head_ptr;
	size_t len;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	WANT(kill(pid, 0), ESRCH);
	WANT(kill(pid, SIGTERM), ESRCH);
	if (pid != 1) /* that would be everybody, see everybody() */
		WANT(kill(-pid, SIGTERM), ESRCH);
	WANT(syscall(SYS_tkill, pid, SIGTERM), ESRCH);
	WANT(syscall(SYS_tgkill, pid, pid, SIGTERM), ESRCH);
	WANT(syscall(SYS_rt_sigqueueinfo, pid, SIGTERM, &info), ESRCH);
	WANT(syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGTERM, &info), ESRCH);
	WANT(syscall(SYS_pidfd_open, pid, 0), ESRCH);
	WANT(getpgid(pid), ESRCH);
	WANT(getsid(pid), ESRCH);
	WANT(setpgid(pid, 0), ESRCH);
	WANT(sched_getaffinity(pid, sizeof(set), &set), ESRCH);
	WANT(sched_setaffinity(pid, sizeof(set), &set), ESRCH);
	WANT(sched_getscheduler(pid), ESRCH);
	WANT(sched_setscheduler(pid, SCHED_BATCH, &param), ESRCH);
	WANT(sched_getparam(pid, &param), ESRCH);
	WANT(sched_setparam(pid, &param), ESRCH);
	WANT(sched_rr_get_interval(pid, &ts), ESRCH);
	WANT(getpriority(PRIO_PROCESS, (id_t)pid), ESRCH);
	WANT(setpriority(PRIO_PROCESS, (id_t)pid, 19), ESRCH);
	WANT(getpriority(PRIO_PGRP, (id_t)pid), ESRCH);
	WANT(setpriority(PRIO_PGRP, (id_t)pid, 19), ESRCH);
	WANT(syscall(SYS_ioprio_get, 1, pid), ESRCH);
	WANT(syscall(SYS_ioprio_set, 1, pid, 3 << 13), ESRCH);
	WANT(prlimit(pid, RLIMIT_CORE, NULL, &lim), ESRCH);
	WANT(process_vm_readv(pid, &v, 1, &v, 1, 0), ESRCH);
	WANT(process_vm_writev(pid, &v, 1, &v, 1, 0), ESRCH);
	WANT(syscall(SYS_kcmp, getpid(), pid, 2, 0, 0), ESRCH);
	WANT(syscall(SYS_get_robust_list, pid, &head_ptr, &len), ESRCH);
	WANT(syscall(SYS_capget, &head, data), ESRCH);
	WANT(clock_gettime((clockid_t)(~(unsigned)pid << 3) | 2, &ts), EINVAL);
	WANT(fcntl(1, F_SETOWN, pid), ESRCH);
	WANT(fcntl(1, F_SETOWN_EX, &owner), ESRCH);
	WANT(waitpid(pid, NULL, WNOHANG), ECHILD);
}

static void files(pid_t pid)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	WANT(stat(path, &st), ENOENT);
	WANT(open(path, O_RDONLY), ENOENT);
	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	WANT(open(path, O_RDONLY), ENOENT);
	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	WANT(open(path, O_RDWR), ENOENT);
	snprintf(path, sizeof(path), "/proc/%d/root/etc/shadow", pid);
	WANT(open(path, O_RDONLY), ENOENT);
	snprintf(path, sizeof(path), "/proc/self/task/%d", pid);
	WANT(stat(path, &st), ENOENT);
	snprintf(path, sizeof(path), "/proc/self/../%d/comm", pid);
	WANT(open(path, O_RDONLY), ENOENT);
	WANT(open("/proc/kcore", O_RDONLY), ENOENT);
	WANT(open("/proc/kallsyms", O_RDONLY), ENOENT);
	WANT(open("/proc/sysrq-trigger", O_WRONLY), ENOENT);
	WANT(open("/proc/self/ns/net", O_RDONLY), ENOENT);
	WANT(open("/proc/self/pagemap", O_RDONLY), ENOENT);
	WANT(open("/proc/self/stack", O_RDONLY), ENOENT);
	WANT(open("/proc/self/map_files", O_RDONLY), ENOENT);
	WANT(open("/proc/sys/kernel/hostname", O_WRONLY), EACCES);
	WANT(open("/proc/sys/kernel/pid_max", O_RDWR), EACCES);
}

static void listing(pid_t pid)
{
	DIR *d = opendir("/proc");
	struct dirent *e;
	int n = 0, own = 0, foreign = 0;

	MUST(d);
	while ((e = readdir(d))) {
		int got = atoi(e->d_name);

		n += got > 0;
		own += got == getpid();
		foreign += got == pid;
	}
	closedir(d);
	THAT(n == 1 && own == 1 && foreign == 0);
}

/* A child whose parent ends. */
static void orphan(void)
{
	int p[2];
	pid_t middle, seen = -1;

	MUST(pipe(p) == 0);
	middle = fork();
	MUST(middle >= 0);
	if (middle == 0) {
		pid_t self = getpid();

		if (fork() == 0) {
			pid_t parent;

			while ((parent = getppid()) == self)
				usleep(1000);
			MUST(write(p[1], &parent, sizeof(parent)) == sizeof(parent));
		}
		_exit(0);
	}
	waitpid(middle, NULL, 0);
	MUST(read(p[0], &seen, sizeof(seen)) == sizeof(seen));
	THAT(seen == getpid());
}

static void everybody(void)
{
	pid_t pid = fork();
	int st;

	MUST(pid >= 0);
	if (pid == 0) {
		for (;;)
			pause();
	}
	signal(SIGTERM, SIG_IGN);
	THAT(kill(-1, SIGTERM) == 0);
	THAT(waitpid(pid, &st, 0) == pid && WIFSIGNALED(st) && WTERMSIG(st) == SIGTERM);
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);

	calls(h.canary);
	calls(1);
	files(h.canary);
	files(1);
	listing(h.canary);
	THAT(getppid() == 0);
	orphan();
	everybody();
	return h_end();
}
