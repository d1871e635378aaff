/* SPDX-License-Identifier: Apache-2.0 */
#include "netrule.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

/* All of text is a number of at most `max`. */
static bool number(const char *text, unsigned max, unsigned *out)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	unsigned long n = strtoul(text, &end, 10);
	if (*end || n > max)
		return false;
	*out = (unsigned)n;
	return true;
}

static bool ports(const char *text, struct netrule *r)
{
	char low[16];
	size_t n = strcspn(text, "-");
	unsigned a, b;

	if (n >= sizeof(low))
		return false;
	memcpy(low, text, n);
	low[n] = '\0';
	if (!number(low, UINT16_MAX, &a) || a == 0)
		return false;
	b = a;
	if (text[n] && !number(text + n + 1, UINT16_MAX, &b))
		return false;
	r->low = (uint16_t)a;
	r->high = (uint16_t)b;
	return a <= b;
}

/* An IPv4 address in an IPv6 one is what the kernel connects to. */
static void unmap(struct netrule *r)
{
	static const unsigned char mapped[12] = {[10] = 0xff, [11] = 0xff};

	if (r->family != AF_INET6 || r->bits < 96 || memcmp(r->addr, mapped, sizeof(mapped)) != 0)
		return;
	r->family = AF_INET;
	r->bits -= 96;
	memmove(r->addr, r->addr + 12, 4);
	memset(r->addr + 4, 0, 12);
}

static bool address(const char *text, struct netrule *r)
{
	r->family = strchr(text, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(r->family, text, r->addr) != 1) {
		r->family = 0;
		return false;
	}
	r->bits = r->family == AF_INET ? 32 : 128;
	return true;
}

/* RFC 1123, and underscores, which are in use. */
static const char *host_name(const char *text, struct netrule *r)
{
	size_t n = strlen(text);
	bool letter = false;

	if (strchr(text, '*'))
		return "has a wildcard: hosts are named one by one";
	if (n && text[n - 1] == '.')
		n--;
	if (n == 0 || n >= NETRULE_NAME || text[0] == '-' || text[0] == '.')
		return "names no host";
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if (!isascii(c) || (!isalnum(c) && c != '-' && c != '.' && c != '_') ||
		    (c == '.' && text[i - 1] == '.'))
			return "names no host";
		letter |= isalpha(c) != 0;
		r->name[i] = (char)tolower(c);
	}
	r->name[n] = '\0';
	return letter ? NULL : "is no address";
}

static const char *place(char *text, struct netrule *r, bool name_allowed)
{
	char *slash = strchr(text, '/');
	unsigned bits;

	if (slash)
		*slash = '\0';
	if (!address(text, r)) {
		if (strchr(text, ':') || slash || !name_allowed)
			return "is no address";
		return host_name(text, r);
	}
	if (slash) {
		if (!number(slash + 1, r->bits, &bits))
			return r->family == AF_INET ? "has no prefix length of 0 to 32"
			                            : "has no prefix length of 0 to 128";
		r->bits = (uint8_t)bits;
	}
	unmap(r);
	return NULL;
}

const char *netrule_parse(const char *text, struct netrule *out)
{
	struct netrule r = {.low = 1, .high = UINT16_MAX};
	char copy[NETRULE_NAME + 64];
	const char *port = NULL, *why;
	size_t n = strlen(text);

	if (n >= sizeof(copy))
		return "is too long";
	memcpy(copy, text, n + 1);
	if (copy[0] == '[') {
		char *end = strchr(copy, ']');

		if (!end || (end[1] && end[1] != ':'))
			return "has no ] before the port";
		*end = '\0';
		port = end[1] ? end + 2 : NULL;
		if (!strchr(copy, ':'))
			return "has no IPv6 address in [ ]";
		why = place(copy + 1, &r, false);
	} else {
		char *colon = strchr(copy, ':');

		if (colon && !strchr(colon + 1, ':')) {
			*colon = '\0';
			port = colon + 1;
		}
		why = place(copy, &r, true);
	}
	if (!why && port && !ports(port, &r))
		why = "has no port or ports (1 to 65535, or LOW-HIGH)";
	if (!why)
		*out = r;
	return why;
}

