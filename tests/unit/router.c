/* SPDX-License-Identifier: Apache-2.0 */
/* core/router.c: order of chains, what each phase may do, denials, rules, the ledger. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <string.h>

#include "router.h"

/* What a handler is to do, and what was done: one call at a time. */
struct scene {
	enum bv_verdict verdict;
	int64_t value; /* BV_REPLIED: what it replies */
};
static struct scene scene[4];
static char trace[32];
static int64_t answer;
static bool answered;

static enum bv_verdict reply(struct bv_call *call, int64_t value)
{
	answer = value;
	answered = true;
	return BV_REPLIED;
}

static bool probe(const struct bv_call *call)
{
	return answered && answer < 0;
}

static enum bv_verdict act(void *self, struct bv_call *call)
{
	struct scene *s = self;
	char mark[2] = {(char)('0' + (s - scene)), 0};
	strcat(trace, mark);
	return s->verdict == BV_REPLIED ? reply(call, s->value) : s->verdict;
}

static const struct bv_module desc[4] = {{.name = "zero"}, {.name = "one"}, {.name = "two"}, {.name = "three"}};
static struct bv_self self[4];
static struct router *r;

static void start(void)
{
	memset(scene, 0, sizeof(scene));
	for (unsigned i = 0; i < 4; i++)
		self[i] = (struct bv_self){.desc = &desc[i], .index = i, .state = &scene[i]};
	log_set_level(BV_LOG_ERROR); /* routers as small as these are warned of */
	cr_assert_eq(router_new(&r, ENOSYS), 0);
	router_set_probe(r, probe);
}

static void end(void)
{
	router_free(r);
}

TestSuite(router, .init = start, .fini = end);

static void on(unsigned who, const char *name, uint16_t phase)
{
	struct bv_handler row = {name, act, phase, 0};
	cr_assert_eq(router_add(r, &self[who], &row), 0);
}

static enum bv_verdict call(const char *name)
{
	struct bv_call c = {.name = name};
	trace[0] = '\0';
	answered = false;
	answer = 12345;
	return router_dispatch(r, names_nr(name), &c, reply);
}

Test(router, phases_then_module_order)
{
	on(2, "uname", BV_SERVE);
	on(1, "uname", BV_FALLBACK);
	on(1, "uname", BV_SERVE);
	on(3, "uname", BV_GUARD);
	on(0, "uname", BV_OBSERVE);
	cr_assert_eq(router_freeze(r), 0);
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_str_eq(trace, "30121");
	cr_assert_eq(answer, -ENOSYS); /* all passed */
	scene[1] = (struct scene){BV_REPLIED, 7};
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_str_eq(trace, "301");
	cr_assert_eq(answer, 7);
	scene[1].verdict = BV_CONTINUE;
	cr_assert_eq(call("uname"), BV_CONTINUE);
	cr_assert_not(answered);
	scene[1].verdict = BV_DEFERRED;
	cr_assert_eq(call("uname"), BV_DEFERRED);
	cr_assert_not(answered);
	const struct route *chain;
	cr_assert_eq(router_chain(r, names_nr("uname"), &chain), 5);
	cr_assert_eq(chain[0].phase, BV_GUARD);
	cr_assert_eq(chain[2].owner, &self[1]);
}

Test(router, a_guard_may_only_refuse)
{
	on(0, "uname", BV_GUARD);
	on(1, "uname", BV_SERVE);
	cr_assert_eq(router_freeze(r), 0);
	scene[1] = (struct scene){BV_REPLIED, 7};
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, 7);
	scene[0] = (struct scene){BV_REPLIED, -EACCES};
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EACCES);
	cr_assert_str_eq(trace, "0");
	scene[0] = (struct scene){BV_REPLIED, 0}; /* would let the guest believe it happened */
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EPERM);
	scene[0].verdict = BV_CONTINUE;
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EPERM);
	scene[0].verdict = BV_DEFERRED; /* somebody else will answer: exactly once */
	cr_assert_eq(call("uname"), BV_DEFERRED);
	cr_assert_not(answered);
	scene[0].verdict = (enum bv_verdict)99;
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EPERM);
}

