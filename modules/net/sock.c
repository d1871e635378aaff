/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sockets of the guest, seen from here: duplicates, their kind, addresses in and out of guest
 * memory; and the two calls that make sockets reachable without naming an address.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <string.h>
#include <sys/stat.h>

#include "net.h"

int sock_option(int fd, int level, int name)
{
	int value = 0;
	socklen_t len = sizeof(value);

	return getsockopt(fd, level, name, &value, &len) < 0 ? -errno : value;
}

int sock_get(struct net *m, struct bv_call *call, int guest_fd, struct sock *out)
{
	struct sock s = {.fd = m->host->get_fd(call, guest_fd)};
	socklen_t len = sizeof(s.cookie);
	struct stat st;

	if (s.fd < 0)
		return s.fd;
	s.domain = sock_option(s.fd, SOL_SOCKET, SO_DOMAIN);
	s.type = sock_option(s.fd, SOL_SOCKET, SO_TYPE);
	s.protocol = sock_option(s.fd, SOL_SOCKET, SO_PROTOCOL);
	if (s.domain < 0 || s.type < 0 || s.protocol < 0 || fstat(s.fd, &st) < 0 ||
	    getsockopt(s.fd, SOL_SOCKET, SO_COOKIE, &s.cookie, &len) < 0) {
		close(s.fd);
		/* Descriptors opened with O_PATH are EBADF, as for the guest itself. */
		return s.domain < 0 ? s.domain : -ENOTSOCK;
	}
	s.ino = (uint32_t)st.st_ino;
	*out = s;
	return 0;
}

void sock_put(struct sock *s)
{
	bv_cleanup_fd(&s->fd);
	s->fd = -1;
}

bool sock_is_inet(const struct sock *s)
{
	return s->domain == AF_INET || s->domain == AF_INET6;
}

bool sock_blocks(const struct sock *s)
{
	int flags = fcntl(s->fd, F_GETFL);

	return flags >= 0 && !(flags & O_NONBLOCK);
}

int sock_read_addr(struct net *m, struct bv_call *call, uint64_t at, int len, struct addr *out)
{
	struct addr a = {0};
	int r;

	if (len < 0 || (size_t)len > sizeof(a.any))
		return -EINVAL;
	a.len = (socklen_t)len;
	r = len ? m->host->mem_read(call, &a.any, at, (size_t)len) : 0;
	if (r < 0)
		return r;
	*out = a;
	return 0;
}

int sock_write_addr(struct net *m, struct bv_call *call, uint64_t at, uint64_t len_at, const struct addr *a)
{
	int32_t room, full = (int32_t)a->len;
	int r = m->host->mem_read(call, &room, len_at, sizeof(room));

	if (r < 0)
		return r;
	if (room < 0)
		return -EINVAL;
	if (room > full)
		room = full;
	r = room ? m->host->mem_write(call, at, &a->any, (size_t)room) : 0;
	if (r < 0)
		return r;
	r = m->host->mem_write(call, len_at, &full, sizeof(full));
	return r < 0 ? r : 0;
}

/* Mode none: what an Internet socket may be.  0 or -errno as Linux refuses it. */
static int plain_protocol(int type, int protocol)
{
	switch (type) {
	case SOCK_STREAM:
		return protocol == 0 || protocol == IPPROTO_TCP ? 0 : -EPROTONOSUPPORT;
	case SOCK_DGRAM:
		if (protocol == IPPROTO_ICMP || protocol == IPPROTO_ICMPV6)
			return -EACCES; /* as where net.ipv4.ping_group_range admits nobody, icmp(7) */
		return protocol == 0 || protocol == IPPROTO_UDP ? 0 : -EPROTONOSUPPORT;
	default:
		return -ESOCKTNOSUPPORT;
	}
}

/*
 * Untying needs CAP_NET_RAW, which no guest has; without it the device can be set once (socket(7),
 * SO_BINDTODEVICE, since 5.7), which rules.c keeps guests from.
 */
int sock_tie(const struct sock *s)
{
	char device[IFNAMSIZ] = "";
	socklen_t len = sizeof(device);

	if (getsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, device, &len) < 0)
		return -errno;
	if (strcmp(device, "lo") == 0)
		return 0;
	return setsockopt(s->fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) < 0 ? -errno : 0;
}

/*
 * Mode none: the socket is ours and tied to the loopback device, so that even a wildcard bind
 * hears nothing from outside and nothing leaves the host.  Where something beyond may be reached
 * that comes as soon as the socket could hear: at bind(2) or the first datagram to the loopback, for
 * streams at listen(2); connect(2) and sendto(2) see to where it speaks.
 */
BV_SYSCALL(socket)
{
	struct net *m = self;
	const struct bv_host *host = m->host;
	int domain = (int)call->arg[0], type = (int)call->arg[1], protocol = (int)call->arg[2], r;
	bv_autofd int fd = -1;

	if (domain != AF_INET && domain != AF_INET6)
		return BV_PASS;
	if (type & ~(0xf | SOCK_CLOEXEC | SOCK_NONBLOCK))
		return host->reply(call, -EINVAL);
	r = plain_protocol(type & 0xf, protocol);
	if (r < 0)
		return host->reply(call, r);
	r = host->as_guest(call);
	if (r < 0)
		return host->reply(call, r);
	fd = socket(domain, type | SOCK_CLOEXEC, protocol);
	if (fd < 0 ||
	    (!m->may_allow && setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, "lo", sizeof("lo")) < 0))
		return host->reply(call, -errno);
	return host->reply_fd(call, bv_take_fd(&fd), type & SOCK_CLOEXEC ? O_CLOEXEC : 0);
}

#define BACKLOG_SMALL 128
#define BACKLOG_LARGE 4096

/*
 * Mode none: from now on the socket can be connected to.  Since a connection that the listener
 * would drop is not begun (target.c), a queue that is meant to be long gets as long as it can.
 */
BV_SYSCALL(listen)
{
	struct net *m = self;
	bv_autosock struct sock s = {.fd = -1};
	int r = sock_get(m, call, (int)call->arg[0], &s), backlog = (int)call->arg[1];

	if (r < 0)
		return m->host->reply(call, r);
	/*
	 * Not ours to do: the kernel notes who listens, for SO_PEERCRED.  Registers say all; a socket
	 * that another thread puts at that number meanwhile is not known as ours, so that nobody
	 * inside can connect to it if it is an Internet one.
	 */
	if (!sock_is_inet(&s))
		return BV_CONTINUE;
	r = sock_tie(&s);
	if (r >= 0)
		r = owner_remember(m, s.cookie);
	if (r >= 0)
		r = listen(s.fd, backlog < 0 || backlog >= BACKLOG_SMALL ? BACKLOG_LARGE : backlog) < 0 ? -errno : 0;
	return m->host->reply(call, r);
}

/* Mode none only. */
const struct bv_handler sock_rows[] = {
	BV_ON(socket, BV_SERVE),
	BV_ON(listen, BV_SERVE),
	{0},
};
