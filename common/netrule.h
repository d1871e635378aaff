/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_NETRULE_H
#define COMMON_NETRULE_H
/*
 * The network allowlist's rules, as people write them and as a running sandbox is told them.
 *
 *   HOST[:PORT[-PORT]]           a host by name, at the addresses it has when the rule is made
 *   ADDRESS[/BITS][:PORT[-PORT]] one IPv4 address, or a network
 *   [ADDRESS[/BITS]][:PORT...]   IPv6; without a port the brackets may be left out
 */
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NETRULE_NAME 254 /* with NUL, RFC 1035 */
#define NETRULE_TEXT 400 /* room for netrule_print() */

struct netrule {
	char name[NETRULE_NAME]; /* lower case; "": an address */
	uint8_t family; /* AF_INET, AF_INET6; 0: a name that has not been looked up */
	uint8_t bits;
	uint16_t low, high; /* ports */
	unsigned char addr[16];
};

/* NULL, or what is wrong with the text. */
const char *netrule_parse(const char *text, struct netrule *out);
/* Whether all it fits is the loopback, of which wider networks have nothing. */
bool netrule_is_loopback(const struct netrule *rule);
/*
 * The addresses of a rule's host, but for those of this machine itself unless its name says so, a rule each, `max` at most: how many, or 0 and *why.  Asks the host's
 * resolver and waits for it.  A rule that has an address is given back.
 */
size_t netrule_look_up(const struct netrule *rule, struct netrule *out, size_t max, const char **why);
/* "NAME ADDRESS/BITS LOW-HIGH", "-" for no name; and back: 0, -EINVAL. */
void netrule_print(const struct netrule *rule, char out[NETRULE_TEXT]);
int netrule_scan(const char *text, struct netrule *out);
/* family: AF_INET (addr: 4 bytes) or AF_INET6 (16), not mapped. */
bool netrule_fits(const struct netrule *rule, int family, const void *addr, uint16_t port);

#endif
