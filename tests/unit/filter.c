/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core/filter.c against two references: libseccomp's filter made from the same routes, and the
 * rules' meaning evaluated directly; over every number, the x32 bit, other architectures and the
 * argument values around each condition.
 */
#include <fcntl.h>
#include <seccomp.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf.h"

static const struct bv_module desc = {.name = "m"};
static struct bv_self self = {.desc = &desc};

static enum bv_verdict handler(void *s, struct bv_call *call)
{
	return BV_PASS;
}

static void quiet(void)
{
	log_set_level(BV_LOG_ERROR); /* policies as odd as these are warned of */
}
TestSuite(filter, .init = quiet);

static void on(struct router *r, const char *name)
{
	struct bv_handler row = {name, handler, BV_SERVE, 0};
	cr_assert_eq(router_add(r, &self, &row), 0, "%s", name);
}

static void rule(struct router *r, const struct bv_rule *row)
{
	cr_assert_eq(router_rule(r, &self, row), 0, "%s", row->syscall);
}

struct pair {
	const struct router *r;
	const struct sock_fprog *ours, *theirs; /* theirs NULL: the model only */
	unsigned long compared;
};

static void compare(const struct seccomp_data *d, void *arg)
{
	struct pair *p = arg;
	uint32_t got = bpf_run(p->ours, d), want = model_run(p->r, d);
	cr_assert_eq(got, want, "nr %d arch %x args %llx %llx %llx: %x, the model says %x", d->nr, d->arch,
		     (unsigned long long)d->args[0], (unsigned long long)d->args[1], (unsigned long long)d->args[2],
		     got, want);
	if (p->theirs) {
		uint32_t ref = bpf_run(p->theirs, d);
		cr_assert_eq(got, ref, "nr %d arch %x args %llx %llx %llx: %x, libseccomp says %x", d->nr, d->arch,
			     (unsigned long long)d->args[0], (unsigned long long)d->args[1],
			     (unsigned long long)d->args[2], got, ref);
	}
	p->compared++;
}

static void compare_all(struct pair *p)
{
	static const uint32_t arches[] = {
		FILTER_AUDIT_ARCH, AUDIT_ARCH_I386, AUDIT_ARCH_ARM, 0, ~0u, FILTER_AUDIT_ARCH ^ __AUDIT_ARCH_LE};
	for (size_t a = 0; a < sizeof(arches) / sizeof(arches[0]); a++) {
		struct seccomp_data d = {.arch = arches[a]};
		for (d.nr = 0; d.nr <= 1100; d.nr++)
			each_vector(p->r, &d, compare, p);
		static const uint32_t odd[] = {~0u,        0x40000000, 0x40000001,      0x3fffffff, 0x7fffffff,
					       0x80000000, 9999,       0x40000000 | 59, 0xfffffffe};
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
			d.nr = (int)odd[i];
			each_vector(p->r, &d, compare, p);
		}
	}
}

/* libseccomp's program, read back from a pipe. */
static struct sock_fprog export_bpf(scmp_filter_ctx ctx)
{
	int fd[2];
	static struct sock_filter insn[BPF_MAXINSNS];
	size_t got = 0;
	cr_assert_eq(pipe(fd), 0);
	fcntl(fd[1], F_SETPIPE_SZ, 1 << 16);
	cr_assert_eq(seccomp_export_bpf(ctx, fd[1]), 0);
	close(fd[1]);
	for (ssize_t n; (n = read(fd[0], (char *)insn + got, sizeof(insn) - got)) > 0;)
		got += (size_t)n;
	close(fd[0]);
	cr_assert_gt(got, 0);
	return (struct sock_fprog){(unsigned short)(got / sizeof(insn[0])), insn};
}