static bool set_address(struct netrule *r, const struct sockaddr *a)
{
	if (a->sa_family == AF_INET)
		memcpy(r->addr, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
	else if (a->sa_family == AF_INET6)
		memcpy(r->addr, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
	else
		return false;
	r->family = (uint8_t)a->sa_family;
	r->bits = a->sa_family == AF_INET ? 32 : 128;
	unmap(r);
	return true;
}

/* "This machine", and what is on its own wire: an address that a name of somebody else's has no business with. */
static bool is_here(const struct netrule *r)
{
	static const struct {
		uint8_t family, bits;
		unsigned char addr[16];
	} here[] = {
		{AF_INET, 8, {127}},         {AF_INET, 8, {0}},    {AF_INET, 16, {169, 254}},
		{AF_INET6, 128, {[15] = 1}}, {AF_INET6, 128, {0}}, {AF_INET6, 10, {0xfe, 0x80}},
	};

	for (size_t i = 0; i < sizeof(here) / sizeof(here[0]); i++) {
		struct netrule net = {
			.family = here[i].family, .bits = here[i].bits, .high = UINT16_MAX};

		memcpy(net.addr, here[i].addr, sizeof(net.addr));
		if (netrule_fits(&net, r->family, r->addr, 1))
			return true;
	}
	return false;
}

static bool is_own_name(const char *name)
{
	char host[NETRULE_NAME] = "";

	return strcmp(name, "localhost") == 0 ||
	       (gethostname(host, sizeof(host) - 1) == 0 && strcasecmp(name, host) == 0);
}

size_t netrule_look_up(const struct netrule *rule, struct netrule *out, size_t max,
                       const char **why)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	size_t n = 0;

	if (rule->family) {
		*out = *rule;
		return 1;
	}
	int r = getaddrinfo(rule->name, NULL, &hints, &list);
	if (r != 0) {
		*why = r == EAI_SYSTEM ? strerror(errno) : gai_strerror(r);
		return 0;
	}
	*why = "it has no address";
	for (const struct addrinfo *a = list; a && n < max; a = a->ai_next) {
		out[n] = *rule;
		if (!set_address(&out[n], a->ai_addr))
			continue;
		if (is_here(&out[n]) && !is_own_name(rule->name))
			*why = "its address is this machine's own; name the address to allow that";
		else
			n++;
	}
	freeaddrinfo(list);
	return n;
}

void netrule_print(const struct netrule *r, char out[NETRULE_TEXT])
{
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(r->family, r->addr, text, sizeof(text));
	snprintf(out, NETRULE_TEXT, "%s %s/%u %u-%u", *r->name ? r->name : "-", text, r->bits,
	         r->low, r->high);
}

int netrule_scan(const char *text, struct netrule *out)
{
	char name[NETRULE_NAME], where[64], port[16], rest;
	struct netrule r = {.low = 0};

	if (sscanf(text, "%253s %63s %15s %c", name, where, port, &rest) != 3 ||
	    place(where, &r, false) || !r.family || !ports(port, &r) ||
	    (strcmp(name, "-") != 0 && host_name(name, &r)))
		return -EINVAL;
	*out = r;
	return 0;
}

bool netrule_fits(const struct netrule *r, int family, const void *addr, uint16_t port)
{
	const unsigned char *a = addr;
	unsigned whole = r->bits / 8, odd = r->bits % 8;

	if (r->family != family || port < r->low || port > r->high ||
	    memcmp(r->addr, a, whole) != 0)
		return false;
	return odd == 0 || (r->addr[whole] ^ a[whole]) >> (8 - odd) == 0;
}

bool netrule_is_loopback(const struct netrule *r)
{
	static const unsigned char loopback6[16] = {[15] = 1};

	return r->family == AF_INET
	               ? r->bits >= 8 && r->addr[0] == 127
	               : r->bits == 128 && memcmp(r->addr, loopback6, sizeof(loopback6)) == 0;
}
