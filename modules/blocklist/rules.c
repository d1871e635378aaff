/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filter rules that look at arguments: which flags of clone, which ioctl commands, which prctl
 * options.  All of it is decided in BPF; nothing here costs a notification, except the few
 * commands that calls.c or another module answers.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/personality.h>

#include "blocklist.h"

#ifndef PR_SCHED_CORE
#define PR_SCHED_CORE 62
#endif

/*
 * clone(2) knows no CLONE_NEWTIME: that bit is part of its exit signal.  CLONE_PTRACE would make
 * a child of a thread that is under exec redirection a tracee of the supervisor.
 */
#define CLONE_NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)
#define CLONE_REFUSED ((uint32_t)CLONE_NAMESPACES | CLONE_PTRACE)
#define UNSHARE_REFUSED ((uint32_t)CLONE_NAMESPACES | CLONE_NEWTIME)

#define LOW 0xffffffffu
#define IS(i, v)                                                               \
	{                                                                      \
		.index = (i), .op = BV_EQ, .mask = LOW, .value = (uint32_t)(v) \
	}
#define FROM(i, v)                                                             \
	{                                                                      \
		.index = (i), .op = BV_GE, .mask = LOW, .value = (uint32_t)(v) \
	}
#define UPTO(i, v)                                                             \
	{                                                                      \
		.index = (i), .op = BV_LE, .mask = LOW, .value = (uint32_t)(v) \
	}
#define HAS(i, bits)                                                            \
	{                                                                       \
		.index = (i), .op = BV_NE, .mask = (uint32_t)(bits), .value = 0 \
	}
#define ONLY(i, bits)                                                                       \
	{                                                                                   \
		.index = (i), .op = BV_EQ, .mask = (uint32_t) ~(uint32_t)(bits), .value = 0 \
	}

#define REFUSE(name, e, n, ...)                                                                               \
	{                                                                                                     \
		.syscall = (name), .action = BV_ACT_ERRNO, .err = (e), .n_cond = (n), .cond = { __VA_ARGS__ } \
	}
#define ALLOW(name)                                       \
	{                                                 \
		.syscall = (name), .action = BV_ACT_ALLOW \
	}
#define ALLOW_IF(name, n, ...)                                                                    \
	{                                                                                         \
		.syscall = (name), .action = BV_ACT_ALLOW, .n_cond = (n), .cond = { __VA_ARGS__ } \
	}
#define ASK(name, n, ...)                                                                        \
	{                                                                                        \
		.syscall = (name), .action = BV_ACT_TRAP, .n_cond = (n), .cond = { __VA_ARGS__ } \
	}

static const struct bv_rule fixed[] = {
	REFUSE("clone", EPERM, 1, HAS(0, CLONE_REFUSED)),
	ALLOW("clone"),
	/* What is left of unshare(2) un-shares memory, files, fs and semaphore undo: the guest's own. */
	REFUSE("unshare", EPERM, 1, HAS(0, UNSHARE_REFUSED)),
	ALLOW("unshare"),
	/*
	 * A guest's own filter can only take more away: of all filters' answers the kernel uses the
	 * most restrictive (seccomp(2)), so plain filters are the guest's business.  A listener
	 * would put its answers in the place of ours.
	 */
	REFUSE("seccomp", EPERM, 2, IS(0, SECCOMP_SET_MODE_FILTER), HAS(1, SECCOMP_FILTER_FLAG_NEW_LISTENER)),
	ALLOW("seccomp"),
	/* Query, no randomization (debuggers), 32-bit uname and the 2.6 name: what changes no checks. */
	ALLOW_IF("personality", 1, IS(0, LOW)),
	ALLOW_IF("personality", 1, ONLY(0, ADDR_NO_RANDOMIZE | UNAME26 | PER_LINUX32)),
	REFUSE("personality", EPERM, 0),
	/* PR_SET_MM moves what /proc/PID/exe and cmdline show; PR_SCHED_CORE names foreign processes. */
	REFUSE("prctl", EPERM, 1, IS(0, PR_SET_MM)),
	REFUSE("prctl", EINVAL, 1, IS(0, PR_SCHED_CORE)),
	ASK("prctl", 1, IS(0, PR_SET_DUMPABLE)),
	ASK("prctl", 1, IS(0, PR_GET_DUMPABLE)),
	ASK("prctl", 1, IS(0, PR_SET_PTRACER)),
	ALLOW("prctl"),
};

static int add(struct blocklist *m, const struct bv_rule *rule)
{
	int r = m->host->rule(m->self, rule);
	char text[128];

	if (r < 0) {
		snprintf(text, sizeof(text), "the rule for %s was refused", rule->syscall);
		m->host->fail(m->self, text);
	}
	return r;
}

static int read_ranges(struct blocklist *m, const char *key, const struct bv_strings *words, struct range **out,
		       size_t *n)
{
	struct range *list = calloc(words->n + 1, sizeof(*list));
	char text[512];

	if (!list)
		return -ENOMEM;
	for (size_t i = 0; i < words->n; i++)
		if (range_parse(words->item[i], &list[i]) < 0) {
			snprintf(text, sizeof(text), "%s: %s: \"%.100s\" is no command number or range (0x5401-0x540b)",
				 m->host->option_where(m->self, key), key, words->item[i]);
			m->host->fail(m->self, text);
			free(list);
			return -EINVAL;
		}
	*n = range_merge(list, words->n);
	*out = list;
	return 0;
}

static int add_ranges(struct blocklist *m, const char *key, const struct bv_strings *words, int err)
{
	struct range *list;
	size_t n;
	int r = read_ranges(m, key, words, &list, &n);

	for (size_t i = 0; r >= 0 && i < n; i++) {
		struct bv_rule rule = {.syscall = "ioctl",
				       .action = err ? BV_ACT_ERRNO : BV_ACT_ALLOW,
				       .err = (uint16_t)err,
				       .n_cond = 2,
				       .cond = {FROM(1, list[i].first), UPTO(1, list[i].last)}};

		if (list[i].first == list[i].last) {
			rule.n_cond = 1;
			rule.cond[0].op = BV_EQ;
		}
		r = add(m, &rule);
	}
	if (r >= 0)
		free(list);
	return r < 0 ? r : 0;
}

/*
 * ioctl(2) is an allowlist: guests hold real descriptors of host files and directories, opened
 * for reading, and a file system's commands can change the host through those.  The kernel reads
 * the command as 32 bits, so the upper half of the register does not matter.
 */
static int add_ioctls(struct blocklist *m, const struct blocklist_conf *conf)
{
	/* Interface queries (SIOCGIF*) belong to the module that serves the network. */
	static const struct bv_rule interfaces = ASK("ioctl", 2, FROM(1, 0x8910), UPTO(1, 0x8970));
	static const struct bv_rule rest = REFUSE("ioctl", ENOTTY, 0);
	int r = add_ranges(m, "ioctl-eperm", &conf->ioctl_eperm, EPERM);

	if (r >= 0)
		r = add_ranges(m, "ioctl", &conf->ioctl, 0);
	if (r >= 0)
		r = add(m, &interfaces);
	if (r >= 0)
		r = add(m, &rest);
	return r;
}

int rules_register(struct blocklist *m, const struct blocklist_conf *conf)
{
	for (size_t i = 0; i < BV_ROWS(fixed); i++) {
		int r = add(m, &fixed[i]);

		if (r < 0)
			return r;
	}
	return add_ioctls(m, conf);
}
