/* SPDX-License-Identifier: Apache-2.0 */
/* The table of subcommands, their help, and how misuse is reported. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static int help_command(int argc, char **argv);
static int version_command(int argc, char **argv);

#define CONFIG_HELP                                                                 \
	"  -c, --config FILE        read FILE instead of the usual configuration\n" \
	"  -o, --option S.KEY=VALUE set KEY of section S, as a line of bvisor.ini would\n"

#define RUN_HELP                                                                                 \
	CONFIG_HELP                                                                              \
	"  -e, --env K=V            set a variable of the guest; -e K passes the host's\n"       \
	"      --env-all            pass the host's whole environment\n"                         \
	"                           (default: PATH HOME USER LANG TERM TMPDIR only)\n"           \
	"      --rw DIR             let writes below DIR reach the host\n"                       \
	"      --ro DIR             show DIR, refuse every write below it\n"                     \
	"      --hide PATH          do not show PATH\n"                                          \
	"      --bind SRC:DST[:ro|:rw]  show the host's SRC at DST\n"                            \
	"      --net none|host      network of the guest (default: none)\n"                      \
	"      --allow WHERE        what it reaches all the same; may be repeated: HOST, "       \
	"HOST:PORT,\n"                                                                           \
	"                           ADDRESS/BITS, ADDRESS:LOW-HIGH, [IPV6]:PORT\n"               \
	"      --quota SIZE         how much the guest may write (64M, 2G; default: no limit)\n" \
	"      --audit FILE         append to FILE what is refused, as lines of JSON\n"          \
	"      --name NAME          keep the sandbox under this name and go on in it\n"          \
	"  -t, --tty                give the guest a terminal of its own\n"                      \
	"      --wait-all           end with the last guest process, not with the first\n"       \
	"      --diff[=HOW]         print what changed at the end: text, json, stat, patch\n"    \
	"  -C, --chdir DIR          start in DIR of the sandbox\n"                               \
	"  -v, --verbose            say more; twice: everything\n"                               \
	"  -q, --quiet              errors only\n"                                               \
	"  -h, --help               show this\n"

static const struct command commands[] = {
	{"run", "[OPTION...] [--] COMMAND [ARG...]", "run a command in a sandbox",
         RUN_HELP
         "\nThe exit code is the command's, 128+N if signal N killed it, 125 if bvisor failed,\n"
         "126 if the command could not be executed, 127 if there is none, 2 on misuse.\n",
         run_command},
	{"shell", "[OPTION...] [-- ARG...]", "an interactive shell in a sandbox",
         RUN_HELP "\nRuns $SHELL, or bash, with -i and a terminal when stdin is one.\n",
         shell_command},
	{"diff", "[OPTION...] NAME | -- COMMAND [ARG...]",
         "what a sandbox, or a command, has changed",
         "      --json               print the changes as JSON\n"
         "      --stat               a line a file: what was inserted and deleted\n"
         "  -p, --patch              a patch, as diff -u and git write it\n"
         "      --who                which command changed each last, and when\n" RUN_HELP
         "\nA line reads KIND PATH SIZE; KIND is A added, M modified, D deleted, T type changed,\n"
         "R renamed (OLD -> NEW).\n"
         "NAME is a sandbox of run --name.  With -- and a command, that is run first, as by run.\n",
         diff_command},
	{"commit", "[OPTION...] NAME [PATH...]", "bring a sandbox's changes to the host",
         "  -n, --dry-run            only say what would be done\n"
         "  -f, --force              even over what the host changed meanwhile, and anywhere\n"
         "  -x, --exclude GLOB       leave out what fits, and all in it; may be repeated\n"
         "  -v, --verbose            name every change\n" CONFIG_HELP
         "  -h, --help               show this\n\n"
         "Without PATH: everything.  Exits with 3, and nothing written, when the host changed\n"
         "something meanwhile or a path is not below the directory the sandbox was started in.\n",
         commit_command},
	{"rollback", "[OPTION...] NAME [PATH...]", "forget a sandbox's changes",
         "  -x, --exclude GLOB       keep what fits, and all in it; may be repeated\n"
         "  -v, --verbose            name every change\n" CONFIG_HELP
         "  -h, --help               show this\n",
         rollback_command},
	{"snapshot", "[OPTION...] NAME TAG", "keep the present state of a sandbox as NAME@TAG",
         CONFIG_HELP "  -h, --help               show this\n\n"
                     "Allowed while the sandbox runs: it is then kept as a crash would leave it.\n",
         snapshot_command},
	{"fork", "[OPTION...] NAME[@TAG] NEW",
         "a new sandbox that begins where another one is, or was",
         CONFIG_HELP "  -h, --help               show this\n", fork_command},
	{"merge", "[OPTION...] A B --into NEW", "a new sandbox with what two have changed",
         "      --into NEW           the name of the new one\n"
         "      --prefer A|B         whose it is where both changed something\n" CONFIG_HELP
         "  -h, --help               show this\n\n"
         "A and B may be NAME@TAG.  What both came from is taken into account as long as it is\n"
         "there: a snapshot, or a sandbox that was not used since.  Exits with 3, and nothing\n"
         "made, when both changed something differently.\n",
         merge_command},
	{"export", "[OPTION...] NAME[@TAG] --oci FILE", "a sandbox's changes as an OCI image",
         "      --oci FILE           the tar file to write; - for standard output\n" CONFIG_HELP
         "  -h, --help               show this\n\n"
         "The image has one layer: the changes, with whiteouts for what is gone.\n",
         export_command},
	{"import", "[OPTION...] NAME --oci FILE", "a new sandbox from an OCI image",
         "      --oci FILE           the tar file to read: an OCI image layout, compressed or "
         "not\n" CONFIG_HELP "  -h, --help               show this\n\n"
         "All layers of the image, over what the host has.\n",
         import_command},
	{"log", "[OPTION...] NAME", "the snapshots and forks around a sandbox, as a tree",
         "      --json               print all of them as JSON; NAME is not needed\n" CONFIG_HELP
         "  -h, --help               show this\n",
         log_command},
	{"exec", "[OPTION...] NAME [--] COMMAND [ARG...]",
         "a command in a sandbox that runs already",
         "  -e, --env NAME[=VALUE]   set a variable, or pass it\n"
         "      --env-all            pass the whole environment\n"
         "  -C, --chdir DIR          start in DIR of the sandbox\n"
         "  -t, --tty                a terminal of its own\n" CONFIG_HELP
         "  -h, --help               show this\n\n"
         "NAME is a sandbox of run --name.  The command sees what the others see, and ends with\n"
         "the sandbox.  Exit codes are as of run.\n",
         exec_command},
	{"allow", "[OPTION...] NAME WHERE...", "let a sandbox that runs reach more of the network",
         CONFIG_HELP "  -h, --help               show this\n\n"
                     "WHERE is as for run --allow.  It holds until the sandbox ends.\n",
         allow_command},
	{"ps", "[OPTION...] [NAME...]", "the kept sandboxes that run, and their processes",
         "      --json               print JSON\n" CONFIG_HELP
         "  -h, --help               show this\n",
         ps_command},
	{"ls", "[OPTION...]", "the sandboxes that are kept",
         "      --json               print JSON\n"
         "  -s, --size               what each takes on the disk\n" CONFIG_HELP
         "  -h, --help               show this\n",
         ls_command},
	{"rm", "[OPTION...] NAME...", "remove sandboxes with all their changes",
         CONFIG_HELP "  -h, --help               show this\n", rm_command},
	{"mcp", "[OPTION...]", "a sandbox as a server of the Model Context Protocol",
         "      --name NAME          keep the sandbox under this name (default: forget it at the "
         "end)\n"
         "      --net none|host      network of the commands (default: none)\n"
         "      --allow WHERE        what they reach all the same, as for run; may be repeated\n"
         "      --hide PATH          do not show PATH\n"
         "      --quota SIZE         how much may be written\n"
         "      --env-all            pass the host's whole environment\n"
         "      --yes                commit without asking the user\n"
         "  -c, --config FILE        read FILE instead of the usual configuration\n"
         "  -h, --help               show this\n\n"
         "Speaks on standard input and output; clients start it by themselves.  Tools: bash, "
         "read_file,\n"
         "write_file, list_files, diff, commit, reset.\n",
         mcp_command},
	{"serve", "--fd N | --socket PATH", "the broker: sandboxes for a program, by a protocol",
         "      --fd N               one client, on this inherited socket; ends with it\n"
         "      --socket PATH        make a socket there, for this user alone\n"
         "  -h, --help               show this\n\n"
         "docs/protocol.md has the protocol.  The SDKs start this by themselves.\n",
         serve_command},
	{"check", "[OPTION...]", "what this kernel offers, and what is missing",
         "      --json               print JSON\n  -h, --help               show this\n\n"
         "Exits with 1 when no sandbox can work here.\n",
         check_command},
	{"modules", "[OPTION...] [NAME]", "loaded modules, their options and where they are set",
         "      --json               print JSON\n" CONFIG_HELP
         "  -h, --help               show this\n",
         modules_command},
	{"routes", "[OPTION...] [SYSCALL]", "who answers each system call",
         "      --json               print JSON\n" CONFIG_HELP
         "  -h, --help               show this\n\n"
         "virtual: handled by modules; pass: runs natively; blocked: refused in the kernel;\n"
         "unrouted: nobody's, so refused.\n",
         routes_command},
	{"help", "[COMMAND]", "help on a command", "", help_command},
	{"version", "", "bvisor's version and that of the module border", "", version_command},
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

int cli_misuse(const char *cmd, const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (cmd)
		fprintf(stderr, "bvisor %s: %s (see bvisor %s --help)\n", cmd, text, cmd);
	else
		fprintf(stderr, "bvisor: %s (see bvisor --help)\n", text);
	return EXIT_MISUSE;
}

int cli_fail(const char *cmd, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(stderr, "bvisor %s: %s\n", cmd, text);
	return EXIT_BVISOR;
}

int cli_bad_option(const char *cmd, char **argv, int answer)
{
	const char *word = argv[optind - 1];
	bool is_long = strncmp(word, "--", 2) == 0;

	if (answer == ':' && is_long)
		return cli_misuse(cmd, "option '%s' needs an argument", word);
	if (answer == ':')
		return cli_misuse(cmd, "option '-%c' needs an argument", optopt);
	if (is_long && optopt)
		return cli_misuse(cmd, "option '%.*s' takes no argument", (int)strcspn(word, "="),
		                  word);
	if (is_long)
		return cli_misuse(cmd, "unknown option '%s'", word);
	return cli_misuse(cmd, "unknown option '-%c'", optopt);
}

int cli_flush(const char *cmd, int code)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return code;
	if (errno == EPIPE) /* the reader has seen enough */
		return code;
	return cli_fail(cmd, "cannot write: %s", strerror(errno));
}

