/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor ls and rm, and what all commands on kept sandboxes share. */
#include "named.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

const char *named_error(const char *text)
{
	/* The store's own sentence; that it came about by an option of a module is nobody's concern. */
	const char *at = strstr(text, ": upper = local:"), *why = at ? strstr(at + 2, ": ") : NULL;

	return why ? why + 2 : text;
}

int named_box(const char *cmd, const struct settings *s, struct sandbox **box)
{
	struct bv_error err = {""};
	struct config *config;

	if (settings_load(s, &config, &err) < 0 || sandbox_new(box, config, &err) < 0)
		return cli_fail(cmd, "%s", named_error(err.text));
	return 0;
}

int named_open(const char *cmd, struct settings *s, const char *name, struct sandbox **box,
               const struct bv_review **review)
{
	struct bv_error err = {""};
	bv_autofree char *upper = NULL;

	if (asprintf(&upper, "local:%s", name) < 0)
		return cli_fail(cmd, "out of memory");
	if (settings_add(s, "vfs-cow", "upper", upper, "NAME", false, &err) < 0 ||
	    settings_add(s, "vfs-cow", "create", "no", "NAME", false, &err) < 0)
		return cli_fail(cmd, "%s", err.text);
	int code = named_box(cmd, s, box);
	if (code)
		return code;
	*review = (const struct bv_review *)loader_service(*box, BV_REVIEW_SERVICE);
	if (*review && BV_HAS(struct bv_review, *review, rollback))
		return 0;
	sandbox_free(*box);
	return cli_fail(cmd, "no module can review changes");
}

const struct bv_store_ops *named_store(struct sandbox *box, void **ctx)
{
	const struct bv_store *store = (const struct bv_store *)loader_service(box, BV_STORE_SERVICE);
	const struct bv_store_ops *ops =
		store && BV_HAS(struct bv_store, store, find) ? store->find(store, "local", ctx) : NULL;

	return ops && BV_HAS(struct bv_store_ops, ops, info) ? ops : NULL;
}

struct wanted {
	const char *name;
	struct bv_layer_info info;
	char start[PATH_MAX];
};

static int same_name(void *arg, const struct bv_layer_info *info)
{
	struct wanted *w = arg;

	if (strcmp(info->name, w->name) != 0)
		return 0;
	w->info = *info;
	snprintf(w->start, sizeof(w->start), "%s", info->start);
	return 1;
}

char *named_start(struct sandbox *box, const char *name)
{
	void *ctx;
	const char *why = NULL;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	bv_autofree struct wanted *w = calloc(1, sizeof(*w));

	if (!ops || !ops->list || !w)
		return NULL;
	w->name = name;
	return ops->list(ctx, same_name, w, &why) == 1 ? strdup(w->start) : NULL;
}

bool named_in_use(const struct bv_store_ops *ops, void *ctx, const char *name)
{
	bv_autofree struct wanted *w = calloc(1, sizeof(*w));
	const char *why = NULL;

	if (!w || !ops->list)
		return false;
	w->name = name;
	return ops->list(ctx, same_name, w, &why) == 1 && w->info.pid;
}

