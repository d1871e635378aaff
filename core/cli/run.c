/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run, shell and diff. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>

#include "cli.h"

enum { O_ENV_ALL = 256, O_RW, O_RO, O_HIDE, O_BIND, O_NET, O_WAIT_ALL, O_DIFF, O_JSON };

static const struct option long_options[] = {
	{"json", no_argument, NULL, O_JSON}, /* diff only; run starts behind it */
	{"config", required_argument, NULL, 'c'},
	{"option", required_argument, NULL, 'o'},
	{"env", required_argument, NULL, 'e'},
	{"env-all", no_argument, NULL, O_ENV_ALL},
	{"rw", required_argument, NULL, O_RW},
	{"ro", required_argument, NULL, O_RO},
	{"hide", required_argument, NULL, O_HIDE},
	{"bind", required_argument, NULL, O_BIND},
	{"net", required_argument, NULL, O_NET},
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
	int verbosity;
	struct bv_error err;
};

static int parse_net(struct parse *p)
{
	if (strcmp(optarg, "none") != 0 && strcmp(optarg, "host") != 0)
		return error_set(&p->err, EINVAL, "--net: '%s' is neither none nor host", optarg);
	return settings_add(&p->o.settings, "net", "mode", optarg, "--net", false, &p->err);
}

static int parse_diff(struct parse *p)
{
	if (!optarg || strcmp(optarg, "text") == 0)
		p->o.diff = DIFF_TEXT;
	else if (strcmp(optarg, "json") == 0)
		p->o.diff = DIFF_JSON;
	else
		return error_set(&p->err, EINVAL, "--diff: '%s' is neither text nor json", optarg);
	return 0;
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
	if (p->verbosity)
		r = settings_add(&p->o.settings, "core", "log", level,
		                 p->verbosity < 0 ? "-q" : "-v", false, &p->err);
	return r;
}

/* Parses up to the command: -1 to go on, or an exit code. */
static int parse(struct parse *p, int argc, char **argv)
{
	bool is_diff = strcmp(p->o.cmd, "diff") == 0;
	const struct option *options = long_options + !is_diff;
	int c;

	p->env = calloc((size_t)argc, sizeof(p->env[0]));
	if (!p->env)
		return cli_fail(p->o.cmd, "out of memory");
	while ((c = getopt_long(argc, argv, "+:c:o:e:tC:vqh", options, NULL)) != -1) {
		if (c == '?' || c == ':')
			return cli_bad_option(p->o.cmd, argv, c);
		if (take(p, c) < 0)
			return cli_misuse(p->o.cmd, "%s", p->err.text);
		if (p->help)
			return cli_help(p->o.cmd);
	}
	p->o.argv = argv + optind;
	if (finish(p) < 0)
		return cli_fail(p->o.cmd, "%s", p->err.text);
	return -1;
}

static void parse_fini(struct parse *p)
{
	settings_fini(&p->o.settings);
	env_fini(&p->o.env);
	free(p->env);
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
	struct parse p = {.o.cmd = "run"};

	return run(&p, argc, argv);
}

int diff_command(int argc, char **argv)
{
	struct parse p = {.o.cmd = "diff", .o.diff = DIFF_TEXT};

	return run(&p, argc, argv);
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
	struct parse p = {.o.cmd = "shell"};
	int code = parse(&p, argc, argv);

	if (code < 0)
		code = run_shell(&p, argc);
	parse_fini(&p);
	return code;
}
