/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execve(2), execveat(2), fexecve(3): programs and scripts of the host and made inside.
 * The program is its own test subject: `fs_exec show ...` prints how it was started.
 */
#include "t.h"
#include <pthread.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>

extern char **environ;
static char self[PATH_MAX];

static const char *tail(const char *s)
{
	const char *p = strrchr(s, '/');

	return p ? p + 1 : s;
}

static int show(int argc, char **argv)
{
	char comm[32] = "", exe[PATH_MAX] = "";
	int open_fds = 0;

	prctl(PR_GET_NAME, comm);
	if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
		snprintf(exe, sizeof(exe), "%s", strerrorname_np(errno));
	for (int i = 3; i < 64; i++)
		open_fds += fcntl(i, F_GETFD) >= 0;
	SAY("  argc %d:", argc);
	for (int i = 0; i < argc; i++)
		SAY(" [%s]", i ? tail(argv[i]) : argv[i][0] == '/' ? tail(argv[i]) : argv[i]);
	SAY("\n  comm %s, exe %s, execfn %s, env %s, fds %d, secure %lu, dumpable %d\n", comm, tail(exe),
	    tail((const char *)getauxval(AT_EXECFN)), getenv("T_ENV") ? getenv("T_ENV") : "-", open_fds, getauxval(AT_SECURE),
	    prctl(PR_GET_DUMPABLE));
	return 7;
}

/* Runs path in a child and prints what came of it. */
static void run(const char *path, char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		execve(path, argv, environ);
		SAY("  execve: %s\n", strerrorname_np(errno));
		_exit(100);
	}
	t_wait(pid);
}

static void script(const char *path, const char *text, mode_t mode)
{
	t_put(path, text);
	MUST(chmod(path, mode) == 0);
}

static void copy(const char *from, const char *to)
{
	struct stat st;
	int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0755);

	MUST(in >= 0 && out >= 0 && fstat(in, &st) == 0);
	MUST(sendfile(out, in, NULL, (size_t)st.st_size) == st.st_size);
	close(in);
	close(out);
}

static void plain(void)
{
	char *const a[] = { (char *)"shown", (char *)"show", (char *)"one", (char *)"two words", NULL };
	char *const none[] = { NULL };
	char long_arg[5000];

	SAY("host program\n");
	run(self, a);
	SAY("copied program\n");
	copy(self, "prog");
	run("prog", a);
	run("./prog", a);
	run("dir/../prog", a);
	T(symlink("prog", "proglink"));
	run("proglink", a);
	T(rename("prog", "dir/prog2"));
	run("dir/prog2", a);
	run("prog", a);
	T(chmod("dir/prog2", 0644));
	run("dir/prog2", a);
	T(chmod("dir/prog2", 0111));
	run("dir/prog2", a);
	SAY("failing\n");
	run("missing", a);
	run("dir", a);
	run("dir/", a);
	run("noexec.sh", a);
	run("a.txt", a);
	run("a.txt/x", a);
	run("loop1", a);
	run("", a);
	run("fifo", a);
	run("dangling", a);
	script("empty.bin", "", 0755);
	run("empty.bin", a);
	script("junk.bin", "\177ELFjunk", 0755);
	run("junk.bin", a);
	script("text.bin", "echo not a program\n", 0755);
	run("text.bin", a);
	SAY("odd arguments\n");
	T(syscall(SYS_execve, t_bad, a, environ));
	T(syscall(SYS_execve, self, t_bad, environ));
	run("/bin/true", none);
	memset(long_arg, 'L', sizeof(long_arg) - 1);
	long_arg[sizeof(long_arg) - 1] = '\0';
	run(long_arg, a);
	run("/bin/true", (char *const[]){ (char *)"true", long_arg, NULL });
}

static void scripts(void)
{
	char *const a[] = { (char *)"ignored", (char *)"one", (char *)"two", NULL };
	char b[PATH_MAX * 2], to[PATH_MAX], *p;

	SAY("scripts\n");
	run("script.sh", a);
	run("./script.sh", a);
	script("s1", "#!/bin/sh\necho \"s1 $# $1\"; exit 3\n", 0755);
	run("s1", a);
	script("s2", "#! /bin/echo  with args \nx\n", 0755);
	run("s2", a);
	script("s3", "#!/bin/echo", 0755); /* no newline */
	run("s3", a);
	script("s4", "#!\n", 0755);
	run("s4", a);
	script("s5", "#!/missing/interpreter\n", 0755);
	run("s5", a);
	script("s6", "#!/etc\n", 0755);
	run("s6", a);
	script("s7", "#!./dir/prog2 show\n", 0755);
	T(chmod("dir/prog2", 0755));
	run("s7", a);
	snprintf(b, sizeof(b), "#!%s show\n", self);
	script("s8", b, 0755);
	run("s8", a);
	MUST(realpath("dir/prog2", to));
	snprintf(b, sizeof(b), "#!%s show\n", to);
	script("s9", b, 0755); /* an interpreter made inside */
	run("s9", a);
	MUST(realpath("s9", to));
	snprintf(b, sizeof(b), "#!%s nested\n", to);
	script("s10", b, 0755); /* an interpreter that is a script */
	run("s10", a);
	script("s11", "#!/bin/sh\necho dollar0 is ${0##*/}\n", 0755);
	run("s11", a);
	run("dir/../s11", a);
	T(symlink("s11", "s12"));
	run("s12", a);
	script("s13", "#!s13\n", 0755); /* itself: ELOOP after five */
	run("s13", a);
	script("s14", "#!/usr/bin/env sh\necho env found sh\n", 0755);
	run("s14", a);
	script("s15", "#!/bin/sh -e\nfalse\necho not reached\n", 0755);
	run("s15", a);
	p = b + sprintf(b, "#!/bin/echo ");
	memset(p, 'x', 400);
	strcpy(p + 400, "\n");
	script("s16", b, 0755); /* longer than BINPRM_BUF_SIZE: cut within the argument */
	run("s16", a);
	memset(b + 2, 'y', 400);
	strcpy(b + 402, "\n");
	script("s17", b, 0755); /* the same within the interpreter's name: ENOEXEC */
	run("s17", a);
	script("s18", "#!/bin/sh\r\necho cr\n", 0755);
	run("s18", a);
	SAY("script's own file\n");
	script("s19", "#!/bin/sh\necho more >> s19; cat s19\n", 0755);
	run("s19", a);
}

