/* SPDX-License-Identifier: Apache-2.0 */
/* core/passthrough.c: no typing errors, no doubles, and nothing that must never be in it. */
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "bvisor.h"
#include "passthrough.h"

Test(passthrough, rows_are_known_and_unique)
{
	const struct passthrough *a, *b;
	size_t n = 0;
	for (; (a = passthrough_at(n)); n++) {
		cr_assert_neq(names_nr(a->name), -EINVAL, "%s", a->name);
		cr_assert(a->reason && *a->reason, "%s", a->name);
		for (size_t k = 0; k < n; k++) {
			b = passthrough_at(k);
			cr_assert_neq(strcmp(a->name, b->name), 0, "%s twice", a->name);
		}
		cr_assert_str_eq(passthrough_reason(a->name), a->reason);
	}
	cr_assert_gt(n, 150);
	cr_assert_null(passthrough_reason("nonsense"));
}

/* Calls that take a path, another's pid, an address, or change the machine. */
Test(passthrough, never)
{
	static const char *const never[] = {"open",
					    "openat",
					    "openat2",
					    "creat",
					    "execve",
					    "execveat",
					    "stat",
					    "lstat",
					    "newfstatat",
					    "statx",
					    "access",
					    "faccessat",
					    "faccessat2",
					    "readlink",
					    "readlinkat",
					    "mkdir",
					    "mkdirat",
					    "mknod",
					    "mknodat",
					    "unlink",
					    "unlinkat",
					    "rmdir",
					    "rename",
					    "renameat",
					    "renameat2",
					    "link",
					    "linkat",
					    "symlink",
					    "symlinkat",
					    "chmod",
					    "fchmod",
					    "fchmodat",
					    "fchmodat2",
					    "chown",
					    "lchown",
					    "fchown",
					    "fchownat",
					    "truncate",
					    "chdir",
					    "chroot",
					    "pivot_root",
					    "mount",
					    "umount2",
					    "move_mount",
					    "open_tree",
					    "open_tree_attr",
					    "fsopen",
					    "fsmount",
					    "fsconfig",
					    "fspick",
					    "mount_setattr",
					    "statmount",
					    "listmount",
					    "setxattr",
					    "lsetxattr",
					    "fsetxattr",
					    "setxattrat",
					    "removexattrat",
					    "utime",
					    "utimes",
					    "utimensat",
					    "futimesat",
					    "inotify_add_watch",
					    "fanotify_init",
					    "fanotify_mark",
					    "name_to_handle_at",
					    "open_by_handle_at",
					    "statfs",
					    "quotactl",
					    "quotactl_fd",
					    "swapon",
					    "swapoff",
					    "acct",
					    "uselib",
					    "kill",
					    "tkill",
					    "tgkill",
					    "rt_sigqueueinfo",
					    "rt_tgsigqueueinfo",
					    "pidfd_open",
					    "pidfd_getfd",
					    "pidfd_send_signal",
					    "process_vm_readv",
					    "process_vm_writev",
					    "process_madvise",
					    "process_mrelease",
					    "ptrace",
					    "kcmp",
					    "prlimit64",
					    "setpriority",
					    "sched_setaffinity",
					    "sched_setscheduler",
					    "sched_setattr",
					    "ioprio_set",
					    "move_pages",
					    "migrate_pages",
					    "get_robust_list",
					    "perf_event_open",
					    "socket",
					    "connect",
					    "bind",
					    "sendto",
					    "sendmsg",
					    "sendmmsg",
					    "clone3",
					    "unshare",
					    "setns",
					    "seccomp",
					    "bpf",
					    "userfaultfd",
					    "io_uring_setup",
					    "io_uring_enter",
					    "io_uring_register",
					    "keyctl",
					    "add_key",
					    "request_key",
					    "init_module",
					    "finit_module",
					    "delete_module",
					    "kexec_load",
					    "kexec_file_load",
					    "reboot",
					    "iopl",
					    "ioperm",
					    "modify_ldt",
					    "settimeofday",
					    "clock_settime",
					    "adjtimex",
					    "clock_adjtime",
					    "sethostname",
					    "setdomainname",
					    "syslog",
					    "vhangup",
					    "shmget",
					    "shmat",
					    "semget",
					    "msgget",
					    "mq_open",
					    "mq_unlink",
					    "landlock_create_ruleset",
					    "file_setattr",
					    "lookup_dcookie"};
	for (size_t i = 0; i < sizeof(never) / sizeof(never[0]); i++) {
		cr_assert_neq(names_nr(never[i]), -EINVAL, "%s", never[i]);
		cr_assert_null(passthrough_reason(never[i]), "%s", never[i]);
	}
}

Test(passthrough, what_reaches_further_is_marked)
{
	static const char *const guarded[] = {"clone", "prctl", "ioctl", "fcntl", "personality"};
	const struct passthrough *p;
	for (size_t i = 0; (p = passthrough_at(i)); i++) {
		bool listed = false;
		for (size_t k = 0; k < sizeof(guarded) / sizeof(guarded[0]); k++)
			listed |= !strcmp(guarded[k], p->name);
		cr_assert_eq(p->guarded, listed, "%s", p->name);
	}
}
