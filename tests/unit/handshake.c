/* SPDX-License-Identifier: Apache-2.0 */
/* core/handshake.c: the version rule byte by byte, and the tables behind the descriptor. */
#include "handshake.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static int init(struct bv_self *s, const struct bv_host *h, const void *c, void **self)
{
	return 0;
}

static const struct bv_module good = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "m",
	.version = "1",
	.init = init,
	.need_size = sizeof(struct bv_need),
	.option_size = sizeof(struct bv_option),
	.handler_size = sizeof(struct bv_handler),
	.rule_size = sizeof(struct bv_rule),
};

/* The descriptor with room behind it, as a longer struct has. */
static union {
	struct bv_module m;
	unsigned char bytes[sizeof(struct bv_module) + 64];
} u;

static void fresh(void)
{
	memset(&u, 0, sizeof(u));
	u.m = good;
}
TestSuite(handshake, .init = fresh);

static int check(size_t readable, struct bv_error *err)
{
	struct bv_module out;
	memset(&out, 0xaa, sizeof(out));
	*err = (struct bv_error){""};
	int r = handshake_check(&u, readable, &out, "x.so", err);
	if (r == 0)
		cr_assert_str_eq(out.name, "m");
	return r;
}

static void refused(size_t readable, const char *message)
{
	struct bv_error err;
	cr_assert_eq(check(readable, &err), -ENOEXEC);
	cr_assert(strstr(err.text, "x.so: "), "%s", err.text);
	cr_assert(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
	cr_assert_null(strchr(err.text, '\n'));
}

Test(handshake, accepts)
{
	struct bv_error err;
	cr_assert_eq(check(sizeof(good), &err), 0, "%s", err.text);
}

Test(handshake, versions)
{
	u.m.head.major = BV_ABI_MAJOR + 1;
	refused(sizeof(good), "made for module ABI 2.0, this bvisor offers 1.0");
	u.m.head.major = 0;
	refused(sizeof(good), "made for module ABI 0.0");
	u.m.head.major = BV_ABI_MAJOR;
	u.m.head.minor = BV_ABI_MINOR + 7;
	refused(sizeof(good), "too new: needs module ABI 1.7, this bvisor offers 1.0");
}

Test(handshake, sizes)
{
	struct bv_error err;
	refused(0, "bad size");
	refused(sizeof(struct bv_head) - 1, "bad size");
	refused(sizeof(struct bv_head), "bad size");
	refused(sizeof(good) - 1, "bad size"); /* the head promises more than is there */
	u.m.head.size = 8;
	refused(sizeof(good), "bad size");
	u.m.head.size = offsetof(struct bv_module, fini) - 1;
	refused(sizeof(good), "bad size");
	u.m.head.size = 0xffffffff;
	refused(sizeof(u), "bad size");
	/* Shorter: what lies behind is zero, whatever the bytes there are. */
	u.m.head.size = offsetof(struct bv_module, fini);
	memset(&u.m.fini, 0xff, sizeof(u) - offsetof(struct bv_module, fini));
	struct bv_module out;
	cr_assert_eq(handshake_check(&u, sizeof(u), &out, "x.so", &err), 0, "%s", err.text);
	cr_assert_null(out.fini);
	cr_assert_null(out.task_exit);
	/* Longer: only with zeroes. */
	fresh();
	u.m.head.size = sizeof(u);
	cr_assert_eq(check(sizeof(u), &err), 0, "%s", err.text);
	u.bytes[sizeof(u) - 1] = 1;
	refused(sizeof(u), "uses fields this bvisor (module ABI 1.0) does not know");
}

Test(handshake, fields)
{
	u.m.head.magic = BV_MAGIC_HOST;
	refused(sizeof(good), "no module descriptor");
	fresh();
	u.m.head.zero = 1;
	refused(sizeof(good), "a reserved field is not zero");
	fresh();
	u.m.zero = 1;
	refused(sizeof(good), "a reserved field is not zero");
	fresh();
	u.m.name = NULL;
	refused(sizeof(good), "lacks its name");
	fresh();
	u.m.version = NULL;
	refused(sizeof(good), "lacks its version");
	fresh();
	u.m.init = NULL;
	refused(sizeof(good), "lacks its init function");
	fresh();
	u.m.n_handlers = 3; /* no table */
	refused(sizeof(good), "bad size: the table of handlers");
	static const struct bv_option row;
	fresh();
	u.m.options = &row;
	u.m.n_options = 1;
	u.m.option_size = sizeof(row) - 8;
	refused(sizeof(good), "bad size: the table of options");
	u.m.option_size = sizeof(row) + 1;
	refused(sizeof(good), "bad size: the table of options");
	u.m.option_size = sizeof(row);
	u.m.n_options = 1000000;
	refused(sizeof(good), "bad size: the table of options");
	fresh();
	u.m.conf_size = 1u << 30;
	refused(sizeof(good), "bad size: a conf struct");
}

static void bad_option(const struct bv_option *row, const char *message)
{
	struct bv_module m = good;
	struct bv_error err = {""};
	m.options = row;
	m.n_options = 1;
	m.conf_size = 16;
	cr_assert_eq(handshake_tables(&m, "x.so", &err), -EINVAL);
	cr_assert(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
	cr_assert_null(m.options);
}

Test(handshake, option_rows)
{
	bad_option(&(struct bv_option){"k", 99, 0, NULL, NULL, ""}, "option 'k': unknown option type 99");
	bad_option(&(struct bv_option){"", BV_OPT_INT, 0, NULL, NULL, ""}, "no valid key");
	bad_option(&(struct bv_option){"a key", BV_OPT_INT, 0, NULL, NULL, ""}, "no valid key");
	bad_option(&(struct bv_option){NULL, BV_OPT_INT, 0, NULL, NULL, ""}, "no valid key");
	bad_option(&(struct bv_option){"k", BV_OPT_INT, 16, NULL, NULL, ""}, "outside of the conf struct");
	bad_option(&(struct bv_option){"k", BV_OPT_INT, 12, NULL, NULL, ""}, "outside of the conf struct");
	bad_option(&(struct bv_option){"k", BV_OPT_WORDS, 8, NULL, NULL, ""}, "outside of the conf struct");
	bad_option(&(struct bv_option){"k", BV_OPT_BOOL, 0xfffffffc, NULL, NULL, ""}, "outside of the conf struct");
	bad_option(&(struct bv_option){"k", BV_OPT_BOOL, 2, NULL, NULL, ""}, "outside of the conf struct");
	bad_option(&(struct bv_option){"k", BV_OPT_ENUM, 0, NULL, NULL, ""}, "choices go with an enum");
	bad_option(&(struct bv_option){"k", BV_OPT_STR, 0, NULL, "a|b", ""}, "choices go with an enum");
}

Test(handshake, tables_are_copied_in_our_stride)
{
	struct long_row {
		struct bv_handler h;
		uint64_t later;
	} rows[3] = {{{"read", NULL, 1, 0}, 0}, {{"write", NULL, 2, 0}, 0}, {{"close", NULL, 3, 0}, 0}};
	struct bv_module m = good;
	struct bv_error err = {""};
	m.handlers = &rows[0].h;
	m.n_handlers = 3;
	m.handler_size = sizeof(rows[0]);
	cr_assert_eq(handshake_tables(&m, "x.so", &err), 0, "%s", err.text);
	cr_assert_eq(m.handler_size, sizeof(struct bv_handler));
	cr_assert_neq(m.handlers, &rows[0].h);
	cr_assert_str_eq(m.handlers[2].syscall, "close");
	cr_assert_eq(m.handlers[1].phase, 2);
	handshake_tables_free(&m);
	m = good;
	m.handlers = &rows[0].h;
	m.n_handlers = 3;
	m.handler_size = sizeof(rows[0]);
	rows[1].later = 1;
	cr_assert_eq(handshake_tables(&m, "x.so", &err), -ENOEXEC);
	cr_assert(strstr(err.text, "handler row 1 uses fields this bvisor does not know"), "%s", err.text);
}

Test(handshake, names)
{
	static const char *const bad[] = {"",   "a b", "a/b",
					  ".a", "a]",  "n2345678901234567890123456789012345678901234567890"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bv_module m = good;
		struct bv_error err = {""};
		m.name = bad[i];
		cr_assert_eq(handshake_tables(&m, "x.so", &err), -EINVAL, "'%s'", bad[i]);
	}
}