static void by_fd(void)
{
	char *const a[] = { (char *)"byfd", (char *)"show", NULL };
	int prog = open("dir/prog2", O_RDONLY | O_CLOEXEC), host = open(self, O_RDONLY | O_CLOEXEC);
	int path = open("dir/prog2", O_PATH | O_CLOEXEC), dir = open("dir", O_RDONLY | O_CLOEXEC), fd;
	int txt = open("s1", O_RDONLY), txt_cloexec = open("s1", O_RDONLY | O_CLOEXEC);
	const struct { const char *what, *path; int fd, flags; } row[] = {
		{ "inside, open", "", prog, AT_EMPTY_PATH },
		{ "host, open", "", host, AT_EMPTY_PATH },
		{ "inside, O_PATH", "", path, AT_EMPTY_PATH },
		{ "relative", "prog2", dir, 0 },
		{ "relative up", "../s1", dir, 0 },
		{ "empty without flag", "", prog, 0 },
		{ "not a directory", "x", prog, 0 },
		{ "bad descriptor", "x", 999, 0 },
		{ "nofollow on a link", "up_a", dir, AT_SYMLINK_NOFOLLOW },
		{ "nofollow on a program", "prog2", dir, AT_SYMLINK_NOFOLLOW },
		{ "bad flag", "prog2", dir, 0x1 },
		{ "script kept open", "", txt, AT_EMPTY_PATH },
		{ "script close-on-exec", "", txt_cloexec, AT_EMPTY_PATH },
		{ "directory", "", dir, AT_EMPTY_PATH },
	};

	for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
		SAY("execveat: %s\n", row[i].what);
		pid_t pid = fork();
		if (pid == 0) {
			syscall(SYS_execveat, row[i].fd, row[i].path, a, environ, row[i].flags);
			SAY("  %s\n", strerrorname_np(errno));
			_exit(100);
		}
		t_wait(pid);
	}
	fd = memfd_create("memory program", MFD_CLOEXEC);
	if (fd >= 0 && fork() == 0) {
		off_t zero = 0;

		while (sendfile(fd, host, &zero, 1 << 20) > 0)
			;
		SAY("memfd\n");
		fexecve(fd, a, environ);
		SAY("  %s\n", strerrorname_np(errno));
		_exit(100);
	}
	t_wait(-1);
	/* Written to while open for writing, and while running. */
	fd = open("dir/prog2", O_WRONLY);
	SAY("text busy\n");
	run("dir/prog2", a);
	close(fd);
	close(prog);
	close(host);
	close(path);
	close(dir);
	close(txt);
	close(txt_cloexec);
}

static void *other(void *arg)
{
	char *const a[] = { (char *)"from_thread", (char *)"show", NULL };

	execve(arg, a, environ);
	_exit(100);
}

static void *sleeper(void *arg)
{
	pause();
	return arg;
}

static void kept(void)
{
	char *const a[] = { (char *)"kept", (char *)"show", NULL };
	pid_t pid;

	SAY("exec by a thread that is not the leader\n");
	for (int k = 0; k < 2; k++) {
		pid = fork();
		if (pid == 0) {
			pthread_t t, s;

			pthread_create(&s, NULL, sleeper, NULL);
			pthread_create(&t, NULL, other, k ? (void *)"dir/prog2" : self);
			pause();
		}
		t_wait(pid);
	}
	SAY("after vfork\n");
	pid = vfork();
	if (pid == 0) {
		execve("dir/prog2", a, environ);
		_exit(100);
	}
	t_wait(pid);
	SAY("ignored signals and the mask stay, handlers go\n");
	pid = fork();
	if (pid == 0) {
		sigset_t m;

		signal(SIGUSR1, SIG_IGN);
		sigemptyset(&m);
		sigaddset(&m, SIGUSR2);
		sigprocmask(SIG_BLOCK, &m, NULL);
		execl("/bin/sh", "sh", "-c", "kill -USR1 $$; kill -USR2 $$; echo survived", NULL);
		_exit(100);
	}
	t_wait(pid);
	SAY("environment\n");
	pid = fork();
	if (pid == 0) {
		char *const e[] = { (char *)"T_ENV=given", NULL };

		execve("dir/prog2", a, e);
		_exit(100);
	}
	t_wait(pid);
	SAY("popen\n");
	MUST(system("./s1 a b; echo status $?; ./dir/prog2 show | wc -l; type ls >/dev/null && echo found") >= 0);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		return show(argc, argv);
	umask(022);
	MUST(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	setenv("T_ENV", "inherited", 1);
	plain();
	scripts();
	by_fd();
	kept();
	return 0;
}
