/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect(2): acts on a duplicate of the guest's socket with a copy of the address.  The duplicate
 * shares O_NONBLOCK with the guest's descriptor and must not change it, so that a call that may
 * wait is begun with the shortest send timeout there is (it bounds connect(2) too, socket(7)), and
 * a worker does the waiting.  An interrupted connect goes on in the background, as on Linux.
 */
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "net.h"

struct connecting {
	struct net *net;
	struct sock sock;
	struct target target;
	struct bv_creds creds;
	struct timeval limit; /* the guest's SO_SNDTIMEO; 0: none */
	struct addr wanted; /* as the guest said it */
	int64_t paused; /* ms spent waiting for a crowded listener */
	bool begun;
	int result;
};
#define PAUSE_MS 20
#define PAUSE_LIMIT_MS 127000 /* as long as the kernel tries, tcp(7) tcp_syn_retries */

static void connecting_free(struct connecting *c)
{
	sock_put(&c->sock);
	bv_cleanup_fd(&c->target.hold);
	free(c);
}

static int plain_connect(struct connecting *c)
{
	return connect(c->sock.fd, &c->target.to.sa, c->target.to.len) < 0 ? -errno : 0;
}

/* Connects, waiting one clock tick at most: -EINPROGRESS, -EALREADY or -EAGAIN when that was not
 * enough.  Nothing else looks at the timeout of a socket that is not connected yet. */
static int begin(struct connecting *c)
{
	const struct timeval least = {.tv_usec = 1};
	socklen_t len = sizeof(c->limit);
	int r;

	c->begun = true;
	if (getsockopt(c->sock.fd, SOL_SOCKET, SO_SNDTIMEO, &c->limit, &len) < 0 ||
	    setsockopt(c->sock.fd, SOL_SOCKET, SO_SNDTIMEO, &least, sizeof(least)) < 0)
		return -errno;
	r = plain_connect(c);
	setsockopt(c->sock.fd, SOL_SOCKET, SO_SNDTIMEO, &c->limit, sizeof(c->limit));
	return r;
}

static bool unfinished(int r)
{
	return r == -EINPROGRESS || r == -EALREADY || r == -EAGAIN;
}

static int finish(struct net *m, const struct sock *s, int r)
{
	/* A datagram socket got a name by it, to which others may answer. */
	if (r >= 0 && m->mode == NET_NONE && sock_is_inet(s) && s->type == SOCK_DGRAM)
		return owner_remember(m, s->cookie);
	return r;
}

/*
 * A signal took the answer of a connection that a worker had made: the guest repeats the call and
 * would get EISCONN for it.
 */
static bool was_lost(struct net *m, uint32_t ino)
{
	for (size_t i = 0; i < NET_LOST; i++)
		if (m->lost[i] == ino) {
			m->lost[i] = 0;
			return true;
		}
	return false;
}

/* AF_UNIX, the listener's queue is full: the kernel itself has to wait for it. */
static void work_unix(void *arg)
{
	struct connecting *c = arg;

	/* The kernel checks write permission on a path socket. */
	c->result = c->net->host->as_creds(&c->creds);
	if (c->result >= 0)
		c->result = plain_connect(c);
}

static enum bv_verdict done_unix(struct bv_call *call, void *arg)
{
	struct connecting *c = arg;
	struct net *m = c->net;
	enum bv_verdict v = BV_REPLIED;

	if (call)
		v = m->host->reply(call, c->result);
	else if (c->begun && c->result == 0)
		m->lost[m->next_lost++ % NET_LOST] = c->sock.ino;
	connecting_free(c);
	return v;
}

/* Internet streams: under way; wait until it is decided. */
static void work_inet(void *arg)
{
	struct connecting *c = arg;
	struct pollfd p = {.fd = c->sock.fd, .events = POLLOUT};
	int64_t ms = c->limit.tv_sec * 1000 + (c->limit.tv_usec + 999) / 1000;

	if (!c->begun) {
		/* Beyond the loopback, where it needs no look at the receiver. */
		c->result = begin(c);
		if (!unfinished(c->result))
			return;
	}
	poll(&p, 1, ms == 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms);
}

static enum bv_verdict done_inet(struct bv_call *call, void *arg)
{
	struct connecting *c = arg;
	struct pollfd p = {.fd = c->sock.fd, .events = POLLOUT};
	enum bv_verdict v = BV_REPLIED;

