/* SPDX-License-Identifier: Apache-2.0 */
#ifndef NET_ADDR_H
#define NET_ADDR_H
/* Socket addresses as values: what they name and how abstract names are made private.  Pure. */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <linux/netlink.h>

/* A copied address.  `len` is what the guest said, at most the size of the union. */
struct addr {
	socklen_t len;
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
		struct sockaddr_nl nl;
		struct sockaddr_storage any;
	};
};
#define ADDR_UN_HEAD ((socklen_t)offsetof(struct sockaddr_un, sun_path))

/* Where an Internet address leads. */
enum addr_scope { ADDR_ANY, ADDR_LOOPBACK, ADDR_BEYOND };
/* An AF_INET or AF_INET6 address; an IPv4 address mapped into IPv6 counts as what it is. */
enum addr_scope addr_scope(const struct addr *a);
/* IPv4 in IPv6 becomes IPv4; anything else is copied. */
void addr_unmap(const struct addr *a, struct addr *out);
/* The wildcard address becomes the loopback address of its family, as connect(2) takes it. */
void addr_any_to_loopback(struct addr *a);
uint16_t addr_port(const struct addr *a);
/* "192.0.2.1:80", "[2001:db8::1]:80", a socket's path, "@name" for an abstract one. */
#define ADDR_TEXT 128
void addr_text(const struct addr *a, char out[ADDR_TEXT]);

enum unix_kind { UNIX_UNNAMED, UNIX_PATH, UNIX_ABSTRACT };
/* -EINVAL as the kernel's unix_validate_addr(): wrong family or length. */
int addr_unix_kind(const struct addr *a);
/* The path without NUL, at most 108 bytes: copies it with one. */
void addr_unix_path(const struct addr *a, char out[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]);
/* Makes a path address.  -ENAMETOOLONG. */
int addr_unix_set(struct addr *a, const char *path);

/*
 * Abstract names are one space for the whole network namespace; a sandbox puts its own random
 * token before each of its names: token, number of trailing NUL bytes left out, the name without
 * them.  (Many programs pass the whole of sun_path, so that their names end in NULs.)
 */
#define ABSTRACT_TOKEN 8
/* -EINVAL when more than 98 bytes of the name are significant. */
int abstract_hide(const char token[ABSTRACT_TOKEN], const struct addr *in, struct addr *out);
/* True and *out the sandbox's own name for it, when *in carries the token. */
bool abstract_show(const char token[ABSTRACT_TOKEN], const struct addr *in, struct addr *out);

#endif
