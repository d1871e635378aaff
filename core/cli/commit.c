/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor commit and rollback. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <progress.h>
#include <strbuf.h>

#include "join.h"
#include "named.h"

struct act {
	const char *cmd;
	struct settings settings;
	const char **exclude;
	size_t n_excludes;
	unsigned flags;
	bool verbose, help;
	/* While it goes on: */
	struct strbuf records; /* what a sandbox that runs shall note, or undo */
	int running; /* rollback: the connection to it, or -1 */
	bool ended; /* it was not there any more */
	const char *start; /* where commits go without --force */
	size_t made, skipped, failed, conflicts, outside;
	struct progress progress;
};

/* ---- what happens ---- */

static void say(const struct act *a, const char *what, const struct bv_change *c, const char *text)
{
	fprintf(stderr, "bvisor %s: %s", a->cmd, what);
	if (c)
		review_quote(c->path, stderr);
	fprintf(stderr, "%s%s\n", text ? ": " : "", text ? text : "");
}

static void tell(void *arg, enum bv_commit_event event, const struct bv_change *c, const char *text,
                 uint64_t done, uint64_t total)
{
	struct act *a = arg;

	if (event != BV_COMMIT_DONE)
		progress_end(&a->progress);
	switch (event) {
	case BV_COMMIT_CONFLICT:
		a->conflicts++;
		say(a, "conflict: ", c, text);
		break;
	case BV_COMMIT_OUTSIDE:
		a->outside++;
		say(a, "outside: ", c, NULL);
		break;
	case BV_COMMIT_SKIPPED:
		a->skipped++;
		say(a, "left out: ", c, text);
		break;
	case BV_COMMIT_FAILED:
		a->failed++;
		say(a, "", c, text);
		break;
	case BV_COMMIT_DONE:
		a->made++;
		if (a->verbose || (a->flags & BV_COMMIT_DRY_RUN)) {
			printf("%c ", c->kind);
			review_quote(c->path, stdout);
			putchar('\n');
		}
		progress_show(&a->progress, a->made, done, total);
		break;
	}
}

static void made(void *arg, const char *record, size_t len)
{
	struct act *a = arg;

	strbuf_add(&a->records, record, len);
}

static int result(struct act *a, int r)
{
	progress_end(&a->progress);
	if (r == -ESTALE) {
		fprintf(stderr, "bvisor %s: nothing was written", a->cmd);
		if (a->conflicts)
			fprintf(stderr, "; %zu conflict%s: choose other PATHs, or --force", a->conflicts,
			        a->conflicts == 1 ? "" : "s");
		if (a->outside) {
			fprintf(stderr, "; %zu change%s not below ", a->outside, a->outside == 1 ? " is" : "s are");
			review_quote(a->start, stderr);
			fputs(", where the sandbox was started: choose PATHs, or --force", stderr);
		}
		putc('\n', stderr);
		return EXIT_CONFLICT;
	}
	if (r < 0 && !a->failed)
		return cli_fail(a->cmd, "%s", strerror(-r));
	printf("%zu change%s %s%s", a->made, a->made == 1 ? "" : "s",
	       a->flags & BV_COMMIT_DRY_RUN ? "would be " : "",
	       strcmp(a->cmd, "commit") == 0 ? "committed" : "rolled back");
	if (a->skipped)
		printf(", %zu left out", a->skipped);
	if (a->failed)
		printf(", %zu failed", a->failed);
	putchar('\n');
	return cli_flush(a->cmd, r < 0 ? 1 : 0);
}

/* Nothing is said of a sandbox that has ended: it is done again without it. */
static int rolled_back(struct act *a, int r)
{
	if (!a->ended)
		return result(a, r);
	progress_end(&a->progress);
	return 0;
}

/* ---- the command line ---- */

