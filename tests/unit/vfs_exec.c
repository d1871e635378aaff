/* SPDX-License-Identifier: Apache-2.0 */
/* modules/vfs-cow/exec_image.c: #! lines against the kernel's own reading, ELF interpreters. */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec.h"

static struct header header_of(const char *text, size_t len)
{
	struct header h = {.len = len};

	memcpy(h.data, text, len);
	return h;
}

static void write_program(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

	cr_assert(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
}

/* What the kernel makes of it: argv joined by '|' from the shell that is its interpreter, or "-". */
static void ask_kernel(const char *path, char *out, size_t size)
{
	int p[2];

	cr_assert_eq(pipe(p), 0);
	pid_t pid = fork();
	if (pid == 0) {
		dup2(p[1], 1);
		execl(path, "argv0", "first", (char *)NULL);
		if (write(1, "-", 1) < 0)
			_exit(2);
		_exit(1);
	}
	close(p[1]);
	size_t n = 0;
	for (ssize_t got; (got = read(p[0], out + n, size - 1 - n)) > 0;)
		n += (size_t)got;
	out[n] = '\0';
	close(p[0]);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

static const char dir_template[] = "/tmp/bvtest.XXXXXX";

Test(vfs_exec, script_lines_read_as_the_kernel_reads_them)
{
	char dir[sizeof(dir_template)], interp[64], path[64], line[600], expect[600], got[600];
	static const char *const lines[] = {
		"#!%s\nx", "#! %s\n", "#!\t %s  \n", "#!%s a\n", "#!%s  a b \t\n", "#!%s\t-x  y\tz \nrest\n", "#!%s",
		"#!%s a", "# !%s\n", "#%s\n", " #!%s\n", "#!%s \n", "#!%s a%%b\n",
	};

	memcpy(dir, dir_template, sizeof(dir));
	cr_assert(mkdtemp(dir));
	/* The interpreter is a shell script itself: one level more, which prints what it was given. */
	snprintf(interp, sizeof(interp), "%s/interp", dir);
	snprintf(path, sizeof(path), "%s/script", dir);
	snprintf(line, sizeof(line), "#!/bin/sh\nfor a; do printf '%%s|' \"$a\"; done\n");
	write_program(interp, line, strlen(line));
	for (size_t i = 0; i < BV_ROWS_OF(lines); i++) {
		struct script s;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		int n = snprintf(line, sizeof(line), lines[i], interp);
#pragma GCC diagnostic pop
		write_program(path, line, (size_t)n);
		struct header h = header_of(line, (size_t)n);
		if (!header_script(&h, &s)) {
			strcpy(expect, "-");
		} else {
			cr_assert_str_eq(s.interp, interp, "line %zu", i);
			snprintf(expect, sizeof(expect), "%s%s%s|first|", s.arg, s.arg[0] ? "|" : "", path);
		}
		ask_kernel(path, got, sizeof(got));
		cr_expect_str_eq(got, expect, "line %zu", i);
	}
	unlink(interp);
	unlink(path);
	rmdir(dir);
}

Test(vfs_exec, script_lines_end_at_256_bytes)
{
	char dir[sizeof(dir_template)], interp[64], path[64], line[400], got[600];

	memcpy(dir, dir_template, sizeof(dir));
	cr_assert(mkdtemp(dir));
	snprintf(interp, sizeof(interp), "%s/interp", dir);
	snprintf(path, sizeof(path), "%s/script", dir);
	snprintf(line, sizeof(line), "#!/bin/sh\nprintf '%%s|' \"${#1}\"\n");
	write_program(interp, line, strlen(line));
	/* An argument that runs up to and over the end of what the kernel reads. */
	for (size_t len = 248; len <= 262; len++) {
		struct script s;

		memset(line, 'a', sizeof(line));
		int n = snprintf(line, sizeof(line), "#!%s ", interp);
		line[n] = 'a';
		line[len] = '\n';
		write_program(path, line, len + 1);
		struct header h = header_of(line, len + 1);
		ask_kernel(path, got, sizeof(got));
		cr_assert(header_script(&h, &s));
		cr_expect_eq(strtoul(got, NULL, 10), strlen(s.arg), "length %zu: kernel %s, ours %zu", len, got,
		             strlen(s.arg));
	}
	/* A name that is cut off is no name. */
	memset(line, 'a', sizeof(line));
	memcpy(line, "#!/", 3);
	struct script s;
	struct header h = header_of(line, 300);
	cr_expect(!header_script(&h, &s));
	unlink(interp);
	unlink(path);
	rmdir(dir);
}

Test(vfs_exec, a_copy_runs_with_the_interpreter_it_names)
{
	char dir[sizeof(dir_template)], copy[64], loader[64], name[PATH_MAX], cmd[PATH_MAX + 80];
	struct header h;
	int from = open("/bin/true", O_RDONLY | O_CLOEXEC);

	memcpy(dir, dir_template, sizeof(dir));
	cr_assert(mkdtemp(dir));
	cr_assert_eq(header_read(from, &h), 0);
	cr_assert_eq(header_interp(&h, from, name), 1);
	snprintf(copy, sizeof(copy), "%s/copy", dir);
	snprintf(loader, sizeof(loader), "%s/loader", dir);
	snprintf(cmd, sizeof(cmd), "cp %s %s", name, loader);
	cr_assert_eq(system(cmd), 0);
	int to = open(copy, O_RDWR | O_CREAT | O_CLOEXEC, 0755);
	cr_assert_eq(image_copy(from, to, loader), 0);
	close(from);
	cr_assert_eq(header_read(to, &h), 0);
	cr_assert_eq(header_interp(&h, to, name), 1);
	cr_expect_str_eq(name, loader);
	close(to);
	cr_expect_eq(system(copy), 0);
	unlink(loader);
	cr_expect_neq(system(copy), 0, "it must not run without the loader it names");
	unlink(copy);
	rmdir(dir);
}

Test(vfs_exec, what_is_no_program_has_no_interpreter)
{
	char name[PATH_MAX];
	struct header h = header_of("\177ELF\2\1\1", 7);
	int from = open("/dev/null", O_RDONLY | O_CLOEXEC);

	cr_expect_eq(header_interp(&h, from, name), 0);
	memset(h.data + 7, 0xff, sizeof(h.data) - 7);
	h.len = sizeof(h.data);
	cr_expect_eq(header_interp(&h, from, name), 0);
	int to = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0700);
	cr_expect_eq(image_copy(from, to, "/x"), -ENOEXEC);
	close(to);
	close(from);
}
