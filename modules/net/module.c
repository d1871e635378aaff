/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net: which endpoints a guest can reach.  Sockets are real and data never passes through here,
 * except where a call names its destination: that is judged on a copy and done by the supervisor
 * on a duplicate of the guest's socket.
 *
 *   mode none   Internet sockets work on the loopback, among the processes of the sandbox, and reach
 *               what `allow` names
 *   mode host   the host's network as an unprivileged process has it
 *
 * In both, AF_UNIX sockets live in the virtual tree and in a name space of their own; those of
 * the host are out of reach.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <stdlib.h>

#include "net.h"

static const struct bv_option options[] = {
	{.key = "mode",
         .type = BV_OPT_ENUM,
         .offset = offsetof(struct net_conf, mode),
         .def = "none",
         .choices = "none|host",
         .help = "none: only the sandbox's own loopback; host: the host's network."},
	{.key = "netlink",
         .type = BV_OPT_BOOL,
         .offset = offsetof(struct net_conf, netlink),
         .def = "no",
         .help = "In mode none: guests may ask the kernel for interfaces and routes, and see the "
                 "host's."},
	{.key = "allow",
         .type = BV_OPT_WORDS,
         .offset = offsetof(struct net_conf, allow),
         .help = "In mode none: what can be reached beyond the sandbox, as HOST, HOST:PORT, "
                 "ADDRESS, ADDRESS/BITS, "
                 "ADDRESS:LOW-HIGH, [IPV6]:PORT."},
};

static const struct bv_need needs[] = {
	{.service = BV_VFS_SERVICE, .major = BV_ABI_MAJOR, .minor = 0},
};

#define LOW_PORT_DEFAULT 1024

/* The first port that needs no privilege, ip(7). */
static unsigned low_port(void)
{
	bv_autofd int fd = open("/proc/sys/net/ipv4/ip_unprivileged_port_start", O_RDONLY | O_CLOEXEC);
	char text[16], *end;
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	unsigned long port;

	if (n <= 0)
		return LOW_PORT_DEFAULT;
	text[n] = '\0';
	port = strtoul(text, &end, 10);
	return end == text || port > 65536 ? LOW_PORT_DEFAULT : (unsigned)port;
}

static void fini(void *self)
{
	struct net *m = self;

	unix_fini(m);
	owner_fini(m);
	allow_fini(m);
	free(m);
}

static int init(struct bv_self *host_self, const struct bv_host *host, const void *conf, void **self)
{
	const struct net_conf *c = conf;
	struct net *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->host = host;
	m->self = host_self;
	m->mode = c->mode;
	m->netlink = c->netlink;
	m->vfs = (const struct bv_vfs *)host->service(host_self, BV_VFS_SERVICE);
	m->low_port = low_port();
	m->audited = (host->features(host_self) & BV_FEATURE_AUDIT) != 0;
	m->lo = if_nametoindex("lo");
	m->diag = -1;
	m->owned_limit = 1024;
	r = !m->vfs ? -ENOENT : unix_init(m);
	if (r >= 0 && m->mode == NET_NONE && m->lo == 0) {
		host->fail(host_self, "mode none needs a loopback device named lo");
		r = -ENODEV;
	}
	if (r >= 0)
		r = allow_init(m, &c->allow);
	if (r >= 0)
		r = allow_provide(m);
	if (r >= 0)
		r = rules_register(m);
	if (r < 0) {
		fini(m);
		return r;
	}
	*self = m;
	return 0;
}

BV_MODULE_EXPORT extern const struct bv_module bvisor_module;
const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "net",
	.version = "0.1.0",
	.needs = needs,
	.n_needs = BV_ROWS(needs),
	.need_size = sizeof(needs[0]),
	.options = options,
	.n_options = BV_ROWS(options),
	.option_size = sizeof(options[0]),
	.conf_size = sizeof(struct net_conf),
	.init = init,
	.fini = fini,
};