static const struct {
	const char *name;
	struct bv_rule rule;
	struct scmp_arg_cmp cmp[2];
	uint32_t action;
} ruled[] = {
/* A condition and its complement, so that no order matters: libseccomp knows none. */
#define EITHER(call, field, ours, theirs, act_, err_, scmp_)            \
	{                                                               \
		call, {call, act_, err_, 1, 0, {ours}}, {theirs}, scmp_ \
	}
	EITHER("clone", 0, ((struct bv_cond){0, BV_EQ, 1, 0, 0, 0x10000000, 0x10000000}),
	       SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000000, 0x10000000), BV_ACT_ERRNO, EPERM, SCMP_ACT_ERRNO(EPERM)),
	EITHER("clone", 0, ((struct bv_cond){0, BV_EQ, 1, 0, 0, 0x10000000, 0}),
	       SCMP_A0(SCMP_CMP_MASKED_EQ, 0x10000000, 0), BV_ACT_ALLOW, 0, SCMP_ACT_ALLOW),
	EITHER("socket", 0, ((struct bv_cond){1, BV_LT, 1, 0, 0, ~0ull, 0x500000005}),
	       SCMP_A1(SCMP_CMP_LT, 0x500000005), BV_ACT_ALLOW, 0, SCMP_ACT_ALLOW),
	EITHER("socket", 0, ((struct bv_cond){1, BV_GE, 1, 0, 0, ~0ull, 0x500000005}),
	       SCMP_A1(SCMP_CMP_GE, 0x500000005), BV_ACT_TRAP, 0, SCMP_ACT_NOTIFY),
	EITHER("mmap", 0, ((struct bv_cond){2, BV_LE, 1, 0, 0, ~0ull, 0x7fffffff}), SCMP_A2(SCMP_CMP_LE, 0x7fffffff),
	       BV_ACT_TRAP, 0, SCMP_ACT_NOTIFY),
	EITHER("mmap", 0, ((struct bv_cond){2, BV_GT, 1, 0, 0, ~0ull, 0x7fffffff}), SCMP_A2(SCMP_CMP_GT, 0x7fffffff),
	       BV_ACT_ERRNO, ENOMEM, SCMP_ACT_ERRNO(ENOMEM)),
	EITHER("kill", 0, ((struct bv_cond){5, BV_EQ, 1, 0, 0, ~0ull, 0xffffffffffffffff}),
	       SCMP_A5(SCMP_CMP_EQ, 0xffffffffffffffff), BV_ACT_TRAP, 0, SCMP_ACT_NOTIFY),
	EITHER("kill", 0, ((struct bv_cond){5, BV_NE, 1, 0, 0, ~0ull, 0xffffffffffffffff}),
	       SCMP_A5(SCMP_CMP_NE, 0xffffffffffffffff), BV_ACT_ERRNO, ESRCH, SCMP_ACT_ERRNO(ESRCH)),
	/* Unrouted calls, refused with ENOSYS unless a 32-bit condition holds. */
	EITHER("swapon", 0, ((struct bv_cond){3, BV_EQ, 0, 0, 0, ~0ull, (uint64_t)-100}),
	       SCMP_A3(SCMP_CMP_MASKED_EQ, 0xffffffff, (uint32_t)-100), BV_ACT_ALLOW, 0, SCMP_ACT_ALLOW),
	EITHER("swapon", 0, ((struct bv_cond){3, BV_EQ, 0, 0, 0, ~0ull, 0x5412}),
	       SCMP_A3(SCMP_CMP_MASKED_EQ, 0xffffffff, 0x5412), BV_ACT_ERRNO, EPERM, SCMP_ACT_ERRNO(EPERM)),
	EITHER("swapoff", 0, ((struct bv_cond){4, BV_EQ, 0, 0, 0, 0xff00, 0x1200}),
	       SCMP_A4(SCMP_CMP_MASKED_EQ, 0xff00, 0x1200), BV_ACT_TRAP, 0, SCMP_ACT_NOTIFY),
	/* Two conditions at once. */
	{"acct",
	 {"acct", BV_ACT_ALLOW, 0, 2, 0, {{0, BV_EQ, 1, 0, 0, ~0ull, 3}, {1, BV_GE, 1, 0, 0, ~0ull, 1ull << 33}}},
	 {SCMP_A0(SCMP_CMP_EQ, 3), SCMP_A1(SCMP_CMP_GE, 1ull << 33)},
	 SCMP_ACT_ALLOW},
};
#define N_RULED (sizeof(ruled) / sizeof(ruled[0]))

