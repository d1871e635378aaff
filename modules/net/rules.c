/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter rules: which sockets may be made at all, and which options would lead around the other
 * handlers.  Families and types that a guest cannot use are refused without a notification.
 */
#include <errno.h>
#include <linux/netlink.h>

#include "net.h"

#define LOW 0xffffffffu
#define IS(i, v)                                                               \
	{                                                                      \
		.index = (i), .op = BV_EQ, .mask = LOW, .value = (uint32_t)(v) \
	}
#define FROM(i, v)                                                             \
	{                                                                      \
		.index = (i), .op = BV_GE, .mask = LOW, .value = (uint32_t)(v) \
	}
#define UPTO(i, v)                                                             \
	{                                                                      \
		.index = (i), .op = BV_LE, .mask = LOW, .value = (uint32_t)(v) \
	}
#define TYPE(t)                                                    \
	{                                                          \
		.index = 1, .op = BV_EQ, .mask = 0xf, .value = (t) \
	}

#define RULE(name, act, e, n, ...)                                                                     \
	{                                                                                              \
		.syscall = (name), .action = (act), .err = (e), .n_cond = (n), .cond = { __VA_ARGS__ } \
	}
#define ALLOW(name, n, ...) RULE(name, BV_ACT_ALLOW, 0, n, __VA_ARGS__)
#define ASK(name, n, ...) RULE(name, BV_ACT_TRAP, 0, n, __VA_ARGS__)
#define REFUSE(name, e, n, ...) RULE(name, BV_ACT_ERRNO, e, n, __VA_ARGS__)

#define FASTOPEN_CONNECT 30 /* TCP_FASTOPEN_CONNECT, since 4.11 */
#define FASTOPEN_NO_COOKIE 34 /* TCP_FASTOPEN_NO_COOKIE, since 4.15 */
#define MULTIPATH 262 /* IPPROTO_MPTCP, since 5.6 */
/* Not in every libc yet. */
#define BIND_TO_IFINDEX 62 /* SO_BINDTOIFINDEX, since 5.1 */
#define PASS_PIDFD 76 /* SO_PASSPIDFD, since 6.5 */
#define PEER_PIDFD 77 /* SO_PEERPIDFD, since 6.5 */

/* Protocols are an allowlist: SCTP, L2TP and others take addresses where no handler looks. */
#define HOST_FAMILY(f)                                                                                                 \
	ALLOW("socket", 3, IS(0, f), TYPE(SOCK_STREAM), IS(2, 0)),                                                     \
		ALLOW("socket", 3, IS(0, f), TYPE(SOCK_STREAM), IS(2, IPPROTO_TCP)),                                   \
		ALLOW("socket", 3, IS(0, f), TYPE(SOCK_STREAM), IS(2, MULTIPATH)),                                     \
		ALLOW("socket", 3, IS(0, f), TYPE(SOCK_DGRAM), IS(2, 0)),                                              \
		ALLOW("socket", 3, IS(0, f), TYPE(SOCK_DGRAM), IS(2, IPPROTO_UDP)),                                    \
		ALLOW("socket", 3, IS(0, f), TYPE(SOCK_DGRAM), IS(2, (f) == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6)), \
		REFUSE("socket", EPROTONOSUPPORT, 2, IS(0, f), TYPE(SOCK_STREAM)),                                     \
		REFUSE("socket", EPROTONOSUPPORT, 2, IS(0, f), TYPE(SOCK_DGRAM))
static const struct bv_rule host_rules[] = {
	HOST_FAMILY(AF_INET),
	HOST_FAMILY(AF_INET6),
};
/* Reading only: a guest has no CAP_NET_ADMIN. */
static const struct bv_rule netlink_rules[] = {
	ALLOW("socket", 2, IS(0, AF_NETLINK), IS(2, NETLINK_ROUTE)),
	REFUSE("socket", EPROTONOSUPPORT, 1, IS(0, AF_NETLINK)),
};

