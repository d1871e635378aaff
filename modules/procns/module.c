/* SPDX-License-Identifier: Apache-2.0 */
/*
 * procns: real pids, filtered view.  See docs/modules/procns.md for what a guest sees.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "procns.h"

static const struct bv_need needs[] = {
	{BV_VFS_SERVICE, 1, 0, 0, 0},
};

static const struct bv_option options[] = {
	{"signals", BV_OPT_ENUM, offsetof(struct conf, signals), "auto", "auto|relay",
         "How signals to other processes are sent: auto leaves them to the kernel where Landlock "
         "confines them "
         "(Linux 6.12) and relays them by pidfd elsewhere; relay always relays."},
	{"net", BV_OPT_ENUM, offsetof(struct conf, net), "own", "own|host",
         "What /proc/net shows: own sockets only, or the host's tables."},
	{"host_files", BV_OPT_WORDS, offsetof(struct conf, host_files), "filesystems devices", NULL,
         "Files directly in the host's /proc that are shown read-only as they are."},
	{"restart_sigchld", BV_OPT_WORDS, offsetof(struct conf, restarting),
         "sh dash ash busybox mksh", NULL,
         "Names of programs whose handler of SIGCHLD, set without asking for the old one, restarts "
         "calls although it was not set so: shells, which take a call that it interrupts for "
         "one that failed. Empty: none."},
};

/* clock_getcpuclockid(3): only a clock id with its sign bit set names a process. */
#define CLOCK_RULE(name)                                                                         \
	{                                                                                        \
		name, BV_ACT_ALLOW, 0, 1, 0, {{.index = 0, .op = BV_EQ, .mask = 0x80000000u, .value = 0}} \
	}
/* Pid 0 is the caller itself. */
#define SELF_RULE(name)                                                                          \
	{                                                                                        \
		name, BV_ACT_ALLOW, 0, 1, 0, {{.index = 0, .op = BV_EQ, .mask = 0xffffffffu, .value = 0}} \
	}

static const struct bv_rule rules[] = {
	/*
	 * restart.c looks at what sets a handler of SIGCHLD, and at nothing else.  The shells it is for do not ask
	 * for the old one; bash does, six times for a pipeline, and needs no help.
	 */
	{"rt_sigaction",
         BV_ACT_ALLOW,
         0,
         1,
         0,
         {{.index = 0, .op = BV_NE, .mask = 0xffffffffu, .value = SIGCHLD}}},
	{"rt_sigaction",
         BV_ACT_ALLOW,
         0,
         1,
         0,
         {{.index = 1, .op = BV_EQ, .mask = UINT64_MAX, .value = 0}}},
	{"rt_sigaction",
         BV_ACT_ALLOW,
         0,
         1,
         0,
         {{.index = 2, .op = BV_NE, .mask = UINT64_MAX, .value = 0}}},
	SELF_RULE("sched_setaffinity"),
	SELF_RULE("sched_getaffinity"),
	SELF_RULE("sched_setscheduler"),
	SELF_RULE("sched_getscheduler"),
	SELF_RULE("sched_setparam"),
	SELF_RULE("sched_getparam"),
	SELF_RULE("sched_setattr"),
	SELF_RULE("sched_getattr"),
	SELF_RULE("sched_rr_get_interval"),
	SELF_RULE("prlimit64"),
	SELF_RULE("getpgid"),
	SELF_RULE("getsid"),
	SELF_RULE("get_robust_list"),
	SELF_RULE("move_pages"),
	SELF_RULE("migrate_pages"),
	CLOCK_RULE("clock_gettime"),
	CLOCK_RULE("clock_getres"),
	CLOCK_RULE("clock_nanosleep"),
	CLOCK_RULE("timer_create"),
	/* A group of its own. */
	{"setpgid",
         BV_ACT_ALLOW,
         0,
         1,
         0,
         {{.index = 1, .op = BV_EQ, .mask = 0xffffffffu, .value = 0}}},
	{"fcntl",
         BV_ACT_ALLOW,
         0,
         2,
         0,
         {{.index = 1, .op = BV_NE, .mask = 0xffffffffu, .value = F_SETOWN},
          {.index = 1, .op = BV_NE, .mask = 0xffffffffu, .value = F_SETOWN_EX}}},
	{"getpriority",
         BV_ACT_ALLOW,
         0,
         2,
         0,
         {{.index = 0, .op = BV_EQ, .mask = 0xffffffffu, .value = 0},
          {.index = 1, .op = BV_EQ, .mask = 0xffffffffu, .value = 0}}},
	{"setpriority",
         BV_ACT_ALLOW,
         0,
         2,
         0,
         {{.index = 0, .op = BV_EQ, .mask = 0xffffffffu, .value = 0},
          {.index = 1, .op = BV_EQ, .mask = 0xffffffffu, .value = 0}}},
};

static const struct bv_handler *const tables[] = {
	signal_handlers, target_handlers, priority_handlers, pidfd_handlers, clock_handlers,
};

/* landlock_create_ruleset(2) with the version flag: the ABI, or < 0. */
static int landlock_abi(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, 1u);
}

static int init(struct bv_self *self, const struct bv_host *host, const void *conf, void **out)
{
	const struct bv_head *vfs = host->service(self, BV_VFS_SERVICE);
	struct procns *p = calloc(1, sizeof(*p));
	int r;

	if (!p)
		return -ENOMEM;
	p->self = self;
	p->host = host;
	p->conf = conf;
	p->vfs = (const struct bv_vfs *)vfs;
	/* A Landlocked guest is in the ptrace scope of its domain, and from ABI 6 on in its signal scope. */
	p->audited = (host->features(self) & BV_FEATURE_AUDIT) != 0;
	p->traced = (host->features(self) & BV_FEATURE_LANDLOCK) != 0;
	p->scoped = p->traced && p->conf->signals == SIGNALS_AUTO && landlock_abi() >= 6;
	for (size_t i = 0; i < p->conf->host_files.n; i++) {
		const char *name = p->conf->host_files.item[i];

		if (strchr(name, '/') || name[0] == '.') {
			char text[300];

			snprintf(text, sizeof(text), "%s: host_files: %.100s is no name directly in /proc",
			         host->option_where(self, "host_files"), name);
			host->fail(self, text);
			free(p);
			return -EINVAL;
		}
	}
	r = p->vfs->mount(p->vfs, self, "/proc", &proc_ops, p);
	if (r < 0) {
		host->fail(self, "/proc cannot be mounted in the virtual tree");
		free(p);
		return r;
	}
	*out = p;
	if (p->conf->restarting.n)
		r = host->route(self, restart_handlers);
	for (size_t i = 0; i < BV_ROWS_OF(tables); i++)
		for (const struct bv_handler *row = tables[i]; row->syscall && r == 0; row++)
			r = host->route(self, row);
	return r < 0 ? r : 0;
}

static void fini(void *self)
{
	free(self);
}

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "procns",
	.version = "0.1.0",
	.needs = needs,
	.options = options,
	.rules = rules,
	.n_needs = BV_ROWS(needs),
	.n_options = BV_ROWS(options),
	.n_rules = BV_ROWS(rules),
	.need_size = sizeof(needs[0]),
	.option_size = sizeof(options[0]),
	.handler_size = sizeof(struct bv_handler),
	.rule_size = sizeof(rules[0]),
	.conf_size = sizeof(struct conf),
	.init = init,
	.fini = fini,
};
