/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ancillary data of sendmsg(2).  Descriptors are the guest's and are duplicated; credentials may
 * only be the sender's own; of the rest, what an unprivileged sender may set is passed on.  The
 * kernel would judge everything else by the supervisor's capabilities.
 */
#include <errno.h>
#include <linux/capability.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"

#define CONTROL_MAX 65536 /* as large as net.core.optmem_max is by default, and then some */
#define FDS_MAX 253 /* SCM_MAX_FD, unix(7) */
#ifndef SCM_TXTIME
#define SCM_TXTIME SO_TXTIME
#endif
#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#define TLS_RECORD_TYPE 1 /* TLS_SET_RECORD_TYPE of <linux/tls.h> */

void control_fini(struct control *c)
{
	for (size_t i = 0; i < c->n_fds; i++)
		close(c->fd[i]);
	free(c->fd);
	free(c->data);
	*c = (struct control){0};
}

/* Appends one message.  The buffer has room: it is sized for all of them (control_read). */
static unsigned char *append(struct control *c, int level, int type, const void *data, size_t n)
{
	struct cmsghdr h = {.cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type};
	unsigned char *at = c->data + c->len;

	memset(at, 0, CMSG_SPACE(n));
	memcpy(at, &h, sizeof(h));
	if (n)
		memcpy(at + CMSG_LEN(0), data, n);
	c->len += CMSG_SPACE(n);
	return at + CMSG_LEN(0);
}

static int add_fds(struct net *m, struct bv_call *call, struct control *c, const unsigned char *data, size_t len)
{
	size_t n = len / sizeof(int), first = c->n_fds;
	int *grown;

	if (c->n_fds + n > FDS_MAX)
		return -EINVAL;
	if (n == 0)
		return 0;
	grown = realloc(c->fd, (c->n_fds + n) * sizeof(int));
	if (!grown)
		return -ENOMEM;
	c->fd = grown;
	for (size_t i = 0; i < n; i++) {
		int number, fd;

		memcpy(&number, data + i * sizeof(int), sizeof(number));
		fd = m->host->get_fd(call, number);
		if (fd < 0)
			return fd;
		c->fd[c->n_fds++] = fd;
	}
	append(c, SOL_SOCKET, SCM_RIGHTS, c->fd + first, n * sizeof(int));
	return 0;
}

/* unix(7): without privilege a sender may name itself, by its own pid and any of its own ids. */
static int add_creds(struct net *m, struct bv_call *call, struct control *c, const unsigned char *data, size_t len)
{
	struct bv_creds own;
	struct ucred u;
	int r = m->host->creds(call, &own);

	if (r < 0)
		return r;
	if (len != sizeof(u))
		return -EINVAL;
	memcpy(&u, data, sizeof(u));
	if (u.pid != m->host->task_pid(call->task) ||
	    (u.uid != own.uid && u.uid != own.euid && !(own.cap_effective & (1ull << CAP_SETUID))) ||
	    (u.gid != own.gid && u.gid != own.egid && !(own.cap_effective & (1ull << CAP_SETGID))))
		return -EPERM;
	/* To name another process than itself the supervisor would need CAP_SYS_ADMIN. */
	u.pid = getpid();
	append(c, SOL_SOCKET, SCM_CREDENTIALS, &u, sizeof(u));
	return 0;
}

