/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor ps: the kept sandboxes that run now, and their processes. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "named.h"
#include "proc.h"

struct proc {
	pid_t pid, parent;
	bool shown;
};

struct listing {
	char *const *wanted; /* names; NULL: all */
	struct proc *proc; /* of the whole machine, by pid */
	size_t n_procs, found;
	json_t *json; /* NULL: text */
};

static int scan(struct listing *l)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	size_t cap = 0;

	if (!d)
		return -errno;
	while ((e = readdir(d))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		pid_t pid = (pid_t)atoi(e->d_name), parent = proc_parent(pid);
		if (parent < 0)
			continue;
		if (l->n_procs == cap) {
			cap = cap ? 2 * cap : 256;
			struct proc *grown = reallocarray(l->proc, cap, sizeof(*grown));
			if (!grown) {
				closedir(d);
				return -ENOMEM;
			}
			l->proc = grown;
		}
		l->proc[l->n_procs++] = (struct proc){.pid = pid, .parent = parent};
	}
	closedir(d);
	return 0;
}

/* The words of its command line, or its name in brackets, as ps(1) does. */
static void command_of(pid_t pid, struct strbuf *out)
{
	char path[32], buf[4096];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, buf, sizeof(buf));
	while (n > 0 && buf[n - 1] == '\0')
		n--;
	for (ssize_t i = 0; i < n; i++)
		/* A guest writes this itself: nothing of it may steer a terminal. */
		strbuf_add(out,
		           buf[i] == '\0'                   ? " "
		           : iscntrl((unsigned char)buf[i]) ? "?"
		                                            : &buf[i],
		           1);
	if (n > 0)
		return;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int)pid);
	bv_autofd int comm = open(path, O_RDONLY | O_CLOEXEC);
	n = comm < 0 ? 0 : read(comm, buf, sizeof(buf));
	strbuf_puts(out, "[");
	for (ssize_t i = 0; i < n && buf[i] != '\n'; i++)
		strbuf_add(out, iscntrl((unsigned char)buf[i]) ? "?" : &buf[i], 1);
	strbuf_puts(out, "]");
}

/* How long it has been running, in seconds; -1. */
static long age(pid_t pid)
{
	struct timespec now;
	uint64_t start = proc_start(pid);

	if (!start || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return -1;
	long began = (long)(start / (uint64_t)sysconf(_SC_CLK_TCK));
	return now.tv_sec > began ? now.tv_sec - began : 0;
}

static void show(const struct listing *l, const char *name, const struct proc *p, bool first,
                 json_t *into)
{
	bv_autostrbuf struct strbuf command = {0};
	long seconds = age(p->pid);
	char state = proc_state(p->pid), elapsed[24];

	command_of(p->pid, &command);
	if (seconds < 0 || command.failed)
		return; /* it has just ended */
	if (l->json) {
		json_t *text = json_string(command.data);

		json_array_append_new(into,
		                      json_pack("{s:i, s:i, s:s#, s:I, s:o}", "pid", (int)p->pid,
		                                "ppid", first ? 0 : (int)p->parent, "state", &state,
		                                1, "seconds", (json_int_t)seconds, "command",
		                                text ? text : json_string("?")));
		return;
	}
	snprintf(elapsed, sizeof(elapsed), "%ld:%02ld:%02ld", seconds / 3600, seconds / 60 % 60,
	         seconds % 60);
	printf("%-24s %7d %7d %c %9s %s\n", name, (int)p->pid, first ? 0 : (int)p->parent, state,
	       elapsed, command.data);
}

/* All below a process, those it has started before what those have. */
static void below(struct listing *l, const char *name, pid_t parent, bool first, json_t *into)
{
	for (size_t i = 0; i < l->n_procs; i++) {
		struct proc *p = &l->proc[i];

		if (p->parent != parent || p->shown)
			continue;
		p->shown = true;
		show(l, name, p, first, into);
		below(l, name, p->pid, false, into);
	}
}

static int one(void *arg, const struct bv_layer_info *info)
{
	struct listing *l = arg;
	bool wanted = !l->wanted;

	for (char *const *w = l->wanted; w && *w; w++)
		wanted |= strcmp(*w, info->name) == 0;
	if (!wanted || !info->pid)
		return 0;
	if (!l->json && !l->found++)
		printf("%-24s %7s %7s %c %9s %s\n", "NAME", "PID", "PPID", 'S', "TIME", "COMMAND");
	json_t *processes = l->json ? json_array() : NULL;
	below(l, info->name, info->pid, true, processes);
	if (l->json)
		json_array_append_new(l->json,
		                      json_pack("{s:s, s:i, s:o}", "name", info->name, "supervisor",
		                                (int)info->pid, "processes", processes));
	return ferror(stdout) ? -EIO : 0;
}

static int ps(const struct settings *s, bool json, char *const *names)
{
	struct sandbox *box;
	struct listing l = {.wanted = names, .json = json ? json_array() : NULL};
	const char *why = NULL;
	void *ctx;
	int code = named_box("ps", s, &box);

	if (code) {
		json_decref(l.json);
		return code;
	}
	const struct bv_store_ops *ops = named_store(box, &ctx);
	int r = scan(&l);
	if (r == 0)
		r = ops && ops->list ? ops->list(ctx, one, &l, &why) : -ENOTSUP;
	if (r == 0 && json) {
		r = json_dumpf(l.json, stdout, JSON_INDENT(1)) < 0 ? -EIO : 0;
		putchar('\n');
	}
	if (r < 0 && r != -EIO)
		code = cli_fail("ps", "%s", why && *why ? why : strerror(-r));
	else
		code = cli_flush("ps", 0);
	json_decref(l.json);
	free(l.proc);
	sandbox_free(box);
	return code;
}

int ps_command(int argc, char **argv)
{
	struct settings s = {0};
	bool json = false;
	int code = named_options("ps", argc, argv, &s, &json);

	if (code < 0)
		code = ps(&s, json, optind < argc ? argv + optind : NULL);
	settings_fini(&s);
	return code;
}
