/* SPDX-License-Identifier: Apache-2.0 */
/*
 * connect(2): acts on a duplicate of the guest's socket with a copy of the address.  The duplicate
 * shares O_NONBLOCK with the guest's descriptor, so the kernel itself waits or does not; where it
 * may wait a worker does it.
 */
#include <errno.h>
#include <stdlib.h>

#include "net.h"

struct connecting {
	struct net *net;
	struct sock sock;
	struct target target;
	struct bv_creds creds;
	int result;
};

static void connecting_free(struct connecting *c)
{
	sock_put(&c->sock);
	bv_cleanup_fd(&c->target.hold);
	free(c);
}

/*
 * A signal took the answer of a connection that had been made: the guest repeats the call and
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

static int finish(struct net *m, const struct sock *s, int r)
{
	/* A datagram socket got a name by it, to which others may answer. */
	if (r >= 0 && m->mode == NET_NONE && sock_is_inet(s) && s->type == SOCK_DGRAM)
		return owner_remember(m, s->ino);
	return r;
}

static void work(void *arg)
{
	struct connecting *c = arg;

	/* The kernel checks write permission on a path socket; elsewhere identity plays no part. */
	c->result = c->sock.domain == AF_UNIX ? c->net->host->as_creds(&c->creds) : 0;
	/* It may have waited long for a worker, and the guest's port may be the host's by now. */
	if (c->result >= 0 && !target_holds(c->net->lo, &c->target))
		c->result = -ECONNREFUSED;
	if (c->result >= 0 && connect(c->sock.fd, &c->target.to.sa, c->target.to.len) < 0)
		c->result = -errno;
}

static enum bv_verdict done(struct bv_call *call, void *arg)
{
	struct connecting *c = arg;
	struct net *m = c->net;
	enum bv_verdict v = BV_REPLIED;

	if (call)
		v = m->host->reply(call, finish(m, &c->sock, c->result));
	else if (c->result == 0)
		m->lost[m->next_lost++ % NET_LOST] = c->sock.ino;
	connecting_free(c);
	return v;
}

static int may_wait(const struct sock *s, const struct addr *to)
{
	return s->type != SOCK_DGRAM && s->domain != AF_NETLINK && to->sa.sa_family != AF_UNSPEC && sock_blocks(s);
}

static enum bv_verdict connect_now(struct net *m, struct bv_call *call, const struct connecting *c)
{
	int r = c->sock.domain == AF_UNIX ? m->host->as_guest(call) : 0;

	if (r >= 0)
		r = connect(c->sock.fd, &c->target.to.sa, c->target.to.len) < 0 ? -errno : 0;
	return m->host->reply(call, finish(m, &c->sock, r));
}

BV_SYSCALL(connect)
{
	struct net *m = self;
	const struct bv_host *host = m->host;
	struct connecting *c = calloc(1, sizeof(*c));
	struct addr a;
	enum bv_verdict v;
	int r;

	if (!c)
		return host->reply(call, -ENOMEM);
	c->net = m;
	c->sock.fd = c->target.hold = -1;
	r = sock_get(m, call, (int)call->arg[0], &c->sock);
	if (r >= 0)
		r = sock_read_addr(m, call, call->arg[1], (int)call->arg[2], &a);
	if (r >= 0 && was_lost(m, c->sock.ino)) {
		v = host->reply(call, 0);
		connecting_free(c);
		return v;
	}
	if (r >= 0)
		r = target_find(m, call, &c->sock, &a, TARGET_CONNECT, &c->target);
	if (r >= 0 && c->sock.domain == AF_UNIX) {
		peer_remember(m, call, c->sock.ino);
		r = host->creds(call, &c->creds);
	}
	if (r >= 0 && may_wait(&c->sock, &c->target.to))
		return host->defer(call, BV_DEFER_SIGNALS, work, done, c);
	v = r < 0 ? host->reply(call, r) : connect_now(m, call, c);
	connecting_free(c);
	return v;
}

const struct bv_handler connect_rows[] = {
	BV_ON(connect, BV_SERVE),
	{0},
};
