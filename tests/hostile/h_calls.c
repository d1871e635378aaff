/* SPDX-License-Identifier: Apache-2.0 */
/* Every escape and privilege call: refused, with the errno that bvisor.ini names. */
#include "h.h"
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

static void want(long r, int e, const char *what)
{
	if (r == -1 && errno == e)
		return;
	if (r == -1)
		breach("%s: %s, not %s", what, strerrorname_np(errno), strerrorname_np(e));
	else
		breach("%s: returned %ld", what, r);
}
#define REFUSED(e, nr, ...) want(syscall(nr, __VA_ARGS__), e, #nr)
/* The upper half of a register is garbage where the kernel reads 32 bits. */
#define G 0xdeadbeef00000000ul

static void eperm(void)
{
	char b[256] = { 0 };
	int zero[64] = { 0 };

	REFUSED(EPERM, SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
	REFUSED(EPERM, SYS_umount2, "/tmp", 0);
	REFUSED(EPERM, SYS_pivot_root, "/", "/tmp");
	REFUSED(EPERM, SYS_chroot, "/");
	REFUSED(EPERM, SYS_move_mount, -1, "", -1, "", 0);
	REFUSED(EPERM, SYS_open_tree, -100, "/", 1);
	REFUSED(EPERM, SYS_fsopen, "tmpfs", 0);
	REFUSED(EPERM, SYS_fsconfig, -1, 0, 0, 0, 0);
	REFUSED(EPERM, SYS_fsmount, -1, 0, 0);
	REFUSED(EPERM, SYS_fspick, -100, "/", 0);
	REFUSED(EPERM, SYS_mount_setattr, -100, "/", 0, zero, 32);
	REFUSED(EPERM, 457 /* statmount */, zero, b, sizeof(b), 0);
	REFUSED(EPERM, 458 /* listmount */, zero, b, 1, 0);
	REFUSED(EPERM, SYS_open_tree_attr, -100, "/", 1, 0, 0);
	REFUSED(EPERM, SYS_setns, 0, 0);
	REFUSED(EPERM, SYS_ptrace, 0 /* PTRACE_TRACEME */, 0, 0, 0);
	REFUSED(EPERM, SYS_ptrace, 0x4206 /* PTRACE_SEIZE */, getppid(), 0, 0);
	REFUSED(EPERM, SYS_bpf, 0, zero, sizeof(zero));
	REFUSED(EPERM, SYS_perf_event_open, zero, 0, -1, -1, 0);
	REFUSED(EPERM, SYS_userfaultfd, 1);
	REFUSED(EPERM, SYS_init_module, b, 0, "");
	REFUSED(EPERM, SYS_finit_module, 0, "", 0);
	REFUSED(EPERM, SYS_delete_module, "none", 0);
	REFUSED(EPERM, SYS_kexec_load, 0, 0, 0, 0);
	REFUSED(EPERM, SYS_add_key, "user", "x", "y", 1, -3);
	REFUSED(EPERM, SYS_request_key, "user", "x", 0, 0);
	REFUSED(EPERM, SYS_keyctl, 0, -3, 0, 0, 0);
	REFUSED(EPERM, SYS_open_by_handle_at, -100, zero, 0);
	REFUSED(EPERM, SYS_name_to_handle_at, -100, "/", zero, zero, 0);
	REFUSED(EPERM, SYS_reboot, 0, 0, 0, 0); /* with the wrong magic, should it get through */
	REFUSED(EPERM, SYS_swapon, "/nothing", 0);
	REFUSED(EPERM, SYS_swapoff, "/nothing");
	REFUSED(EPERM, SYS_acct, "/nothing");
	REFUSED(EPERM, SYS_quotactl, 0, 0, 0, 0);
	REFUSED(EPERM, SYS_settimeofday, NULL, NULL);
	REFUSED(EPERM, SYS_clock_settime, 9999, zero);
	REFUSED(EPERM, SYS_sethostname, "", -1);
	REFUSED(EPERM, SYS_setdomainname, "", -1);
	REFUSED(EPERM, SYS_vhangup, 0);
	REFUSED(EPERM, SYS_syslog, 3, b, sizeof(b));
	REFUSED(EPERM, SYS_fanotify_init, 0, 0);
	REFUSED(EPERM, SYS_fanotify_mark, -1, 0, 0, -1, "/");
#ifdef SYS_iopl
	REFUSED(EPERM, SYS_iopl, 3);
	REFUSED(EPERM, SYS_ioperm, 0, 1, 1);
#endif
}

static void enosys(void)
{
	long zero[32] = { 0 };

	REFUSED(ENOSYS, SYS_clone3, zero, 64);
	REFUSED(ENOSYS, SYS_io_uring_setup, 4, zero);
	REFUSED(ENOSYS, SYS_io_uring_enter, 0, 0, 0, 0, 0, 0);
	REFUSED(ENOSYS, SYS_io_uring_register, 0, 0, 0, 0);
	REFUSED(ENOSYS, SYS_shmget, 0, 4096, 01600);
	REFUSED(ENOSYS, SYS_semget, 0, 1, 01600);
	REFUSED(ENOSYS, SYS_msgget, 0, 01600);
	REFUSED(ENOSYS, SYS_mq_open, "x", O_CREAT | O_RDWR, 0600, 0);
	REFUSED(ENOSYS, SYS_landlock_create_ruleset, 0, 0, 1);
}

static void namespaces(void)
{
	static const unsigned long flags[] = {
		CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET,
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		static const unsigned long more[] = { 0, CLONE_NEWUSER, G, CLONE_FILES | CLONE_FS };

		for (size_t k = 0; k < sizeof(more) / sizeof(more[0]); k++) {
			long r = syscall(SYS_clone, flags[i] | more[k] | SIGCHLD, 0, 0, 0, 0);

			if (r == 0)
				_exit(0);
			want(r, EPERM, "clone of a new namespace");
			want(syscall(SYS_unshare, flags[i] | more[k]), EPERM, "unshare of a namespace");
		}
	}
	want(syscall(SYS_unshare, 0x80 /* CLONE_NEWTIME */), EPERM, "unshare of the time namespace");
	/* What is the process's own goes on working. */
	if (syscall(SYS_unshare, 0) < 0 || syscall(SYS_unshare, CLONE_FS) < 0 || syscall(SYS_unshare, CLONE_FILES) < 0)
		breach("harmless unshare: %s", strerror(errno));
}

static void processes(void)
{
	struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
	struct sock_fprog prog = { 1, &allow };
	int tx[64] = { 1 /* ADJ_OFFSET */ };

	REFUSED(EPERM, SYS_seccomp, 1, 8 /* SECCOMP_FILTER_FLAG_NEW_LISTENER */, &prog);
	REFUSED(EPERM, SYS_seccomp, G | 1, G | 9, &prog);
	if (syscall(SYS_seccomp, 1, 0, &prog) != 0)
		breach("a plain filter: %s", strerror(errno));
	/* With it in force all is as before. */
	REFUSED(EPERM, SYS_mount, "none", "/tmp", "tmpfs", 0, 0);
	REFUSED(EPERM, SYS_personality, 0x0400000 /* READ_IMPLIES_EXEC */);
	REFUSED(EPERM, SYS_personality, G | 0x0400000);
	if (syscall(SYS_personality, 0xffffffff) < 0 || syscall(SYS_personality, 0x0040000) < 0)
		breach("personality: %s", strerror(errno));
	REFUSED(EPERM, SYS_prctl, 35 /* PR_SET_MM */, 1, 0, 0, 0);
	REFUSED(EPERM, SYS_prctl, G | 35, 1, 0, 0, 0);
	if (prctl(PR_SET_DUMPABLE, 0) != 0 || prctl(PR_GET_DUMPABLE) != 1)
		breach("the process could make itself unreadable");
	want(prctl(PR_SET_DUMPABLE, 2), EINVAL, "PR_SET_DUMPABLE 2");
	REFUSED(EPERM, SYS_adjtimex, tx);
	REFUSED(EPERM, SYS_clock_adjtime, 0, tx);
	tx[0] = 0;
	if (syscall(SYS_adjtimex, tx) < 0)
		breach("reading the clock's state: %s", strerror(errno));
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);

	MUST(!h.control);
	h_time_limit(30);
	eperm();
	enosys();
	namespaces();
	processes();
	return h_end();
}
