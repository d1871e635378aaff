/* SPDX-License-Identifier: Apache-2.0 */
/* libbvisor against the real program: $BVISOR_BIN.  TAP. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <bvisor.h>

static int tests, failures;
static struct bvisor_error e;
static char host[] = "capi-XXXXXX";
static char here[4096];

__attribute__((format(printf, 2, 3))) static void ok(bool good, const char *fmt, ...)
{
	va_list ap;

	printf("%sok %d - ", good ? "" : "not ", ++tests);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
	if (!good) {
		failures++;
		printf("# %s (%d): %s\n", e.code, e.err, e.message);
	}
	fflush(stdout);
}

static bool is(const char *code, int err)
{
	return strcmp(e.code, code) == 0 && e.err == err;
}

/* A shell command's result. */
static struct bvisor_result sh(struct bvisor_sandbox *sb, const char *text)
{
	const struct bvisor_command c = {.size = sizeof(c), .shell = text};
	struct bvisor_result r = {.code = -99};

	(void)bvisor_run(sb, &c, &r, &e);
	return r;
}

static bool says(struct bvisor_sandbox *sb, const char *text, const char *out)
{
	struct bvisor_result r = sh(sb, text);
	bool same = r.code == 0 && strcmp(r.out, out) == 0;

	if (!same)
		printf("# %d: %s%s\n", r.code, r.out ? r.out : "", r.err ? r.err : "");
	bvisor_result_free(&r);
	return same;
}

static void results(struct bvisor_sandbox *sb)
{
	struct bvisor_result r = sh(sb, "echo out; echo err >&2; exit 7");
	ok(r.code == 7 && !r.signal && strcmp(r.out, "out\n") == 0 && strcmp(r.err, "err\n") == 0,
	   "output and status");
	bvisor_result_free(&r);
	r = sh(sb, "kill -9 $$");
	ok(r.code == 137 && r.signal == SIGKILL, "a signal");
	bvisor_result_free(&r);
	const char *const words[] = {"printf", "%s|", "a b", "", "$x", NULL}, *const env[] = {
										      "A=1", "PATH",
										      NULL};
	struct bvisor_command c = {.size = sizeof(c), .argv = words};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && strcmp(r.out, "a b||$x|") == 0, "words");
	bvisor_result_free(&r);
	c = (struct bvisor_command){
		.size = sizeof(c), .shell = "echo $A ${PATH-none} $PWD", .env = env, .cwd = "/usr"};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && strncmp(r.out, "1 ", 2) == 0 &&
	           strstr(r.out, " /usr\n"),
	   "environment and directory: %s", r.out);
	bvisor_result_free(&r);
	c = (struct bvisor_command){.size = sizeof(c), .shell = "sleep 60", .timeout = 0.2};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.timed_out && r.signal == SIGKILL && r.duration < 10,
	   "a timeout");
	bvisor_result_free(&r);
	c = (struct bvisor_command){.size = sizeof(c),
	                            .shell = "head -c 1M /dev/zero > big",
	                            .limits = {.file_size = 4096}};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.code != 0, "a limit");
	bvisor_result_free(&r);
	c = (struct bvisor_command){.size = sizeof(c),
	                            .shell = "tty >/dev/null && stty size",
	                            .tty = 1,
	                            .rows = 7,
	                            .cols = 9};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && strcmp(r.out, "7 9\r\n") == 0, "a terminal");
	bvisor_result_free(&r);
	ok(says(sb, "cat; echo end", "end\n"), "no input");
}

struct seen {
	size_t n[3];
	bool order;
};

static void on_output(void *arg, int stream, const void *bytes, size_t n)
{
	struct seen *s = arg;

	for (size_t i = 0; i < n; i++)
		s->order &= stream != 1 || ((const unsigned char *)bytes)[i] ==
		                                   (unsigned char)((s->n[1] + i) % 251);
	s->n[stream] += n;
}

