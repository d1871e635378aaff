/* SPDX-License-Identifier: Apache-2.0 */
/* Socket addresses as values.  Pure functions over copies. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "addr.h"

static enum addr_scope scope4(uint32_t net_order)
{
	uint32_t ip = ntohl(net_order);

	if (ip == INADDR_ANY)
		return ADDR_ANY;
	return ip >> 24 == IN_LOOPBACKNET ? ADDR_LOOPBACK : ADDR_BEYOND;
}

void addr_unmap(const struct addr *a, struct addr *out)
{
	struct addr copy = *a;

	if (a->sa.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
		memset(&copy, 0, sizeof(copy));
		copy.len = sizeof(copy.in);
		copy.in.sin_family = AF_INET;
		copy.in.sin_port = a->in6.sin6_port;
		memcpy(&copy.in.sin_addr, &a->in6.sin6_addr.s6_addr[12], 4);
	}
	*out = copy;
}

enum addr_scope addr_scope(const struct addr *a)
{
	struct addr plain;

	addr_unmap(a, &plain);
	if (plain.sa.sa_family == AF_INET)
		return scope4(plain.in.sin_addr.s_addr);
	if (plain.sa.sa_family != AF_INET6)
		return ADDR_BEYOND;
	if (IN6_IS_ADDR_UNSPECIFIED(&plain.in6.sin6_addr))
		return ADDR_ANY;
	return IN6_IS_ADDR_LOOPBACK(&plain.in6.sin6_addr) ? ADDR_LOOPBACK : ADDR_BEYOND;
}

void addr_any_to_loopback(struct addr *a)
{
	if (addr_scope(a) != ADDR_ANY)
		return;
	if (a->sa.sa_family == AF_INET)
		a->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr))
		inet_pton(AF_INET6, "::ffff:127.0.0.1", &a->in6.sin6_addr);
	else
		a->in6.sin6_addr = in6addr_loopback;
}

void addr_text(const struct addr *a, char out[ADDR_TEXT])
{
	char path[sizeof(a->un.sun_path) + 1], ip[INET6_ADDRSTRLEN] = "?";
	struct addr plain;

	addr_unmap(a, &plain);
	switch (plain.sa.sa_family) {
	case AF_UNIX:
		*path = '\0';
		if (addr_unix_kind(a) == UNIX_ABSTRACT)
			snprintf(path, sizeof(path), "@%.*s", (int)(a->len - ADDR_UN_HEAD - 1),
			         a->un.sun_path + 1);
		else if (addr_unix_kind(a) == UNIX_PATH)
			addr_unix_path(a, path);
		snprintf(out, ADDR_TEXT, "%s", path);
		return;
	case AF_INET6:
		inet_ntop(AF_INET6, &plain.in6.sin6_addr, ip, sizeof(ip));
		snprintf(out, ADDR_TEXT, "[%s]:%u", ip, addr_port(&plain));
		return;
	default:
		inet_ntop(AF_INET, &plain.in.sin_addr, ip, sizeof(ip));
		snprintf(out, ADDR_TEXT, "%s:%u", ip, addr_port(&plain));
	}
}

uint16_t addr_port(const struct addr *a)
{
	return ntohs(a->sa.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
}

int addr_unix_kind(const struct addr *a)
{
	if (a->len < ADDR_UN_HEAD || a->len > sizeof(a->un) || a->sa.sa_family != AF_UNIX)
		return -EINVAL;
	if (a->len == ADDR_UN_HEAD)
		return UNIX_UNNAMED;
	return a->un.sun_path[0] ? UNIX_PATH : UNIX_ABSTRACT;
}

void addr_unix_path(const struct addr *a, char out[sizeof(((struct sockaddr_un *)0)->sun_path) + 1])
{
	size_t n = strnlen(a->un.sun_path, a->len - ADDR_UN_HEAD);

	memcpy(out, a->un.sun_path, n);
	out[n] = '\0';
}

int addr_unix_set(struct addr *a, const char *path)
{
	size_t n = strlen(path);

	if (n >= sizeof(a->un.sun_path))
		return -ENAMETOOLONG;
	memset(a, 0, sizeof(*a));
	a->un.sun_family = AF_UNIX;
	memcpy(a->un.sun_path, path, n + 1);
	a->len = ADDR_UN_HEAD + (socklen_t)n + 1;
	return 0;
}

int abstract_hide(const char token[ABSTRACT_TOKEN], const struct addr *in, struct addr *out)
{
	size_t n = in->len - ADDR_UN_HEAD - 1, zeros = 0; /* the first byte is the NUL */
	const char *name = in->un.sun_path + 1;
	struct addr made = {.un.sun_family = AF_UNIX};
	char *to = made.un.sun_path + 1;

	while (zeros < n && name[n - 1 - zeros] == '\0')
		zeros++;
	n -= zeros;
	if (1 + ABSTRACT_TOKEN + 1 + n > sizeof(made.un.sun_path))
		return -EINVAL;
	memcpy(to, token, ABSTRACT_TOKEN);
	to[ABSTRACT_TOKEN] = (char)zeros;
	memcpy(to + ABSTRACT_TOKEN + 1, name, n);
	made.len = ADDR_UN_HEAD + 1 + ABSTRACT_TOKEN + 1 + (socklen_t)n;
	*out = made;
	return 0;
}

bool abstract_show(const char token[ABSTRACT_TOKEN], const struct addr *in, struct addr *out)
{
	struct addr made = {.un.sun_family = AF_UNIX};
	const char *from = in->un.sun_path + 1;
	size_t n, zeros;

	if (addr_unix_kind(in) != UNIX_ABSTRACT || in->len < ADDR_UN_HEAD + 1 + ABSTRACT_TOKEN + 1 ||
	    memcmp(from, token, ABSTRACT_TOKEN) != 0)
		return false;
	n = in->len - ADDR_UN_HEAD - 1 - ABSTRACT_TOKEN - 1;
	zeros = (unsigned char)from[ABSTRACT_TOKEN];
	if (1 + n + zeros > sizeof(made.un.sun_path))
		return false;
	memcpy(made.un.sun_path + 1, from + ABSTRACT_TOKEN + 1, n);
	made.len = ADDR_UN_HEAD + 1 + (socklen_t)(n + zeros);
	*out = made;
	return true;
}
