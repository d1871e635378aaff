/* SPDX-License-Identifier: Apache-2.0 */
/* bind(2): acts on a duplicate of the guest's socket with a copy of the address. */
#include <errno.h>
#include <linux/capability.h>

#include "net.h"

/* The supervisor may hold CAP_NET_BIND_SERVICE where the guest does not. */
static int may_use_port(struct net *m, struct bv_call *call, unsigned port)
{
	struct bv_creds creds;
	int r;

	if (port == 0 || port >= m->low_port)
		return 0;
	r = m->host->creds(call, &creds);
	if (r < 0)
		return r;
	return creds.cap_effective & (1ull << CAP_NET_BIND_SERVICE) ? 0 : -EACCES;
}

/*
 * Mode none: only the loopback.  The wildcard is as good, since the device is fixed (sock.c).
 * Options that share a port could take a part of what is sent to a service of the host.
 */
static int may_bind_inside(struct net *m, const struct sock *s, const struct addr *a)
{
	int protocol = s->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	bool shares = sock_option(s->fd, SOL_SOCKET, SO_REUSEPORT) != 0 ||
		      (s->type == SOCK_DGRAM && sock_option(s->fd, SOL_SOCKET, SO_REUSEADDR) != 0);

	if (addr_scope(a) == ADDR_BEYOND)
		return -EADDRNOTAVAIL;
	if (shares && addr_port(a) != 0 && owner_is_foreign(m, protocol, a))
		return -EADDRINUSE;
	/* A stream hears nothing before listen(2), and may yet be meant to go beyond. */
	return s->type == SOCK_STREAM ? 0 : sock_tie(s);
}

static int bind_inet(struct net *m, struct bv_call *call, const struct sock *s, struct addr *a)
{
	socklen_t least = s->domain == AF_INET ? sizeof(a->in) : offsetof(struct sockaddr_in6, sin6_scope_id);
	int r;

	if (a->len < least)
		return -EINVAL;
	/* inet_bind() takes AF_UNSPEC for AF_INET when the address is the wildcard. */
	if (s->domain == AF_INET && a->sa.sa_family == AF_UNSPEC && a->in.sin_addr.s_addr == INADDR_ANY)
		a->sa.sa_family = AF_INET;
	if (a->sa.sa_family != s->domain)
		return -EAFNOSUPPORT;
	if (m->mode == NET_NONE) {
		r = may_bind_inside(m, s, a);
		if (r < 0)
			return r;
	}
	r = may_use_port(m, call, addr_port(a));
	if (r < 0)
		return r;
	if (bind(s->fd, &a->sa, a->len) < 0)
		return -errno;
	return m->mode == NET_NONE && s->type == SOCK_DGRAM ? owner_remember(m, s->cookie) : 0;
}

BV_SYSCALL(bind)
{
	struct net *m = self;
	bv_autosock struct sock s = {.fd = -1};
	struct addr a;
	int r = sock_get(m, call, (int)call->arg[0], &s);

	if (r >= 0)
		r = sock_read_addr(m, call, call->arg[1], (int)call->arg[2], &a);
	if (r < 0)
		return m->host->reply(call, r);
	switch (s.domain) {
	case AF_INET:
	case AF_INET6:
		r = bind_inet(m, call, &s, &a);
		break;
	case AF_UNIX:
		r = unix_bind(m, call, &s, &a);
		break;
	case AF_NETLINK:
		r = bind(s.fd, &a.sa, a.len) < 0 ? -errno : 0;
		break;
	default:
		r = -EACCES; /* an inherited socket of a family that nobody in here can make */
	}
	return m->host->reply(call, r);
}

const struct bv_handler bind_rows[] = {
	BV_ON(bind, BV_SERVE),
	{0},
};