static void streams(struct bvisor_sandbox *sb)
{
	enum { BIG = 9 << 20 };
	char *big = malloc(BIG);
	struct seen seen = {.order = true};
	struct bvisor_result r;

	for (size_t i = 0; i < BIG; i++)
		big[i] = (char)(i % 251);
	struct bvisor_command c = {.size = sizeof(c),
	                           .shell = "tee /dev/stderr",
	                           .input = big,
	                           .input_size = BIG,
	                           .output = on_output,
	                           .arg = &seen};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.code == 0 && seen.n[1] == BIG && seen.n[2] == BIG &&
	           seen.order,
	   "9 MiB there and back, twice");
	bvisor_result_free(&r);
	c.output = NULL;
	c.shell = "cat";
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.out_size == BIG && memcmp(r.out, big, BIG) == 0,
	   "and into memory");
	bvisor_result_free(&r);
	c.shell = "head -c 3";
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.code == 0 && r.out_size == 3,
	   "who does not want it all");
	bvisor_result_free(&r);

	int in = open("/bin/sh", O_RDONLY), out = open("out", O_RDWR | O_CREAT | O_TRUNC, 0600);
	struct stat a, b;
	c = (struct bvisor_command){
		.size = sizeof(c), .shell = "cat", .in_fd = &in, .out_fd = &out};
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.code == 0 && fstat(in, &a) == 0 &&
	           fstat(out, &b) == 0 && a.st_size == b.st_size && r.out_size == 0,
	   "descriptors");
	bvisor_result_free(&r);
	close(in);
	close(out);
	out = open("/dev/full", O_WRONLY);
	c.in_fd = NULL;
	c.shell = "echo x";
	ok(bvisor_run(sb, &c, &r, &e) == 0 && r.code == 1 && r.err_size > 0,
	   "a descriptor that takes nothing");
	bvisor_result_free(&r);
	c.tty = 1;
	ok(bvisor_run(sb, &c, &r, &e) < 0 && is("io", ENOSPC), "nor what comes from a terminal");
	c.tty = 0;
	close(out);
	ok(bvisor_run(sb, &c, &r, &e) < 0 && is("invalid", EBADF), "a descriptor that is none");
	int pair[2];
	if (pipe(pair) == 0) {
		char text[4] = "";

		c = (struct bvisor_command){.size = sizeof(c),
		                            .shell = "read x <&0; echo $x >&2; sleep 0.1 & echo e",
		                            .input = "in\n",
		                            .input_size = 3,
		                            .err_fd = &pair[1]};
		ok(bvisor_run(sb, &c, &r, &e) == 0 && strcmp(r.out, "e\n") == 0 &&
		           r.err_size == 0 && read(pair[0], text, 3) == 3 &&
		           strcmp(text, "in\n") == 0,
		   "one of them");
		bvisor_result_free(&r);
		close(pair[0]);
		close(pair[1]);
	}
	free(big);
}

static void processes(struct bvisor *b, struct bvisor_sandbox *sb)
{
	struct bvisor_result r;
	struct bvisor_command c = {.size = sizeof(c),
	                           .shell = "read x; echo got $x; read y; echo end $y",
	                           .write_input = 1};
	struct bvisor_process *p = bvisor_start(sb, &c, &e), *q[20];

	ok(p && bvisor_pid(p) > 1 && !bvisor_ended(p), "one starts");
	ok(bvisor_write(p, "one\n", 4, &e) == 0 && says(sb, "echo meanwhile", "meanwhile\n"),
	   "another meanwhile");
	ok(bvisor_write(p, "two\n", 4, &e) == 0 && bvisor_end_input(p, &e) == 0 &&
	           bvisor_wait(p, &r, &e) == 0 && strcmp(r.out, "got one\nend two\n") == 0,
	   "it is written to");
	bvisor_result_free(&r);
	c = (struct bvisor_command){
		.size = sizeof(c),
		.shell = "trap 'echo term; exit 5' TERM; echo up; while :; do sleep 0.01; done"};
	p = bvisor_start(sb, &c, &e);
	usleep(300000);
	ok(bvisor_signal(p, SIGTERM, 0, &e) == 0 && bvisor_wait(p, &r, &e) == 0 && r.code == 5 &&
	           strcmp(r.out, "up\nterm\n") == 0,
	   "a signal to it");
	bvisor_result_free(&r);
	bool good = true;
	for (int i = 0; i < 20; i++) {
		char text[64];

		snprintf(text, sizeof(text), "sleep 0.%d; echo %d", i % 3, i);
		c = (struct bvisor_command){.size = sizeof(c), .shell = text};
		q[i] = bvisor_start(sb, &c, &e);
		good &= q[i] != NULL;
	}
	for (int i = 19; i >= 0 && good; i--) {
		char want[16];

		snprintf(want, sizeof(want), "%d\n", i);
		good = bvisor_wait(q[i], &r, &e) == 0 && strcmp(r.out, want) == 0;
		bvisor_result_free(&r);
	}
	ok(good, "20 at once");
	c = (struct bvisor_command){.size = sizeof(c),
	                            .shell = "head -c 20M /dev/zero; touch finished"};
	p = bvisor_start(sb, &c, &e);
	bvisor_forget(p);
	good = false;
	for (int i = 0; i < 100 && !good; i++) {
		good = bvisor_pump(b, &e) == 0;
		struct bvisor_result done = sh(sb, "test -e finished");
		good = good && done.code == 0;
		bvisor_result_free(&done);
		usleep(50000);
	}
	ok(good, "one that is forgotten comes to its end");
	const char *const none[] = {"/no/such", NULL};
	c = (struct bvisor_command){.size = sizeof(c), .argv = none};
	ok(!bvisor_start(sb, &c, &e) && is("exec", ENOENT), "no such program");
	c.argv = NULL;
	ok(!bvisor_start(sb, &c, &e) && is("invalid", EINVAL), "no command");
	c = (struct bvisor_command){.size = sizeof(c), .shell = "\xff"};
	ok(!bvisor_start(sb, &c, &e) && strcmp(e.code, "memory") == 0,
	   "a command that is no UTF-8");
	ok(says(sb, "echo still", "still\n"), "after errors it goes on");
}

