/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor exec: a command in a sandbox that runs already.  join.h says how it is asked for. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "control.h"
#include "join.h"
#include "named.h"
#include "tty.h"

enum { O_ENV_ALL = 256 };

struct executing {
	struct settings settings;
	struct env env;
	const char **add; /* -e */
	size_t n_add;
	bool env_all, tty;
	const char *cwd;
	char *const *argv;
	int sock, sigfd;
	struct tty terminal;
	int code; /* -1: not known yet */
};

/* ---- the request ---- */

/* The directory to start in, as a path inside. */
static int directory(const struct executing *x, char out[PATH_MAX])
{
	char here[PATH_MAX];

	if (x->cwd && x->cwd[0] == '/')
		return snprintf(out, PATH_MAX, "%s", x->cwd) < PATH_MAX ? 0 : -ENAMETOOLONG;
	if (!getcwd(here, sizeof(here)))
		return -errno;
	return snprintf(out, PATH_MAX, "%s%s%s", here, x->cwd ? "/" : "", x->cwd ? x->cwd : "") <
	                       PATH_MAX
	               ? 0
	               : -ENAMETOOLONG;
}

static int strings(const struct executing *x, struct join_request *q)
{
	bv_autostrbuf struct strbuf b = {0};
	char cwd[PATH_MAX];
	int r = directory(x, cwd);

	if (r < 0)
		return r;
	strbuf_add(&b, cwd, strlen(cwd) + 1);
	for (char *const *w = x->argv; *w; w++, q->argc++)
		strbuf_add(&b, *w, strlen(*w) + 1);
	for (char *const *v = x->env.var; *v; v++, q->envc++)
		strbuf_add(&b, *v, strlen(*v) + 1);
	if (b.failed)
		return -ENOMEM;
	if (b.len > JOIN_STRINGS_MAX)
		return -E2BIG;
	bv_autofd int fd = memfd_create("exec", MFD_CLOEXEC);
	if (fd < 0 || write(fd, b.data, b.len) != (ssize_t)b.len)
		return -errno;
	return bv_take_fd(&fd);
}

static int ask(struct executing *x)
{
	struct join_request q = {.magic = JOIN_MAGIC, .flags = x->tty ? JOIN_TTY : 0};
	bv_autofd int text = strings(x, &q);
	int fd[4] = {text, x->tty ? x->terminal.slave : STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO};
	size_t n = x->tty ? 2 : 4;

	return text < 0 ? text : named_ask(x->sock, &q, fd, n);
}

/* ---- while it runs ---- */

