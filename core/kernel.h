/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_KERNEL_H
#define CORE_KERNEL_H
/* Kernel interfaces newer than the headers of the oldest system we build on. */
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <sys/ioctl.h>

/* Linux 6.6: the answer wakes the guest on the answering CPU. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#endif
#ifndef SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif
#ifndef PIDFD_THREAD
#define PIDFD_THREAD 0200 /* O_EXCL; Linux 6.9: a pidfd of one thread */
#endif

#define KERNEL_MFD_EXEC 0x10U /* Linux 6.3 (include/uapi/linux/memfd.h): the file may be executed */

/* pidfd_info of Linux 6.13 (include/uapi/linux/pidfd.h), its first version. */
struct kernel_pidfd_info {
	uint64_t mask, cgroupid;
	uint32_t pid, tgid, ppid, ruid, rgid, euid, egid, suid, sgid, fsuid, fsgid;
	int32_t exit_code;
};
#define KERNEL_PIDFD_INFO_PID 1u
#define KERNEL_PIDFD_GET_INFO _IOWR(0xFF, 11, struct kernel_pidfd_info)

/* Landlock rights by ABI (landlock(7)); the numbers are the kernel's interface. */
#define KERNEL_LL_FS_V1 ((1ULL << 13) - 1)
#define KERNEL_LL_FS_REFER (1ULL << 13)     /* ABI 2, Linux 5.19 */
#define KERNEL_LL_FS_TRUNCATE (1ULL << 14)  /* ABI 3, Linux 6.2 */
#define KERNEL_LL_FS_IOCTL_DEV (1ULL << 15) /* ABI 5, Linux 6.10 */
#define KERNEL_LL_SCOPE_ALL 3ULL            /* ABI 6, Linux 6.12: abstract unix sockets, signals */
struct kernel_landlock_attr {
	uint64_t handled_access_fs, handled_access_net, scoped;
};

/* What a guest thread gets when a signal interrupts its call; the kernel turns it into a restart
 * or EINTR on the way to user mode (include/linux/errno.h; never seen by user programs). */
#define KERNEL_ERESTARTSYS 512
#define KERNEL_ERESTART_LAST 516

#endif