static void files(struct bvisor_sandbox *sb)
{
	size_t n = 0;
	char *text;

	ok(bvisor_make_dir(sb, "/tmp/a/b", 0755, 1, &e) == 0 &&
	           bvisor_write_file(sb, "/tmp/a/b/f", "x\0y", 3, 0640, &e) == 0,
	   "a file is written");
	text = bvisor_read_file(sb, "/tmp/a/b/f", &n, &e);
	ok(text && n == 3 && memcmp(text, "x\0y", 4) == 0, "and read");
	free(text);
	ok(says(sb, "stat -c '%a %s' /tmp/a/b/f", "640 3\n"), "by commands too");
	ok(bvisor_write_file(sb, "/tmp/a/empty", NULL, 0, -1, &e) == 0 &&
	           says(sb, "stat -c %s /tmp/a/empty", "0\n"),
	   "an empty one");
	ok(bvisor_rename(sb, "/tmp/a/b/f", "/tmp/a/g", &e) == 0 &&
	           !bvisor_read_file(sb, "/tmp/a/b/f", &n, &e) && is("io", ENOENT),
	   "renamed");
	ok(bvisor_remove(sb, "/tmp/a", 0, &e) < 0 && is("io", ENOTEMPTY) &&
	           bvisor_remove(sb, "/tmp/a", 1, &e) == 0,
	   "removed");
}

static bool holds(const char *name, const char *text)
{
	char path[64], buf[64] = "";

	snprintf(path, sizeof(path), "%s/%s", host, name);
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (fd >= 0)
		close(fd);
	return text ? n >= 0 && strcmp(buf, text) == 0 : n < 0;
}

static void put(const char *name, const char *text)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/%s", host, name);
	FILE *f = fopen(path, "w");
	if (!f || fputs(text, f) < 0 || fclose(f) != 0)
		exit(99);
}

static char told[512];
static int n_told;

static void hear(void *arg, const struct bvisor_denial *d)
{
	size_t n = strlen(told);

	snprintf(told + n, sizeof(told) - n, "%s %s %s %s %s %s %s;", (const char *)arg, d->kind,
	         d->by, d->call, d->error, d->what ? d->what : "-", d->command);
	n_told += d->pid > 0 && d->time > 1e9 && !d->lost;
}

static void audit(struct bvisor *b)
{
	const struct bvisor_policy policy = {
		.size = sizeof(policy), .denied = hear, .denied_arg = (void *)(uintptr_t) "it:"};
	struct bvisor_sandbox *sb = bvisor_create(b, &policy, &e);

	ok(sb && says(sb, "exec 3<>/dev/tcp/192.0.2.1/80; cat /etc/shadow; chroot /; echo", "\n"),
	   "some is refused");
	ok(strcmp(told, "it: denied net connect ENETUNREACH 192.0.2.1:80 bash;"
	                "it: denied vfs-cow openat ENOENT /etc/shadow cat;it: denied blocklist "
	                "chroot EPERM - chroot;") == 0 &&
	           n_told == 3,
	   "and told");
	*told = '\0';
	ok(says(sb, "printf '\\377' >/proc/self/comm; exec 3<>/dev/tcp/192.0.2.1/80; echo", "\n") &&
	           strcmp(told, "it: denied net connect ENETUNREACH 192.0.2.1:80 \377;") == 0,
	   "with bytes that are no text");
	bvisor_destroy(sb);
}

