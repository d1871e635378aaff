/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLI_CLI_H
#define CORE_CLI_CLI_H
/*
 * The command line: a table of subcommands, each of which parses its own options.  `run`, `shell`
 * and `diff` fill a struct run_options and give it to front_run(), which forks the supervisor.
 */
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "bvisor.h"

/* Exit codes, as of env(1) and docker-run(1). */
enum {
	EXIT_MISUSE = 2,
	EXIT_CONFLICT = 3, /* nothing was written: two sides disagree */
	EXIT_BVISOR = 125, /* bvisor itself failed */
	EXIT_EXEC = 126, /* the command could not be executed */
	EXIT_NOTFOUND = 127, /* there is no such command */
	EXIT_SIGNAL = 128, /* + the signal that killed the command */
};

/* ---- table.c ---- */
struct command {
	const char *name, *args, *summary;
	const char *help; /* the options, as `bvisor help NAME` prints them */
	int (*run)(int argc, char **argv); /* argv[0] is the subcommand's name */
};
int cli_main(int argc, char **argv);
/* Prints one line, "bvisor CMD: TEXT (see bvisor CMD --help)": EXIT_MISUSE. */
int cli_misuse(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same for what getopt_long answered with '?' or ':' (opterr must be 0). */
int cli_bad_option(const char *cmd, char **argv, int answer);
/* Prints "bvisor CMD: TEXT": EXIT_BVISOR. */
int cli_fail(const char *cmd, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Prints a command's help on stdout: 0. */
int cli_help(const char *cmd);
/* Flushes stdout: code, or EXIT_BVISOR with a line on stderr when the output got lost. */
int cli_flush(const char *cmd, int code);

int mcp_command(int argc, char **argv); /* serve/mcp.c */
int serve_command(int argc, char **argv); /* serve/serve.c */
int run_command(int argc, char **argv);
/* The same, with a program of bvisor's own (run_options.own). */
int run_own(int argc, char **argv);
int shell_command(int argc, char **argv);
int diff_command(int argc, char **argv);
int exec_command(int argc, char **argv);
int allow_command(int argc, char **argv);
int ps_command(int argc, char **argv);
int ls_command(int argc, char **argv);
int rm_command(int argc, char **argv);
int commit_command(int argc, char **argv);
int snapshot_command(int argc, char **argv);
int fork_command(int argc, char **argv);
int export_command(int argc, char **argv);
int import_command(int argc, char **argv);
int merge_command(int argc, char **argv);
int log_command(int argc, char **argv);
int rollback_command(int argc, char **argv);
int check_command(int argc, char **argv);
int modules_command(int argc, char **argv);
int routes_command(int argc, char **argv);

/* ---- stdio.c ---- */
/* Gives up standard input and output for /dev/null: others may be waiting for the end of what only
 * the guest still reads or writes. */
void cli_release_stdio(void);

/* ---- settings.c: what -c, -o, --rw... say about the configuration ---- */
struct settings {
	const char *file; /* -c, borrowed; NULL */
	struct config_entry *entry; /* all strings owned but `where` */
	size_t n;
};
/* All return 0 or -errno; a failure is explained in err. */
int settings_add(struct settings *s, const char *section, const char *key, const char *value,
                 const char *where, bool append, struct bv_error *err);
/* SECTION.KEY=VALUE */
int settings_option(struct settings *s, const char *text, struct bv_error *err);
/* --rw, --ro (verb "rw", "ro"): an existing directory or file. */
int settings_mount(struct settings *s, const char *verb, const char *where, const char *path,
                   struct bv_error *err);
int settings_hide(struct settings *s, const char *path, struct bv_error *err);
/* SRC:DST or SRC:DST:ro or SRC:DST:rw */
int settings_bind(struct settings *s, const char *spec, struct bv_error *err);
/* Reads the file and adds the settings: a configuration ready for sandbox_new. */
int settings_load(const struct settings *s, struct config **out, struct bv_error *err);
void settings_fini(struct settings *s);
/* `-c` and `-o` for commands that only look: 0, or an exit code. */
int settings_parse(const char *cmd, int c, struct settings *s);

/* ---- env.c: the guest's environment ---- */
struct env {
	char **var; /* NULL-terminated "K=V", owned */
	size_t n;
};
/* Takes from the host's what is let in: PATH, HOME, USER, LANG, TERM, TMPDIR, or all of it. */
int env_init(struct env *e, bool all);
int env_set(struct env *e, const char *name, const char *value);
/* -e: K=V, or K for the host's value if it has one.  -EINVAL for a bad name. */
int env_add(struct env *e, const char *text);
const char *env_get(const struct env *e, const char *name);
void env_fini(struct env *e);

/* ---- front.c, supervisor.c ---- */
enum diff_format { DIFF_NONE, DIFF_TEXT, DIFF_JSON, DIFF_STAT, DIFF_PATCH };

struct run_options {
	const char *cmd; /* subcommand, for messages */
	struct settings settings;
	struct env env;
	const char *cwd; /* -C, or NULL: the current directory if it can be seen inside */
	char *const *argv;
	enum diff_format diff;
	bool who; /* --who */
	bool tty, wait_all;
	const char *name; /* --name, or NULL */
	int audit; /* --audit: where what was refused is told; -1: nowhere */
	sigset_t mask; /* the signal mask bvisor was started with */
	pid_t between; /* the process between the caller and the front, 0: none */
	uint64_t ignored; /* bit N-1: signal N was ignored when bvisor started */
	bool own; /* argv[0], an absolute path, is a program of bvisor's: it runs although guests may not see it */
};
/* Runs the command in a sandbox of its own: the exit code of bvisor. */
int front_run(struct run_options *o);
/* The supervisor's whole life, in the child of the front.  slave: the guest's terminal, or -1. */
int supervisor_main(struct run_options *o, int control, int slave);

/* ---- review.c: the sandbox's changes as text or JSON on `to`: 0 or -errno ---- */
int review_print(struct sandbox *box, enum diff_format format, bool who, FILE *to);
/* path in the way of git: as it is, or in double quotes with C escapes when a byte of it is a
 * control byte, a quote, a backslash, or not part of valid UTF-8. */
void review_quote(const char *path, FILE *to);
/* Length of the UTF-8 sequence at s (1 to 4), 0 when it is none. */
size_t review_utf8(const char *s);

#endif
