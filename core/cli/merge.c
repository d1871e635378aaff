/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor merge: two kept sandboxes become a third. */
#include <errno.h>
#include <string.h>

#include "named.h"

struct merging {
	const char *ours, *theirs;
	size_t conflicts;
};

static void conflict(void *arg, const char *path, const char *ours, const char *theirs)
{
	struct merging *m = arg;

	m->conflicts++;
	fputs("bvisor merge: conflict: ", stderr);
	review_quote(path, stderr);
	fprintf(stderr, ": %s in %s, %s in %s\n", ours, m->ours, theirs, m->theirs);
}

static int merge(const struct settings *s, char *const *name, const char *into, unsigned prefer)
{
	struct sandbox *box;
	struct merging m = {.ours = name[0], .theirs = name[1]};
	const struct bv_merge what = {.head = BV_HEAD(SERVICE, struct bv_merge),
	                              .ours = name[0],
	                              .theirs = name[1],
	                              .into = into,
	                              .prefer = prefer,
	                              .conflict = conflict,
	                              .arg = &m};
	const char *why = NULL;
	void *ctx;
	int code = named_box("merge", s, &box);

	if (code)
		return code;
	const struct bv_store_ops *ops = named_store(box, &ctx);
	int r = ops && BV_HAS(struct bv_store_ops, ops, merge) && ops->merge
	                ? ops->merge(ctx, &what, &why)
	                : -ENOTSUP;
	if (r == -ESTALE) {
		fprintf(stderr,
		        "bvisor merge: nothing was made; %zu conflict%s: --prefer %s or %s\n",
		        m.conflicts, m.conflicts == 1 ? "" : "s", m.ours, m.theirs);
		code = EXIT_CONFLICT;
	} else if (r < 0) {
		code = cli_fail("merge", "%s", why && *why ? why : strerror(-r));
	}
	sandbox_free(box);
	return code;
}

static int parse(int argc, char **argv, struct settings *s, const char **into, const char **prefer)
{
	static const struct option options[] = {
		{"into", required_argument, NULL, 'i'},   {"prefer", required_argument, NULL, 'p'},
		{"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, ":i:p:c:o:h", options, NULL)) != -1) {
		int code = 0;

		switch (c) {
		case '?':
		case ':':
			return cli_bad_option("merge", argv, c);
		case 'h':
			return cli_help("merge");
		case 'i':
			*into = optarg;
			break;
		case 'p':
			*prefer = optarg;
			break;
		default:
			code = settings_parse("merge", c, s);
		}
		if (code)
			return code;
	}
	if (argc - optind != 2)
		return cli_misuse("merge",
		                  argc - optind < 2 ? "needs two names" : "takes two names only");
	if (!*into)
		return cli_misuse("merge", "--into NEW is missing");
	return -1;
}

int merge_command(int argc, char **argv)
{
	struct settings s = {0};
	const char *into = NULL, *prefer = NULL;
	int code = parse(argc, argv, &s, &into, &prefer);
	char *const *name = argv + optind;

	if (code < 0 && strcmp(name[0], name[1]) == 0)
		code = cli_misuse("merge", "'%s' with itself", name[0]);
	if (code < 0 && prefer && strcmp(prefer, name[0]) != 0 && strcmp(prefer, name[1]) != 0)
		code = cli_misuse("merge", "--prefer '%s' is neither '%s' nor '%s'", prefer,
		                  name[0], name[1]);
	if (code < 0)
		code = merge(&s, name, into, !prefer ? 0 : strcmp(prefer, name[0]) == 0 ? 1 : 2);
	settings_fini(&s);
	return code;
}
