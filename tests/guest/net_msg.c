/* SPDX-License-Identifier: Apache-2.0 */
/* sendmsg(2) and sendmmsg(2): gathering, ancillary data, waiting, SIGPIPE, bad arguments. */
#include "t.h"
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

static int pair[2];

static long send_iov(int fd, struct iovec *v, size_t n, int flags)
{
	struct msghdr h = {.msg_iov = v, .msg_iovlen = n};

	return sendmsg(fd, &h, flags);
}

static void fresh(int type)
{
	close(pair[0]);
	close(pair[1]);
	MUST(socketpair(AF_UNIX, type, 0, pair) == 0);
}

static void gathering(void)
{
	struct iovec v[3] = {{"abc", 3}, {NULL, 0}, {"defg", 4}}, none[1] = {{NULL, 0}};
	char b[32];

	fresh(SOCK_SEQPACKET);
	T(send_iov(pair[0], v, 3, 0));
	T(recv(pair[1], b, sizeof(b), 0));
	t_bytes(b, 7);
	T(send_iov(pair[0], v, 2, MSG_DONTWAIT));
	T(recv(pair[1], b, sizeof(b), 0));
	T(send_iov(pair[0], none, 1, 0));
	T(recv(pair[1], b, sizeof(b), MSG_DONTWAIT));
	v[1].iov_base = t_bad;
	v[1].iov_len = 8;
	T(send_iov(pair[0], v, 3, 0));
	T(send_iov(pair[0], t_bad, 3, 0));
	T(send_iov(pair[0], v, 1025, 0));
	v[1].iov_len = (size_t)-1;
	T(send_iov(pair[0], v, 3, 0));
	T(sendmsg(pair[0], t_bad, 0));
	T(sendmsg(-1, &(struct msghdr){0}, 0));
	T(sendmsg(0, &(struct msghdr){0}, 0));
	T(syscall(SYS_sendmsg, pair[0], &(struct msghdr){0}, 0x80000000ul));
}

static void many(void)
{
	struct iovec v[3] = {{"one", 3}, {"three", 5}, {"", 0}};
	struct mmsghdr m[4] = {0};
	char b[32];

	fresh(SOCK_DGRAM);
	for (int i = 0; i < 3; i++) {
		m[i].msg_hdr.msg_iov = &v[i];
		m[i].msg_hdr.msg_iovlen = 1;
	}
	T(sendmmsg(pair[0], m, 3, 0));
	SAY("  %u %u %u\n", m[0].msg_len, m[1].msg_len, m[2].msg_len);
	for (int i = 0; i < 3; i++)
		T(recv(pair[1], b, sizeof(b), MSG_DONTWAIT));
	T(sendmmsg(pair[0], m, 0, 0));
	m[1].msg_hdr.msg_iov = t_bad;
	T(sendmmsg(pair[0], m, 3, 0)); /* as far as it goes */
	T(sendmmsg(pair[0], m + 1, 2, 0));
	T(sendmmsg(pair[0], t_bad, 2, 0));
	T(sendmmsg(-1, m, 1, 0));
}

static long send_control(int fd, int level, int type, const void *data, size_t n)
{
	union {
		char buf[2048];
		struct cmsghdr align;
	} u = {0};
	struct iovec v = {"x", 1};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = CMSG_SPACE(n)};
	struct cmsghdr *c = CMSG_FIRSTHDR(&h);

	c->cmsg_level = level;
	c->cmsg_type = type;
	c->cmsg_len = CMSG_LEN(n);
	memcpy(CMSG_DATA(c), data, n);
	return sendmsg(fd, &h, 0);
}

static void receive(int fd)
{
	union {
		char buf[2048];
		struct cmsghdr align;
	} u;
	char b[8];
	struct iovec v = {b, sizeof(b)};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = u.buf, .msg_controllen = sizeof(u)};

	T(recvmsg(fd, &h, MSG_DONTWAIT));
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&h); c; c = CMSG_NXTHDR(&h, c)) {
		if (c->cmsg_type == SCM_RIGHTS) {
			size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			int *fds = (int *)CMSG_DATA(c);

			SAY("  %zu descriptors\n", n);
			for (size_t i = 0; i < n; i++) {
				char t[8] = "";

				if (read(fds[i], t, 5) > 0)
					SAY("  holds %s\n", t);
				close(fds[i]);
			}
		} else if (c->cmsg_type == SCM_CREDENTIALS) {
			struct ucred *cred = (struct ucred *)CMSG_DATA(c);

			/* Not the pid: docs/modules/net.md. */
			SAY("  from uid %s gid %s\n", cred->uid == getuid() ? "own" : "other",
			    cred->gid == getgid() ? "own" : "other");
		}
	}
}

