/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* Reaching processes outside by every call that takes a process number. */
#include "h.h"
#include <asm/sockios.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define TRY(what, e)                                                                             \
	do {                                                                                     \
		errno = 0;                                                                       \
		if ((e) >= 0)                                                                    \
			breach("%s reached process %d", what, pid);                              \
	} while (0)

/* Harmless to what it reaches, and a breach if it reaches anything. */
static void probe(pid_t pid)
{
	struct iovec mine = { &mine, 8 }, its = { &its, 8 };
	struct rlimit64_ { uint64_t cur, max; } rl;
	cpu_set_t set;
	siginfo_t si = { .si_signo = SIGURG, .si_code = SI_QUEUE };
	int fd;

	TRY("kill", kill(pid, 0));
	TRY("tkill", syscall(SYS_tkill, pid, SIGURG));
	TRY("tgkill", syscall(SYS_tgkill, pid, pid, SIGURG));
	TRY("rt_sigqueueinfo", syscall(SYS_rt_sigqueueinfo, pid, SIGURG, &si));
	TRY("rt_tgsigqueueinfo", syscall(SYS_rt_tgsigqueueinfo, pid, pid, SIGURG, &si));
	TRY("sched_getaffinity", sched_getaffinity(pid, sizeof(set), &set));
	TRY("sched_getscheduler", sched_getscheduler(pid));
	TRY("prlimit", syscall(SYS_prlimit64, pid, 7, NULL, &rl));
	TRY("getpgid", getpgid(pid));
	TRY("getsid", getsid(pid));
	errno = 0;
	if (getpriority(PRIO_PROCESS, (id_t)pid) != -1 || errno == 0)
		breach("getpriority reached process %d", pid);
	TRY("ioprio_get", syscall(SYS_ioprio_get, 1, pid));
	TRY("process_vm_readv", process_vm_readv(pid, &mine, 1, &its, 1, 0));
	TRY("ptrace", ptrace(PTRACE_SEIZE, pid, NULL, NULL));
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd >= 0) {
		breach("pidfd_open reached process %d", pid);
		syscall(SYS_pidfd_send_signal, fd, SIGURG, NULL, 0);
		TRY("pidfd_getfd", syscall(438 /* pidfd_getfd */, fd, 0, 0));
		close(fd);
	}
}

/*
 * The owner of a descriptor gets SIGIO when there is something to read: by fcntl and by ioctl, as
 * process, thread and group.  The kernel asks only whether the users match (fcntl(2)).
 */
static void by_owner(pid_t pid)
{
	for (int way = 0; way < 5; way++) {
		struct f_owner_ex ex = { F_OWNER_PID, pid }, group = { F_OWNER_PGRP, pid };
		int s[2], minus = -pid;

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) < 0)
			return;
		fcntl(s[0], F_SETSIG, SIGURG);
		fcntl(s[0], F_SETFL, O_ASYNC | O_NONBLOCK);
		if (way == 0)
			fcntl(s[0], F_SETOWN, pid);
		else if (way == 1)
			fcntl(s[0], F_SETOWN, -pid);
		else if (way == 2)
			fcntl(s[0], F_SETOWN_EX, &ex);
		else if (way == 3)
			fcntl(s[0], F_SETOWN_EX, &group);
		else
			ioctl(s[0], FIOSETOWN, &minus);
		(void)!write(s[1], "x", 1); /* the runner asks the canary whether it was signalled */
		close(s[0]);
		close(s[1]);
	}
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	pid_t pid = h.canary, child;
	char b[PATH_MAX];
	int fd;

	signal(SIGURG, SIG_IGN); /* the default anyway; the canary counts what it gets */
	probe(h.canary);
	by_owner(h.canary);
	if (h.control)
		return h_end();
	kill(h.canary, SIGKILL); /* the runner sees whether it lives */
	kill(-h.canary, SIGKILL);
	tgkill(h.canary, h.canary, SIGKILL);
	setpriority(PRIO_PROCESS, (id_t)h.canary, 19);
	probe(1);
	/* All there are: at most our own relatives answer. */
	for (pid = 1; pid < 70000; pid += pid < 5000 ? 1 : 7) {
		if (kill(pid, 0) == 0) {
			if (access(h_fmt(b, "/proc/%d", pid), F_OK) < 0)
				breach("kill knows process %d, /proc does not", pid);
		} else if (errno != ESRCH) {
			breach("process %d is %s instead of ESRCH", pid, strerror(errno));
		}
	}
	kill(-1, SIGURG);
	kill(0, SIGURG);
	fd = (int)syscall(SYS_timer_create, CLOCK_MONOTONIC, &(struct sigevent){ .sigev_notify = 4 /* SIGEV_THREAD_ID */,
	                  .sigev_signo = SIGURG, ._sigev_un._tid = h.canary }, &(int){ 0 });
	if (fd == 0)
		breach("a timer may signal process %d", h.canary);
	/* Our own children can still be signalled and waited for. */
	child = fork();
	if (child == 0)
		for (;;)
			pause();
	MUST(kill(child, 0) == 0 && kill(child, SIGKILL) == 0 && waitpid(child, &fd, 0) == child);
	if (!WIFSIGNALED(fd) || WTERMSIG(fd) != SIGKILL)
		breach("our own child did not get our SIGKILL");
	if (getppid() == h.canary)
		breach("the canary is our parent");
	return h_end();
}