	if (call) {
		/* Decided: to say it once more takes the result and makes the socket a connected one. */
		if (unfinished(c->result) && poll(&p, 1, 0) > 0)
			c->result = begin(c);
		v = c->net->host->reply(call, c->result);
	} else if (!c->begun) {
		/* EINTR means that the connection is being made, connect(2): programs wait for it. */
		begin(c);
	}
	connecting_free(c);
	return v;
}

/* Begins on the loop where that takes no time; what is far away is begun by the worker. */
static enum bv_verdict connect_waiting(struct connecting *c, struct bv_call *call)
{
	struct net *m = c->net;
	bool unix_domain = c->sock.domain == AF_UNIX;

	if (unix_domain || addr_scope(&c->target.to) != ADDR_BEYOND) {
		c->result = unix_domain ? m->host->as_guest(call) : 0;
		if (c->result >= 0)
			c->result = begin(c);
		if (!unfinished(c->result)) {
			enum bv_verdict v = m->host->reply(call, c->result);

			connecting_free(c);
			return v;
		}
	}
	if (unix_domain)
		return m->host->defer(call, BV_DEFER_SIGNALS, work_unix, done_unix, c);
	return m->host->defer(call, BV_DEFER_SIGNALS, work_inet, done_inet, c);
}

static enum bv_verdict connect_found(struct connecting *c, struct bv_call *call, int r);

static void work_pause(void *arg)
{
	const struct timespec t = {.tv_nsec = PAUSE_MS * 1000000L};

	nanosleep(&t, NULL);
	((struct connecting *)arg)->paused += PAUSE_MS;
}

static enum bv_verdict done_pause(struct bv_call *call, void *arg)
{
	struct connecting *c = arg;

	if (call)
		return connect_found(c, call,
				     target_find(c->net, call, &c->sock, &c->wanted, TARGET_CONNECT, &c->target));
	connecting_free(c);
	return BV_REPLIED;
}

static bool may_wait(const struct sock *s, const struct addr *to)
{
	return s->type != SOCK_DGRAM && s->domain != AF_NETLINK && to->sa.sa_family != AF_UNSPEC && sock_blocks(s);
}

static int connect_now(struct connecting *c, struct bv_call *call)
{
	struct net *m = c->net;
	int r = c->sock.domain == AF_UNIX ? m->host->as_guest(call) : 0;

	return r < 0 ? r : finish(m, &c->sock, plain_connect(c));
}

/* Everything up to the call itself: 0, 1 it was done before, or -errno. */
static int prepare(struct connecting *c, struct bv_call *call)
{
	struct net *m = c->net;
	int r = sock_get(m, call, (int)call->arg[0], &c->sock);

	if (r >= 0)
		r = sock_read_addr(m, call, call->arg[1], (int)call->arg[2], &c->wanted);
	if (r < 0)
		return r;
	if (was_lost(m, c->sock.ino))
		return 1;
	r = target_find(m, call, &c->sock, &c->wanted, TARGET_CONNECT, &c->target);
	if (r >= 0 && c->sock.domain == AF_UNIX) {
		peer_remember(m, call, c->sock.ino);
		r = m->host->creds(call, &c->creds);
	}
	return r < 0 ? r : 0;
}

/* Goes on with what prepare() or target_find() said. */
static enum bv_verdict connect_found(struct connecting *c, struct bv_call *call, int r)
{
	struct net *m = c->net;
	enum bv_verdict v;

	if (r == -EAGAIN && sock_is_inet(&c->sock)) {
		if (sock_blocks(&c->sock) && c->paused < PAUSE_LIMIT_MS)
			return m->host->defer(call, BV_DEFER_SIGNALS, work_pause, done_pause, c);
		r = c->paused ? -ETIMEDOUT : -ECONNREFUSED;
	}
	if (r == 0 && may_wait(&c->sock, &c->target.to))
		return connect_waiting(c, call);
	if (r == 0)
		r = connect_now(c, call);
	v = m->host->reply(call, r < 0 ? r : 0);
	connecting_free(c);
	return v;
}

BV_SYSCALL(connect)
{
	struct net *m = self;
	struct connecting *c = calloc(1, sizeof(*c));

	if (!c)
		return m->host->reply(call, -ENOMEM);
	c->net = m;
	c->sock.fd = c->target.hold = -1;
	return connect_found(c, call, prepare(c, call));
}

const struct bv_handler connect_rows[] = {
	BV_ON(connect, BV_SERVE),
	{0},
};