int cli_help(const char *name)
{
	const struct command *c = find(name);

	printf("Usage: bvisor %s%s%s\n%c%s.\n", c->name, c->args[0] ? " " : "", c->args,
	       c->summary[0] - 'a' + 'A', c->summary + 1);
	if (c->help[0])
		printf("\n%s", c->help);
	return cli_flush(name, 0);
}

static int overview(void)
{
	printf("Usage: bvisor COMMAND [OPTION...]\n"
	       "Runs programs on a copy-on-write view of this machine: they see your files, their\n"
	       "writes stay inside.\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		printf("  %-9s %s\n", commands[i].name, commands[i].summary);
	printf("\n'bvisor COMMAND --help' tells more; bvisor(1) and bvisor.ini(5) tell all.\n");
	return cli_flush("help", 0);
}

static int help_command(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return overview();
	if (argc > 2)
		return cli_misuse("help", "too many arguments");
	if (!find(argv[1]))
		return cli_misuse("help", "there is no command '%s'", argv[1]);
	return cli_help(argv[1]);
}

static int version_command(int argc, char **argv)
{
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
		return cli_help("version");
	if (argc > 1)
		return cli_misuse("version", "takes no arguments");
	printf("bvisor %s, module border %d.%d\n", BVISOR_VERSION, BV_ABI_MAJOR, BV_ABI_MINOR);
	return cli_flush("version", 0);
}

int cli_main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : NULL;
	const struct command *c;

	if (!name)
		return cli_misuse(NULL, "no command given");
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
		return overview();
	if (strcmp(name, "--version") == 0 || strcmp(name, "-V") == 0)
		name = "version";
	if (name[0] == '-')
		return cli_misuse(NULL, "unknown option '%s'; options follow the command", name);
	c = find(name);
	if (!c)
		return cli_misuse(NULL,
		                  "there is no command '%s'; to run a program: bvisor run -- %s",
		                  name, name);
	opterr = 0;
	return c->run(argc - 1, argv + 1);
}
