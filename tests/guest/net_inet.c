/* SPDX-License-Identifier: Apache-2.0 */
/* TCP and UDP on the loopback, among the program's own processes. */
#include "t.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

static struct sockaddr_in in4(const char *ip, uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)};

	inet_pton(AF_INET, ip, &a.sin_addr);
	return a;
}

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	MUST(getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

static void kinds(void)
{
	TOPEN(socket(AF_INET, SOCK_STREAM, 0));
	TOPEN(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
	TOPEN(socket(AF_INET, SOCK_STREAM, IPPROTO_UDP));
	TOPEN(socket(AF_INET, SOCK_DGRAM, IPPROTO_TCP));
	TOPEN(socket(AF_INET, SOCK_SEQPACKET, 0));
	TOPEN(socket(AF_INET, SOCK_STREAM | 0x100, 0));
	TOPEN(socket(12345, SOCK_STREAM, 0));
	TOPEN(socket(-1, SOCK_STREAM, 0));
	TOPEN(syscall(SYS_socket, 0xdeadbeef00000000 | AF_UNIX, 0x100000000 | SOCK_STREAM, 0));
	TOPEN(syscall(SYS_socket, 0xdeadbeef00000000 | AF_INET, 0x100000000 | SOCK_STREAM, 1ul << 32));
	int sv[2];
	T(socketpair(AF_INET, SOCK_STREAM, 0, sv));
	T(socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
}

static void tcp(const char *bind_to, const char *connect_to)
{
	struct sockaddr_in a = in4(bind_to, 0), peer;
	socklen_t len = sizeof(peer);
	int s = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c, conn;
	char b[16];
	pid_t pid;

	SAY("%s from %s\n", bind_to, connect_to);
	SAY("  cloexec %d\n", fcntl(s, F_GETFD));
	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	T(listen(s, 8));
	a = in4(connect_to, port_of(s));
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		c = socket(AF_INET, SOCK_STREAM, 0);
		T(connect(c, (struct sockaddr *)&a, sizeof(a)));
		T(connect(c, (struct sockaddr *)&a, sizeof(a)));
		T(getpeername(c, (struct sockaddr *)&peer, &len));
		SAY("  peer %s %d len %u\n", inet_ntoa(peer.sin_addr), peer.sin_port == a.sin_port, len);
		T(send(c, "ping", 4, 0));
		T(recv(c, b, sizeof(b), 0));
		T(shutdown(c, SHUT_RDWR));
		_exit(0);
	}
	conn = accept(s, (struct sockaddr *)&peer, &len);
	MUST(conn >= 0);
	MUST(recv(conn, b, sizeof(b), 0) == 4);
	MUST(send(conn, "pong!", 5, 0) == 5);
	t_wait(pid);
	T(recv(conn, b, sizeof(b), 0));
	close(conn);
	/* Not blocking. */
	c = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	int r = connect(c, (struct sockaddr *)&a, sizeof(a));
	SAY("  %s\n", r == 0 || errno == EINPROGRESS ? "under way" : strerrorname_np(errno));
	struct pollfd p = {.fd = c, .events = POLLOUT};
	T(poll(&p, 1, 2000));
	int e = -1;
	len = sizeof(e);
	T(getsockopt(c, SOL_SOCKET, SO_ERROR, &e, &len));
	SAY("  SO_ERROR %d\n", e);
	close(c);
	close(s);
	c = socket(AF_INET, SOCK_STREAM, 0);
	T(connect(c, (struct sockaddr *)&a, sizeof(a))); /* closed */
	close(c);
}

static void tcp6(void)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_ANY_INIT};
	struct sockaddr_in v4;
	int s = socket(AF_INET6, SOCK_STREAM, 0), c;

	if (s < 0)
		return;
	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	T(listen(s, 8));
	a.sin6_port = htons(port_of(s));
	inet_pton(AF_INET6, "::1", &a.sin6_addr);
	c = socket(AF_INET6, SOCK_STREAM, 0);
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	close(c);
	c = socket(AF_INET6, SOCK_STREAM, 0);
	inet_pton(AF_INET6, "::ffff:127.0.0.1", &a.sin6_addr);
	T(connect(c, (struct sockaddr *)&a, 24));
	close(c);
	c = socket(AF_INET, SOCK_STREAM, 0);
	v4 = in4("127.0.0.1", ntohs(a.sin6_port));
	T(connect(c, (struct sockaddr *)&v4, sizeof(v4)));
	close(c);
	c = socket(AF_INET6, SOCK_STREAM, 0);
	T(connect(c, (struct sockaddr *)&v4, sizeof(v4)));
	T(connect(c, (struct sockaddr *)&a, 20));
	close(c);
	close(s);
}

