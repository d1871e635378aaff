/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor check: what this kernel offers a sandbox, what is missing, and what that means. */
#include <errno.h>
#include <jansson.h>
#include <linux/capability.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "cli.h"

enum grade { GOOD, DEGRADED, MISSING };

struct finding {
	const char *name;
	enum grade grade;
	char value[512];
	const char *means; /* of a lack; NULL: nothing to say */
};

struct report {
	struct finding f[24];
	size_t n;
};

static const char *const grade_name[] = {"ok", "degraded", "missing"};

__attribute__((format(printf, 5, 6))) static void
add(struct report *r, const char *name, enum grade grade, const char *means, const char *fmt, ...)
{
	struct finding *f = &r->f[r->n++];
	va_list ap;

	*f = (struct finding){.name = name, .grade = grade, .means = grade == GOOD ? NULL : means};
	va_start(ap, fmt);
	vsnprintf(f->value, sizeof(f->value), fmt, ap);
	va_end(ap);
}

static void flag(struct report *r, const char *name, bool have, enum grade lack, const char *means)
{
	add(r, name, have ? GOOD : lack, means, "%s", have ? "yes" : "no");
}

static void kernel(struct report *r, const struct features *f)
{
	add(r, "kernel", GOOD, NULL, "%s", f->kernel);
	flag(r, "seccomp listener", f->notify, MISSING,
	     "no sandbox can work: the kernel is older than 5.14, or something around this process "
	     "(a container's policy, another listener) forbids it");
	flag(r, "wait killable", f->wait_killable, DEGRADED,
	     "signals may interrupt and repeat slow calls of guests (needs Linux 5.19)");
	flag(r, "synchronous wake-up", f->sync_wake_up, DEGRADED,
	     "trapped calls take several times as long when both sides run on different CPUs "
	     "(needs Linux 6.6)");
	flag(r, "atomic descriptor hand-over", f->addfd_send, MISSING,
	     "no sandbox can work: needs Linux 5.14");
	flag(r, "guest memory", f->process_vm, MISSING,
	     "no sandbox can work: process_vm_readv(2) of a child is refused");
	flag(r, "guest descriptors", f->pidfd_getfd, MISSING,
	     "no sandbox can work: pidfd_getfd(2) of a child is refused");
	flag(r, "ptrace", f->ptrace, DEGRADED,
	     "programs that were changed or made inside the sandbox cannot be executed");
	if (f->yama < 0)
		add(r, "ptrace scope", GOOD, NULL, "not restricted (no Yama)");
	else
		add(r, "ptrace scope", f->yama <= 1 ? GOOD : DEGRADED,
		    "only with CAP_SYS_PTRACE may guests be read and traced", "%d (Yama)", f->yama);
	if (f->landlock_abi > 0)
		add(r, "Landlock", f->landlock_abi >= 6 ? GOOD : DEGRADED,
		    "the second wall has gaps: newer ABIs also hold the supervisor (2), cover truncation (3), device "
		    "control (5), and "
		    "signals and abstract sockets (6)",
		    "ABI %d", f->landlock_abi);
	else
		add(r, "Landlock", DEGRADED,
		    "there is no second wall: the virtual kernel alone keeps guests off the host's "
		    "files",
		    "none");
}

/* The directory of our cgroup, if this is cgroup v2 (cgroups(7): the line "0::/path"). */
static bool cgroup_dir(char *out, size_t size)
{
	bv_autofree char *line = NULL;
	size_t cap = 0;
	FILE *file = fopen("/proc/self/cgroup", "re");
	bool found = false;

	while (file && !found && getline(&line, &cap, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::", 3) != 0)
			continue;
		snprintf(out, size, "/sys/fs/cgroup%s", line + 3);
		found = access(out, F_OK) == 0;
	}
	if (file)
		fclose(file);
	return found;
}

static void user(struct report *r)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct cap[2] = {{0}};
	char dir[4096];

	syscall(SYS_capget, &head, cap);
	add(r, "user", GOOD, NULL, "uid %u, %s", (unsigned)geteuid(),
	    cap[0].effective & 1u << CAP_DAC_OVERRIDE ? "privileged: guests keep root's file rights"
	                                              : "unprivileged");
	bool have = cgroup_dir(dir, sizeof(dir));
	bool writable = have && access(dir, W_OK) == 0;
	add(r, "cgroups", writable ? GOOD : DEGRADED,
	    "resource limits can be enforced by polling only (this version has no module for "
	    "limits)",
	    "%s",
	    writable ? "v2, writable"
	    : have   ? "v2, read-only"
	             : "no v2 hierarchy");
}

/* The configuration is part of what must work. */
static void configuration(struct report *r, const struct settings *s)
{
	struct bv_error err = {""};
	struct config *config;
	struct sandbox *box = NULL;
	static const char means[] = "no sandbox can work until this is mended";
	bool ok = settings_load(s, &config, &err) == 0 && sandbox_new(&box, config, &err) == 0;

	if (ok)
		add(r, "modules", GOOD, NULL, "%zu, filter of %u instructions", box->n_modules,
		    (unsigned)box->filter.len);
	else
		add(r, "modules", MISSING, means, "%s", err.text);
	sandbox_free(box);
}

static int print_text(const struct report *r)
{
	for (size_t i = 0; i < r->n; i++) {
		const struct finding *f = &r->f[i];

		printf("%-28s %-9s %s\n", f->name, grade_name[f->grade], f->value);
		if (f->means)
			printf("%-28s           %s\n", "", f->means);
	}
	return 0;
}

static int print_json(const struct report *r, enum grade worst)
{
	json_t *list = json_array();

	for (size_t i = 0; i < r->n; i++) {
		const struct finding *f = &r->f[i];
		json_t *o = json_pack("{s:s, s:s, s:s}", "name", f->name, "grade",
		                      grade_name[f->grade], "value", f->value);

		if (f->means)
			json_object_set_new(o, "means", json_string(f->means));
		json_array_append_new(list, o);
	}
	json_t *top = json_pack("{s:s, s:s, s:o}", "version", BVISOR_VERSION, "grade",
	                        grade_name[worst], "findings", list);
	int failed = json_dumpf(top, stdout, JSON_INDENT(1));
	putchar('\n');
	json_decref(top);
	return failed;
}

int check_command(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
	                                        {"config", required_argument, NULL, 'c'},
	                                        {"option", required_argument, NULL, 'o'},
	                                        {"help", no_argument, NULL, 'h'},
	                                        {NULL, 0, NULL, 0}};
	struct settings s = {0};
	struct report r = {.n = 0};
	struct features f;
	enum grade worst = GOOD;
	bool json = false;
	int c, code = 0;

	while (code == 0 && (c = getopt_long(argc, argv, "+:c:o:h", options, NULL)) != -1) {
		if (c == '?' || c == ':')
			code = cli_bad_option("check", argv, c);
		else if (c == 'h')
			return cli_help("check");
		else if (c == 'j')
			json = true;
		else
			code = settings_parse("check", c, &s);
	}
	if (code == 0 && argv[optind])
		code = cli_misuse("check", "takes no arguments");
	if (code == 0) {
		features_probe(&f);
		kernel(&r, &f);
		user(&r);
		configuration(&r, &s);
		for (size_t i = 0; i < r.n; i++)
			worst = r.f[i].grade > worst ? r.f[i].grade : worst;
		if ((json ? print_json(&r, worst) : print_text(&r)) < 0)
			code = cli_fail("check", "cannot write");
		else
			code = cli_flush("check", worst == MISSING);
	}
	settings_fini(&s);
	return code;
}
