/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sendto(2) with an address, sendmsg(2), sendmmsg(2).  The message header is memory that another
 * thread can change, so these are emulated whole: header, address, data and ancillary data are
 * copied, judged and sent from here.  Data of a stream is taken up to a bound, which the guest
 * sees as a partial send.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define IOV_MAX_KERNEL 1024 /* UIO_MAXIOV */
#define MMSG_MAX 128 /* messages sent for one call; the guest sees a smaller count */
#define COMPAT_FLAG 0x80000000u /* MSG_CMSG_COMPAT: EINVAL for 64-bit callers */

/* struct user_msghdr of the kernel: the same on all 64-bit architectures. */
struct guest_msghdr {
	uint64_t name;
	int32_t name_len, pad;
	uint64_t iov, n_iov, control, control_len;
	uint32_t flags, pad2;
};
struct guest_mmsghdr {
	struct guest_msghdr hdr;
	uint32_t len, pad;
};
struct guest_iovec {
	uint64_t base, len;
};

static int read_target(struct net *m, struct bv_call *call, struct message *s, uint64_t at, int len)
{
	struct addr a;
	int r;

	if (s->sock.type == SOCK_STREAM && sock_is_inet(&s->sock) && !(s->flags & MSG_FASTOPEN))
		len = 0; /* tcp_sendmsg() ignores it */
	if (len < 0)
		return -EINVAL;
	if (!at || len == 0) {
		if (s->sock.domain == AF_UNIX)
			unix_autobind(m, &s->sock);
		return 0;
	}
	if ((size_t)len > sizeof(a.any))
		len = sizeof(a.any);
	r = sock_read_addr(m, call, at, len, &a);
	if (r >= 0)
		r = target_find(m, call, &s->sock, &a, TARGET_SEND, &s->target);
	if (r == TARGET_DROP)
		s->drop = true;
	return r < 0 ? r : 0;
}

/* How much may be copied at once; a datagram goes whole or not at all. */
static int bound(const struct message *s, uint64_t total, size_t *out)
{
	if (total > SEND_MAX) {
		if (s->sock.type != SOCK_STREAM)
			return -EMSGSIZE;
		total = SEND_MAX;
	}
	*out = (size_t)total;
	return 0;
}

static int read_data(struct net *m, struct bv_call *call, struct message *s, const struct guest_msghdr *h)
{
	bv_autofree struct guest_iovec *iov = NULL;
	uint64_t total = 0;
	ssize_t n;
	size_t cap;
	int r;

	if (h->n_iov > IOV_MAX_KERNEL)
		return -EMSGSIZE;
	iov = malloc((h->n_iov + 1) * sizeof(*iov));
	if (!iov)
		return -ENOMEM;
	r = h->n_iov ? m->host->mem_read(call, iov, h->iov, h->n_iov * sizeof(*iov)) : 0;
	if (r < 0)
		return r;
	for (uint64_t i = 0; i < h->n_iov; i++) {
		if (iov[i].len > INT64_MAX)
			return -EINVAL;
		/* MAX_RW_COUNT bounds what the kernel takes; far above our own bound. */
		total = total + iov[i].len > INT32_MAX ? INT32_MAX : total + iov[i].len;
	}
	r = bound(s, total, &cap);
	if (r < 0)
		return r;
	s->data = malloc(cap + 1);
	if (!s->data)
		return -ENOMEM;
	n = h->n_iov ? m->host->mem_gather(call, s->data, cap, h->iov, h->n_iov) : 0;
	if (n < 0)
		return (int)n;
	s->len = (size_t)n;
	return 0;
}

/* Fills s from a copied header. */
static int prepare(struct net *m, struct bv_call *call, struct message *s, int fd, const struct guest_msghdr *h)
{
	int r = sock_get(m, call, fd, &s->sock);

	if (r < 0)
		return r;
	s->blocking = !(s->flags & MSG_DONTWAIT) && sock_blocks(&s->sock);
	r = control_read(m, call, &s->sock, h->control, h->control ? h->control_len : 0, &s->control);
	if (r >= 0)
		r = read_data(m, call, s, h);
	if (r >= 0)
		r = read_target(m, call, s, h->name, h->name ? h->name_len : 0);
	if (r >= 0 && s->sock.domain == AF_UNIX)
		control_add_sender(m, call, &s->control);
	return r;
}