Test(router, an_observer_may_only_look)
{
	on(0, "uname", BV_OBSERVE);
	on(1, "uname", BV_SERVE);
	cr_assert_eq(router_freeze(r), 0);
	scene[0] = (struct scene){BV_REPLIED, 0};
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EPERM);
	scene[0] = (struct scene){BV_REPLIED, -EACCES};
	call("uname");
	cr_assert_eq(answer, -EPERM);
	scene[0].verdict = BV_CONTINUE;
	cr_assert_eq(call("uname"), BV_REPLIED);
	cr_assert_eq(answer, -EPERM);
}

Test(router, a_violation_is_logged_once, .init = cr_redirect_stderr)
{
	on(2, "uname", BV_OBSERVE);
	cr_assert_eq(router_freeze(r), 0);
	scene[2].verdict = BV_CONTINUE;
	call("uname");
	call("uname");
	cr_assert_stderr_eq_str("bvisor: error: two: uname: an observer answered the call, which is not its place; "
				"refused with EPERM\n");
}

Test(router, numbers_nobody_knows)
{
	cr_assert_eq(router_freeze(r), 0);
	struct bv_call c = {0};
	static const int numbers[] = {-1, 9999, 0x40000000, 0x7fffffff};
	for (size_t i = 0; i < 4; i++) {
		answer = 0;
		cr_assert_eq(router_dispatch(r, numbers[i], &c, reply), BV_REPLIED);
		cr_assert_eq(answer, -ENOSYS);
		struct verdict v = router_default(r, numbers[i]);
		cr_assert_eq(v.kind, KIND_ERRNO);
		cr_assert_eq(v.err, ENOSYS);
	}
}

Test(router, names_and_flags)
{
	struct bv_handler row = {"no_such_call", act, BV_SERVE, 0};
	cr_assert_eq(router_add(r, &self[0], &row), -EINVAL);
	row.flags = BV_MAYBE;
	cr_assert_eq(router_add(r, &self[0], &row), 0);
	row = (struct bv_handler){"_newselect", act, BV_SERVE, 0}; /* another architecture's */
	cr_assert_eq(router_add(r, &self[0], &row), 0);
	row = (struct bv_handler){"uname", act, BV_FALLBACK + 1, 0};
	cr_assert_eq(router_add(r, &self[0], &row), -EINVAL);
	row = (struct bv_handler){"uname", NULL, BV_SERVE, 0};
	cr_assert_eq(router_add(r, &self[0], &row), -EINVAL);
	row = (struct bv_handler){NULL, act, BV_SERVE, 0};
	cr_assert_eq(router_add(r, &self[0], &row), -EINVAL);
	row = (struct bv_handler){"uname", act, BV_SERVE, 2};
	cr_assert_eq(router_add(r, &self[0], &row), -EINVAL);
	cr_assert_eq(router_deny(r, &self[0], "no_such_call", EPERM), -EINVAL);
	cr_assert_eq(router_deny(r, &self[0], "uname", 0), -EINVAL);
	cr_assert_eq(router_deny(r, &self[0], "uname", 4096), -EINVAL);
}

Test(router, nothing_is_added_after_the_freeze)
{
	struct bv_handler row = {"uname", act, BV_SERVE, 0};
	struct bv_rule rule = {"uname", BV_ACT_ALLOW, 0, 0, 0};
	cr_assert_eq(router_freeze(r), 0);
	cr_assert_eq(router_add(r, &self[0], &row), -EBUSY);
	cr_assert_eq(router_rule(r, &self[0], &rule), -EBUSY);
	cr_assert_eq(router_deny(r, &self[0], "uname", EPERM), -EBUSY);
}