static bool is_ruled(int nr)
{
	for (size_t i = 0; i < N_RULED; i++)
		if (names_nr(ruled[i].name) == nr)
			return true;
	return false;
}

Test(filter, equals_libseccomp)
{
	static const char *const traps[] = {"openat",    "newfstatat", "execve", "getdents64", "uname",
					    "fchmodat2", "statx",      "getcwd", "unlinkat"};
	static const char *const denies[] = {"ptrace", "mount", "bpf", "setns", "mseal"};
	struct router *r;
	cr_assert_eq(router_new(&r, ENOSYS), 0);
	for (size_t i = 0; i < sizeof(traps) / sizeof(traps[0]); i++)
		on(r, traps[i]);
	for (size_t i = 0; i < sizeof(denies) / sizeof(denies[0]); i++)
		cr_assert_eq(router_deny(r, &self, denies[i], i % 2 ? EPERM : EACCES), 0);
	for (size_t i = 0; i < N_RULED; i++)
		rule(r, &ruled[i].rule);
	cr_assert_eq(router_freeze(r), 0);

	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	cr_assert(ctx);
	cr_assert_eq(seccomp_attr_set(ctx, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_ERRNO(ENOSYS)), 0);
	for (int nr = 0; nr <= names_max(); nr++) {
		struct verdict v = router_default(r, nr);
		if (is_ruled(nr) || (v.kind == KIND_ERRNO && v.err == ENOSYS))
			continue;
		uint32_t action = v.kind == KIND_ALLOW  ? SCMP_ACT_ALLOW
				  : v.kind == KIND_TRAP ? SCMP_ACT_NOTIFY
							: SCMP_ACT_ERRNO((uint32_t)v.err);
		cr_assert_eq(seccomp_rule_add(ctx, action, nr, 0), 0, "%d", nr);
	}
	for (size_t i = 0; i < N_RULED; i++)
		cr_assert_eq(seccomp_rule_add_array(ctx, ruled[i].action, names_nr(ruled[i].name), ruled[i].rule.n_cond,
						    ruled[i].cmp),
			     0, "row %zu", i);
	struct sock_fprog ours, theirs = export_bpf(ctx);
	cr_assert_eq(filter_compile(r, &ours), 0);
	struct pair p = {r, &ours, &theirs, 0};
	compare_all(&p);
	cr_assert_gt(p.compared, 6000);
	seccomp_release(ctx);
	free(ours.filter);
	router_free(r);
}