static const struct bv_rule none_rules[] = {
	ASK("socket", 2, IS(0, AF_INET), TYPE(SOCK_STREAM)),
	ASK("socket", 2, IS(0, AF_INET), TYPE(SOCK_DGRAM)),
	ASK("socket", 2, IS(0, AF_INET6), TYPE(SOCK_STREAM)),
	ASK("socket", 2, IS(0, AF_INET6), TYPE(SOCK_DGRAM)),
	/* sock.c ties sockets to the loopback device; a guest must not be first with another one. */
	REFUSE("setsockopt", EPERM, 2, IS(1, SOL_SOCKET), IS(2, SO_BINDTODEVICE)),
	REFUSE("setsockopt", EPERM, 2, IS(1, SOL_SOCKET), IS(2, BIND_TO_IFINDEX)),
	/* A source route leads elsewhere first than to the address that was looked at. */
	REFUSE("setsockopt", EPERM, 2, IS(1, IPPROTO_IP), IS(2, IP_OPTIONS)),
	REFUSE("setsockopt", EPERM, 2, IS(1, IPPROTO_IPV6), IS(2, IPV6_RTHDR)),
	REFUSE("setsockopt", EPERM, 3, IS(1, IPPROTO_IPV6), FROM(2, IPV6_2292PKTINFO),
               UPTO(2, IPV6_2292PKTOPTIONS)),
	/* With these the connection is made later, without another look at who receives. */
	REFUSE("setsockopt", EOPNOTSUPP, 2, IS(1, IPPROTO_TCP), IS(2, FASTOPEN_CONNECT)),
	REFUSE("setsockopt", EOPNOTSUPP, 2, IS(1, IPPROTO_TCP), IS(2, FASTOPEN_NO_COOKIE)),
	/* Joining a group makes the host itself announce it on its networks. */
	REFUSE("setsockopt", ENODEV, 3, IS(1, IPPROTO_IP), FROM(2, IP_ADD_MEMBERSHIP),
               UPTO(2, MCAST_MSFILTER)),
	REFUSE("setsockopt", ENODEV, 2, IS(1, IPPROTO_IPV6), IS(2, IPV6_JOIN_GROUP)),
	REFUSE("setsockopt", ENODEV, 2, IS(1, IPPROTO_IPV6), IS(2, IPV6_JOIN_ANYCAST)),
	REFUSE("setsockopt", ENODEV, 3, IS(1, IPPROTO_IPV6), FROM(2, MCAST_JOIN_GROUP),
               UPTO(2, MCAST_MSFILTER)),
};

static const struct bv_rule common_rules[] = {
	ALLOW("socket", 1, IS(0, AF_UNIX)),
	/* As without CAP_NET_RAW: packet(7), raw(7). */
	REFUSE("socket", EPERM, 1, IS(0, AF_PACKET)),
	REFUSE("socket", EPERM, 2, IS(0, AF_INET), TYPE(SOCK_RAW)),
	REFUSE("socket", EPERM, 2, IS(0, AF_INET6), TYPE(SOCK_RAW)),
	REFUSE("socket", EPERM, 2, IS(0, AF_INET), TYPE(SOCK_PACKET)),
	REFUSE("socket", ESOCKTNOSUPPORT, 1, IS(0, AF_INET)),
	REFUSE("socket", ESOCKTNOSUPPORT, 1, IS(0, AF_INET6)),
	REFUSE("socket", EAFNOSUPPORT, 0),
	ALLOW("socketpair", 1, IS(0, AF_UNIX)),
	REFUSE("socketpair", EOPNOTSUPP, 1, IS(0, AF_INET)),
	REFUSE("socketpair", EOPNOTSUPP, 1, IS(0, AF_INET6)),
	REFUSE("socketpair", EAFNOSUPPORT, 0),
	/* Without an address the message goes where connect(2) was allowed to lead. */
	ALLOW("sendto", 1, {.index = 4, .op = BV_EQ, .wide = 1, .mask = ~0ull, .value = 0}),
	/* Data that the kernel fetches later could not be a copy. */
	REFUSE("setsockopt", EOPNOTSUPP, 2, IS(1, SOL_SOCKET), IS(2, SO_ZEROCOPY)),
	/* Descriptors of the process that sent or connected: that would be the supervisor. */
	REFUSE("setsockopt", ENOPROTOOPT, 2, IS(1, SOL_SOCKET), IS(2, PASS_PIDFD)),
	ALLOW("setsockopt", 0),
	REFUSE("getsockopt", ENOPROTOOPT, 2, IS(1, SOL_SOCKET), IS(2, PEER_PIDFD)),
	ASK("getsockopt", 2, IS(1, SOL_SOCKET), IS(2, SO_PEERCRED)),
	ALLOW("getsockopt", 0),
};

static int add(struct net *m, const struct bv_rule *rule, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int r = m->host->rule(m->self, &rule[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int route(struct net *m, const struct bv_handler *row)
{
	int r = 0;

	for (; r >= 0 && row->syscall; row++)
		r = m->host->route(m->self, row);
	return r;
}

int rules_register(struct net *m)
{
	const struct bv_handler *const all[] = {bind_rows, connect_rows, names_rows, peer_rows, send_rows, iface_rows};
	int r = m->mode == NET_HOST ? add(m, host_rules, BV_ROWS(host_rules)) : add(m, none_rules, BV_ROWS(none_rules));

	if (r >= 0 && (m->mode == NET_HOST || m->netlink))
		r = add(m, netlink_rules, BV_ROWS(netlink_rules));
	if (r >= 0)
		r = add(m, common_rules, BV_ROWS(common_rules));
	for (size_t i = 0; r >= 0 && i < BV_ROWS(all); i++)
		r = route(m, all[i]);
	if (r >= 0 && m->mode == NET_NONE)
		r = route(m, sock_rows);
	return r < 0 ? r : 0;
}