BV_SYSCALL(sendmsg)
{
	struct net *m = self;
	const struct bv_host *host = m->host;
	struct guest_msghdr h;
	struct message *s;
	enum bv_verdict v;
	int r;

	if ((uint32_t)call->arg[2] & COMPAT_FLAG)
		return host->reply(call, -EINVAL);
	s = message_new(m);
	if (!s)
		return host->reply(call, -ENOMEM);
	s->flags = (int)call->arg[2];
	r = host->mem_read(call, &h, call->arg[1], sizeof(h));
	if (r >= 0)
		r = prepare(m, call, s, (int)call->arg[0], &h);
	if (r >= 0)
		return message_send(s, call);
	v = host->reply(call, r);
	message_free(s);
	return v;
}

/* The first message may wait, like a sendmsg(2) of its own; the others go as far as they go. */
BV_SYSCALL(sendmmsg)
{
	struct net *m = self;
	const struct bv_host *host = m->host;
	uint64_t at = call->arg[1], n = (uint32_t)call->arg[2], i;
	int r = 0;

	if ((uint32_t)call->arg[3] & COMPAT_FLAG)
		return host->reply(call, -EINVAL);
	if (n > MMSG_MAX)
		n = MMSG_MAX;
	for (i = 0; i < n && r >= 0; i++, at += sizeof(struct guest_mmsghdr)) {
		struct message *s = message_new(m);
		struct guest_msghdr h;

		if (!s) {
			r = -ENOMEM;
			break;
		}
		s->flags = (int)call->arg[3];
		s->len_at = at + offsetof(struct guest_mmsghdr, len);
		r = host->mem_read(call, &h, at, sizeof(h));
		if (r >= 0)
			r = prepare(m, call, s, (int)call->arg[0], &h);
		if (r >= 0 && i == 0 && n == 1)
			return message_send(s, call);
		if (r >= 0)
			r = message_try(s, call);
		if (i == 0 && r == -EAGAIN && s->blocking)
			return message_send(s, call);
		if (i == 0 && r < 0) {
			enum bv_verdict v = message_answer(s, call, r);

			message_free(s);
			return v;
		}
		if (r >= 0 || s->sent > 0) {
			uint32_t len = (uint32_t)s->sent;

			r = host->mem_write(call, s->len_at, &len, sizeof(len));
		}
		message_free(s);
		if (r < 0)
			break;
	}
	return host->reply(call, i > 0 ? (int64_t)i : r);
}

/* Only with an address: a filter rule lets the others run. */
BV_SYSCALL(sendto)
{
	struct net *m = self;
	const struct bv_host *host = m->host;
	struct message *s = message_new(m);
	enum bv_verdict v;
	size_t n;
	int r;

	if (!s)
		return host->reply(call, -ENOMEM);
	s->flags = (int)call->arg[3];
	r = sock_get(m, call, (int)call->arg[0], &s->sock);
	if (r >= 0)
		s->blocking = !(s->flags & MSG_DONTWAIT) && sock_blocks(&s->sock);
	if (r >= 0 && (int)call->arg[5] > (int)sizeof(struct sockaddr_storage))
		r = -EINVAL;
	if (r >= 0)
		r = read_target(m, call, s, call->arg[4], (int)call->arg[5]);
	if (r >= 0)
		r = bound(s, call->arg[2], &n);
	if (r >= 0)
		r = (s->data = malloc(n + 1)) ? 0 : -ENOMEM;
	if (r >= 0 && n)
		r = host->mem_read(call, s->data, call->arg[1], n);
	if (r >= 0) {
		s->len = n;
		r = s->sock.domain == AF_UNIX ? control_read(m, call, &s->sock, 0, 0, &s->control) : 0;
	}
	if (r >= 0) {
		control_add_sender(m, call, &s->control);
		return message_send(s, call);
	}
	v = host->reply(call, r);
	message_free(s);
	return v;
}

const struct bv_handler send_rows[] = {
	BV_ON(sendto, BV_SERVE),
	BV_ON(sendmsg, BV_SERVE),
	BV_ON(sendmmsg, BV_SERVE),
	{0},
};