static void review(struct bvisor *b)
{
	const struct bvisor_policy policy = {.size = sizeof(policy), .cwd = host};
	char one[5000], *text;

	put("one", "1\n");
	put("two", "2\n");
	struct bvisor_sandbox *sb = bvisor_create(b, &policy, &e);
	ok(sb && says(sb,
	              "echo more >>one; rm two; echo new >three; setsid sleep 100 >/dev/null 2>&1 "
	              "& sleep 0.2; echo",
	              "\n"),
	   "changes are made");
	ok(holds("one", "1\n") && holds("two", "2\n"), "inside");
	const char *const where[] = {"192.0.2.1:80", "10.0.0.0/8", NULL}, *const nowhere[] = {"*.x",
	                                                                                      NULL};
	ok(bvisor_allow(sb, where, &e) == 0 && bvisor_allow(sb, NULL, &e) == 0,
	   "the network grows");
	ok(bvisor_allow(sb, nowhere, &e) < 0 && is("sandbox", 0), "by what is a place");
	text = bvisor_diff(sb, "json", &e);
	ok(text && strstr(text, "/three\"") && strstr(text, "/two\""), "they are listed");
	free(text);
	ok(says(sb, "pgrep -cx sleep", "1\n"), "while something runs");
	text = bvisor_diff(sb, "patch", &e);
	ok(text && strstr(text, "\n+more\n"), "as a patch");
	free(text);
	ok(!bvisor_diff(sb, "xml", &e) && is("invalid", EINVAL), "another format");
	snprintf(one, sizeof(one), "%s/%s/one", here, host);
	const char *const first[] = {one, NULL}, *const relative[] = {"one", NULL};
	ok(bvisor_commit(sb, relative, 0, &e) < 0 && is("invalid", EINVAL), "a relative path");
	ok(bvisor_commit(sb, first, BVISOR_DRY_RUN, &e) == 0 && holds("one", "1\n"), "a dry run");
	ok(bvisor_commit(sb, first, 0, &e) == 0 && holds("one", "1\nmore\n") &&
	           holds("three", NULL),
	   "one is committed");
	ok(says(sb, "cat one; ls", "1\nmore\none\nthree\n"), "it goes on");
	ok(bvisor_rollback(sb, NULL, &e) == 0 && says(sb, "ls", "one\ntwo\n"),
	   "the rest is rolled back");
	ok(says(sb, "echo mine >one; echo", "\n"), "another change");
	put("one", "theirs\n");
	ok(bvisor_commit(sb, NULL, 0, &e) < 0 && is("conflict", ESTALE) && holds("one", "theirs\n"),
	   "a conflict");
	const struct bvisor_command c = {.size = sizeof(c), .shell = "sleep 100"};
	struct bvisor_process *p = bvisor_start(sb, &c, &e);
	ok(bvisor_commit(sb, NULL, 0, &e) < 0 && is("conflict", ESTALE),
	   "also while a command runs");
	ok(bvisor_rollback(sb, NULL, &e) == 0 && says(sb, "cat one", "theirs\n"),
	   "rollback takes that");
	ok(says(sb, "echo mine >one; echo", "\n") &&
	           bvisor_commit(sb, NULL, BVISOR_FORCE, &e) == 0 && holds("one", "mine\n"),
	   "commit does, with force");
	ok(bvisor_signal(p, SIGKILL, 1, &e) == 0 && bvisor_wait(p, NULL, &e) == 0,
	   "which is killed");
	ok(says(sb, "echo again >one; echo", "\n") && bvisor_commit(sb, NULL, 0, &e) == 0 &&
	           holds("one", "again\n"),
	   "and the next one meets no conflict");
	bvisor_destroy(sb);
}

static void policies(struct bvisor *b)
{
	const char *const hide[] = {"/usr/include", NULL},
			  *const env[] = {"GREETING=hi there", NULL},
			  *const options[] = {"sysinfo.hostname=mybox", NULL},
			  *const bad[] = {"sysinfo", NULL};
	struct bvisor_policy policy = {.size = sizeof(policy),
	                               .hide = hide,
	                               .env = env,
	                               .options = options,
	                               .quota = "1M"};
	struct bvisor_sandbox *sb = bvisor_create(b, &policy, &e);

	ok(sb && says(sb,
	              "ls /usr/include 2>/dev/null; echo $GREETING; hostname; head -c 2M /dev/zero "
	              "2>&1 >big | grep -c space",
	              "hi there\nmybox\n1\n"),
	   "a policy");
	bvisor_destroy(sb);
	policy = (struct bvisor_policy){.size = sizeof(policy), .net = "all"};
	ok(!bvisor_create(b, &policy, &e) && strcmp(e.code, "sandbox") == 0 &&
	           strstr(e.message, "all"),
	   "a bad one: %s", e.message);
	policy = (struct bvisor_policy){.size = sizeof(policy), .options = bad};
	ok(!bvisor_create(b, &policy, &e) && is("invalid", EINVAL), "an option without =");
	policy = (struct bvisor_policy){.size = offsetof(struct bvisor_policy, rw), .net = "all"};
	sb = bvisor_create(b, &policy, &e);
	ok(sb != NULL, "of an older program's struct no more is looked at");
	bvisor_destroy(sb);
	policy = (struct bvisor_policy){.size = sizeof(policy), .name = "capi"};
	sb = bvisor_create(b, &policy, &e);
	ok(sb && says(sb, "echo kept >kept; echo", "\n"), "one with a name");
	ok(!bvisor_create(b, &policy, &e) && is("busy", EBUSY), "only once");
	bvisor_destroy(sb);
	sb = bvisor_create(b, &policy, &e);
	ok(sb && says(sb, "cat kept", "kept\n") && bvisor_rollback(sb, NULL, &e) == 0, "is kept");
	bvisor_destroy(sb);
}