char *named_path(const char *word)
{
	char here[PATH_MAX];
	bv_autofree char *all = NULL;
	bv_autostrbuf struct strbuf b = {0};
	char *save = NULL;

	if (word[0] != '/' && !getcwd(here, sizeof(here)))
		return NULL;
	if (asprintf(&all, "%s/%s", word[0] == '/' ? "" : here, word) < 0) {
		all = NULL;
		return NULL;
	}
	for (char *part = strtok_r(all, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
		if (strcmp(part, ".") == 0)
			continue;
		if (strcmp(part, "..") == 0) {
			char *slash = b.len ? strrchr(b.data, '/') : NULL;

			if (slash) {
				b.len = (size_t)(slash - b.data);
				b.data[b.len] = '\0';
			}
			continue;
		}
		strbuf_printf(&b, "/%s", part);
	}
	if (!b.len)
		strbuf_puts(&b, "/");
	return b.failed ? NULL : strdup(b.data);
}

/* ---- ls ---- */

struct listing {
	json_t *json; /* NULL: text */
	size_t n;
	bool size; /* is asked for */
	const struct bv_store_ops *ops;
	void *ctx;
};

/* false: unknown, as of one that has just gone. */
static bool usage_of(const struct listing *l, const char *name, struct bv_layer_usage *out)
{
	const char *why;

	return l->size && BV_HAS(struct bv_store_ops, l->ops, usage) &&
	       l->ops->usage(l->ctx, name, out, &why) == 0;
}

/* "4.0K", as ls -lh has it. */
static void show_size(uint64_t bytes)
{
	static const char unit[] = "BKMGTPE";
	double n = (double)bytes;
	size_t u = 0;

	while (n >= 1024 && unit[u + 1]) {
		n /= 1024;
		u++;
	}
	printf(u && n < 9.95 ? "%6.1f%c " : "%6.0f%c ", n, unit[u]);
}

static int ls_line(void *arg, const struct bv_layer_info *info)
{
	struct listing *l = arg;
	char when[32] = "";
	time_t t = (time_t)(info->changed ? info->changed : info->created);
	struct tm tm;

	struct bv_layer_usage usage = {.head = BV_HEAD(SERVICE, struct bv_layer_usage)};
	bool known = usage_of(l, info->name, &usage);

	if (l->json) {
		json_t *o = json_pack("{s:s, s:s, s:I, s:I, s:i}", "name", info->name, "start",
		                      info->start, "created", (json_int_t)info->created, "used",
		                      (json_int_t)t, "pid", (int)info->pid);

		/* A directory whose name is no UTF-8 cannot be told in JSON. */
		if (!o)
			o = json_pack("{s:s, s:I, s:I, s:i}", "name", info->name, "created",
			              (json_int_t)info->created, "used", (json_int_t)t, "pid",
			              (int)info->pid);
		if (known) {
			json_object_set_new(o, "bytes", json_integer((json_int_t)usage.bytes));
			json_object_set_new(o, "files", json_integer((json_int_t)usage.files));
		}
		return json_array_append_new(l->json, o) < 0 ? -ENOMEM : 0;
	}
	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M", &tm);
	if (!l->n++)
		printf("%-24s %-16s %-10s %s%s\n", "NAME", "USED", "RUNNING",
		       l->size ? "   SIZE " : "", "STARTED IN");
	printf("%-24s %-16s ", info->name, when);
	if (info->pid)
		printf("%-10d ", (int)info->pid);
	else
		printf("%-10s ", "-");
	if (known)
		show_size(usage.bytes);
	else if (l->size)
		printf("%7s ", "?");
	review_quote(info->start, stdout);
	putchar('\n');
	return ferror(stdout) ? -EIO : 0;
}

/* size: of ls alone. */
static int flags(const char *cmd, int argc, char **argv, struct settings *s, bool *json, bool *size)
{
	static const struct option options[] = {
		{"size", no_argument, NULL, 's'},         {"json", no_argument, NULL, 'j'},
		{"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, size ? ":c:o:hs" : ":c:o:h",
	                        options + (size   ? 0
	                                   : json ? 1
	                                          : 2),
	                        NULL)) != -1) {
		if (c == '?' || c == ':')
			return cli_bad_option(cmd, argv, c);
		if (c == 'h')
			return cli_help(cmd);
		if (c == 'j' || c == 's') {
			*(c == 'j' ? json : size) = true;
			continue;
		}
		int code = settings_parse(cmd, c, s);
		if (code)
			return code;
	}
	return -1;
}

int named_options(const char *cmd, int argc, char **argv, struct settings *s, bool *json)
{
	return flags(cmd, argc, argv, s, json, NULL);
}

static int ls(const struct settings *s, bool json, bool size)
{
	struct sandbox *box;
	struct listing l = {.json = json ? json_array() : NULL, .size = size};
	const char *why = NULL;
	void *ctx = NULL;
	int code = named_box("ls", s, &box), r;

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	l.ops = ops;
	l.ctx = ctx;
	r = ops && ops->list ? ops->list(ctx, ls_line, &l, &why) : -ENOTSUP;
	if (r == 0 && json) {
		r = json_dumpf(l.json, stdout, JSON_INDENT(1)) < 0 ? -EIO : 0;
		putchar('\n');
	}
	json_decref(l.json);
	if (r < 0 && r != -EIO)
		code = cli_fail("ls", "%s", why && *why ? why : strerror(-r));
	else
		code = cli_flush("ls", 0);
	sandbox_free(box);
	return code;
}

int ls_command(int argc, char **argv)
{
	struct settings s = {0};
	bool json = false, size = false;
	int code = flags("ls", argc, argv, &s, &json, &size);

	if (code < 0 && optind < argc)
		code = cli_misuse("ls", "takes no arguments");
	if (code < 0)
		code = ls(&s, json, size);
	settings_fini(&s);
	return code;
}

static int rm(const struct settings *s, char *const *names)
{
	struct sandbox *box;
	void *ctx;
	int code = named_box("rm", s, &box);

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	for (; *names; names++) {
		const char *why = NULL;
		int r = ops && ops->remove ? ops->remove(ctx, *names, &why) : -ENOTSUP;

		if (r < 0)
			code = cli_fail("rm", "%s", why && *why ? why : strerror(-r));
	}
	sandbox_free(box);
	return code;
}

int rm_command(int argc, char **argv)
{
	struct settings s = {0};
	int code = named_options("rm", argc, argv, &s, NULL);

	if (code < 0 && optind >= argc)
		code = cli_misuse("rm", "no name given");
	if (code < 0)
		code = rm(&s, argv + optind);
	settings_fini(&s);
	return code;
}
