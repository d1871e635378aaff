/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The supervisor's process: builds the sandbox, starts the guest, serves it, cleans up.  It runs
 * in a session of its own, where no terminal's signal reaches it, and gives up at once what it
 * needs no longer: descriptors, standard streams, capabilities.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bvisor/svc/net.h>
#include <bvisor/svc/vfs.h>
#include <cleanup.h>
#include <sanitized.h>

#include "named.h"
#include "control.h"
#include "join.h"
#include "kernel.h"

#define BIT(cap) (UINT64_C(1) << (cap))

/* A guest of root keeps those whose effect the virtual kernel confines (capabilities(7)). */
#define GUEST_CAPS                                                                    \
	(BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FOWNER) | BIT(CAP_FSETID) | \
	 BIT(CAP_KILL) | BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_SETPCAP) |       \
	 BIT(CAP_NET_BIND_SERVICE))
/* What it takes to act for such a guest, and to read and trace it. */
#define OWN_CAPS (GUEST_CAPS | BIT(CAP_DAC_READ_SEARCH) | BIT(CAP_SYS_PTRACE) | BIT(CAP_SETFCAP))

struct supervisor {
	struct run_options *o;
	struct sandbox *box;
	pid_t front;
	int control, slave;
	int out; /* where the changes go; -1: not asked for */
	int audit; /* where what is refused is told; -1 */
	int place; /* the kept sandbox's own directory, with the socket in it; -1 */
	int stops; /* how often the guest was stopped */
	int cwd_fd; /* the guest's first directory as the sandbox sees it; -1: by path */
	char cwd[4096];
};

/*
 * Leaves the front's session, now that the guest is in it.  Not before: only who is born in a
 * session can be in it.  And not just its process group: as a member of the session we would be
 * the parent that keeps the guest's group from being orphaned, and a Ctrl-Z would stop the guest
 * where no shell is left to continue it.  Signals were blocked until here; what the terminal sent
 * meanwhile is dropped, which ignoring does.
 */
static void leave_session(const sigset_t *mask)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGTSTP, SIGTTIN, SIGTTOU, SIGPIPE};
	sigset_t pending;

	setsid();
	sigemptyset(&pending);
	sigpending(&pending);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (sigismember(&pending, sig) == 1) {
			signal(sig, SIG_IGN);
			signal(sig, SIG_DFL);
		}
	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	sigprocmask(SIG_SETMASK, mask, NULL);
}

/* Leaves 0 to 2 and our own, moved to the front of the table; everything else is closed. */
static int tidy_descriptors(struct supervisor *s, int control, int slave)
{
	int high_control = fcntl(control, F_DUPFD_CLOEXEC, 10);
	int high_slave = slave < 0 ? -1 : fcntl(slave, F_DUPFD_CLOEXEC, 10);
	int high_out = s->o->diff == DIFF_NONE ? -1 : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	int high_audit = s->o->audit < 0 ? -1 : fcntl(s->o->audit, F_DUPFD_CLOEXEC, 10);
	int next = 3;

	if (high_control < 0 || (slave >= 0 && high_slave < 0) ||
	    (s->o->audit >= 0 && high_audit < 0) || (s->o->diff != DIFF_NONE && high_out < 0))
		return -errno;
	s->control = dup3(high_control, next++, O_CLOEXEC);
	s->slave = high_slave < 0 ? -1 : dup3(high_slave, next++, O_CLOEXEC);
	s->out = high_out < 0 ? -1 : dup3(high_out, next++, O_CLOEXEC);
	s->audit = high_audit < 0 ? -1 : dup3(high_audit, next++, O_CLOEXEC);
	if (syscall(SYS_close_range, next, ~0U, 0) < 0)
		return -errno;
	if (s->slave >= 0) {
		/* The terminal the guest is on is the one whose node modules shall show. */
		dup2(s->slave, STDIN_FILENO);
		dup2(s->slave, STDOUT_FILENO);
	}
	return 0;
}

/* Reduces our capabilities; there is nothing to do for an ordinary user. */
static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct cap[2];

	if (syscall(SYS_capget, &head, cap) < 0)
		return -errno;
	for (int i = 0; i < 2; i++) {
		cap[i].permitted &= (uint32_t)(OWN_CAPS >> (32 * i));
		cap[i].effective &= cap[i].permitted;
		cap[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, cap) < 0 ? -errno : 0;
}

static const struct bv_vfs *vfs_of(struct sandbox *box)
{
	const struct bv_head *head = loader_service(box, BV_VFS_SERVICE);
	const struct bv_vfs *vfs = (const struct bv_vfs *)head;

	return head && BV_HAS(struct bv_vfs, vfs, open_read) ? vfs : NULL;
}