static void pass_on(const struct executing *x, int sig)
{
	unsigned char byte = (unsigned char)sig;

	(void)!send(x->sock, &byte, 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void signalled(struct executing *x)
{
	struct signalfd_siginfo si;

	while (read(x->sigfd, &si, sizeof(si)) == sizeof(si)) {
		if (si.ssi_signo == SIGWINCH && x->tty) {
			tty_resize(&x->terminal);
		} else if (si.ssi_signo == SIGTSTP) {
			/* The command's session has no shell that would continue it: it stops with us, and goes on
			 * with us. */
			pass_on(x, SIGSTOP);
			(void)kill(getpid(), SIGSTOP);
			pass_on(x, SIGCONT);
		} else {
			pass_on(x, (int)si.ssi_signo);
		}
	}
}

/* What the supervisor says. */
static void told(struct executing *x)
{
	struct control_msg m;
	ssize_t n = recv(x->sock, &m, sizeof(m), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n != sizeof(m)) {
		x->code = cli_fail("exec", "the sandbox has ended");
		return;
	}
	switch (m.kind) {
	case CONTROL_STARTED:
		if (x->tty)
			tty_raw(&x->terminal);
		break;
	case CONTROL_EXIT:
		x->code = WIFSIGNALED(m.value) ? EXIT_SIGNAL + WTERMSIG(m.value)
		                               : WEXITSTATUS(m.value);
		break;
	case JOIN_NOT_EXECUTED:
		(void)cli_fail("exec", "'%s': %s", x->argv[0], strerror(m.value));
		x->code = m.value == ENOENT || m.value == ENOTDIR ? EXIT_NOTFOUND : EXIT_EXEC;
		break;
	case JOIN_FAILED:
		if (m.value == ENOENT)
			x->code = cli_fail("exec", "the directory to start in does not exist "
			                           "inside: choose one with -C");
		else
			x->code = cli_fail("exec", "the sandbox cannot take it: %s",
			                   strerror(m.value));
		break;
	default:
		break;
	}
}

static int serve(struct executing *x)
{
	struct pollfd fd[2 + TTY_FDS] = {{.fd = x->sock, .events = POLLIN},
	                                 {.fd = x->sigfd, .events = POLLIN}};
	nfds_t n = x->tty ? 2 + TTY_FDS : 2;

	x->code = -1;
	while (x->code < 0) {
		if (x->tty)
			tty_poll(&x->terminal, fd + 2);
		if (poll(fd, n, -1) < 0)
			continue;
		if (fd[1].revents)
			signalled(x);
		if (x->tty)
			tty_pump(&x->terminal, fd + 2);
		if (fd[0].revents)
			told(x);
	}
	return x->code;
}

static int run(struct executing *x, const char *name)
{
	static const int passed[] = {SIGHUP,  SIGINT,  SIGQUIT,  SIGTERM,
	                             SIGUSR1, SIGUSR2, SIGWINCH, SIGTSTP};
	sigset_t set;

	bv_autofd int sock = named_reach("exec", &x->settings, name);
	if (sock < 0)
		return EXIT_BVISOR;
	sigemptyset(&set);
	for (size_t i = 0; i < BV_ROWS_OF(passed); i++)
		sigaddset(&set, passed[i]);
	sigprocmask(SIG_BLOCK, &set, NULL);
	bv_autofd int sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	x->sock = sock;
	x->sigfd = sigfd;
	int r = sigfd < 0 ? -errno : x->tty ? tty_open(&x->terminal) : 0;
	if (r < 0)
		return cli_fail("exec", "%s", strerror(-r));
	r = ask(x);
	if (x->tty) {
		close(x->terminal.slave);
		x->terminal.slave = -1;
	}
	int code = r < 0 ? cli_fail("exec", "%s", strerror(-r)) : serve(x);
	if (x->tty) {
		tty_drain(&x->terminal);
		tty_restore(&x->terminal);
		tty_close(&x->terminal);
	}
	return code;
}

/* ---- the command line ---- */

static int parse(struct executing *x, int argc, char **argv)
{
	static const struct option options[] = {
		{"env", required_argument, NULL, 'e'},    {"env-all", no_argument, NULL, O_ENV_ALL},
		{"chdir", required_argument, NULL, 'C'},  {"tty", no_argument, NULL, 't'},
		{"config", required_argument, NULL, 'c'}, {"option", required_argument, NULL, 'o'},
		{"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
	int c;

	while ((c = getopt_long(argc, argv, "+:e:C:tc:o:h", options, NULL)) != -1) {
		int code = 0;

		switch (c) {
		case '?':
		case ':':
			return cli_bad_option("exec", argv, c);
		case 'h':
			return cli_help("exec");
		case 'e':
			if (optarg[0] == '=' || optarg[0] == '\0')
				return cli_misuse("exec", "-e: '%s' is neither NAME=VALUE nor NAME",
				                  optarg);
			x->add[x->n_add++] = optarg;
			break;
		case O_ENV_ALL:
			x->env_all = true;
			break;
		case 'C':
			x->cwd = optarg;
			break;
		case 't':
			x->tty = true;
			break;
		default:
			code = settings_parse("exec", c, &x->settings);
		}
		if (code)
			return code;
	}
	return -1;
}

int exec_command(int argc, char **argv)
{
	struct executing x = {.add = calloc((size_t)argc + 1, sizeof(*x.add)),
	                      .terminal = {.master = -1, .slave = -1}};
	int code = x.add ? parse(&x, argc, argv) : cli_fail("exec", "out of memory");
	const char *name = argv[optind];

	if (code < 0 && !name)
		code = cli_misuse("exec", "no name of a sandbox given");
	if (code < 0) {
		x.argv = argv + optind + 1;
		if (x.argv[0] && strcmp(x.argv[0], "--") == 0)
			x.argv++;
		if (!x.argv[0])
			code = cli_misuse("exec", "no command given");
	}
	int r = code < 0 ? env_init(&x.env, x.env_all) : 0;
	for (size_t i = 0; code < 0 && i < x.n_add && r == 0; i++)
		r = env_add(&x.env, x.add[i]);
	if (r < 0)
		code = cli_fail("exec", "environment: %s", strerror(-r));
	if (code < 0)
		code = run(&x, name);
	settings_fini(&x.settings);
	env_fini(&x.env);
	free(x.add);
	return code;
}
