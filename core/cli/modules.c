/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor modules: what is loaded, from where, with which options and who set them. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "sandbox.h"

static const char *const type_name[] = {"yes|no", "number", "size",  "text",
                                        "choice", "errno",  "words", "line"};

struct view {
	struct sandbox *box;
	const char *only; /* a module's name, or NULL */
};

/* Calls each entry that counts for a key: the default's pieces come first when they are added to. */
static size_t each_value(const struct sandbox *box, const char *section, const struct bv_option *o,
                         void (*each)(void *arg, const char *value, const char *where), void *arg)
{
	size_t n = 0;
	bool from_file = false;

	for (size_t i = 0; i < config_count(box->config); i++) {
		const struct config_entry *e = config_at(box->config, i);

		if (strcmp(e->section, section) == 0 && strcmp(e->key, o->key) == 0)
			from_file |= !e->append;
	}
	for (const char *p = from_file ? NULL : o->def; p; n++) {
		char piece[4096];
		size_t len = strcspn(p, "\n");

		snprintf(piece, sizeof(piece), "%.*s", (int)len, p);
		each(arg, piece, "default");
		p = p[len] ? p + len + 1 : NULL;
	}
	for (size_t i = 0; i < config_count(box->config); i++) {
		const struct config_entry *e = config_at(box->config, i);

		if (strcmp(e->section, section) == 0 && strcmp(e->key, o->key) == 0) {
			each(arg, e->value, e->where);
			n++;
		}
	}
	return n;
}

static void print_value(void *arg, const char *value, const char *where)
{
	printf("    %s = %s  (%s)\n", (const char *)arg, value, where);
}

static void add_value(void *arg, const char *value, const char *where)
{
	json_array_append_new(arg, json_pack("{s:s, s:s}", "value", value, "where", where));
}

static void print_option(const struct sandbox *box, const char *section, const struct bv_option *o)
{
	printf("    # %s%s%s%s\n", o->help ? o->help : "", o->choices ? " (" : "",
	       o->choices ? o->choices : "", o->choices ? ")" : "");
	if (each_value(box, section, o, print_value, (void *)o->key) == 0)
		printf("    %s =  (default)\n", o->key);
}

static json_t *option_json(const struct sandbox *box, const char *section,
                           const struct bv_option *o)
{
	json_t *values = json_array();
	const char *type = o->choices                     ? o->choices
	                   : o->type < BV_ROWS(type_name) ? type_name[o->type]
	                                                  : "unknown";

	each_value(box, section, o, add_value, values);
	return json_pack("{s:s, s:s, s:s, s:o}", "key", o->key, "type", type, "help",
	                 o->help ? o->help : "", "values", values);
}

/* Rows may be longer than ours: the module says how far they are apart. */
static const struct bv_option *row(const void *rows, size_t i, size_t stride)
{
	return (const struct bv_option *)((const char *)rows + i * stride);
}

static void print_module(const struct sandbox *box, const struct bv_self *m)
{
	const struct bv_module *d = m->desc;

	printf("%s %s\n  file     %s\n  named by %s\n  border   %u.%u\n", d->name, d->version,
	       m->path, m->where, d->head.major, d->head.minor);
	printf("  calls    %u in its table, %u static rules\n", d->n_handlers, d->n_rules);
	for (size_t i = 0; i < box->n_services; i++)
		if (box->service[i].owner == m)
			printf("  provides %s\n", box->service[i].name);
	for (size_t i = 0; i < d->n_needs; i++) {
		const struct bv_need *need =
			(const struct bv_need *)((const char *)d->needs + i * d->need_size);

		printf("  needs    %s %u.%u%s\n", need->service, need->major, need->minor,
		       need->optional ? " (if it is there)" : "");
	}
	for (size_t i = 0; i < d->n_options; i++)
		print_option(box, d->name, row(d->options, i, d->option_size));
	putchar('\n');
}

static json_t *module_json(const struct sandbox *box, const struct bv_self *m)
{
	const struct bv_module *d = m->desc;
	json_t *services = json_array(), *needs = json_array(), *options = json_array();
	char border[32];

	for (size_t i = 0; i < box->n_services; i++)
		if (box->service[i].owner == m)
			json_array_append_new(services, json_string(box->service[i].name));
	for (size_t i = 0; i < d->n_needs; i++) {
		const struct bv_need *need =
			(const struct bv_need *)((const char *)d->needs + i * d->need_size);

		json_array_append_new(needs, json_string(need->service));
	}
	for (size_t i = 0; i < d->n_options; i++)
		json_array_append_new(
			options, option_json(box, d->name, row(d->options, i, d->option_size)));
	snprintf(border, sizeof(border), "%u.%u", d->head.major, d->head.minor);
	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "name", d->name, "version",
	                 d->version, "file", m->path, "where", m->where, "border", border,
	                 "provides", services, "needs", needs, "options", options);
}

static int print_text(const struct view *v)
{
	size_t n;
	const struct bv_option *core = core_options(&n);

	if (!v->only || strcmp(v->only, "core") == 0) {
		printf("core %s\n", BVISOR_VERSION);
		for (size_t i = 0; i < n; i++)
			print_option(v->box, "core", &core[i]);
		putchar('\n');
	}
	for (size_t i = 0; i < v->box->n_modules; i++)
		if (!v->only || strcmp(v->only, v->box->module[i]->desc->name) == 0)
			print_module(v->box, v->box->module[i]);
	return cli_flush("modules", 0);
}

static int print_json(const struct view *v)
{
	size_t n;
	const struct bv_option *core = core_options(&n);
	json_t *options = json_array(), *modules = json_array();

	for (size_t i = 0; i < n; i++)
		json_array_append_new(options, option_json(v->box, "core", &core[i]));
	for (size_t i = 0; i < v->box->n_modules; i++)
		if (!v->only || strcmp(v->only, v->box->module[i]->desc->name) == 0)
			json_array_append_new(modules, module_json(v->box, v->box->module[i]));
	json_t *top = json_pack("{s:s, s:o, s:o}", "version", BVISOR_VERSION, "core", options,
	                        "modules", modules);
	int r = top ? json_dumpf(top, stdout, JSON_INDENT(1)) : -1;
	json_decref(top);
	putchar('\n');
	return r < 0 ? cli_fail("modules", "cannot write JSON") : cli_flush("modules", 0);
}

static bool known(const struct view *v)
{
	if (!v->only || strcmp(v->only, "core") == 0)
		return true;
	for (size_t i = 0; i < v->box->n_modules; i++)
		if (strcmp(v->only, v->box->module[i]->desc->name) == 0)
			return true;
	return false;
}

static int show(const struct settings *s, const char *only, bool json)
{
	struct bv_error err = {""};
	struct config *config;
	struct view v = {.only = only};
	int code;

	if (settings_load(s, &config, &err) < 0 || sandbox_new(&v.box, config, &err) < 0)
		return cli_fail("modules", "%s", err.text);
	if (!known(&v))
		code = cli_misuse("modules", "no module '%s' is loaded", only);
	else
		code = json ? print_json(&v) : print_text(&v);
	sandbox_free(v.box);
	return code;
}

int modules_command(int argc, char **argv)
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
			code = cli_bad_option("modules", argv, c);
		else if (c == 'h')
			return cli_help("modules");
		else if (c == 'j')
			json = true;
		else
			code = settings_parse("modules", c, &s);
	}
	if (code == 0 && argc - optind > 1)
		code = cli_misuse("modules", "too many arguments");
	if (code == 0)
		code = show(&s, argv[optind], json);
	settings_fini(&s);
	return code;
}
