/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_CALL_H
#define BVISOR_CALL_H
/* One trapped system call and the functions that handle it.  Stable since 1.0. */
#include <bvisor/abi.h>

/*
 * A trapped call.  Host-allocated; a module may read its fields.  Valid from the handler's start
 * until the handler returns something other than BV_DEFERRED, or until the deferred `done`
 * returns.  Arguments are the raw 64-bit registers: narrow them as the kernel does, with
 * (int)call->arg[0], since a guest may leave garbage in the upper halves.
 */
struct bv_call {
	struct bv_head head;
	const char *name;     /* the syscall's name, "openat" */
	uint64_t arg[6];      /* raw argument registers */
	struct bv_task *task; /* the calling process */
	int32_t tid;          /* calling thread, in the supervisor's pid namespace */
	int32_t zero;
};

/*
 * Handles one call.  Called on the loop thread; must not block (use defer).  `self` is what the
 * module's init stored.  Returns a verdict; for BV_REPLIED the answer was set by host->reply().
 */
typedef enum bv_verdict bv_handler_fn(void *self, struct bv_call *call);

/* `git grep 'BV_SYSCALL(openat)'` finds the body. */
#define BV_SYSCALL(n) static enum bv_verdict sys_##n(void *self, struct bv_call *call)
/* For a handler row: BV_ON(openat, BV_SERVE). */
#define BV_ON(n, phase)                                                                          \
	{                                                                                        \
		#n, sys_##n, phase, 0                                                            \
	}
#define BV_ON_MAYBE(n, phase)                                                                    \
	{                                                                                        \
		#n, sys_##n, phase, BV_MAYBE                                                     \
	}
#define BV_MAYBE 1u /* row flag: no load error when no architecture knows the name */

struct bv_handler {
	const char *syscall;
	bv_handler_fn *fn;
	uint16_t phase, flags;
};

/* Argument conditions of a static filter rule: (arg[index] & mask) OP value.  All must hold. */
enum bv_cond_op { BV_EQ = 0, BV_NE = 1, BV_LT = 2, BV_LE = 3, BV_GT = 4, BV_GE = 5 };
struct bv_cond {
	uint8_t index, op;
	uint8_t wide; /* 1: compare all 64 bits; 0: only the low 32, as the kernel does for int arguments */
	uint8_t zero;
	uint32_t zero2;
	uint64_t mask, value;
};
enum bv_action { BV_ACT_ALLOW = 0, BV_ACT_ERRNO = 1, BV_ACT_TRAP = 2 };

/*
 * A static rule, compiled into the seccomp filter.  For one syscall the rules are tried in the
 * order of registration (module order, then table order) and the first whose conditions all hold
 * decides; when none holds the syscall's default is TRAP if anyone handles it, else the ledger's
 * passthrough or `unrouted` disposition.
 */
struct bv_rule {
	const char *syscall;
	uint16_t action, err; /* enum bv_action; errno for BV_ACT_ERRNO */
	uint16_t n_cond, flags; /* BV_MAYBE allowed */
	struct bv_cond cond[4];
};

#endif
