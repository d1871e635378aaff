/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small module, bad in one way or another: VARIANT chooses.  Its init and fini append the first
 * letter of its name, and '-' and that letter, to the variable ABI_TRACE of the environment.
 */
#include <bvisor/module.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define GOOD 0
#define MAJOR 1
#define MINOR 2
#define SIZE 3
#define SYMBOL 4
#define NEEDS 5
#define SYSCALL 6
#define CONSTRUCTOR 7
#define MAGIC 8
#define RULE 9
#define FAILS 10
#define PROVIDER 11
#define USER 12
#define CYCLE_A 13
#define CYCLE_B 14
#define PROMISES 15
#define NEEDS_NEWER 16
#define OPTIONAL 17
#define SURPLUS 19
#define STRANGE_OPTION 20
#define MAYBE 21

struct conf {
	const char *text;
	int64_t number;
};
static const struct bv_option options[] = {
#if VARIANT == STRANGE_OPTION
	{"text", 77, offsetof(struct conf, text), "t", NULL, "A text."},
#else
	{"text", BV_OPT_STR, offsetof(struct conf, text), "t", NULL, "A text."},
#endif
	{"number", BV_OPT_INT, offsetof(struct conf, number), "1", NULL, "A number."},
};

BV_SYSCALL(uname)
{
	return BV_PASS;
}
static const struct bv_handler handlers[] = {
	BV_ON(uname, BV_SERVE),
#if VARIANT == SYSCALL
	{"uname_of_the_future", sys_uname, BV_SERVE, 0},
#elif VARIANT == MAYBE
	{"uname_of_the_future", sys_uname, BV_SERVE, BV_MAYBE},
	{"_newselect", sys_uname, BV_SERVE, 0}, /* another architecture's */
#endif
};

static const struct bv_rule rules[] = {
	{"swapon", BV_ACT_ERRNO, EPERM, 0, 0, {{0}}},
#if VARIANT == RULE
	{"swapoff_of_the_future", BV_ACT_ERRNO, EPERM, 0, 0, {{0}}},
#endif
};

static const struct bv_need needs[] = {
#if VARIANT == NEEDS
	{"test.nowhere", 1, 0, 0, 0},
#elif VARIANT == USER
	{"test.service", 1, 0, 0, 0},
#elif VARIANT == NEEDS_NEWER
	{"test.service", 1, 9, 0, 0},
#elif VARIANT == CYCLE_A
	{"test.b", 1, 0, 0, 0},
#elif VARIANT == CYCLE_B
	{"test.a", 1, 0, 0, 0},
#else
	{"test.nowhere", 1, 0, 1, 0}, /* optional */
#endif
};

static const char *const provides[] = {
#if VARIANT == PROVIDER || VARIANT == PROMISES
	"test.service",
#elif VARIANT == CYCLE_A
	"test.a",
#elif VARIANT == CYCLE_B
	"test.b",
#endif
	NULL};

static void trace(const char *text)
{
	const char *old = getenv("ABI_TRACE");
	char now[256] = "";
	if (old)
		strncat(now, old, sizeof(now) - 1);
	strncat(now, text, sizeof(now) - 1 - strlen(now));
	setenv("ABI_TRACE", now, 1);
}

static int init(struct bv_self *host_self, const struct bv_host *host, const void *conf, void **self)
{
	const struct conf *c = conf;
	(void)c;
	*self = (void *)NAME;
	trace((const char[]){NAME[0], '\0'});
#if VARIANT == PROVIDER
	static const struct bv_head ops = {BV_MAGIC_SERVICE, 1, 2, sizeof(ops), 0};
	return host->provide(host_self, "test.service", &ops);
#elif VARIANT == USER
	return host->service(host_self, "test.service") ? 0 : -ENOENT;
#elif VARIANT == FAILS
	host->fail(host_self, "there is no way");
	return -EIO;
#elif VARIANT == OPTIONAL
	return host->service(host_self, "test.nowhere") ? -EEXIST : 0;
#else
	return 0;
#endif
}

static void fini(void *self)
{
	const char *name = self;
	trace((const char[]){'-', name[0], '\0'});
}

#if VARIANT == CONSTRUCTOR
__attribute__((constructor)) static void too_early(void)
{
	trace("C");
}
#endif

/* The descriptor, with room for fields of the future. */
struct descriptor {
	struct bv_module m;
	uint64_t future[2];
};

#if VARIANT == SYMBOL
#define bvisor_module bvisor_modul
#endif
extern const struct descriptor bvisor_module BV_MODULE_EXPORT;
const struct descriptor bvisor_module = {
	.m = {.head = {.magic = VARIANT == MAGIC ? BV_MAGIC_HOST : BV_MAGIC_MODULE,
		       .major = VARIANT == MAJOR ? BV_ABI_MAJOR + 1 : BV_ABI_MAJOR,
		       .minor = VARIANT == MINOR ? BV_ABI_MINOR + 1 : 0,
		       .size = VARIANT == SIZE      ? sizeof(struct bv_module) * 2
			       : VARIANT == SURPLUS ? sizeof(struct descriptor)
						    : sizeof(struct bv_module)},
	      .name = NAME,
	      .version = "1",
	      .needs = needs,
	      .provides = provides,
	      .options = options,
	      .handlers = handlers,
	      .rules = rules,
	      .n_needs = BV_ROWS(needs),
	      .n_options = BV_ROWS(options),
	      .n_handlers = BV_ROWS(handlers),
	      .n_rules = BV_ROWS(rules),
	      .need_size = sizeof(struct bv_need),
	      .option_size = sizeof(struct bv_option),
	      .handler_size = sizeof(struct bv_handler),
	      .rule_size = sizeof(struct bv_rule),
	      .conf_size = sizeof(struct conf),
	      .init = init,
	      .fini = fini},
	.future = {0, VARIANT == SURPLUS},
};
