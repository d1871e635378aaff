/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor snapshot, fork and log: states of kept sandboxes, and how they came from one another. */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cleanup.h>

#include "named.h"

static int copy(const char *cmd, const struct settings *s, const char *from, const char *to)
{
	struct sandbox *box;
	void *ctx;
	const char *why = NULL;
	int code = named_box(cmd, s, &box);

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	int r = ops && BV_HAS(struct bv_store_ops, ops, copy) && ops->copy ? ops->copy(ctx, from, to, &why) : -ENOTSUP;
	if (r < 0)
		code = cli_fail(cmd, "%s", why && *why ? why : strerror(-r));
	sandbox_free(box);
	return code;
}

static int two(const char *cmd, int argc, char **argv, int (*act)(const struct settings *s, char *const *word))
{
	struct settings s = {0};
	int code = named_options(cmd, argc, argv, &s, NULL);

	if (code < 0 && argc - optind != 2)
		code = cli_misuse(cmd, argc - optind < 2 ? "needs two names" : "takes two names only");
	if (code < 0)
		code = act(&s, argv + optind);
	settings_fini(&s);
	return code;
}

static int snapshot(const struct settings *s, char *const *word)
{
	bv_autofree char *to = NULL;

	if (asprintf(&to, "%s@%s", word[0], word[1]) < 0) {
		to = NULL;
		return cli_fail("snapshot", "out of memory");
	}
	return copy("snapshot", s, word[0], to);
}

int snapshot_command(int argc, char **argv)
{
	return two("snapshot", argc, argv, snapshot);
}

static int fork_to(const struct settings *s, char *const *word)
{
	return copy("fork", s, word[0], word[1]);
}

int fork_command(int argc, char **argv)
{
	return two("fork", argc, argv, fork_to);
}

/* ---- log ---- */

struct state {
	char *name, *parent; /* parent: "" for none */
	int64_t created;
};

struct history {
	const struct bv_store_ops *ops;
	void *ctx;
	const char *why;
	struct state *state;
	size_t n;
};

static int collect(void *arg, const struct bv_layer_info *info)
{
	struct history *h = arg;
	struct state *grown = reallocarray(h->state, h->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	h->state = grown;
	struct state *s = &grown[h->n++];
	*s = (struct state){strdup(info->name), strdup(info->parent), info->created};
	if (!s->name || !s->parent)
		return -ENOMEM;
	/* Snapshots come with their sandbox. */
	return strchr(info->name, '@') ? 0 : h->ops->snapshots(h->ctx, info->name, collect, h, &h->why);
}

static void line(const struct state *s, int depth)
{
	char when[32] = "";
	time_t t = (time_t)s->created;
	struct tm tm;

	if (localtime_r(&t, &tm))
		strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &tm);
	printf("%s  %*s%s\n", when, 2 * depth, "", s->name);
}

/* s, and what came from it.  Depth is bounded: a manifest edited into a circle has no end. */
static void tree(const struct history *h, const struct state *s, int depth)
{
	line(s, depth);
	for (size_t i = 0; i < h->n && depth < 64; i++)
		if (strcmp(h->state[i].parent, s->name) == 0 && &h->state[i] != s)
			tree(h, &h->state[i], depth + 1);
}

static const struct state *find(const struct history *h, const char *name)
{
	for (size_t i = 0; i < h->n; i++)
		if (strcmp(h->state[i].name, name) == 0)
			return &h->state[i];
	return NULL;
}

static int show(const struct history *h, const char *name)
{
	const struct state *s = find(h, name), *up;

	if (!s)
		return cli_fail("log", "there is no sandbox '%s'", name);
	/* From the first one that is still there. */
	for (size_t n = 0; n < h->n && s->parent[0] && (up = find(h, s->parent)); n++)
		s = up;
	if (s->parent[0])
		printf("%-19s  %s (removed)\n", "", s->parent);
	tree(h, s, s->parent[0] ? 1 : 0);
	return cli_flush("log", 0);
}

static int show_json(const struct history *h)
{
	json_t *all = json_array();
	int r = 0;

	for (size_t i = 0; i < h->n; i++)
		r |= json_array_append_new(all, json_pack("{s:s, s:s, s:I}", "name", h->state[i].name, "parent", h->state[i].parent,
		                                          "created", (json_int_t)h->state[i].created));
	if (r == 0)
		r = json_dumpf(all, stdout, JSON_INDENT(1));
	json_decref(all);
	putchar('\n');
	return r < 0 ? cli_fail("log", "cannot write JSON") : cli_flush("log", 0);
}

static int history(const struct settings *s, const char *name, bool json)
{
	struct sandbox *box;
	struct history h = {0};
	int code = named_box("log", s, &box), r;

	if (code)
		return code;
	h.ops = named_store(box, &h.ctx);
	r = h.ops && BV_HAS(struct bv_store_ops, h.ops, snapshots) ? h.ops->list(h.ctx, collect, &h, &h.why) : -ENOTSUP;
	if (r < 0)
		code = cli_fail("log", "%s", h.why && *h.why ? h.why : strerror(-r));
	else
		code = json ? show_json(&h) : show(&h, name);
	for (size_t i = 0; i < h.n; i++) {
		free(h.state[i].name);
		free(h.state[i].parent);
	}
	free(h.state);
	sandbox_free(box);
	return code;
}

int log_command(int argc, char **argv)
{
	struct settings s = {0};
	bool json = false;
	int code = named_options("log", argc, argv, &s, &json);

	if (code < 0 && (argc - optind > 1 || (argc == optind && !json)))
		code = cli_misuse("log", argc == optind ? "no name of a sandbox given" : "takes one name only");
	if (code < 0)
		code = history(&s, argv[optind], json);
	settings_fini(&s);
	return code;
}