static int parse(struct act *a, int argc, char **argv)
{
	static const struct option options[] = {{"force", no_argument, NULL, 'f'}, /* commit only */
	                                        {"dry-run", no_argument, NULL, 'n'},
	                                        {"exclude", required_argument, NULL, 'x'},
	                                        {"config", required_argument, NULL, 'c'},
	                                        {"option", required_argument, NULL, 'o'},
	                                        {"verbose", no_argument, NULL, 'v'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	bool commit = strcmp(a->cmd, "commit") == 0;
	int c;

	a->exclude = calloc((size_t)argc, sizeof(a->exclude[0]));
	if (!a->exclude)
		return cli_fail(a->cmd, "out of memory");
	while ((c = getopt_long(argc, argv, commit ? ":nfx:c:o:vh" : ":x:c:o:vh", options + (commit ? 0 : 2),
	                        NULL)) != -1) {
		int code = 0;

		switch (c) {
		case '?':
		case ':':
			return cli_bad_option(a->cmd, argv, c);
		case 'h':
			return cli_help(a->cmd);
		case 'f':
			a->flags |= BV_COMMIT_FORCE;
			break;
		case 'n':
			a->flags |= BV_COMMIT_DRY_RUN;
			break;
		case 'v':
			a->verbose = true;
			break;
		case 'x':
			a->exclude[a->n_excludes++] = optarg;
			break;
		default:
			code = settings_parse(a->cmd, c, &a->settings);
		}
		if (code)
			return code;
	}
	if (optind >= argc)
		return cli_misuse(a->cmd, "no name of a sandbox given");
	if (strchr(argv[optind], '@'))
		return cli_misuse(a->cmd, "'%s' is a snapshot, which stays as it is: fork it first",
		                  argv[optind]);
	return -1;
}

/* A sandbox that runs does it itself. */
static int undo(struct act *a)
{
	const struct join_request q = {.magic = JOIN_MAGIC, .flags = JOIN_UNDO};
	int r = a->records.failed ? -ENOMEM : 0;

	if (r == 0 && a->records.len)
		r = named_tell(a->running, &q, a->records.data, a->records.len);
	a->ended = r == -ECONNRESET || r == -EPIPE;
	return r;
}

static int roll_back(struct act *a, const struct bv_review *review, const struct bv_selection *s)
{
	int r = review->rollback(review, s);

	/* What cannot be dropped alone does not keep the rest. */
	if (a->running >= 0 && (r == 0 || r == -ENOTEMPTY)) {
		int undone = undo(a);

		r = undone < 0 ? undone : r;
	}
	return r;
}

/* layer: it, or a snapshot of it. */
static int perform(struct act *a, const char *name, const char *layer, char *const *words, size_t n)
{
	struct sandbox *box;
	const struct bv_review *review;
	bv_autofree char **path = calloc(n + 1, sizeof(*path));
	int code = path ? named_open(a->cmd, &a->settings, layer, &box, &review)
	                : cli_fail(a->cmd, "out of memory");

	if (code)
		return code;
	bv_autofree char *start = named_start(box, name);
	a->start = start ? start : "";
	for (size_t i = 0; i < n && !code; i++)
		if (!(path[i] = named_path(words[i])))
			code = cli_fail(a->cmd, "'%s': %s", words[i], strerror(errno ? errno : ENOMEM));
	const struct bv_selection s = {
		.head = BV_HEAD(SERVICE, struct bv_selection),
		.path = (const char *const *)path,
		.n_paths = n,
		.exclude = a->exclude,
		.n_excludes = a->n_excludes,
		.allowed = &a->start,
		.n_allowed = a->start[0] == '/',
		.flags = a->flags,
		.tell = tell,
		.arg = a,
		.made = made,
	};
	progress_begin(&a->progress, a->cmd, "changes");
	if (!code)
		code = strcmp(a->cmd, "commit") == 0 ? result(a, review->commit(review, &s))
		                                     : rolled_back(a, roll_back(a, review, &s));
	for (size_t i = 0; i < n; i++)
		free(path[i]);
	sandbox_free(box);
	return code;
}

/* The sandbox goes on with what was committed; it may have ended meanwhile. */
static int inform(struct act *a, const char *name, int running)
{
	const struct join_request q = {.magic = JOIN_MAGIC, .flags = JOIN_NOTE};
	const struct bv_review *review;
	struct sandbox *box;
	int r = a->records.failed ? -ENOMEM : 0;

	if (r == 0 && a->records.len)
		r = named_tell(running, &q, a->records.data, a->records.len);
	if (r == -ECONNRESET || r == -EPIPE) {
		int code = named_open(a->cmd, &a->settings, name, &box, &review);

		if (code)
			return code;
		r = BV_HAS(struct bv_review, review, note)
		            ? review->note(review, a->records.data, a->records.len)
		            : -EOPNOTSUPP;
		sandbox_free(box);
	}
	return r == 0 ? 0
	              : cli_fail(a->cmd,
	                         "it is committed, but sandbox '%s' could not be told (%s): its "
	                         "next commit may meet conflicts",
	                         name, strerror(-r));
}

/* What runs goes on meanwhile: a snapshot is committed. */
static int commit(struct act *a, const char *name, char *const *words, size_t n)
{
	struct look look;
	int code = look_begin(a->cmd, &a->settings, name, true, &look);

	if (code)
		return code;
	code = perform(a, name, look.name ? look.name : name, words, n);
	if (look.name) {
		int told = inform(a, name, look.running);

		code = code ? code : told;
	}
	look_end(&look);
	return code;
}

/* What runs goes on: a snapshot says what to undo, and the sandbox does it. */
static int rollback(struct act *a, const char *name, char *const *words, size_t n)
{
	struct look look;
	int code = look_begin(a->cmd, &a->settings, name, true, &look);

	if (code)
		return code;
	a->running = look.name ? look.running : -1;
	code = perform(a, name, look.name ? look.name : name, words, n);
	look_end(&look);
	if (!a->ended)
		return code;
	/* It has ended meanwhile. */
	a->running = -1;
	a->made = a->failed = 0;
	a->ended = false;
	return perform(a, name, name, words, n);
}

static int act(const char *cmd, int argc, char **argv)
{
	struct act a = {.cmd = cmd, .running = -1};
	int code = parse(&a, argc, argv);

	if (code < 0)
		code = (strcmp(cmd, "commit") == 0 ? commit : rollback)(
			&a, argv[optind], argv + optind + 1, (size_t)(argc - optind - 1));
	settings_fini(&a.settings);
	free(a.exclude);
	strbuf_fini(&a.records);
	return code;
}

int commit_command(int argc, char **argv)
{
	return act("commit", argc, argv);
}

int rollback_command(int argc, char **argv)
{
	return act("rollback", argc, argv);
}