/* Where the guest starts: in its own view of the directory, which need not be the host's. */
static int choose_cwd(struct supervisor *s, const struct bv_vfs *vfs, struct bv_error *err)
{
	const char *want = s->o->cwd;
	char here[4096];

	if ((!want || want[0] != '/') && !getcwd(here, sizeof(here))) {
		if (want)
			return error_set(err, errno, "the current directory: %s", strerror(errno));
		snprintf(here, sizeof(here),
		         "(deleted)"); /* no absolute path, so it is not found below */
	}
	if (!want)
		snprintf(s->cwd, sizeof(s->cwd), "%s", here);
	else if ((size_t)snprintf(s->cwd, sizeof(s->cwd), "%s%s%s", want[0] == '/' ? "" : here,
	                          want[0] == '/' ? "" : "/", want) >= sizeof(s->cwd))
		return error_set(err, ENAMETOOLONG, "-C: %s", strerror(ENAMETOOLONG));
	if (!vfs)
		return 0;
	int fd = s->cwd[0] == '/' ? vfs->open_read(vfs, s->cwd) : -ENOENT;
	if (fd < 0 && want)
		return error_set(err, -fd, "-C: '%s': %s", want, strerror(-fd));
	if (fd < 0) {
		log_line(BV_LOG_WARN, NULL,
		         "the current directory %s does not exist inside; starting in /", s->cwd);
		strcpy(s->cwd, "/");
		fd = vfs->open_read(vfs, s->cwd);
	}
	s->cwd_fd = fd;
	/* chdir(2) follows this link to the directory itself, wherever the store keeps it. */
	if (fd >= 0)
		snprintf(s->cwd, sizeof(s->cwd), "/proc/self/fd/%d", fd);
	return 0;
}

/* A TMPDIR that does not exist inside would break every program that makes temporary files. */
static int check_tmpdir(struct supervisor *s, const struct bv_vfs *vfs)
{
	const char *tmp = env_get(&s->o->env, "TMPDIR");

	if (!vfs || !tmp || tmp[0] != '/')
		return 0;
	bv_autofd int fd = vfs->open_read(vfs, tmp);
	return fd >= 0 ? 0 : env_set(&s->o->env, "TMPDIR", "/tmp");
}

/*
 * A kept sandbox can be joined (join.h).  Whatever stands in the way, that nobody can join it is no reason
 * not to run.
 */
static void open_to_others(struct supervisor *s)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	void *ctx;
	const char *why;
	const struct bv_store_ops *ops = s->o->name ? named_store(s->box, &ctx) : NULL;

	if (!ops || !BV_HAS(struct bv_store_ops, ops, place) || !ops->place)
		return;
	bv_autofd int dir = ops->place(ctx, s->o->name, &why);
	bv_autofd int sock =
		dir < 0 ? -1 : socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0)
		return;
	/* What is there was left by one that was killed: we hold the layer. */
	(void)unlinkat(dir, JOIN_SOCKET, 0);
	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/" JOIN_SOCKET, dir);
	mode_t old = umask(0177);
	int r = bind(sock, (struct sockaddr *)&a, sizeof(a));
	umask(old);
	if (r < 0 || listen(sock, 16) < 0) {
		log_line(BV_LOG_WARN, NULL,
		         "nothing can be executed in this sandbox from outside: %s",
		         strerror(errno));
		return;
	}
	s->place = bv_take_fd(&dir);
	s->box->join_fd = bv_take_fd(&sock);
}

static int look_up_hosts(struct sandbox *box, struct bv_error *err)
{
	const struct bv_net *net = (const struct bv_net *)loader_service(box, BV_NET_SERVICE);
	int r = net && BV_HAS(struct bv_net, net, look_up) ? net->look_up(net) : 0;

	return r < 0 ? error_set(err, -r, "the allowed hosts: %s", strerror(-r)) : 0;
}

static int prepare(struct supervisor *s, struct bv_error *err)
{
	struct config *config;
	int r = settings_load(&s->o->settings, &config, err);

	if (r == 0)
		r = sandbox_new_audited(&s->box, config, s->audit, err);
	if (r < 0)
		return r;
	const struct bv_vfs *vfs = vfs_of(s->box);
	r = choose_cwd(s, vfs, err);
	if (r == 0 && check_tmpdir(s, vfs) < 0)
		r = error_set(err, ENOMEM, "out of memory");
	if (r == 0)
		r = look_up_hosts(s->box, err);
	if (r == 0)
		open_to_others(s);
	return r;
}

/*
 * Where bvisor is installed below a hidden or private directory guests do not see its programs.  One of
 * them that is to run inside is then a nameless copy.  0: it is seen, or there is nothing to copy.
 */
static int unseen(const struct supervisor *s)
{
	const struct bv_vfs *vfs = vfs_of(s->box);
	bv_autofd int seen = vfs ? vfs->open_read(vfs, s->o->argv[0]) : -1;
	struct stat st;

	if (seen >= 0 || !vfs)
		return 0;
	bv_autofd int from = open(s->o->argv[0], O_RDONLY | O_CLOEXEC);
	if (from < 0 || fstat(from, &st) < 0)
		return 0;
	bv_autofd int to = memfd_create("bvisor-init", MFD_CLOEXEC | KERNEL_MFD_EXEC);
	if (to < 0) /* before Linux 6.3 there is no such flag, and all can be executed */
		to = memfd_create("bvisor-init", MFD_CLOEXEC);
	while (to >= 0 && st.st_size > 0) {
		ssize_t n = sendfile(to, from, NULL, (size_t)st.st_size);

		if (n <= 0)
			return 0;
		st.st_size -= n;
	}
	return to < 0 ? 0 : bv_take_fd(&to);
}

