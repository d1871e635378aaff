/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mode none shares the host's loopback, so every destination there is checked: the kernel is asked
 * which socket would receive (sock_diag(7)), and only those that the sandbox made reachable, known
 * by their cookie, are let through.  Between the question and the use a host service could only
 * come in by taking a port that a guest gives up in that very moment.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/sock_diag.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "net.h"

#define TCP_LISTENING (1u << 10) /* TCP_LISTEN of <net/tcp_states.h>, as a bit of idiag_states */
#define REPLY_MAX 32768

struct owned {
	uint64_t cookie;
	bool alive;
	UT_hash_handle hh;
};

typedef void answer_fn(const struct inet_diag_msg *msg, void *arg);

/* One received buffer of answers: 1 more will follow, 0 complete, -errno. */
static int take(const char *buf, size_t n, bool dump, answer_fn *fn, void *arg)
{
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	unsigned left = (unsigned)n;

	for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 0;
		if (h->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *e = NLMSG_DATA(h);

			return h->nlmsg_len < NLMSG_LENGTH(sizeof(*e)) ? -EPROTO : e->error;
		}
		if (h->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			return -EPROTO;
		fn(NLMSG_DATA(h), arg);
		if (!dump)
			return 0;
	}
	return dump ? 1 : -EPROTO;
}

/*
 * Asks on *diag, which is opened at first.  Netlink answers during send(2): nothing here waits.
 */
static int ask(int *diag, const struct inet_diag_req_v2 *q, bool dump, answer_fn *fn, void *arg)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 q;
	} msg = {.h = {.nlmsg_len = sizeof(msg),
		       .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		       .nlmsg_flags = NLM_F_REQUEST | (dump ? NLM_F_DUMP : 0)},
		 .q = *q};
	char buf[REPLY_MAX] __attribute__((aligned(NLMSG_ALIGNTO)));
	int r;

	if (*diag < 0)
		*diag = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	if (*diag < 0 || send(*diag, &msg, sizeof(msg), 0) < 0)
		return -errno;
	do {
		ssize_t n = recv(*diag, buf, sizeof(buf), MSG_DONTWAIT | MSG_TRUNC);

		r = n < 0 ? -errno : (size_t)n > sizeof(buf) ? -EPROTO : take(buf, (size_t)n, dump, fn, arg);
	} while (r > 0);
	if (r < 0 && r != -ENOENT) {
		/* What is left in the queue must not answer the next question. */
		close(*diag);
		*diag = -1;
	}
	return r;
}

static void set_side(__be32 to[4], __be16 *port, const struct addr *a)
{
	if (a->sa.sa_family == AF_INET)
		to[0] = a->in.sin_addr.s_addr;
	else
		memcpy(to, &a->in6.sin6_addr, 16);
	*port = htons(addr_port(a));
}

static uint64_t cookie_of(const struct inet_diag_msg *msg)
{
	return msg->id.idiag_cookie[0] | (uint64_t)msg->id.idiag_cookie[1] << 32;
}

static void note_answer(const struct inet_diag_msg *msg, void *arg)
{
	*(struct inet_diag_msg *)arg = *msg;
}

/* The socket that receives at `to`: 0 and *out filled, -ENOENT nobody, or -errno. */
static int look_up(struct net *m, int protocol, const struct addr *to, const struct addr *from,
		   struct inet_diag_msg *out)
{
	struct inet_diag_req_v2 q = {
		.sdiag_family = (uint8_t)to->sa.sa_family, .sdiag_protocol = (uint8_t)protocol, .idiag_states = ~0u};
	struct addr none = *to;
	struct inet_diag_sockid *id = &q.id;
	int r;

