/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interface queries (netdevice(7)).  In mode none there is the loopback and nothing else; in mode
 * host the kernel answers.  Only reading: what sets something is refused by the filter.
 */
#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>

#include "net.h"

static bool is_query(uint32_t command)
{
	switch (command) {
	case SIOCGIFNAME:
	case SIOCGIFCONF:
	case SIOCGIFFLAGS:
	case SIOCGIFADDR:
	case SIOCGIFDSTADDR:
	case SIOCGIFBRDADDR:
	case SIOCGIFNETMASK:
	case SIOCGIFMETRIC:
	case SIOCGIFMTU:
	case SIOCGIFHWADDR:
	case SIOCGIFINDEX:
	case SIOCGIFTXQLEN:
	case SIOCGIFMAP:
		return true;
	default:
		return false;
	}
}

#define LIST_MAX 256

/* struct ifconf: room in bytes, and where. */
static int list(struct net *m, struct bv_call *call, int fd)
{
	struct ifreq all[LIST_MAX];
	struct ifconf guest, here = {.ifc_len = sizeof(all), .ifc_req = all};
	size_t n;
	int r = m->host->mem_read(call, &guest, call->arg[2], sizeof(guest));

	if (r < 0)
		return r;
	if (ioctl(fd, SIOCGIFCONF, &here) < 0)
		return -errno;
	n = (size_t)here.ifc_len / sizeof(all[0]);
	if (m->mode == NET_NONE) {
		size_t kept = 0;

		for (size_t i = 0; i < n; i++)
			if (strncmp(all[i].ifr_name, "lo", sizeof(all[i].ifr_name)) == 0)
				all[kept++] = all[i];
		n = kept;
	}
	if (guest.ifc_buf) { /* NULL asks for the size only */
		size_t room = guest.ifc_len < 0 ? 0 : (size_t)guest.ifc_len / sizeof(all[0]);

		n = n < room ? n : room;
		r = n ? m->host->mem_write(call, (uint64_t)(uintptr_t)guest.ifc_buf, all, n * sizeof(all[0])) : 0;
		if (r < 0)
			return r;
	}
	guest.ifc_len = (int)(n * sizeof(all[0]));
	r = m->host->mem_write(call, call->arg[2], &guest, sizeof(guest));
	return r < 0 ? r : 0;
}

static int query(struct net *m, struct bv_call *call, int fd, uint32_t command)
{
	struct ifreq q;
	int r = m->host->mem_read(call, &q, call->arg[2], sizeof(q));

	if (r < 0)
		return r;
	q.ifr_name[sizeof(q.ifr_name) - 1] = '\0';
	if (m->mode == NET_NONE &&
	    (command == SIOCGIFNAME ? q.ifr_ifindex != (int)m->lo : strcmp(q.ifr_name, "lo") != 0))
		return -ENODEV;
	if (ioctl(fd, command, &q) < 0)
		return -errno;
	r = m->host->mem_write(call, call->arg[2], &q, sizeof(q));
	return r < 0 ? r : 0;
}

BV_SYSCALL(ioctl)
{
	struct net *m = self;
	uint32_t command = (uint32_t)call->arg[1];
	bv_autosock struct sock s = {.fd = -1};
	int r;

	if (command < 0x8910 || command > 0x8970)
		return BV_PASS;
	r = sock_get(m, call, (int)call->arg[0], &s);
	if (r == -ENOTSOCK)
		r = -ENOTTY;
	if (r >= 0 && !is_query(command))
		r = -EPERM;
	if (r >= 0)
		r = command == SIOCGIFCONF ? list(m, call, s.fd) : query(m, call, s.fd, command);
	return m->host->reply(call, r);
}

const struct bv_handler iface_rows[] = {
	BV_ON(ioctl, BV_SERVE),
	{0},
};
