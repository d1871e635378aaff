/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_NET_H
#define BVISOR_SVC_NET_H
/* Service "net" (provided by net): what the sandbox's network policy is while it runs.  Loop thread.  Since 1.0. */
#include <bvisor/abi.h>

#define BV_NET_SERVICE "net"

struct bv_net {
	struct bv_head head;
	/*
	 * Lets guests reach one more place, from now on: "NAME ADDRESS/BITS LOW-HIGH", with a port range,
	 * and a host's name that is shown in /etc/hosts, or "-".  Sockets made while nothing was allowed
	 * stay within the sandbox.  0; -EINVAL: no such rule; -ENOSPC: too many; -ENOMEM.
	 */
	int (*allow)(const struct bv_net *net, const char *rule);
	/* Before the first guest: looks up the hosts that the configuration allows, and waits for the answers.
	 * One that has no address is a warning.  0, -ENOSPC, -ENOMEM. */
	int (*look_up)(const struct bv_net *net);
};

#endif
