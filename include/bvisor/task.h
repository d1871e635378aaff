/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_TASK_H
#define BVISOR_TASK_H
/*
 * Guest processes.  A bv_task is one thread group; it is created before any handler sees its
 * first trapped call and lives until its pidfd reports the exit, so a reused pid never meets a
 * stale bv_task.  Accessors are in struct bv_host.
 */
#include <bvisor/abi.h>

#define BV_NGROUPS 64
/* What the kernel would check on the calling thread's behalf (credentials(7)). */
struct bv_creds {
	uint32_t fsuid, fsgid, euid, egid, uid, gid;
	uint32_t n_groups; /* capped at BV_NGROUPS; more groups are refused with EPERM at setgroups */
	uint32_t group[BV_NGROUPS];
	uint64_t cap_effective;
};

#endif
