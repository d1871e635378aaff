/* SPDX-License-Identifier: Apache-2.0 */
/* getsockname(2) and getpeername(2): the kernel's names, AF_UNIX ones as the guest knows them. */
#include <errno.h>

#include "net.h"

static enum bv_verdict name(struct net *m, struct bv_call *call, int (*get)(int, struct sockaddr *, socklen_t *))
{
	bv_autosock struct sock s = {.fd = -1};
	struct addr a = {.len = sizeof(a.any)};
	int r = sock_get(m, call, (int)call->arg[0], &s);

	if (r < 0)
		return m->host->reply(call, r);
	if (get(s.fd, &a.sa, &a.len) < 0)
		return m->host->reply(call, -errno);
	if (s.domain == AF_UNIX)
		unix_show(m, &a, &a);
	return m->host->reply(call, sock_write_addr(m, call, call->arg[1], call->arg[2], &a));
}

static int own_name(int fd, struct sockaddr *a, socklen_t *len)
{
	return getsockname(fd, a, len);
}

static int peer_name(int fd, struct sockaddr *a, socklen_t *len)
{
	return getpeername(fd, a, len);
}

BV_SYSCALL(getsockname)
{
	return name(self, call, own_name);
}

BV_SYSCALL(getpeername)
{
	return name(self, call, peer_name);
}

const struct bv_handler names_rows[] = {
	BV_ON(getsockname, BV_SERVE),
	BV_ON(getpeername, BV_SERVE),
	{0},
};