/* xorshift64: the same rules on every run. */
static uint64_t next(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

static struct bv_rule random_rule(uint64_t *state, const char *name)
{
	static const uint64_t masks[] = {~0ull, 0xffffffff, 0x10000000, 0xff00, 0xff, 0x1ffffffff, 0x8000000000000001};
	static const uint64_t values[] = {0,          1,           5,      0x7fffffff,         0x80000000, 0xffffffff,
					  0x10000000, 0x100000000, 0x1200, 0x7fffffffffffffff, ~0ull};
	struct bv_rule row = {name, (uint16_t)(next(state) % 3), 0, (uint16_t)(next(state) % 5), 0};
	uint16_t err = next(state) % 3   ? (uint16_t)(1 + next(state) % 130)
	               : next(state) % 2 ? EPERM
	                                 : EACCES;
	row.err = row.action == BV_ACT_ERRNO ? err : 0;
	for (size_t i = 0; i < row.n_cond; i++) {
		uint64_t mask = masks[next(state) % 7];
		row.cond[i] = (struct bv_cond){.index = (uint8_t)(next(state) % 6),
					       .op = (uint8_t)(next(state) % 6),
					       .wide = (uint8_t)(next(state) % 2),
					       .mask = mask,
					       .value = next(state) % 3 ? values[next(state) % 11] & mask
									: values[next(state) % 11]};
	}
	return row;
}

/* Audited, a call is trapped instead of refused, and the router says what the filter would have. */
static void compare_audited(const struct seccomp_data *d, void *arg)
{
	struct pair *p = arg;
	uint32_t plain = bpf_run(p->ours, d), told = bpf_run(p->theirs, d);
	int err = (int)(plain & SECCOMP_RET_DATA);
	const char *by = NULL;

	if ((plain & SECCOMP_RET_ACTION_FULL) != SECCOMP_RET_ERRNO || !router_is_refusal(err)) {
		cr_assert_eq(told, plain, "%d", d->nr);
		if (plain == SECCOMP_RET_USER_NOTIF)
			cr_assert_eq(router_refused(p->r, d->nr, (const uint64_t *)d->args, &by), 0,
			             "%d", d->nr);
		return;
	}
	cr_assert_eq(told, SECCOMP_RET_USER_NOTIF, "%d", d->nr);
	cr_assert_eq(router_refused(p->r, d->nr, (const uint64_t *)d->args, &by), err, "%d", d->nr);
	cr_assert_not_null(by);
	p->compared++;
}

static unsigned long audit_too(struct router *r, const struct sock_fprog *plain)
{
	struct seccomp_data d = {.arch = FILTER_AUDIT_ARCH};
	struct sock_fprog told;

	router_audit(r);
	cr_assert_eq(filter_compile(r, &told), 0);
	struct pair p = {r, plain, &told, 0};
	for (d.nr = 0; d.nr <= 600; d.nr++)
		each_vector(r, &d, compare_audited, &p);
	free(told.filter);
	return p.compared;
}

Test(filter, equals_its_meaning_for_random_rules)
{
	uint64_t state = 0x9e3779b97f4a7c15;
	unsigned long compared = 0, audited = 0;
	for (int round = 0; round < 150; round++) {
		struct router *r;
		cr_assert_eq(router_new(&r, round % 3 ? ENOSYS : round % 2 ? EPERM : 0), 0);
		for (int i = 0; i < 60; i++) {
			const char *name = names_name((int)(next(&state) % (uint64_t)(names_max() + 1)));
			if (!name)
				continue;
			if (next(&state) % 3 == 0)
				on(r, name);
			if (next(&state) % 8 == 0)
				cr_assert_eq(router_deny(r, &self, name, EPERM), 0);
			for (uint64_t k = next(&state) % 5; k; k--) {
				struct bv_rule row = random_rule(&state, name);
				rule(r, &row);
			}
		}
		cr_assert_eq(router_freeze(r), 0);
		struct sock_fprog ours;
		int code = filter_compile(r, &ours);
		if (code == 0) {
			struct pair p = {r, &ours, NULL, 0};
			struct seccomp_data d = {.arch = FILTER_AUDIT_ARCH};
			for (d.nr = 0; d.nr <= 600; d.nr++)
				each_vector(r, &d, compare, &p);
			compared += p.compared;
			audited += audit_too(r, &ours);
			free(ours.filter);
		}
		cr_assert_eq(code, 0);
		router_free(r);
	}
	cr_assert_gt(compared, 1000000);
	cr_assert_gt(audited, 20000);
}

/* Blocks so long that a conditional jump cannot cross them. */
Test(filter, long_jumps)
{
	struct router *r;
	cr_assert_eq(router_new(&r, ENOSYS), 0);
	uint64_t state = 42;
	for (int i = 0; i < 120; i++) {
		struct bv_rule row = {
			"ioctl",
			BV_ACT_ERRNO,
			(uint16_t)(1 + i),
			2,
			0,
			{{1, BV_EQ, 1, 0, 0, ~0ull, next(&state)}, {2, BV_GE, 1, 0, 0, ~0ull, (uint64_t)i << 30}}};
		rule(r, &row);
		row.syscall = "prctl";
		rule(r, &row);
	}
	cr_assert_eq(router_freeze(r), 0);
	struct sock_fprog ours;
	cr_assert_eq(filter_compile(r, &ours), 0);
	cr_assert_gt(ours.len, 1500);
	struct pair p = {r, &ours, NULL, 0};
	compare_all(&p);
	free(ours.filter);
	router_free(r);
}

Test(filter, too_long_is_an_error)
{
	struct router *r;
	cr_assert_eq(router_new(&r, ENOSYS), 0);
	static const char *const calls[] = {"ioctl", "prctl", "fcntl"};
	for (int c = 0; c < 3; c++)
		for (unsigned i = 0; i < 250; i++) {
			struct bv_rule row = {
				calls[c], BV_ACT_ERRNO,
				EPERM,    2,
				0,        {{1, BV_EQ, 1, 0, 0, ~0ull, i * 77777777ull}, {2, BV_GT, 1, 0, 0, ~0ull, i}}};
			rule(r, &row);
		}
	cr_assert_eq(router_freeze(r), 0);
	struct sock_fprog ours = {0};
	cr_assert_eq(filter_compile(r, &ours), -E2BIG);
	cr_assert_null(ours.filter);
	router_free(r);
}

/* One range only: every call the same. */
Test(filter, everything_denied)
{
	struct router *r;
	cr_assert_eq(router_new(&r, ENOSYS), 0);
	for (int nr = 0; nr <= names_max(); nr++)
		if (names_name(nr))
			cr_assert_eq(router_deny(r, &self, names_name(nr), ENOSYS), 0);
	cr_assert_eq(router_freeze(r), 0);
	struct sock_fprog ours;
	cr_assert_eq(filter_compile(r, &ours), 0);
	struct pair p = {r, &ours, NULL, 0};
	compare_all(&p);
	free(ours.filter);
	router_free(r);
}

/* The kernel takes the program and does what it says. */
Test(filter, the_kernel_takes_it)
{
	struct router *r;
	cr_assert_eq(router_new(&r, 0), 0);
	cr_assert_eq(router_deny(r, &self, "getppid", EXDEV), 0);
	static const struct bv_rule wide = {"getpgid", BV_ACT_ERRNO, EDOM, 1, 0, {{0, BV_EQ, 1, 0, 0, ~0ull, 1}}},
				    narrow = {"getsid", BV_ACT_ERRNO, EDOM, 1, 0, {{0, BV_EQ, 0, 0, 0, ~0ull, 1}}};
	rule(r, &wide);
	rule(r, &narrow);
	on(r, "uname"); /* without a listener the kernel answers ENOSYS */
	cr_assert_eq(router_freeze(r), 0);
	struct sock_fprog ours;
	cr_assert_eq(filter_compile(r, &ours), 0);
	pid_t pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &ours))
			_exit(1);
		if (syscall(SYS_getppid) != -1 || errno != EXDEV)
			_exit(2);
		if (syscall(SYS_getpgid, 1L) != -1 || errno != EDOM)
			_exit(3);
		if (syscall(SYS_getsid, 0x100000001L) != -1 || errno != EDOM)
			_exit(4);
		if (syscall(SYS_getpgid, 0x100000001L) == -1 && errno == EDOM)
			_exit(5);
		if (syscall(SYS_uname, 0L) != -1 || errno != ENOSYS)
			_exit(6);
		if (syscall(9999) != -1 || errno != ENOSYS || syscall(-1L) != -1 || errno != ENOSYS)
			_exit(7);
		_exit(syscall(SYS_getpid) > 0 ? 0 : 8);
	}
	int status;
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status 0x%x", status);
	free(ours.filter);
	router_free(r);
}