static int socket_level(struct net *m, struct bv_call *call, const struct sock *s, struct control *c, int type,
			const unsigned char *data, size_t len)
{
	uint32_t value;

	switch (type) {
	case SCM_RIGHTS:
		/* Other families ignore both (__sock_cmsg_send()). */
		return s->domain == AF_UNIX ? add_fds(m, call, c, data, len) : 0;
	case SCM_CREDENTIALS:
		return s->domain == AF_UNIX ? add_creds(m, call, c, data, len) : 0;
	case SO_TIMESTAMPING:
	case SCM_TXTIME:
		append(c, SOL_SOCKET, type, data, len);
		return 0;
	case SO_PRIORITY:
		/* socket(7): above 6 it needs CAP_NET_ADMIN. */
		if (len != sizeof(value))
			return -EINVAL;
		memcpy(&value, data, sizeof(value));
		if (value > 6)
			return -EPERM;
		append(c, SOL_SOCKET, type, data, len);
		return 0;
	case SO_MARK:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

/* Mode none: a packet may not choose another device than the loopback. */
static int packet_info(struct net *m, size_t len, size_t need, int ifindex)
{
	if (len != need)
		return -EINVAL;
	return m->mode == NET_NONE && ifindex != 0 && ifindex != (int)m->lo ? -ENODEV : 0;
}

static int inet_level(struct net *m, struct control *c, int level, int type, const unsigned char *data, size_t len)
{
	struct in_pktinfo p4 = {0};
	struct in6_pktinfo p6 = {0};
	int r = 0;

	if (level == IPPROTO_IP && type == IP_PKTINFO) {
		memcpy(&p4, data, len < sizeof(p4) ? len : sizeof(p4));
		r = packet_info(m, len, sizeof(p4), p4.ipi_ifindex);
	} else if (level == IPPROTO_IPV6 && type == IPV6_PKTINFO) {
		memcpy(&p6, data, len < sizeof(p6) ? len : sizeof(p6));
		r = packet_info(m, len, sizeof(p6), (int)p6.ipi6_ifindex);
	} else if (level == IPPROTO_IP ? type != IP_TTL && type != IP_TOS
				       : type != IPV6_HOPLIMIT && type != IPV6_TCLASS && type != IPV6_DONTFRAG) {
		/* Source routes and extension headers need CAP_NET_RAW; the rest is not for sending. */
		r = (level == IPPROTO_IP && type == IP_RETOPTS) || level == IPPROTO_IPV6 ? -EPERM : -EINVAL;
	}
	if (r >= 0)
		append(c, level, type, data, len);
	return r;
}

static int one(struct net *m, struct bv_call *call, const struct sock *s, struct control *c, const struct cmsghdr *h,
	       const unsigned char *data, size_t len)
{
	if (h->cmsg_level == SOL_SOCKET)
		return socket_level(m, call, s, c, h->cmsg_type, data, len);
	if (sock_is_inet(s) && (h->cmsg_level == IPPROTO_IP || h->cmsg_level == IPPROTO_IPV6))
		return inet_level(m, c, h->cmsg_level, h->cmsg_type, data, len);
	if ((h->cmsg_level == IPPROTO_UDP && h->cmsg_type == UDP_SEGMENT) ||
	    (h->cmsg_level == SOL_TLS && h->cmsg_type == TLS_RECORD_TYPE)) {
		append(c, h->cmsg_level, h->cmsg_type, data, len);
		return 0;
	}
	/* Of a level that this protocol does not have: the kernel skips it. */
	return 0;
}

int control_read(struct net *m, struct bv_call *call, const struct sock *s, uint64_t at, uint64_t len,
		 struct control *out)
{
	struct control c = {0};
	bv_autofree unsigned char *in = NULL;
	size_t pos = 0;
	int r;

	if (len > CONTROL_MAX)
		return -ENOBUFS;
	/* Padding may grow by less than one header a message; and room for control_add_sender(). */
	c.data = malloc(2 * len + CMSG_SPACE(sizeof(struct ucred)) + sizeof(struct cmsghdr));
	in = malloc(len + 1);
	r = !c.data || !in ? -ENOMEM : len ? m->host->mem_read(call, in, at, len) : 0;
	while (r >= 0 && len - pos >= sizeof(struct cmsghdr)) {
		struct cmsghdr h;

		memcpy(&h, in + pos, sizeof(h));
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > len - pos) {
			r = -EINVAL; /* CMSG_OK() of the kernel */
			break;
		}
		r = one(m, call, s, &c, &h, in + pos + CMSG_LEN(0), h.cmsg_len - CMSG_LEN(0));
		if (CMSG_ALIGN(h.cmsg_len) >= len - pos)
			break;
		pos += CMSG_ALIGN(h.cmsg_len);
	}
	if (r < 0) {
		control_fini(&c);
		return r;
	}
	*out = c;
	return 0;
}

/*
 * A receiver with SO_PASSCRED is told who sends, which is the supervisor.  Its pid cannot be helped
 * (add_creds); the ids can, and they are what rights hang on.
 */
void control_add_sender(struct net *m, struct bv_call *call, struct control *c)
{
	struct bv_creds own;
	struct ucred u;

	if (!c->data || m->host->creds(call, &own) < 0 || (own.uid == getuid() && own.gid == getgid()))
		return;
	for (size_t pos = 0; pos < c->len;) {
		struct cmsghdr h;

		memcpy(&h, c->data + pos, sizeof(h));
		if (h.cmsg_level == SOL_SOCKET && h.cmsg_type == SCM_CREDENTIALS)
			return; /* the guest said it itself */
		pos += CMSG_ALIGN(h.cmsg_len);
	}
	u = (struct ucred){.pid = getpid(), .uid = own.uid, .gid = own.gid};
	append(c, SOL_SOCKET, SCM_CREDENTIALS, &u, sizeof(u));
}
