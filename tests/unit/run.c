/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The running sandbox (launch, loop, notify, defer, exec_redirect, task, creds, host) with real
 * guests and a handful of handlers in place of modules: no file of a module is involved.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bvisor.h"
#include "landlock.h"
#include "launch.h"
#include "router.h"
#include "run_calls.h"

static const struct bv_host *const host = &host_table;
static char outside[] = "/var/tmp/bvisor-unit-run-outside"; /* a host file that is nobody's to change */
static char dir[64], prog[PATH_MAX]; /* where the redirected things really are */
static struct sandbox *box;
static int counted;

/* ---- handlers ---- */
struct slow {
	int ms, result, round;
};

static void slow_work(void *arg)
{
	struct slow *s = arg;
	struct timespec t = {s->ms / 1000, s->ms % 1000 * 1000000L};

	s->result = nanosleep(&t, NULL) < 0 ? -errno : CALL_SLOW_RESULT;
	s->round++;
}

/* Succeeds, cancelled or not. */
static void sure_work(void *arg)
{
	struct slow *s = arg;
	struct timespec t = {s->ms / 1000, s->ms % 1000 * 1000000L};

	while (nanosleep(&t, &t) < 0)
		;
	s->result = CALL_SLOW_RESULT;
}

static enum bv_verdict slow_done(struct bv_call *call, void *arg)
{
	struct slow *s = arg;
	int result = s->result;

	free(s);
	return call ? host->reply(call, result) : BV_REPLIED;
}

static enum bv_verdict twice_done(struct bv_call *call, void *arg)
{
	struct slow *s = arg;
	int round = s->round;

	if (call && round < 2)
		return host->defer(call, 0, slow_work, twice_done, s);
	free(s);
	return call ? host->reply(call, round) : BV_REPLIED;
}

static enum bv_verdict slow(struct bv_call *call, unsigned flags, void (*work)(void *),
                            enum bv_verdict (*done)(struct bv_call *, void *))
{
	struct slow *s = calloc(1, sizeof(*s));

	s->ms = (int)call->arg[1];
	return host->defer(call, flags, work, done, s);
}

static enum bv_verdict fd_size(struct bv_call *call)
{
	int fd = host->get_fd(call, (int)call->arg[1]);
	struct stat st;

	if (fd < 0)
		return host->reply(call, fd);
	fstat(fd, &st);
	close(fd);
	return host->reply(call, st.st_size);
}

static int inner_file(void)
{
	int fd = memfd_create("inner", MFD_CLOEXEC);

	if (write(fd, "inner", 5) != 5)
		return -EIO;
	lseek(fd, 0, SEEK_SET);
	return fd;
}

static enum bv_verdict fd_place(struct bv_call *call)
{
	int fd = inner_file(), r = host->add_fd(call, fd, (int)call->arg[1], 0);

	close(fd);
	return host->reply(call, r);
}

static enum bv_verdict act(struct bv_call *call)
{
	char path[PATH_MAX];
	struct stat st = {0};
	int r = host->as_guest(call);