	if (!from || from->sa.sa_family != to->sa.sa_family) {
		if (none.sa.sa_family == AF_INET)
			none.in.sin_port = 0;
		else
			none.in6.sin6_port = 0;
		from = &none;
	}
	/* For UDP source and destination are swapped "for historical reasons" (udp_dump_one()). */
	if (protocol == IPPROTO_UDP) {
		set_side(id->idiag_dst, &id->idiag_dport, to);
		set_side(id->idiag_src, &id->idiag_sport, from);
	} else {
		set_side(id->idiag_src, &id->idiag_sport, to);
		set_side(id->idiag_dst, &id->idiag_dport, from);
	}
	id->idiag_if = m->lo;
	id->idiag_cookie[0] = id->idiag_cookie[1] = INET_DIAG_NOCOOKIE;
	r = ask(&m->diag, &q, false, note_answer, out);
	if (r < 0 && r != -ENOENT && !m->diag_warned) {
		m->diag_warned = true;
		m->host->log(m->self, BV_LOG_WARN,
			     "this kernel does not say whose a socket is (sock_diag): loopback connections fail");
	}
	return r;
}

static struct owned *find(struct net *m, uint64_t cookie)
{
	struct owned *o;

	HASH_FIND(hh, m->owned, &cookie, sizeof(cookie), o);
	return o;
}

enum receiver owner_receiver(struct net *m, int protocol, const struct addr *to, const struct addr *from)
{
	struct inet_diag_msg msg;

	if (look_up(m, protocol, to, from, &msg) < 0 || !find(m, cookie_of(&msg)))
		return RECEIVER_NONE;
	/* Of a listener these are the connections not accepted yet and their limit (sk_acceptq_is_full). */
	if (protocol == IPPROTO_TCP && msg.idiag_rqueue > msg.idiag_wqueue)
		return RECEIVER_CROWDED;
	return RECEIVER_OWN;
}

int owner_is_foreign(struct net *m, int protocol, const struct addr *at)
{
	struct inet_diag_msg msg;
	struct addr plain;
	int r;

	addr_unmap(at, &plain);
	addr_any_to_loopback(&plain);
	r = look_up(m, protocol, &plain, NULL, &msg);
	if (r == -ENOENT)
		return 0;
	return r < 0 || find(m, cookie_of(&msg)) == NULL;
}

static void note_alive(const struct inet_diag_msg *msg, void *arg)
{
	struct owned *o = find(arg, cookie_of(msg));

	if (o)
		o->alive = true;
}

/* Forgets closed sockets.  Keeps everything when the kernel's list cannot be had whole. */
static void forget_dead(struct net *m)
{
	static const struct {
		uint8_t family, protocol;
		uint32_t states;
	} list[] = {
		{AF_INET, IPPROTO_TCP, TCP_LISTENING},
		{AF_INET6, IPPROTO_TCP, TCP_LISTENING},
		{AF_INET, IPPROTO_UDP, ~0u},
		{AF_INET6, IPPROTO_UDP, ~0u},
	};
	struct owned *o, *next;

	HASH_ITER (hh, m->owned, o, next)
		o->alive = false;
	for (size_t i = 0; i < BV_ROWS_OF(list); i++) {
		struct inet_diag_req_v2 q = {.sdiag_family = list[i].family,
					     .sdiag_protocol = list[i].protocol,
					     .idiag_states = list[i].states};

		if (ask(&m->diag, &q, true, note_alive, m) < 0)
			return;
	}
	HASH_ITER (hh, m->owned, o, next) {
		if (o->alive)
			continue;
		HASH_DEL(m->owned, o);
		free(o);
	}
}

int owner_remember(struct net *m, uint64_t cookie)
{
	struct owned *o = find(m, cookie);

	if (o)
		return 0;
	if (HASH_COUNT(m->owned) >= m->owned_limit) {
		forget_dead(m);
		m->owned_limit = 1024 + 2 * HASH_COUNT(m->owned);
	}
	o = calloc(1, sizeof(*o));
	if (!o)
		return -ENOMEM;
	o->cookie = cookie;
	HASH_ADD(hh, m->owned, cookie, sizeof(o->cookie), o);
	return 0;
}

void owner_fini(struct net *m)
{
	struct owned *o, *next;

	HASH_ITER (hh, m->owned, o, next) {
		HASH_DEL(m->owned, o);
		free(o);
	}
	bv_cleanup_fd(&m->diag);
}
