/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places beyond the sandbox that may be reached in mode none.  Hosts are looked up outside, and guests
 * find them in /etc/hosts: no name service has to be let through, which would carry anything anywhere.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <netrule.h>
#include <strbuf.h>

#include "net.h"

#define RULES_MAX 4096
#define ADDRESSES_MAX 64 /* of one host */
#define HOSTS "/etc/hosts"

bool allow_fits(const struct net *m, const struct addr *to)
{
	struct addr a;

	addr_unmap(to, &a);
	const void *ip = a.sa.sa_family == AF_INET ? (const void *)&a.in.sin_addr
	                                           : (const void *)&a.in6.sin6_addr;
	/* Who allows 0.0.0.0/0 means the world, not the services of this machine. */
	bool loopback = addr_scope(&a) != ADDR_BEYOND;
	for (size_t i = 0; i < m->n_rules; i++)
		if (netrule_fits(&m->rules[i], a.sa.sa_family, ip, addr_port(&a)) &&
		    (!loopback || netrule_is_loopback(&m->rules[i])))
			return true;
	return false;
}

static bool same(const struct netrule *a, const struct netrule *b)
{
	return a->family == b->family && a->bits == b->bits && a->low == b->low &&
	       a->high == b->high && memcmp(a->addr, b->addr, sizeof(a->addr)) == 0 &&
	       strcmp(a->name, b->name) == 0;
}

static int add(struct net *m, const struct netrule *rule)
{
	for (size_t i = 0; i < m->n_rules; i++)
		if (same(&m->rules[i], rule))
			return 0;
	if (m->n_rules >= RULES_MAX)
		return -ENOSPC;
	struct netrule *grown = reallocarray(m->rules, m->n_rules + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	m->rules = grown;
	m->rules[m->n_rules++] = *rule;
	return 0;
}

/* A line a host and address; the latest first, since the first is what a resolver takes. */
static int show_hosts(struct net *m)
{
	bv_autostrbuf struct strbuf text = {0};
	char rule[NETRULE_TEXT], ip[64];
	bool any = false;

	for (size_t i = m->n_rules; i-- > 0;) {
		const struct netrule *r = &m->rules[i];

		if (!*r->name || strcmp(r->name, "localhost") == 0)
			continue;
		netrule_print(r, rule);
		if (sscanf(rule, "%*s %63[^/]", ip) == 1)
			strbuf_printf(&text, "%s\t%s\n", ip, r->name);
		any = true;
	}
	if (!any)
		return 0;
	if (text.failed)
		return -ENOMEM;
	int r = BV_HAS(struct bv_vfs, m->vfs, append)
	                ? m->vfs->append(m->vfs, m->self, HOSTS, text.data, text.len)
	                : -ENOENT;
	if (r == -ENOENT)
		m->host->log(m->self, BV_LOG_WARN,
		             "allow: guests find no host by name: there is no file " HOSTS);
	return r == -ENOENT ? 0 : r;
}

static int look_up(struct net *m, const struct netrule *rule, const char *text)
{
	struct netrule found[ADDRESSES_MAX];
	char line[512];
	const char *why = "";
	size_t n = netrule_look_up(rule, found, ADDRESSES_MAX, &why);
	int r = 0;

	if (n == 0) {
		/* No mistake of who wrote it: the host may be offline, and the rest still be of use. */
		snprintf(line, sizeof(line), "allow: '%s' cannot be reached: %s", text, why);
		m->host->log(m->self, BV_LOG_WARN, line);
	}
	for (size_t i = 0; r == 0 && i < n; i++)
		r = add(m, &found[i]);
	return r;
}

int allow_init(struct net *m, const struct bv_strings *texts)
{
	m->texts = texts;
	m->may_allow = texts->n > 0;
	for (size_t i = 0; i < texts->n; i++) {
		struct netrule rule;
		char line[512];
		const char *why = m->mode == NET_HOST
		                          ? "is for mode none; mode host lets everything through"
		                          : netrule_parse(texts->item[i], &rule);

		if (!why)
			continue;
		snprintf(line, sizeof(line), "allow: '%.300s' %s", texts->item[i], why);
		m->host->fail(m->self, line);
		return -EINVAL;
	}
	return 0;
}

#define NET_OF(svc) ((struct net *)((char *)(uintptr_t)(svc)-offsetof(struct net, service)))

static int svc_look_up(const struct bv_net *svc)
{
	struct net *m = NET_OF(svc);
	int r = 0;

	for (size_t i = 0; r == 0 && i < m->texts->n; i++) {
		struct netrule rule;

		if (!netrule_parse(m->texts->item[i], &rule))
			r = look_up(m, &rule, m->texts->item[i]);
	}
	return r == 0 ? show_hosts(m) : r;
}

static int svc_allow(const struct bv_net *svc, const char *text)
{
	struct net *m = NET_OF(svc);
	struct netrule rule;
	int r = netrule_scan(text, &rule);

	if (r < 0 || m->mode == NET_HOST)
		return r;
	r = add(m, &rule);
	m->may_allow = true;
	return r == 0 && *rule.name ? show_hosts(m) : r;
}

int allow_provide(struct net *m)
{
	m->service = (struct bv_net){.head = BV_HEAD(SERVICE, struct bv_net),
	                             .allow = svc_allow,
	                             .look_up = svc_look_up};
	return m->host->provide(m->self, BV_NET_SERVICE, &m->service.head);
}

void allow_fini(struct net *m)
{
	free(m->rules);
}