static void udp(void)
{
	struct sockaddr_in a = in4("127.0.0.1", 0), from;
	socklen_t len = sizeof(from);
	int s = socket(AF_INET, SOCK_DGRAM, 0), c = socket(AF_INET, SOCK_DGRAM, 0);
	char b[32];
	struct timeval limit = {.tv_sec = 2};

	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	a = in4("127.0.0.1", port_of(s));
	setsockopt(s, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(c, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	T(send(c, "x", 1, 0));
	T(sendto(c, "hello", 5, 0, (struct sockaddr *)&a, sizeof(a)));
	T(recvfrom(s, b, sizeof(b), 0, (struct sockaddr *)&from, &len));
	T(sendto(s, "back", 4, 0, (struct sockaddr *)&from, len));
	T(recv(c, b, sizeof(b), 0));
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	T(send(c, "one", 3, 0));
	T(recv(s, b, sizeof(b), 0));
	T(connect(s, (struct sockaddr *)&from, len)); /* both connected now */
	T(send(s, "two", 3, 0));
	T(recv(c, b, sizeof(b), 0));
	T(sendto(c, "six", 3, 0, (struct sockaddr *)&a, sizeof(a)));
	T(recv(s, b, sizeof(b), 0));
	a.sin_family = AF_UNSPEC;
	T(connect(c, (struct sockaddr *)&a, sizeof(a)));
	T(send(c, "x", 1, 0));
	T(sendto(c, "", 0, 0, (struct sockaddr *)&from, 3));
	T(sendto(c, "", 0, 0, t_bad, sizeof(a)));
	T(sendto(-1, "", 0, 0, (struct sockaddr *)&from, len));
	T(sendto(0, "", 0, 0, (struct sockaddr *)&from, len));
	T(sendto(c, t_bad, 5, 0, (struct sockaddr *)&from, len));
	from.sin_family = AF_UNIX;
	T(sendto(c, "x", 1, 0, (struct sockaddr *)&from, len));
	close(s);
	close(c);
}

static void binding(void)
{
	struct sockaddr_in a = in4("127.0.0.1", 0), b = in4("192.0.2.1", 0); /* TEST-NET-1: not ours */
	int s = socket(AF_INET, SOCK_STREAM, 0), t = socket(AF_INET, SOCK_STREAM, 0);

	T(bind(s, (struct sockaddr *)&a, 3));
	T(bind(s, (struct sockaddr *)&b, sizeof(b)));
	T(bind(s, t_bad, sizeof(b)));
	a.sin_family = AF_UNIX;
	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	a.sin_family = AF_INET;
	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	T(bind(s, (struct sockaddr *)&a, sizeof(a)));
	T(listen(s, 1));
	a.sin_port = htons(port_of(s));
	T(bind(t, (struct sockaddr *)&a, sizeof(a)));
	T(getsockname(t, (struct sockaddr *)&b, (socklen_t[]){sizeof(b)}));
	T(getsockname(t, (struct sockaddr *)&b, (socklen_t[]){(socklen_t)-1}));
	T(getsockname(t, t_bad, (socklen_t[]){sizeof(b)}));
	T(getsockname(t, (struct sockaddr *)&b, t_bad));
	T(getpeername(t, (struct sockaddr *)&b, (socklen_t[]){sizeof(b)}));
	socklen_t len = 4;
	T(getsockname(s, (struct sockaddr *)&b, &len));
	SAY("  full length %u\n", len);
	close(s);
	close(t);
}

int main(void)
{
	kinds();
	tcp("127.0.0.1", "127.0.0.1");
	tcp("0.0.0.0", "127.0.0.1");
	tcp("0.0.0.0", "0.0.0.0");
	tcp("127.0.0.7", "127.0.0.7");
	tcp6();
	udp();
	binding();
	return 0;
}
