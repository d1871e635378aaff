/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor routes: the ledger of every system call the kernel's headers know. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include <strbuf.h>

#include "cli.h"

#define RULES_SHOWN 256

static const char *const phase_name[] = {"guard", "observe", "serve", "fallback"};
static const char *const operator[] = {"==", "!=", "<", "<=", ">", ">="};

struct line {
	int nr, err;
	const char *name, *owner, *word;
	struct strbuf chain, rules;
};

static const char *disposition_word(enum disposition d)
{
	switch (d) {
	case DISP_VIRTUAL:
		return "virtual";
	case DISP_PASS:
		return "pass";
	case DISP_BLOCKED:
		return "blocked";
	case DISP_UNKNOWN:
		break;
	}
	return "unrouted";
}

static void rule_text(struct strbuf *b, const struct bv_rule *rule)
{
	if (b->len)
		strbuf_puts(b, "; ");
	if (rule->action == BV_ACT_ERRNO) {
		const char *name = names_errno(rule->err);

		strbuf_puts(b, name ? name : "errno");
	} else {
		strbuf_puts(b, rule->action == BV_ACT_ALLOW ? "allow" : "trap");
	}
	for (unsigned i = 0; i < rule->n_cond && i < 4; i++) {
		const struct bv_cond *c = &rule->cond[i];
		uint64_t all = c->wide ? UINT64_MAX : UINT32_MAX;

		strbuf_printf(b, "%s arg%u", i ? " and" : " if", c->index);
		if ((c->mask & all) != all)
			strbuf_printf(b, " & 0x%" PRIx64, c->mask & all);
		strbuf_printf(b, " %s 0x%" PRIx64, operator[c->op <= BV_GE ? c->op : BV_EQ],
		              c->value & all);
	}
}

static void line_fill(struct line *l, const struct router *r, int nr)
{
	const struct bv_rule *rules[RULES_SHOWN];
	const struct route *chain;
	size_t n = router_chain(r, nr, &chain);

	*l = (struct line){.nr = nr, .name = names_name(nr)};
	l->word = disposition_word(router_disposition(r, nr, &l->owner, &l->err));
	for (size_t i = 0; i < n; i++) {
		const struct bv_self *owner = chain[i].owner;

		strbuf_printf(&l->chain, "%s%s:%s", i ? " > " : "", phase_name[chain[i].phase & 3],
		              owner && owner->desc ? owner->desc->name : "core");
	}
	n = router_rules(r, nr, rules, RULES_SHOWN);
	for (size_t i = 0; i < n && i < RULES_SHOWN; i++)
		rule_text(&l->rules, rules[i]);
}

static void line_fini(struct line *l)
{
	strbuf_fini(&l->chain);
	strbuf_fini(&l->rules);
}

static void print_line(const struct line *l)
{
	const char *err = l->err ? names_errno(l->err) : NULL;
	char what[64];

	snprintf(what, sizeof(what), "%s%s%s", l->word, err ? " " : "", err ? err : "");
	printf("%4d  %-26s %-17s %-30s%s%s", l->nr, l->name, what, l->owner ? l->owner : "-",
	       l->chain.len ? " " : "", l->chain.len ? l->chain.data : "");
	if (l->rules.len)
		printf("  [%s]", l->rules.data);
	putchar('\n');
}

static void print_detail(const struct line *l)
{
	const char *err = l->err ? names_errno(l->err) : NULL;

	printf("%s (%d): %s%s%s\n  owner  %s\n", l->name, l->nr, l->word, err ? " with " : "",
	       err ? err : "", l->owner ? l->owner : "nobody");
	printf("  chain  %s\n", l->chain.len ? l->chain.data : "none");
	printf("  rules  %s\n", l->rules.len ? l->rules.data : "none");
}

static json_t *line_json(const struct line *l)
{
	json_t *o = json_pack("{s:i, s:s, s:s, s:s}", "number", l->nr, "name", l->name,
	                      "disposition", l->word, "owner", l->owner ? l->owner : "");

	if (o && l->err && names_errno(l->err))
		json_object_set_new(o, "errno", json_string(names_errno(l->err)));
	if (o && l->chain.len)
		json_object_set_new(o, "chain", json_string(l->chain.data));
	if (o && l->rules.len)
		json_object_set_new(o, "rules", json_string(l->rules.data));
	return o;
}

static int print_all(const struct router *r, int only, bool json)
{
	json_t *list = json ? json_array() : NULL;
	int failed = 0;

	for (int nr = only < 0 ? 0 : only; nr <= (only < 0 ? names_max() : only); nr++) {
		struct line l;

		if (!names_name(nr))
			continue;
		line_fill(&l, r, nr);
		if (json)
			failed |= json_array_append_new(list, line_json(&l));
		else if (only >= 0)
			print_detail(&l);
		else
			print_line(&l);
		line_fini(&l);
	}
	if (json) {
		failed |= json_dumpf(list, stdout, JSON_INDENT(1));
		putchar('\n');
		json_decref(list);
	}
	return failed ? cli_fail("routes", "cannot write JSON") : cli_flush("routes", 0);
}

static int show(const struct settings *s, const char *name, bool json)
{
	struct bv_error err = {""};
	struct config *config;
	struct sandbox *box;
	int only = name ? names_nr(name) : -1;

	if (only == -ENOSYS)
		return cli_misuse("routes", "this architecture has no system call '%s'", name);
	if (name && only < 0)
		return cli_misuse("routes", "there is no system call '%s'", name);
	if (settings_load(s, &config, &err) < 0 || sandbox_new(&box, config, &err) < 0)
		return cli_fail("routes", "%s", err.text);
	int code = print_all(box->router, only, json);
	sandbox_free(box);
	return code;
}

int routes_command(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
	                                        {"config", required_argument, NULL, 'c'},
	                                        {"option", required_argument, NULL, 'o'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	struct settings s = {0};
	bool json = false;
	int c, code = 0;

	while (code == 0 && (c = getopt_long(argc, argv, ":c:o:h", options, NULL)) != -1) {
		if (c == '?' || c == ':')
			code = cli_bad_option("routes", argv, c);
		else if (c == 'h')
			return cli_help("routes");
		else if (c == 'j')
			json = true;
		else
			code = settings_parse("routes", c, &s);
	}
	if (code == 0 && argc - optind > 1)
		code = cli_misuse("routes", "too many arguments");
	if (code == 0)
		code = show(&s, argv[optind], json);
	settings_fini(&s);
	return code;
}
