/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a destination may be reached.  The address is a copy, and what comes out is what the
 * supervisor itself passes to the kernel: nothing is decided about memory that the guest can
 * still change.
 */
#include <errno.h>
#include <string.h>

#include "net.h"

/* The kernel's checks of family and length, so that the verdict sees what the kernel would. */
static int inet_shape(const struct sock *s, struct addr *a, enum target_use use)
{
	if (a->len < sizeof(a->sa.sa_family))
		return -EINVAL;
	if (s->domain == AF_INET6 && a->sa.sa_family == AF_UNSPEC && use == TARGET_SEND) {
		a->len = 0; /* udpv6_sendmsg() takes it as no address */
		return 0;
	}
	if (s->domain == AF_INET6 && a->sa.sa_family == AF_INET6)
		/* The scope id was added later: RFC 2133 addresses are four bytes shorter. */
		return a->len < offsetof(struct sockaddr_in6, sin6_scope_id) ? -EINVAL : 0;
	/* udp_sendmsg() reads AF_UNSPEC as AF_INET: so must the verdict. */
	if (s->domain == AF_INET && a->sa.sa_family == AF_UNSPEC && a->len >= sizeof(a->in))
		a->sa.sa_family = AF_INET;
	if (a->sa.sa_family == AF_INET)
		return a->len < sizeof(a->in) ? -EINVAL : 0;
	return s->domain == AF_INET6 && a->len < offsetof(struct sockaddr_in6, sin6_scope_id) ? -EINVAL : -EAFNOSUPPORT;
}

/* The sender's own address for the look-up, when it has one. */
static const struct addr *own_name(const struct sock *s, const struct addr *to, struct addr *buf)
{
	struct addr a = {.len = sizeof(a.any)};

	if (getsockname(s->fd, &a.sa, &a.len) < 0 || addr_port(&a) == 0)
		return NULL;
	addr_unmap(&a, buf);
	if (addr_scope(buf) == ADDR_ANY) {
		/* From a wildcard the kernel takes the loopback device's first address. */
		uint16_t port = addr_port(buf);

		addr_unmap(to, buf);
		if (buf->sa.sa_family == AF_INET) {
			buf->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
			buf->in.sin_port = htons(port);
		} else {
			buf->in6.sin6_port = htons(port);
		}
	}
	return buf;
}

/* Mode none: what is allowed, and of the loopback what belongs to the sandbox. */
static int inside(struct net *m, const struct sock *s, struct target *t, enum target_use use)
{
	const struct addr *a = &t->to;
	struct addr to, name;
	const struct addr *from = NULL;
	int protocol = s->type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

	if (addr_scope(a) == ADDR_BEYOND)
		return allow_fits(m, a) ? 0 : -ENETUNREACH;
	addr_unmap(a, &to);
	addr_any_to_loopback(&to);
	if (protocol == IPPROTO_UDP && sock_tie(s) < 0)
		return -ENETUNREACH;
	if (protocol == IPPROTO_UDP)
		from = own_name(s, &to, &name);
	t->inside = true;
	switch (owner_receiver(m, protocol, &to, from)) {
	case RECEIVER_OWN:
		return 0;
	case RECEIVER_CROWDED:
		/*
		 * The kernel would repeat the attempt for two minutes.  The guest could let its port
		 * go meanwhile and the attempt reach whoever takes it.
		 */
		return -EAGAIN;
	case RECEIVER_NONE:
		break;
	}
	if (allow_fits(m, &to))
		return 0;
	/* A datagram to a port that nobody has is lost without a word, udp(7). */
	return use == TARGET_SEND && protocol == IPPROTO_UDP ? TARGET_DROP : -ECONNREFUSED;
}

static int find_inet(struct net *m, const struct sock *s, const struct addr *in, enum target_use use, struct target *t)
{
	int r;

	t->to = *in;
	/* connect(2): AF_UNSPEC dissolves the association. */
	if (use == TARGET_CONNECT && in->len >= sizeof(in->sa.sa_family) && in->sa.sa_family == AF_UNSPEC)
		return 0;
	r = inet_shape(s, &t->to, use);
	if (r < 0 || t->to.len == 0 || m->mode == NET_HOST)
		return r;
	return inside(m, s, t, use);
}

int target_again(struct net *m, const struct sock *s, struct target *t, enum target_use use)
{
	return t->inside ? inside(m, s, t, use) : 0;
}

/*
 * Routing sockets talk to the kernel only.  The message goes without its address: with one, the
 * kernel would judge it by the supervisor's capabilities alone, not by those with which the
 * guest opened the socket (__netlink_ns_capable()).
 */
static int find_netlink(const struct addr *in, enum target_use use, struct target *t)
{
	if (in->len < sizeof(in->nl) || in->sa.sa_family != AF_NETLINK)
		return -EINVAL;
	if (in->nl.nl_pid != 0 || in->nl.nl_groups != 0)
		return -EPERM;
	if (use == TARGET_CONNECT)
		t->to = *in;
	return 0;
}

static int find_unix(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *in,
		     enum target_use use, struct target *t)
{
	if (use == TARGET_SEND && s->type == SOCK_SEQPACKET)
		return 0; /* the kernel ignores the address */
	if (use == TARGET_SEND && s->type == SOCK_STREAM) {
		/* EISCONN or EOPNOTSUPP whatever the address is: give it one that names nothing. */
		t->to.len = ADDR_UN_HEAD;
		t->to.un.sun_family = AF_UNIX;
		return 0;
	}
	if (use == TARGET_CONNECT && in->len >= sizeof(in->sa.sa_family) && in->sa.sa_family == AF_UNSPEC) {
		t->to = *in;
		return 0;
	}
	unix_autobind(m, s);
	return unix_target(m, call, in, &t->to, &t->hold);
}

static void tell(struct net *m, struct bv_call *call, const struct addr *in, int r)
{
	char what[ADDR_TEXT];

	if (r != -ENETUNREACH && r != -ECONNREFUSED && r != -EACCES)
		return;
	addr_text(in, what);
	m->host->report(m->self, call, BV_REPORT_DENIED, -r, what);
}

int target_find(struct net *m, struct bv_call *call, const struct sock *s, const struct addr *in, enum target_use use,
		struct target *out)
{
	struct target t = {.hold = -1};
	int r;

	switch (s->domain) {
	case AF_INET:
	case AF_INET6:
		r = find_inet(m, s, in, use, &t);
		break;
	case AF_UNIX:
		r = find_unix(m, call, s, in, use, &t);
		break;
	case AF_NETLINK:
		r = find_netlink(in, use, &t);
		break;
	default:
		/* An inherited socket of a family that nobody in here can make. */
		r = -EACCES;
	}
	if (r >= 0)
		*out = t;
	if (m->audited)
		tell(m, call, in, r == TARGET_DROP ? -ENETUNREACH : r);
	return r;
}
