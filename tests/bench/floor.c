/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The floor for the benchmarks: a bare notify loop, one thread in RECV and SEND and nothing else,
 * so that what bvisor adds can be told from what the kernel's mechanism costs.  Prints lines
 * "name nanoseconds", the median of several rounds:
 *
 *   getppid_native, getppid_trapped   answered with a value
 *   open_close_native, open_close     the path is read, opened by us and injected
 *   stat_native, stat                 the path is read, stat'ed by us and written back
 *   continue                          the kernel runs it after all
 *   lseek_native, lseek_filtered      let through: what having any filter costs each call
 *
 * With the argument "poll" the loop polls the listener and an idle epoll instance before each
 * RECV, as bvisor must in order to see other events; with "epoll" it uses epoll_wait for that.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 9
#define CALLS 5000
#define PATH_READ "/etc/passwd"

#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#define SYNC_WAKE_UP 1UL        /* Linux 6.6 */
#define WAIT_KILLABLE (1UL << 5) /* Linux 5.19 */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void must(int ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void one_getppid(void)
{
	syscall(SYS_getppid);
}

static void one_open_close(void)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, PATH_READ, O_RDONLY | O_CLOEXEC, 0);

	must(fd >= 0, "openat");
	close(fd);
}

static void one_stat(void)
{
	struct stat st;

	must(syscall(SYS_newfstatat, AT_FDCWD, PATH_READ, &st, 0) == 0, "newfstatat");
}

static void one_continue(void)
{
	syscall(SYS_getpgid, 0);
}

static void one_lseek(void)
{
	syscall(SYS_lseek, 0, 0, SEEK_CUR); /* wherever it leads: the way there counts */
}

static void measure(const char *name, void (*one)(void))
{
	uint64_t round[ROUNDS];

	for (int r = 0; r < ROUNDS; r++) {
		uint64_t start = now_ns();

		for (int i = 0; i < CALLS; i++)
			one();
		round[r] = (now_ns() - start) / CALLS;
	}
	qsort(round, ROUNDS, sizeof(round[0]), by_value);
	printf("%s %llu\n", name, (unsigned long long)round[ROUNDS / 2]);
	fflush(stdout);
}

static int install(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getpgid, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
	};
	struct sock_fprog prog = {sizeof(code) / sizeof(code[0]), code};
	long fd;

	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
	fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | WAIT_KILLABLE,
	             &prog);
	if (fd < 0 && errno == EINVAL)
		fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &prog);
	return (int)fd;
}

static int guest(const int *ready)
{
	int listener;
	char go;

	measure("getppid_native", one_getppid);
	measure("open_close_native", one_open_close);
	measure("stat_native", one_stat);
	measure("lseek_native", one_lseek);
	listener = install();
	must(listener >= 0, "seccomp");
	must(write(ready[1], &listener, sizeof(listener)) == sizeof(listener), "write");
	must(read(ready[1], &go, 1) == 1, "read");
	measure("getppid_trapped", one_getppid);
	measure("continue", one_continue);
	measure("stat", one_stat);
	measure("lseek_filtered", one_lseek);
	measure("open_close", one_open_close);
	return 0;
}

static int answer(int listener, const struct seccomp_notif *n)
{
	struct seccomp_notif_resp r = {.id = n->id};
	char path[4096];
	struct iovec here = {path, sizeof(path)}, there = {(void *)(uintptr_t)n->data.args[1], sizeof(path)};
	struct stat st;

	if (n->data.nr == SYS_getppid)
		r.val = 42;
	if (n->data.nr == SYS_getpgid)
		r.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	if (n->data.nr == SYS_openat || n->data.nr == SYS_newfstatat) {
		there.iov_len = 4096 - n->data.args[1] % 4096;
		must(process_vm_readv((pid_t)n->pid, &here, 1, &there, 1, 0) > 0, "process_vm_readv");
		must(ioctl(listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &n->id) == 0, "ID_VALID");
	}
	if (n->data.nr == SYS_openat) {
		int fd = open(path, (int)n->data.args[2]);
		struct seccomp_notif_addfd a = {
			.id = n->id, .flags = SECCOMP_ADDFD_FLAG_SEND, .srcfd = (uint32_t)fd, .newfd_flags = O_CLOEXEC};

		must(fd >= 0 && ioctl(listener, SECCOMP_IOCTL_NOTIF_ADDFD, &a) >= 0, "ADDFD");
		close(fd);
		return 0;
	}
	if (n->data.nr == SYS_newfstatat) {
		must(stat(path, &st) == 0, "stat");
		here = (struct iovec){&st, sizeof(st)};
		there = (struct iovec){(void *)(uintptr_t)n->data.args[2], sizeof(st)};
		must(process_vm_writev((pid_t)n->pid, &here, 1, &there, 1, 0) == sizeof(st), "process_vm_writev");
	}
	return ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &r);
}

static void serve(int listener, char how)
{
	struct seccomp_notif n;
	int ep = epoll_create1(EPOLL_CLOEXEC);
	struct pollfd p[2] = {{.fd = listener, .events = POLLIN}, {.fd = ep, .events = POLLIN}};
	struct epoll_event ev = {.events = EPOLLIN};

	if (how == 'e')
		epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
	for (;;) {
		if (how == 'p' && (poll(p, 2, -1) < 1 || (p[0].revents & POLLHUP)))
			return;
		if (how == 'e' && (epoll_wait(ep, &ev, 1, -1) < 1 || (ev.events & EPOLLHUP)))
			return;
		memset(&n, 0, sizeof(n));
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &n) < 0)
			return;
		if (answer(listener, &n) < 0 && errno != ENOENT)
			return;
	}
}

static void on_child(int sig)
{
	(void)sig;
}

int main(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_child};
	int ready[2], theirs, status;
	pid_t pid;

	must(socketpair(AF_UNIX, SOCK_STREAM, 0, ready) == 0, "socketpair");
	sigaction(SIGCHLD, &sa, NULL); /* interrupts RECV at the end */
	pid = fork();
	must(pid >= 0, "fork");
	if (pid == 0)
		_exit(guest(ready));
	close(ready[1]);
	if (read(ready[0], &theirs, sizeof(theirs)) == sizeof(theirs)) {
		int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
		int listener = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);

		must(listener >= 0, "pidfd_getfd");
		ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SYNC_WAKE_UP);
		must(write(ready[0], "g", 1) == 1, "write");
		serve(listener, argc > 1 ? argv[1][0] : 'r');
	}
	must(waitpid(pid, &status, 0) == pid, "waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