Test(router, malformed_rules)
{
	static const struct bv_rule bad[] = {
		{"uname", 3, 0, 0, 0},
		{"uname", BV_ACT_ERRNO, 0, 0, 0},
		{"uname", BV_ACT_ERRNO, 4096, 0, 0},
		{"uname", BV_ACT_ALLOW, EPERM, 0, 0},
		{"uname", BV_ACT_ALLOW, 0, 5, 0},
		{"uname", BV_ACT_ALLOW, 0, 0, 4},
		{"no_such_call", BV_ACT_ALLOW, 0, 0, 0},
		{NULL, BV_ACT_ALLOW, 0, 0, 0},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.index = 6, .mask = 1}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.op = BV_GE + 1, .mask = 1}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.wide = 2, .mask = 1}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.zero = 1, .mask = 1}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.zero2 = 1, .mask = 1}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.mask = 0}}},
		{"uname", BV_ACT_ALLOW, 0, 1, 0, {{.mask = 1ull << 40}}}, /* narrow: looks at nothing */
	};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(router_rule(r, &self[0], &bad[i]), -EINVAL, "row %zu", i);
	static const struct bv_rule good = {"uname", BV_ACT_ALLOW, 0, 1, 0, {{.wide = 1, .mask = 1ull << 40}}};
	cr_assert_eq(router_rule(r, &self[0], &good), 0);
	static const struct bv_rule maybe = {"no_such_call", BV_ACT_ALLOW, 0, 0, BV_MAYBE};
	cr_assert_eq(router_rule(r, &self[0], &maybe), 0);
}

Test(router, rules_in_module_order)
{
	static const struct bv_rule a = {"uname", BV_ACT_ERRNO, 1, 0, 0}, b = {"uname", BV_ACT_ERRNO, 2, 0, 0},
				    c = {"uname", BV_ACT_ERRNO, 3, 0, 0};
	cr_assert_eq(router_rule(r, &self[2], &c), 0);
	cr_assert_eq(router_rule(r, &self[0], &a), 0);
	cr_assert_eq(router_rule(r, &self[0], &b), 0);
	cr_assert_eq(router_freeze(r), 0);
	const struct bv_rule *const *rules;
	cr_assert_eq(router_active_rules(r, names_nr("uname"), &rules), 3);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(rules[i]->err, i + 1);
	const struct bv_rule *two[2];
	cr_assert_eq(router_rules(r, names_nr("uname"), two, 2), 3);
	cr_assert_eq(two[1]->err, 2);
}

static void ledger(const char *name, enum disposition disposition, const char *by, int err)
{
	const char *owner;
	int e;
	cr_assert_eq(router_disposition(r, names_nr(name), &owner, &e), disposition, "%s", name);
	cr_assert_str_eq(owner, by, "%s", name);
	cr_assert_eq(e, err, "%s", name);
}

Test(router, the_ledger)
{
	static const struct bv_rule some = {"prctl", BV_ACT_ERRNO, EPERM, 1, 0, {{.mask = 1, .value = 1}}},
				    always = {"acct", BV_ACT_ERRNO, EXDEV, 0, 0};
	on(0, "uname", BV_OBSERVE);
	on(2, "uname", BV_SERVE);
	on(1, "ptrace", BV_SERVE);
	cr_assert_eq(router_deny(r, &self[3], "ptrace", EACCES), 0);
	cr_assert_eq(router_deny(r, &self[1], "ptrace", -EPERM), 0);
	cr_assert_eq(router_rule(r, &self[1], &some), 0);
	cr_assert_eq(router_rule(r, &self[1], &always), 0);
	cr_assert_eq(router_freeze(r), 0);
	ledger("uname", DISP_VIRTUAL, "two", 0);
	ledger("ptrace", DISP_BLOCKED, "one", EPERM); /* a denial beats a handler */
	cr_assert_eq(router_default(r, names_nr("ptrace")).kind, KIND_ERRNO);
	ledger("read", DISP_PASS, "core", 0);
	ledger("prctl", DISP_PASS, "core", 0);
	ledger("acct", DISP_BLOCKED, "one", EXDEV);
	ledger("swapon", DISP_BLOCKED, "core", ENOSYS);
	const char *owner;
	int err;
	cr_assert_eq(router_disposition(r, 9999, &owner, &err), DISP_UNKNOWN);
	cr_assert_eq(err, ENOSYS);
}

Test(router, unrouted_allow)
{
	struct router *open_router;
	cr_assert_eq(router_new(&open_router, 0), 0);
	cr_assert_eq(router_freeze(open_router), 0);
	cr_assert_eq(router_default(open_router, names_nr("swapon")).kind, KIND_ALLOW);
	cr_assert_eq(router_default(open_router, 9999).kind, KIND_ERRNO); /* never for unknown numbers */
	router_free(open_router);
}
