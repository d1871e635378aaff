/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SO_PEERCRED.  The kernel notes who called connect(2), and that was the supervisor; so the
 * latest guests that connected are remembered by socket, and the kernel is asked which socket is
 * at the other end.  A peer that was forgotten shows pid 0, as one from outside a pid namespace.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>

#include "net.h"

void peer_remember(struct net *m, struct bv_call *call, uint32_t ino)
{
	struct peer *p = &m->peer[m->next_peer % NET_PEERS];
	struct bv_creds creds;

	if (m->host->creds(call, &creds) < 0)
		return;
	m->next_peer++;
	*p = (struct peer){.ino = ino, .pid = m->host->task_pid(call->task), .uid = creds.euid, .gid = creds.egid};
}

/* The inode of the socket at the other end, 0 when it cannot be told. */
static uint32_t other_end(uint32_t ino)
{
	struct {
		struct nlmsghdr h;
		struct unix_diag_req q;
	} msg = {.h = {.nlmsg_len = sizeof(msg), .nlmsg_type = SOCK_DIAG_BY_FAMILY, .nlmsg_flags = NLM_F_REQUEST},
		 .q = {.sdiag_family = AF_UNIX,
		       .udiag_states = ~0u,
		       .udiag_ino = ino,
		       .udiag_show = UDIAG_SHOW_PEER,
		       .udiag_cookie = {~0u, ~0u}}};
	char buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	const struct nlmsghdr *h = (const struct nlmsghdr *)buf;
	bv_autofd int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	const struct rtattr *attr;
	ssize_t n;
	int left;

	if (fd < 0 || send(fd, &msg, sizeof(msg), 0) < 0)
		return 0;
	n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	if (n < 0 || !NLMSG_OK(h, (size_t)n) || h->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    h->nlmsg_len < NLMSG_LENGTH(sizeof(struct unix_diag_msg)))
		return 0;
	attr = (const struct rtattr *)((const char *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct unix_diag_msg)));
	left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(struct unix_diag_msg)));
	for (; RTA_OK(attr, left); attr = RTA_NEXT(attr, left))
		if (attr->rta_type == UNIX_DIAG_PEER && RTA_PAYLOAD(attr) >= sizeof(uint32_t)) {
			uint32_t peer;

			memcpy(&peer, RTA_DATA(attr), sizeof(peer));
			return peer;
		}
	return 0;
}

static void translate(struct net *m, uint32_t ino, struct ucred *cred)
{
	uint32_t peer = other_end(ino);

	cred->pid = 0;
	for (size_t i = 0; peer && i < NET_PEERS; i++)
		if (m->peer[i].ino == peer) {
			cred->pid = m->peer[i].pid;
			cred->uid = m->peer[i].uid;
			cred->gid = m->peer[i].gid;
			return;
		}
}

/* Only SO_PEERCRED traps; every other option is between the guest and the kernel. */
BV_SYSCALL(getsockopt)
{
	struct net *m = self;
	bv_autosock struct sock s = {.fd = -1};
	struct ucred cred;
	socklen_t full = sizeof(cred);
	int32_t room;
	int r;

	if ((int)call->arg[1] != SOL_SOCKET || (int)call->arg[2] != SO_PEERCRED)
		return BV_PASS;
	r = sock_get(m, call, (int)call->arg[0], &s);
	if (r >= 0)
		r = m->host->mem_read(call, &room, call->arg[4], sizeof(room));
	if (r >= 0 && room < 0)
		r = -EINVAL;
	if (r >= 0 && getsockopt(s.fd, SOL_SOCKET, SO_PEERCRED, &cred, &full) < 0)
		r = -errno;
	if (r < 0)
		return m->host->reply(call, r);
	if (cred.pid == getpid())
		translate(m, s.ino, &cred);
	if (room > (int32_t)sizeof(cred))
		room = sizeof(cred);
	r = room ? m->host->mem_write(call, call->arg[3], &cred, (size_t)room) : 0;
	if (r >= 0)
		r = m->host->mem_write(call, call->arg[4], &room, sizeof(room));
	return m->host->reply(call, r < 0 ? r : 0);
}

const struct bv_handler peer_rows[] = {
	BV_ON(getsockopt, BV_SERVE),
	{0},
};
