/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of modules/net: where addresses lead, and private abstract names. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "addr.h"

static const char token[ABSTRACT_TOKEN] = {'t', 'o', 'k', 'e', 'n', '1', '2', '3'};

static struct addr inet(const char *text, uint16_t port)
{
	struct addr a = {0};

	if (strchr(text, ':')) {
		a.len = sizeof(a.in6);
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
		cr_assert_eq(inet_pton(AF_INET6, text, &a.in6.sin6_addr), 1);
	} else {
		a.len = sizeof(a.in);
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons(port);
		cr_assert_eq(inet_pton(AF_INET, text, &a.in.sin_addr), 1);
	}
	return a;
}

Test(net_addr, scopes)
{
	static const struct {
		const char *text;
		enum addr_scope scope;
	} list[] = {
		{"127.0.0.1", ADDR_LOOPBACK}, {"127.255.255.254", ADDR_LOOPBACK}, {"0.0.0.0", ADDR_ANY},
		{"0.0.0.1", ADDR_BEYOND}, {"10.0.0.1", ADDR_BEYOND}, {"128.0.0.1", ADDR_BEYOND},
		{"126.0.0.1", ADDR_BEYOND}, {"255.255.255.255", ADDR_BEYOND}, {"224.0.0.1", ADDR_BEYOND},
		{"::1", ADDR_LOOPBACK}, {"::", ADDR_ANY}, {"::2", ADDR_BEYOND}, {"fe80::1", ADDR_BEYOND},
		{"ff02::1", ADDR_BEYOND}, {"::ffff:127.0.0.1", ADDR_LOOPBACK}, {"::ffff:0.0.0.0", ADDR_ANY},
		{"::ffff:10.0.0.1", ADDR_BEYOND},
		/* The deprecated IPv4-compatible form is an IPv6 address like any other. */
		{"::127.0.0.1", ADDR_BEYOND},
	};

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		struct addr a = inet(list[i].text, 80);

		cr_assert_eq(addr_scope(&a), list[i].scope, "%s", list[i].text);
	}
}

Test(net_addr, wildcard_becomes_loopback)
{
	struct addr a = inet("0.0.0.0", 80), six = inet("::", 81), mapped = inet("::ffff:0.0.0.0", 82);

	addr_any_to_loopback(&a);
	cr_assert_eq(a.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	addr_any_to_loopback(&six);
	cr_assert(IN6_IS_ADDR_LOOPBACK(&six.in6.sin6_addr));
	addr_any_to_loopback(&mapped);
	addr_unmap(&mapped, &a);
	cr_assert_eq(a.sa.sa_family, AF_INET);
	cr_assert_eq(a.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
	cr_assert_eq(addr_port(&a), 82);
	cr_assert_eq(addr_port(&six), 81);
}

static struct addr abstract(const char *name, size_t n)
{
	struct addr a = {.un.sun_family = AF_UNIX};

	memcpy(a.un.sun_path + 1, name, n);
	a.len = ADDR_UN_HEAD + 1 + (socklen_t)n;
	return a;
}

static void round_trip(const char *name, size_t n)
{
	struct addr plain = abstract(name, n), hidden, back;

	cr_assert_eq(abstract_hide(token, &plain, &hidden), 0);
	cr_assert_leq(hidden.len, sizeof(struct sockaddr_un));
	cr_assert_eq(hidden.un.sun_path[0], '\0');
	cr_assert(abstract_show(token, &hidden, &back));
	cr_assert_eq(back.len, plain.len);
	cr_assert_arr_eq(&back.un, &plain.un, plain.len);
}

Test(net_abstract, round_trips)
{
	char padded[107] = "name", longest[107] = {0};

	round_trip("", 0);
	round_trip("x", 1);
	round_trip("a\0b", 3);
	round_trip("\0", 1);
	round_trip("end\0\0", 5);
	round_trip(padded, sizeof(padded));
	memset(longest, 'y', 98);
	round_trip(longest, 98);
	round_trip(longest, 107);
}

Test(net_abstract, too_long_is_refused)
{
	char name[107];
	struct addr plain, hidden;

	memset(name, 'z', sizeof(name));
	plain = abstract(name, 99);
	cr_assert_eq(abstract_hide(token, &plain, &hidden), -EINVAL);
	plain = abstract(name, 107);
	cr_assert_eq(abstract_hide(token, &plain, &hidden), -EINVAL);
}

Test(net_abstract, different_names_stay_different)
{
	struct addr a = abstract("n", 1), b = abstract("n\0", 2), ha, hb;

	abstract_hide(token, &a, &ha);
	abstract_hide(token, &b, &hb);
	cr_assert(ha.len != hb.len || memcmp(&ha.un, &hb.un, ha.len) != 0);
}

Test(net_abstract, foreign_names_are_not_shown_as_own)
{
	struct addr other = abstract("tokenXYZ\0name", 13), shorter = abstract("token123", 8), out;
	struct addr lying = abstract("token123\xff" "name", 13);

	cr_assert_not(abstract_show(token, &other, &out));
	cr_assert_not(abstract_show(token, &shorter, &out));
	/* More NULs than a name can have. */
	cr_assert_not(abstract_show(token, &lying, &out));
}

Test(net_unix, kinds)
{
	struct addr a = {.un.sun_family = AF_UNIX, .len = ADDR_UN_HEAD};

	cr_assert_eq(addr_unix_kind(&a), UNIX_UNNAMED);
	a.len = ADDR_UN_HEAD + 1;
	cr_assert_eq(addr_unix_kind(&a), UNIX_ABSTRACT);
	a.un.sun_path[0] = '/';
	cr_assert_eq(addr_unix_kind(&a), UNIX_PATH);
	a.len = sizeof(a.un);
	cr_assert_eq(addr_unix_kind(&a), UNIX_PATH);
	a.len = sizeof(a.un) + 1;
	cr_assert_eq(addr_unix_kind(&a), -EINVAL);
	a.len = 1;
	cr_assert_eq(addr_unix_kind(&a), -EINVAL);
	a.len = ADDR_UN_HEAD + 1;
	a.sa.sa_family = AF_INET;
	cr_assert_eq(addr_unix_kind(&a), -EINVAL);
}

Test(net_unix, paths_without_nul)
{
	struct addr a = {.un.sun_family = AF_UNIX, .len = sizeof(a.un)};
	char path[sizeof(a.un.sun_path) + 1], longest[sizeof(a.un.sun_path) + 1];

	memset(a.un.sun_path, 'p', sizeof(a.un.sun_path));
	addr_unix_path(&a, path);
	cr_assert_eq(strlen(path), sizeof(a.un.sun_path));
	a.len = ADDR_UN_HEAD + 3;
	addr_unix_path(&a, path);
	cr_assert_str_eq(path, "ppp");
	memset(longest, 'q', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	cr_assert_eq(addr_unix_set(&a, longest), -ENAMETOOLONG);
	longest[sizeof(longest) - 2] = '\0';
	cr_assert_eq(addr_unix_set(&a, longest), 0);
	addr_unix_path(&a, path);
	cr_assert_str_eq(path, longest);
}
