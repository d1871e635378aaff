/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run, shell and diff. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cleanup.h>
#include <netrule.h>

#include "named.h"

enum {
	O_ENV_ALL = 256,
	O_RW,
	O_RO,
	O_HIDE,
	O_BIND,
	O_NET,
	O_ALLOW,
	O_QUOTA,
	O_AUDIT,
	O_WAIT_ALL,
	O_DIFF,
	O_JSON,
	O_STAT,
	O_WHO,
	O_NAME
};

static const struct option long_options[] = {
	{"json", no_argument, NULL, O_JSON}, /* diff only; run starts behind these */
	{"stat", no_argument, NULL, O_STAT},
	{"patch", no_argument, NULL, 'p'},
	{"who", no_argument, NULL, O_WHO},
#define DIFF_ONLY 4
	{"name", required_argument, NULL, O_NAME},
	{"config", required_argument, NULL, 'c'},
	{"option", required_argument, NULL, 'o'},
	{"env", required_argument, NULL, 'e'},
	{"env-all", no_argument, NULL, O_ENV_ALL},
	{"rw", required_argument, NULL, O_RW},
	{"ro", required_argument, NULL, O_RO},
	{"hide", required_argument, NULL, O_HIDE},
	{"bind", required_argument, NULL, O_BIND},
	{"net", required_argument, NULL, O_NET},
	{"allow", required_argument, NULL, O_ALLOW},
	{"quota", required_argument, NULL, O_QUOTA},
	{"audit", required_argument, NULL, O_AUDIT},
	{"tty", no_argument, NULL, 't'},
	{"wait-all", no_argument, NULL, O_WAIT_ALL},
	{"diff", optional_argument, NULL, O_DIFF},
	{"chdir", required_argument, NULL, 'C'},
	{"verbose", no_argument, NULL, 'v'},
	{"quiet", no_argument, NULL, 'q'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

struct parse {
	struct run_options o;
	const char **env; /* -e texts, applied when it is known whether --env-all was given */
	size_t n_env;
	bool env_all, help;
	const char *name; /* diff: of a kept sandbox */
	int verbosity;
	struct bv_error err;
};

static int parse_net(struct parse *p)
{
	if (strcmp(optarg, "none") != 0 && strcmp(optarg, "host") != 0)
		return error_set(&p->err, EINVAL, "--net: '%s' is neither none nor host", optarg);
	return settings_add(&p->o.settings, "net", "mode", optarg, "--net", false, &p->err);
}

static int parse_allow(struct parse *p)
{
	struct netrule rule;
	const char *why = netrule_parse(optarg, &rule);

	if (why)
		return error_set(&p->err, EINVAL, "--allow: '%s' %s", optarg, why);
	return settings_add(&p->o.settings, "net", "allow", optarg, "--allow", true, &p->err);
}

static int parse_diff(struct parse *p)
{
	if (!optarg || strcmp(optarg, "text") == 0)
		p->o.diff = DIFF_TEXT;
	else if (strcmp(optarg, "json") == 0)
		p->o.diff = DIFF_JSON;
	else if (strcmp(optarg, "stat") == 0)
		p->o.diff = DIFF_STAT;
	else if (strcmp(optarg, "patch") == 0)
		p->o.diff = DIFF_PATCH;
	else
		return error_set(&p->err, EINVAL, "--diff: '%s' is none of text, json, stat, patch", optarg);
	return 0;
}

static int parse_name(struct parse *p)
{
	bv_autofree char *upper = NULL;

	if (strchr(optarg, '@'))
		return error_set(&p->err, EINVAL,
		                 "--name: '%s' is a snapshot: fork it to go on from there", optarg);
	if (asprintf(&upper, "local:%s", optarg) < 0)
		return error_set(&p->err, ENOMEM, "out of memory");
	p->o.name = optarg;
	return settings_add(&p->o.settings, "vfs-cow", "upper", upper, "--name", false, &p->err);
}

/*
 * Opened here, as who started bvisor; the supervisor may write nothing of the host's later.  It does not
 * wait for a reader.
 */
static int parse_audit(struct parse *p)
{
	struct stat st;
	int fd = open(optarg, O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
	              0600);

	if (fd < 0)
		return error_set(&p->err, errno, "--audit: '%s': %s", optarg,
		                 errno == ENXIO ? "a pipe that nobody reads, or a socket"
		                                : strerror(errno));
	if (p->o.audit >= 0)
		close(p->o.audit);
	p->o.audit = fd;
	/* It says what there is of what is hidden: not for the guest to read.  A name of a descriptor of ours
	 * is not the file's own. */
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || strncmp(optarg, "/dev/", 5) == 0 ||
	    strncmp(optarg, "/proc/", 6) == 0)
		return 0;
	return settings_hide(&p->o.settings, optarg, &p->err);
}

static int parse_env(struct parse *p)
{
	if (optarg[0] == '=' || optarg[0] == '\0')
		return error_set(&p->err, EINVAL, "-e: '%s' is neither NAME=VALUE nor NAME",
		                 optarg);
	p->env[p->n_env++] = optarg;
	return 0;
}

/* One option: 0, or -errno with the error set. */
static int take(struct parse *p, int c)
{
	struct settings *s = &p->o.settings;

	switch (c) {
	case 'c':
		s->file = optarg;
		return 0;
	case 'o':
		return settings_option(s, optarg, &p->err);
	case 'e':
		return parse_env(p);
	case O_ENV_ALL:
		p->env_all = true;
		return 0;
	case O_RW:
		return settings_mount(s, "rw", "--rw", optarg, &p->err);
	case O_RO:
		return settings_mount(s, "ro", "--ro", optarg, &p->err);
	case O_HIDE:
		return settings_hide(s, optarg, &p->err);
	case O_BIND:
		return settings_bind(s, optarg, &p->err);
	case O_NET:
		return parse_net(p);
	case O_ALLOW:
		return parse_allow(p);
	case O_QUOTA:
		return settings_add(s, "vfs-cow", "quota", optarg, "--quota", false, &p->err);
	case O_AUDIT:
		return parse_audit(p);
	case 't':
		p->o.tty = true;
		return 0;
	case O_WAIT_ALL:
		p->o.wait_all = true;
		return 0;
	case O_DIFF:
		return parse_diff(p);
	case O_JSON:
		p->o.diff = DIFF_JSON;
		return 0;
	case O_WHO:
		p->o.who = true;
		return 0;
	case O_STAT:
		p->o.diff = DIFF_STAT;
		return 0;
	case 'p':
		p->o.diff = DIFF_PATCH;
		return 0;
	case O_NAME:
		return parse_name(p);
	case 'C':
		p->o.cwd = optarg;
		return 0;
	case 'v':
		p->verbosity = p->verbosity < 0 ? 1 : p->verbosity + 1;
		return 0;
	case 'q':
		p->verbosity = -1;
		return 0;
	default:
		p->help = true;
		return 0;
	}
}

static int finish(struct parse *p)
{
	const char *level = p->verbosity < 0 ? "error" : p->verbosity == 1 ? "info" : "debug";
	int r = env_init(&p->o.env, p->env_all);

	for (size_t i = 0; i < p->n_env && r == 0; i++)
		r = env_add(&p->o.env, p->env[i]);
	if (r < 0)
		return error_set(&p->err, -r, "environment: %s", strerror(-r));
	if (p->o.who && (r = settings_add(&p->o.settings, "vfs-cow", "provenance", "all", "--who",
	                                  false, &p->err)) < 0)
		return r;
	if (p->verbosity)
		r = settings_add(&p->o.settings, "core", "log", level,
		                 p->verbosity < 0 ? "-q" : "-v", false, &p->err);
	return r;
}

/* Options up to the first word that is none: -1 to go on, or an exit code. */
static int parse_options(struct parse *p, int argc, char **argv)
{
	bool is_diff = strcmp(p->o.cmd, "diff") == 0;
	const struct option *options = long_options + (is_diff ? 0 : DIFF_ONLY);
	int c;

	while ((c = getopt_long(argc, argv, is_diff ? "+:c:o:e:tC:vqhp" : "+:c:o:e:tC:vqh", options, NULL)) != -1) {
		if (c == '?' || c == ':')
			return cli_bad_option(p->o.cmd, argv, c);
		if (take(p, c) < 0)
			return cli_misuse(p->o.cmd, "%s", p->err.text);
		if (p->help)
			return cli_help(p->o.cmd);
	}
	return -1;
}

/* Parses up to the command: -1 to go on, or an exit code. */
static int parse(struct parse *p, int argc, char **argv)
{
	p->env = calloc((size_t)argc, sizeof(p->env[0]));
	if (!p->env)
		return cli_fail(p->o.cmd, "out of memory");
	int code = parse_options(p, argc, argv);
	if (code >= 0)
		return code;
	p->o.argv = argv + optind;
	/* Behind the name of a sandbox there may be more options; behind "--" is a command. */
	bool is_name = strcmp(p->o.cmd, "diff") == 0 && p->o.argv[0] && strcmp(argv[optind - 1], "--") != 0;
	if (is_name) {
		p->name = argv[optind++];
		code = parse_options(p, argc, argv);
		if (code >= 0)
			return code;
		if (argv[optind])
			return cli_misuse(p->o.cmd, "one name is enough; to run a command: bvisor diff -- %s ...", p->name);
	}
	if (p->o.who && (p->o.diff == DIFF_STAT || p->o.diff == DIFF_PATCH))
		return cli_misuse(p->o.cmd,
		                  "--who goes with the list of changes, not with --stat or -p");
	if (finish(p) < 0)
		return cli_fail(p->o.cmd, "%s", p->err.text);
	return -1;
}

static void parse_fini(struct parse *p)
{
	settings_fini(&p->o.settings);
	env_fini(&p->o.env);
	free(p->env);
	if (p->o.audit >= 0)
		close(p->o.audit);
}

static int run(struct parse *p, int argc, char **argv)
{
	int code = parse(p, argc, argv);

	if (code < 0 && !p->o.argv[0])
		code = cli_misuse(p->o.cmd, "no command given");
	if (code < 0)
		code = front_run(&p->o);
	parse_fini(p);
	return code;
}

int run_command(int argc, char **argv)
{
	struct parse p = {.o.cmd = "run", .o.audit = -1};

	return run(&p, argc, argv);
}

int run_own(int argc, char **argv)
{
	struct parse p = {.o.cmd = "run", .o.audit = -1, .o.own = true};

	return run(&p, argc, argv);
}

/* What a kept sandbox has changed so far. */
static int diff_name(struct parse *p, const char *name)
{
	struct sandbox *box;
	const struct bv_review *review;
	int code = named_open("diff", &p->o.settings, name, &box, &review);

	if (code)
		return code;
	int r = review_print(box, p->o.diff, p->o.who, stdout);
	code = r < 0 && r != -EPIPE ? cli_fail("diff", "cannot list the changes: %s", strerror(-r))
	                            : cli_flush("diff", 0);
	sandbox_free(box);
	return code;
}

/* One that runs is looked at as a crash would leave it. */
static int diff_any(struct parse *p, const char *name)
{
	struct look look;
	int code = look_begin("diff", &p->o.settings, name, false, &look);

	if (code)
		return code;
	code = diff_name(p, look.name ? look.name : name);
	look_end(&look);
	return code;
}

int diff_command(int argc, char **argv)
{
	struct parse p = {.o.cmd = "diff", .o.diff = DIFF_TEXT, .o.audit = -1};
	int code = parse(&p, argc, argv);

	/* NAME, or behind "--" a command. */
	if (code < 0 && !p.name && !p.o.argv[0])
		code = cli_misuse("diff", "neither the name of a sandbox nor -- and a command given");
	if (code < 0)
		code = p.name ? diff_any(&p, p.name) : front_run(&p.o);
	parse_fini(&p);
	return code;
}

static int run_shell(struct parse *p, int argc)
{
	const char *shell = getenv("SHELL");
	size_t n = 0;
	bv_autofree const char **shell_argv = calloc((size_t)argc + 3, sizeof(*shell_argv));

	if (!shell_argv)
		return cli_fail("shell", "out of memory");
	if (!shell || shell[0] != '/' || access(shell, X_OK) < 0)
		shell = "bash";
	shell_argv[n++] = shell;
	if (isatty(STDIN_FILENO)) {
		p->o.tty = true;
		shell_argv[n++] = "-i";
	}
	for (char *const *a = p->o.argv; a && *a; a++)
		shell_argv[n++] = *a;
	p->o.argv = (char *const *)shell_argv;
	return front_run(&p->o);
}

int shell_command(int argc, char **argv)
{
	struct parse p = {.o.cmd = "shell", .o.audit = -1};
	int code = parse(&p, argc, argv);

	if (code < 0)
		code = run_shell(&p, argc);
	parse_fini(&p);
	return code;
}