	if (r < 0)
		return host->reply(call, r);
	snprintf(path, sizeof(path), "%s/open/made", dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	host->as_creds(NULL);
	stat(path, &st);
	unlink(path);
	return host->reply(call, st.st_uid);
}

static int breach(uint64_t how)
{
	char beside[sizeof(dir) + 16], inside[sizeof(dir) + 16];
	int fd = -1;

	snprintf(beside, sizeof(beside), "%s-breach", dir);
	snprintf(inside, sizeof(inside), "%s/written", dir);
	if (how == 0)
		fd = open(beside, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	else if (how == 1)
		fd = open(outside, O_WRONLY | O_CLOEXEC);
	else if (how == 2)
		return unlink(outside) < 0 ? -errno : 0;
	else if (how == 3)
		fd = open(outside, O_RDONLY | O_CLOEXEC);
	else
		fd = open(inside, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

BV_SYSCALL(getpriority)
{
	struct bv_self *me = self;
	struct bv_creds c;

	switch (call->arg[0]) {
	case CALL_SLOW:
		return slow(call, BV_DEFER_SIGNALS, slow_work, slow_done);
	case CALL_SLOW_KEPT:
		return slow(call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, slow_work, slow_done);
	case CALL_DONE_KEPT:
		return slow(call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, sure_work, slow_done);
	case CALL_SLOW_DEAF:
		return slow(call, 0, slow_work, slow_done);
	case CALL_COUNT:
		return host->reply(call, ++counted);
	case CALL_TWICE:
		return slow(call, 0, slow_work, twice_done);
	case CALL_FD_SIZE:
		return fd_size(call);
	case CALL_FD_PLACE:
		return fd_place(call);
	case CALL_IS_GUEST:
		return host->reply(call, host->is_guest(me, (int32_t)call->arg[1]));
	case CALL_SUPERVISOR_IS_GUEST:
		return host->reply(call, host->is_guest(me, getpid()) || host->is_guest(me, getppid()));
	case CALL_UMASK:
		return host->reply(call, host->umask(call));
	case CALL_UID:
		return host->reply(call, host->creds(call, &c) < 0 ? -1 : (int)c.fsuid);
	case CALL_GROUPS:
		return host->reply(call, host->creds(call, &c) < 0 ? -1 : (int)c.n_groups);
	case CALL_ACT:
		return act(call);
	case CALL_BREACH:
		return host->reply(call, breach(call->arg[1]));
	}
	return host->reply(call, -EINVAL);
}

BV_SYSCALL(getppid)
{
	return host->reply(call, CALL_PPID);
}

/* Natural as it is, this CONTINUE trusts the guest's memory: the tests' guest is no enemy. */
static bool path_is(struct bv_call *call, int arg, const char *what)
{
	char path[PATH_MAX];

	return host->mem_read_str(call, path, call->arg[arg], sizeof(path)) >= 0 && strcmp(path, what) == 0;
}

BV_SYSCALL(openat)
{
	if (path_is(call, 1, CALL_FILE))
		return host->reply_fd(call, inner_file(), (unsigned)call->arg[2] & O_CLOEXEC);
	return BV_CONTINUE;
}

static enum bv_verdict redirect(struct bv_call *call, struct bv_redirect *r, const char *file)
{
	struct stat st;

	if (stat(file, &st) < 0)
		return host->reply(call, -errno);
	r->dev = st.st_dev;
	r->ino = st.st_ino;
	return host->redirect(call, r);
}

BV_SYSCALL(execve)
{
	static const char *const argv[] = {"env", "A=1", "sh", "-c",
	                                   "test \"$A $# $0 $1\" = '1 1 one two three' && exit 33"};
	struct bv_redirect r = {.path = prog};

	if (path_is(call, 0, CALL_PROG)) {
		r.shown = CALL_PROG;
		return redirect(call, &r, prog);
	}
	if (path_is(call, 0, CALL_WRONG))
		return redirect(call, &r, "/bin/sh");
	if (path_is(call, 0, CALL_GONE)) {
		r.path = "/nonexistent/program";
		return redirect(call, &r, prog);
	}
	if (path_is(call, 0, CALL_SCRIPT)) {
		r.path = "/usr/bin/env";
		r.argv = argv;
		r.n_argv = sizeof(argv) / sizeof(argv[0]);
		return redirect(call, &r, r.path);
	}
	return BV_CONTINUE;
}

BV_SYSCALL(chdir)
{
	char real[PATH_MAX];
	struct bv_redirect r = {.path = real};

	snprintf(real, sizeof(real), "%s/dir", dir);
	return path_is(call, 0, CALL_DIR) ? redirect(call, &r, real) : BV_CONTINUE;
}

/* ---- the sandbox ---- */
static const struct bv_handler handlers[] = {
	BV_ON(getpriority, BV_SERVE), BV_ON(getppid, BV_SERVE), BV_ON(openat, BV_SERVE),
	BV_ON(execve, BV_SERVE),      BV_ON(chdir, BV_SERVE),
};
static const struct bv_module desc = {.name = "test"};
static struct bv_self me;
static char *landlock_path[] = {(char *)"/"};
/* `dir`, and for its end the directory that holds it. */
static struct own_write own_write[] = {{NULL, BV_WRITE_ALL}, {(char *)"/tmp", BV_WRITE_DIRS}};

static void copy_file(const char *from, const char *to)
{
	char cmd[2 * PATH_MAX + 16];

	snprintf(cmd, sizeof(cmd), "cp '%s' '%s'", from, to);
	cr_assert_eq(system(cmd), 0);
}

static void setup(void)
{
	char path[PATH_MAX];

	strcpy(dir, "/tmp/bvisor-unit-run-XXXXXX");
	cr_assert_not_null(mkdtemp(dir));
	chmod(dir, 0755);
	snprintf(path, sizeof(path), "%s/dir", dir);
	cr_assert_eq(mkdir(path, 0755), 0);
	snprintf(path, sizeof(path), "%s/open", dir);
	cr_assert_eq(mkdir(path, 0755), 0);
	chmod(path, 0777);
	snprintf(prog, sizeof(prog), "%s/a-longer-way-to/prog", dir);
	snprintf(path, sizeof(path), "%s/a-longer-way-to", dir);
	cr_assert_eq(mkdir(path, 0755), 0);
	copy_file(RUN_GUEST, prog);

	box = calloc(1, sizeof(*box));
	box->landlock_path = landlock_path;
	own_write[0].path = dir;
	box->own_write = own_write;
	box->n_own_writes = 2;
	box->n_landlock = 1;
	box->conf.workers = 4;
	me = (struct bv_self){.box = box, .desc = &desc, .state = &me, .ready = true};
	cr_assert_eq(router_new(&box->router, 0), 0);
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		cr_assert_eq(router_add(box->router, &me, &handlers[i]), 0);
	cr_assert_eq(creds_routes(box), 0);
	cr_assert_eq(router_freeze(box->router), 0);
	cr_assert_eq(filter_compile(box->router, &box->filter), 0);
}

static void teardown(void)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	cr_expect_eq(system(cmd), 0);
	cr_expect_eq(waitpid(-1, NULL, WNOHANG), -1, "no child is left");
	launch_free(box->launch);
	router_free(box->router);
	free(box->core);
	free(box->filter.filter);
	free(box);
}

TestSuite(run, .init = setup, .fini = teardown, .timeout = 120);

static struct run_result run_with(char *const *argv, int control, bool wait_all)
{
	static char *const envp[] = {(char *)"PATH=/usr/local/bin:/usr/bin:/bin", NULL};
	struct launch l = {
		.argv = argv,
		.envp = envp,
		.cwd = "/",
		.stdio = {-1, -1, -1},
		.tty = -1,
		.pgid = getpgrp(),
		.caps_keep = 1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_FOWNER |
	                     1ULL << CAP_FSETID | 1ULL << CAP_KILL | 1ULL << CAP_SETUID | 1ULL << CAP_SETGID |
	                     1ULL << CAP_SETPCAP,
	};
	struct run_result result = {0};
	struct bv_error err = {""};
	pid_t pid = launch_spawn(box, &l, &err);

	cr_assert_gt(pid, 0, "%s", err.text);
	int r = loop_run(box, pid, control, wait_all, &result, &err);
	cr_assert_eq(r, 0, "loop_run: %s", err.text);
	return result;
}

static struct run_result role(const char *name, const char *arg)
{
	char *const argv[] = {(char *)RUN_GUEST, (char *)name, (char *)arg, NULL};

	return run_with(argv, -1, false);
}

/* Runs a role that is to find all as it should be; tells the line of run_guest.c when not. */
static void passes(const char *name, const char *arg)
{
	struct run_result r = role(name, arg);

	cr_assert_eq(r.exec_errno, 0);
	cr_assert(WIFEXITED(r.status), "%s: signal %d", name, WTERMSIG(r.status));
	cr_assert_eq(WEXITSTATUS(r.status), 0, "%s: run_guest.c line %d or that plus a multiple of 200", name,
	             WEXITSTATUS(r.status) - 1);
}

static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

Test(run, exit_status_and_signal)
{
	int before = count_fds();

	cr_assert_eq(role("nothing-such", NULL).status, 198 << 8);
	cr_assert_eq(role("signalled", NULL).status, SIGTERM);
	cr_assert_eq(count_fds(), before, "a run leaves no descriptor behind");
}

Test(run, exec_errors)
{
	char *const none[] = {(char *)"no-such-command-anywhere", NULL};
	char *const no_file[] = {(char *)"/no/such/file", NULL};
	char *const no_right[] = {(char *)"/etc/passwd", NULL};
	char *const by_path[] = {(char *)"true", NULL};

	cr_assert_eq(run_with(none, -1, false).exec_errno, ENOENT);
	cr_assert_eq(run_with(no_file, -1, false).exec_errno, ENOENT);
	cr_assert_eq(run_with(no_right, -1, false).exec_errno, EACCES);
	struct run_result r = run_with(by_path, -1, false);
	cr_assert_eq(r.exec_errno, 0);
	cr_assert_eq(r.status, 0);
}

/* Removes the file when this process has ended, which will not be able to. */
static void remove_later(const char *path)
{
	int end[2];
	char c;

	cr_assert_eq(pipe2(end, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			close(end[1]);
			while (read(end[0], &c, 1) > 0)
				continue;
			unlink(path);
		}
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	close(end[0]); /* the other end stays open to the end */
}

Test(run, the_supervisor_cannot_write_the_host)
{
	int fd = open(outside, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);

	cr_assert(fd >= 0);
	close(fd);
	remove_later(outside);
	if (landlock_abi() < 2)
		cr_skip("needs Landlock ABI 2");
	passes("breach", NULL);
	cr_expect_eq(access(outside, F_OK), 0);
}

Test(run, redirected_exec)
{
	passes("redirect", NULL);
}

Test(run, redirect_that_fails)
{
	passes("redirect_fails", NULL);
}

Test(run, redirect_with_another_argv)
{
	passes("script", NULL);
}

Test(run, redirect_of_the_first_exec)
{
	char *const argv[] = {(char *)CALL_PROG, (char *)"nothing-such", NULL};

	cr_assert_eq(run_with(argv, -1, false).status, 198 << 8);
}

Test(run, killed_while_redirected)
{
	passes("kill_redirect", NULL);
}

Test(run, signals_and_deferred_calls)
{
	passes("signals", NULL);
}

Test(run, calls_happen_once)
{
	passes("once", NULL);
}

Test(run, death_cancels_deferred_calls)
{
	passes("death", NULL);
}

Test(run, deferred_again)
{
	passes("twice", NULL);
}

Test(run, descriptors)
{
	passes("fds", NULL);
}

Test(run, who_is_a_guest)
{
	passes("guests", NULL);
}

Test(run, identity)
{
	if (geteuid() != 0)
		cr_skip_test("needs root");
	passes("creds", NULL);
	cr_assert_eq(geteuid(), 0);
}

Test(run, two_thousand_processes_and_threads)
{
	passes("many", "2000");
}

Test(run, more_processes_than_descriptors)
{
	struct rlimit lim = {400, 400};

	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &lim), 0);
	passes("many", "800");
}

Test(run, background_guests_die_with_the_first)
{
	cr_assert_eq(role("daemons", "50").status, 3 << 8);
	cr_assert_eq(waitpid(-1, NULL, WNOHANG), -1);
	cr_assert_eq(errno, ECHILD);
}

Test(run, wait_all_waits)
{
	char *const argv[] = {(char *)"sh", (char *)"-c", (char *)"(sleep 0.3; exit 5) & exit 4", NULL};
	struct timespec a, b;

	clock_gettime(CLOCK_MONOTONIC, &a);
	cr_assert_eq(run_with(argv, -1, true).status, 4 << 8);
	clock_gettime(CLOCK_MONOTONIC, &b);
	cr_assert_geq((b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000, 290);
}

Test(run, end_of_the_control_socket_kills)
{
	char *const argv[] = {(char *)RUN_GUEST, (char *)"wait", (char *)"60", NULL};
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid_t front = fork();
	if (front == 0) {
		usleep(100000);
		_exit(0);
	}
	close(pair[1]);
	cr_assert_eq(run_with(argv, pair[0], false).status, SIGKILL);
	close(pair[0]);
}

Test(run, a_signal_by_the_control_socket)
{
	char *const argv[] = {(char *)RUN_GUEST, (char *)"wait", (char *)"60", NULL};
	const unsigned char term = SIGTERM;
	int pair[2];

	cr_assert_eq(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	cr_assert_eq(write(pair[1], &term, 1), 1);
	cr_assert_eq(run_with(argv, pair[0], false).status, SIGTERM);
	close(pair[0]);
	close(pair[1]);
}