static int start(struct supervisor *s, struct bv_error *err)
{
	int program = s->o->own ? unseen(s) : 0;
	struct launch l = {
		.program = program,
		.argv = s->o->argv,
		.envp = s->o->env.var,
		.cwd = s->cwd,
		.stdio = {s->slave, s->slave, s->slave},
		.tty = s->slave,
		.pgid = getpgrp(), /* the front's, still */
		.caps_keep = GUEST_CAPS,
		.ignore = s->o->ignored,
	};
	int pid = launch_spawn(s->box, &l, err);

	if (program)
		close(program);
	if (pid < 0)
		return pid;
	leave_session(&s->o->mask);
	cli_release_stdio();
	if (s->slave >= 0)
		close(s->slave);
	if (s->cwd_fd >= 0)
		close(s->cwd_fd);
	s->slave = s->cwd_fd = -1;
	int r = drop_capabilities();
	if (r < 0)
		log_line(BV_LOG_WARN, "core", "cannot drop capabilities: %s", strerror(-r));
	return pid;
}

static int exit_code(const struct supervisor *s, const struct run_result *res)
{
	if (res->exec_errno) {
		cli_fail(s->o->cmd, "'%s': %s", s->o->argv[0], strerror(res->exec_errno));
		return res->exec_errno == ENOENT || res->exec_errno == ENOTDIR ? EXIT_NOTFOUND
		                                                               : EXIT_EXEC;
	}
	if (WIFSIGNALED(res->status))
		return EXIT_SIGNAL + WTERMSIG(res->status);
	return WEXITSTATUS(res->status);
}

/* The front may have stopped with the guest, or with its terminal: once more before, should its queue
 * be full, and after, should it just now have read of the stop. */
static void tell_front(const struct supervisor *s, enum control_kind kind, int value)
{
	for (int i = 0; i < 2; i++) {
		if ((s->stops || s->o->tty) && getppid() == s->front)
			kill(s->front, SIGCONT);
		if (i == 0)
			control_send_wait(s->control, kind, value);
	}
}

/* Asks the front to put the terminal in order first; false when it is gone. */
static bool wait_for_go(const struct supervisor *s)
{
	unsigned char byte;
	ssize_t n;

	tell_front(s, CONTROL_ENDED, 0);
	do /* signals that come too late */
		n = recv(s->control, &byte, 1, 0);
	while ((n < 0 && errno == EINTR) || (n == 1 && byte != CONTROL_GO));
	return n == 1;
}

static int print_changes(struct supervisor *s)
{
	FILE *to;
	int r;

	if (s->out < 0)
		return 0;
	to = fdopen(s->out, "w");
	if (!to)
		return -errno;
	r = review_print(s->box, s->o->diff, s->o->who, to);
	if (fclose(to) != 0 && r == 0)
		r = -errno;
	s->out = -1;
	return r == -EPIPE ? 0 : r;
}

static int serve(struct supervisor *s, struct bv_error *err)
{
	struct run_result res = {0};
	int r, pid = start(s, err);

	if (pid < 0)
		return cli_fail(s->o->cmd, "%s", err->text);
	r = loop_run(s->box, pid, s->control, s->o->wait_all, &res, err);
	s->stops = res.stops;
	if (r < 0)
		return cli_fail(s->o->cmd, "%s", err->text);
	/* Nothing of ours may mix with what is still to come from the guest's terminal. */
	if ((s->o->tty || s->o->diff != DIFF_NONE) && !wait_for_go(s))
		return EXIT_BVISOR;
	int code = exit_code(s, &res);
	r = print_changes(s);
	if (r < 0)
		return cli_fail(s->o->cmd, "cannot list the changes: %s", strerror(-r));
	return code;
}

int supervisor_main(struct run_options *o, int control, int slave)
{
	struct supervisor s = {.o = o,
	                       .front = getppid(),
	                       .control = control,
	                       .slave = slave,
	                       .out = -1,
	                       .audit = -1,
	                       .place = -1,
	                       .cwd_fd = -1};
	struct bv_error err = {""};
	int code, r;

	prctl(PR_SET_NAME, "bvisor-sup");
	r = tidy_descriptors(&s, control, slave);
	if (r < 0)
		code = cli_fail(o->cmd, "descriptors: %s", strerror(-r));
	else if (prepare(&s, &err) < 0)
		code = cli_fail(o->cmd, "%s", o->name ? named_error(err.text) : err.text);
	else
		code = serve(&s, &err);
	if (s.place >= 0)
		(void)unlinkat(s.place, JOIN_SOCKET, 0);
	sandbox_quit(s.box);
	tell_front(&s, CONTROL_EXIT, code);
	if (!BV_SANITIZED)
		_exit(code); /* a start costs so little that giving back memory would show */
	settings_fini(&o->settings);
	env_fini(&o->env);
	return code;
}
