/* SPDX-License-Identifier: Apache-2.0 */
/* The shipped configuration and modules: no call without an owner, and a filter that is exactly
 * the projection of the routes. */
#include <stdlib.h>
#include <sys/syscall.h>

#include "bpf.h"

static struct sandbox *load(void)
{
	struct config *c;
	struct sandbox *box;
	struct bv_error err = {""};
	cr_assert_eq(config_load(&c, DEFAULT_INI, &err), 0, "%s", err.text);
	cr_assert_eq(sandbox_new(&box, c, &err), 0, "%s", err.text);
	return box;
}

Test(ledger, every_call_has_an_owner)
{
	struct sandbox *box = load();
	int count[4] = {0};
	for (int nr = 0; nr <= names_max(); nr++) {
		const char *owner = NULL;
		int err = -1;
		enum disposition d = router_disposition(box->router, nr, &owner, &err);
		count[d]++;
		cr_assert_eq(d == DISP_UNKNOWN, names_name(nr) == NULL, "%d", nr);
		cr_assert(owner && *owner, "%d", nr);
		cr_assert_eq(err != 0, d == DISP_BLOCKED || d == DISP_UNKNOWN, "%d", nr);
	}
	cr_assert(count[DISP_VIRTUAL] > 50 && count[DISP_PASS] > 100 && count[DISP_BLOCKED] > 30);
	sandbox_free(box);
}

static void expect(const struct sandbox *box, const char *name, uint32_t want)
{
	struct seccomp_data d = {.nr = names_nr(name), .arch = FILTER_AUDIT_ARCH};
	if (d.nr == -ENOSYS)
		return;
	cr_assert_geq(d.nr, 0, "%s", name);
	uint32_t got = bpf_run(&box->filter, &d);
	if (want == SECCOMP_RET_ERRNO)
		got &= SECCOMP_RET_ACTION_FULL;
	cr_assert_eq(got, want, "%s: %x", name, got);
}

Test(ledger, what_must_be_native_trapped_or_refused)
{
	struct sandbox *box = load();
	static const char *const native[] = {"read",  "write", "close",           "mmap",         "lseek", "fstat",
					     "futex", "poll",  "restart_syscall", "rt_sigreturn", "rseq",  "fork",
					     "vfork", "wait4", "exit_group",      "dup2",         "pipe2", "brk",
					     "getpid"};
	static const char *const trapped[] = {"open",       "openat",  "openat2", "execve", "execveat",   "stat",
					      "newfstatat", "statx",   "kill",    "uname",  "getdents64", "chdir",
					      "unlinkat",   "connect", "bind",    "sendmsg", "fchmod", "process_madvise"};
	static const char *const refused[] = {"clone3",
					      "io_uring_setup",
					      "io_uring_enter",
					      "userfaultfd",
					      "bpf",
					      "perf_event_open",
					      "keyctl",
					      "open_by_handle_at",
					      "setns",
					      "mount",
					      "umount2",
					      "chroot",
					      "pivot_root",
					      "ptrace",
					      "init_module",
					      "kexec_load",
					      "reboot",
					      "swapon",
					      "iopl"};
	for (size_t i = 0; i < sizeof(native) / sizeof(native[0]); i++)
		expect(box, native[i], SECCOMP_RET_ALLOW);
	for (size_t i = 0; i < sizeof(trapped) / sizeof(trapped[0]); i++)
		expect(box, trapped[i], SECCOMP_RET_USER_NOTIF);
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++)
		expect(box, refused[i], SECCOMP_RET_ERRNO);
	sandbox_free(box);
}

static void compare(const struct seccomp_data *d, void *arg)
{
	const struct sandbox *box = arg;
	cr_assert_eq(bpf_run(&box->filter, d), model_run(box->router, d), "nr %d arch %x args %llx %llx", d->nr,
		     d->arch, (unsigned long long)d->args[0], (unsigned long long)d->args[1]);
}

Test(ledger, the_filter_is_the_projection_of_the_routes)
{
	struct sandbox *box = load();
	for (int foreign = 0; foreign < 2; foreign++) {
		struct seccomp_data d = {.arch = foreign ? AUDIT_ARCH_I386 : FILTER_AUDIT_ARCH};
		for (d.nr = -1; d.nr <= 1100; d.nr++)
			each_vector(box->router, &d, compare, box);
		for (int nr = 0; nr <= 1100; nr++) {
			d.nr = nr | 0x40000000;
			each_vector(box->router, &d, compare, box);
		}
	}
	sandbox_free(box);
}

Test(ledger, loads_again_and_again)
{
	for (int i = 0; i < 20; i++)
		sandbox_free(load());
	struct sandbox *a = load(), *b = load(); /* two at once */
	cr_assert_eq(a->filter.len, b->filter.len);
	sandbox_free(a);
	sandbox_free(b);
}
