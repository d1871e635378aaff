/* SPDX-License-Identifier: Apache-2.0 */
/* common/netrule: rules of the network allowlist. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "netrule.h"

static void is(const char *text, const char *printed)
{
	struct netrule r, back;
	char line[NETRULE_TEXT];
	const char *why = netrule_parse(text, &r);

	cr_assert_null(why, "%s: %s", text, why);
	netrule_print(&r, line);
	cr_assert_str_eq(line, printed, "%s: %s", text, line);
	cr_assert_eq(netrule_scan(line, &back), 0);
	cr_assert_eq(memcmp(&r, &back, sizeof(r)), 0, "%s", text);
}

Test(netrule, addresses)
{
	is("10.1.2.3", "- 10.1.2.3/32 1-65535");
	is("10.1.2.3:443", "- 10.1.2.3/32 443-443");
	is("10.0.0.0/8", "- 10.0.0.0/8 1-65535");
	is("10.0.0.0/8:80-90", "- 10.0.0.0/8 80-90");
	is("0.0.0.0/0", "- 0.0.0.0/0 1-65535");
	is("::1", "- ::1/128 1-65535");
	is("2001:db8::/32", "- 2001:db8::/32 1-65535");
	is("[2001:db8::/32]", "- 2001:db8::/32 1-65535");
	is("[2001:db8::1]:443", "- 2001:db8::1/128 443-443");
	is("::ffff:10.1.2.3", "- 10.1.2.3/32 1-65535");
	is("[::ffff:10.1.2.0/120]:1-2", "- 10.1.2.0/24 1-2");
}

Test(netrule, names)
{
	struct netrule r;

	cr_assert_null(netrule_parse("Registry.NPMJS.org.:443", &r));
	cr_assert_str_eq(r.name, "registry.npmjs.org");
	cr_assert_eq(r.family, 0);
	cr_assert_eq(r.low, 443);
	cr_assert_eq(r.high, 443);
	cr_assert_null(netrule_parse("a_b-c.x1", &r));
	cr_assert_null(netrule_parse("localhost", &r));
}

Test(netrule, refuses)
{
	static const char *const bad[] = {"",
	                                  ":80",
	                                  "*",
	                                  "*.example.com",
	                                  "a..b",
	                                  "-a",
	                                  ".a",
	                                  "a b",
	                                  "a\nb",
	                                  "a#b",
	                                  "host:",
	                                  "host:0",
	                                  "host:65536",
	                                  "host:-1",
	                                  "host:2-1",
	                                  "host:1-",
	                                  "host:x",
	                                  "host:+1",
	                                  "host/8",
	                                  "1.2.3",
	                                  "1.2.3.4.5",
	                                  "256.1.1.1",
	                                  "1.2.3.4/33",
	                                  "1.2.3.4/",
	                                  "1.2.3.4/-1",
	                                  "1.2.3.4/ 8",
	                                  "::1/129",
	                                  "[::1",
	                                  "[::1]x",
	                                  "[::1]443",
	                                  "[1.2.3.4]:1",
	                                  "[host]:1",
	                                  "1:2:3",
	                                  "\xc3\xa4.example",
	                                  "1.2.3.4:1:2"};
	char longest[400];
	struct netrule r;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_not_null(netrule_parse(bad[i], &r), "'%s'", bad[i]);
	memset(longest, 'a', sizeof(longest));
	longest[254] = '\0';
	cr_assert_not_null(netrule_parse(longest, &r));
	longest[253] = '\0';
	cr_assert_null(netrule_parse(longest, &r));
	memset(longest, 'a', sizeof(longest));
	longest[399] = '\0';
	cr_assert_not_null(netrule_parse(longest, &r));
}

Test(netrule, scan_refuses)
{
	static const char *const bad[] = {"",
	                                  "-",
	                                  "- 1.2.3.4/32",
	                                  "- 1.2.3.4/33 1-2",
	                                  "- host 1-2",
	                                  "- 1.2.3.4/32 0-2",
	                                  "a b c d",
	                                  "- 1.2.3.4/32 1-2 x",
	                                  "a..b 1.2.3.4/32 1-2",
	                                  "a\nb 1.2.3.4 1"};
	struct netrule r;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(netrule_scan(bad[i], &r), -EINVAL, "'%s'", bad[i]);
}

static bool fits(const char *rule, const char *ip, uint16_t port)
{
	int family = strchr(ip, ':') ? AF_INET6 : AF_INET;
	unsigned char addr[16];
	struct netrule r;

	cr_assert_null(netrule_parse(rule, &r));
	cr_assert_eq(inet_pton(family, ip, addr), 1);
	return netrule_fits(&r, family, addr, port);
}

Test(netrule, fits)
{
	cr_assert(fits("10.1.2.3", "10.1.2.3", 1));
	cr_assert(fits("10.1.2.3:5-7", "10.1.2.3", 7));
	cr_assert_not(fits("10.1.2.3:5-7", "10.1.2.3", 8));
	cr_assert_not(fits("10.1.2.3:5-7", "10.1.2.3", 4));
	cr_assert_not(fits("10.1.2.3", "10.1.2.2", 1));
	cr_assert(fits("10.1.2.3/31", "10.1.2.2", 1));
	cr_assert(fits("10.1.2.3/9", "10.127.0.0", 1));
	cr_assert_not(fits("10.1.2.3/9", "10.128.0.0", 1));
	cr_assert(fits("0.0.0.0/0", "192.0.2.1", 1));
	cr_assert_not(fits("0.0.0.0/0", "::1", 1));
	cr_assert_not(fits("::/0", "192.0.2.1", 1));
	cr_assert(fits("2001:db8::/33", "2001:db8:7fff::1", 1));
	cr_assert_not(fits("2001:db8::/33", "2001:db8:8000::1", 1));
	cr_assert_not(fits("[::1]:0443", "::1", 0));
}

Test(netrule, loopback)
{
	static const struct {
		const char *text;
		bool is;
	} list[] = {{"127.0.0.1", true},  {"127.0.0.0/8", true}, {"126.0.0.0/7", false},
	            {"0.0.0.0/0", false}, {"128.0.0.1", false},  {"::1", true},
	            {"::/127", false},    {"::/0", false},       {"::ffff:127.0.0.1", true}};
	struct netrule r;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		cr_assert_null(netrule_parse(list[i].text, &r));
		cr_assert_eq(netrule_is_loopback(&r), list[i].is, "%s", list[i].text);
	}
}

Test(netrule, looks_up)
{
	struct netrule r, found[8];
	const char *why = NULL;

	cr_assert_null(netrule_parse("127.0.0.1:9", &r));
	cr_assert_eq(netrule_look_up(&r, found, 8, &why), 1);
	/* RFC 6761: a resolver may know it; it is not ours. */
	cr_assert_null(netrule_parse("not.localhost:9", &r));
	cr_assert_eq(netrule_look_up(&r, found, 8, &why), 0);
	cr_assert_null(netrule_parse("localhost:9", &r));
	cr_assert_geq(netrule_look_up(&r, found, 8, &why), 1);
	cr_assert_null(netrule_parse("no-such-host.invalid", &r));
	cr_assert_eq(netrule_look_up(&r, found, 8, &why), 0);
	cr_assert_not_null(why);
}