/* Who is left behind neither waits for a reader nor fails. */
static void left_behind(struct bvisor *b)
{
	struct bvisor_sandbox *sb = bvisor_create(b, NULL, &e);

	ok(sb && says(sb,
	              "(sleep 0.2; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; touch "
	              "/tmp/done) & echo now",
	              "now\n"),
	   "a command that leaves one behind");
	ok(sb && says(sb,
	              "for i in {1..100}; do test -e /tmp/done && echo done && break; sleep 0.1; "
	              "done",
	              "done\n"),
	   "which goes on");
	bvisor_destroy(sb);
}

/* The pid of a child of ours. */
static pid_t child(void)
{
	char path[64], buf[64] = "";

	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	int fd = open(path, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (fd >= 0)
		close(fd);
	return n > 0 ? atoi(buf) : -1;
}

static void faults(void)
{
	struct bvisor *b = bvisor_open(NULL, &e);
	struct bvisor_sandbox *sb = b ? bvisor_create(b, NULL, &e) : NULL;
	struct bvisor_result r;
	struct bvisor_command c = {.size = sizeof(c),
	                           .shell = "kill -STOP $PPID; kill -9 $PPID; sleep 5"};

	ok(sb && bvisor_run(sb, &c, &r, &e) == 0 && r.code != 0,
	   "a command that kills what it is in");
	bvisor_result_free(&r);
	c.shell = "true";
	int got = bvisor_run(sb, &c, &r, &e);
	if (got == 0) { /* its end may be heard of after the next start */
		bvisor_result_free(&r);
		usleep(300000);
		got = bvisor_run(sb, &c, &r, &e);
	}
	ok(got < 0 && (strcmp(e.code, "sandbox") == 0 || strcmp(e.code, "not_found") == 0),
	   "that sandbox has ended: %s", e.message);
	bvisor_destroy(sb);
	sb = bvisor_create(b, NULL, &e);
	ok(sb && says(sb, "echo other", "other\n"), "and no other");
	c.shell = "sleep 100";
	struct bvisor_process *p = bvisor_start(sb, &c, &e);
	kill(child(), SIGKILL);
	ok(bvisor_wait(p, &r, &e) < 0 && is("host", EPIPE), "the broker is killed");
	ok(!bvisor_create(b, NULL, &e) && is("host", EPIPE), "it stays dead");
	bvisor_close(b);
	ok(!bvisor_open("/bin/true", &e) && strcmp(e.code, "host") == 0, "another program");
	ok(!bvisor_open("/no/such", &e) && is("host", ENOENT), "no program");
	ok(!bvisor_open("/no/such", NULL), "nobody wants to know why");
}

int main(void)
{
	if (!getcwd(here, sizeof(here)) || !mkdtemp(host))
		return 99;
	struct bvisor *b = bvisor_open(NULL, &e);
	struct bvisor_sandbox *sb = b ? bvisor_create(b, NULL, &e) : NULL;
	ok(sb && *bvisor_version(b) && bvisor_fd(b) >= 0, "it starts");
	if (!sb)
		return 99;
	results(sb);
	streams(sb);
	processes(b, sb);
	files(sb);
	audit(b);
	review(b);
	policies(b);
	left_behind(b);
	bvisor_destroy(sb);
	bvisor_close(b);
	ok(child() < 0 && waitpid(-1, NULL, WNOHANG) < 0, "nothing is left");
	faults();
	bvisor_destroy(NULL);
	bvisor_forget(NULL);
	bvisor_close(NULL);
	printf("1..%d\n", tests);
	return failures != 0;
}