static void ancillary(void)
{
	int pipes[2], fds[254], on = 1;
	struct ucred cred = {getpid(), getuid(), getgid()};

	fresh(SOCK_DGRAM);
	MUST(pipe2(pipes, O_NONBLOCK) == 0);
	MUST(write(pipes[1], "helloworld", 10) == 10);
	fds[0] = pipes[0];
	fds[1] = pipes[0];
	T(send_control(pair[0], SOL_SOCKET, SCM_RIGHTS, fds, 2 * sizeof(int)));
	receive(pair[1]);
	fds[1] = 12345;
	T(send_control(pair[0], SOL_SOCKET, SCM_RIGHTS, fds, 2 * sizeof(int)));
	for (int i = 0; i < 254; i++)
		fds[i] = pipes[0];
	T(send_control(pair[0], SOL_SOCKET, SCM_RIGHTS, fds, 254 * sizeof(int)));
	T(send_control(pair[0], SOL_SOCKET, SCM_RIGHTS, fds, 253 * sizeof(int)));
	recv(pair[1], fds, 1, MSG_DONTWAIT);
	T(send_control(pair[0], SOL_SOCKET, SCM_CREDENTIALS, &cred, sizeof(cred)));
	receive(pair[1]);
	T(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)));
	T(send_control(pair[0], SOL_SOCKET, SCM_RIGHTS, pipes, sizeof(int)));
	receive(pair[1]);
	T(send_control(pair[0], SOL_SOCKET, SCM_CREDENTIALS, &cred, 4));
	T(send_control(pair[0], SOL_SOCKET, 12345, &cred, 4));
	struct iovec v = {"x", 1};
	char small[8] = {1};
	struct msghdr h = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = small, .msg_controllen = sizeof(small)};
	T(sendmsg(pair[0], &h, 0)); /* less than a header: nothing */
	recv(pair[1], small, 1, MSG_DONTWAIT);
	h.msg_control = t_bad;
	h.msg_controllen = 64;
	T(sendmsg(pair[0], &h, 0));
	h.msg_controllen = (size_t)1 << 40;
	T(sendmsg(pair[0], &h, 0));
	close(pipes[0]);
	close(pipes[1]);
}

static void *drain(void *arg)
{
	size_t want = *(size_t *)arg, got = 0;
	static char b[65536];

	usleep(50000);
	while (got < want) {
		ssize_t n = read(pair[1], b, sizeof(b));

		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return (void *)got;
}

static void waiting(void)
{
	static char big[900000];
	struct iovec v = {big, sizeof(big)};
	size_t want = sizeof(big);
	struct timeval limit = {.tv_usec = 100000};
	pthread_t t;
	void *got;
	long n;

	fresh(SOCK_STREAM);
	pthread_create(&t, NULL, drain, &want);
	T(send_iov(pair[0], &v, 1, 0)); /* waits until all of it went */
	pthread_join(t, &got);
	SAY("  got %zu\n", (size_t)got);
	n = send_iov(pair[0], &v, 1, MSG_DONTWAIT);
	SAY("  a part: %d\n", n > 0 && n < (long)sizeof(big));
	T(send_iov(pair[0], &v, 1, MSG_DONTWAIT));
	setsockopt(pair[0], SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	T(send_iov(pair[0], &v, 1, 0));
	fcntl(pair[0], F_SETFL, O_NONBLOCK);
	T(send_iov(pair[0], &v, 1, 0));
}

static volatile sig_atomic_t pipes_broken, alarms;
static void on_signal(int sig)
{
	if (sig == SIGPIPE)
		pipes_broken++;
	else
		alarms++;
}

static void broken(void)
{
	struct iovec v = {"x", 1};

	fresh(SOCK_STREAM);
	signal(SIGPIPE, on_signal);
	close(pair[1]);
	T(send_iov(pair[0], &v, 1, MSG_NOSIGNAL));
	SAY("  signals %d\n", pipes_broken);
	T(send_iov(pair[0], &v, 1, 0));
	SAY("  signals %d\n", pipes_broken);
	pair[1] = -1;
	pid_t pid = fork();
	if (pid == 0) {
		signal(SIGPIPE, SIG_DFL);
		send_iov(pair[0], &v, 1, 0);
		_exit(3);
	}
	t_wait(pid);
}

/* A signal whose handler does not restart ends the wait with EINTR; one that does, does not. */
static void interrupted(void)
{
	static char big[100000];
	struct iovec v = {big, sizeof(big)};
	struct sigaction sa = {.sa_handler = on_signal};
	size_t want = 1000;
	pthread_t t;
	sigset_t block, old;

	fresh(SOCK_SEQPACKET);
	while (send_iov(pair[0], &v, 1, MSG_DONTWAIT) > 0)
		;
	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	T(send_iov(pair[0], &v, 1, 0));
	SAY("  alarms %d\n", alarms);
	sa.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &sa, NULL);
	alarm(1);
	/* The reader must not take the signal. */
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	want = 2000000;
	fcntl(pair[1], F_SETFL, 0);
	pthread_create(&t, NULL, drain, &want);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	T(send_iov(pair[0], &v, 1, 0));
	close(pair[0]);
	pair[0] = -1;
	pthread_join(t, NULL);
}

int main(void)
{
	pair[0] = pair[1] = -1;
	gathering();
	many();
	ancillary();
	waiting();
	broken();
	interrupted();
	return 0;
}
