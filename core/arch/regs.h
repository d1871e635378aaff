/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ARCH_REGS_H
#define CORE_ARCH_REGS_H
/*
 * A stopped thread's registers as far as the exec redirect needs them, and the raw system call
 * that the not-yet-executed child of launch uses.  The only place of core that knows which
 * processor it runs on.
 */
#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ptrace.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/user.h>

#if defined(__x86_64__)
#include <linux/audit.h>
#define ARCH_AUDIT AUDIT_ARCH_X86_64
struct regs {
	struct user_regs_struct user;
};
#define REGS_INSN 2 /* bytes of the syscall instruction */

static inline uint64_t regs_sp(const struct regs *r)
{
	return r->user.rsp;
}
static inline int64_t regs_result(const struct regs *r)
{
	return (int64_t)r->user.rax;
}
static inline void regs_set_result(struct regs *r, int64_t value)
{
	r->user.rax = (unsigned long long)value;
	/* "Not in a system call": keeps the kernel's restart logic from rewinding again. */
	r->user.orig_rax = ~0ULL;
}
/* Makes the thread execute the instruction it is just past once more, as system call nr. */
static inline void regs_again(struct regs *r, long nr, const uint64_t arg[6])
{
	r->user.rip -= REGS_INSN;
	r->user.orig_rax = ~0ULL;
	r->user.rax = (unsigned long long)nr;
	r->user.rdi = arg[0];
	r->user.rsi = arg[1];
	r->user.rdx = arg[2];
	r->user.r10 = arg[3];
	r->user.r8 = arg[4];
	r->user.r9 = arg[5];
}
/* Whether the thread has just been taken out of system call nr with these arguments by a signal,
 * to make it again: result ERESTARTSYS, which no user program ever sees. */
static inline bool regs_restarting(const struct regs *r, long nr, const uint64_t arg[6])
{
	return (long)r->user.orig_rax == nr && (int64_t)r->user.rax == -512 && r->user.rdi == arg[0] &&
	       r->user.rsi == arg[1] && r->user.rdx == arg[2] && r->user.r10 == arg[3];
}
/* Then: as if it were past the instruction. */
static inline void regs_no_restart(struct regs *r)
{
	(void)r; /* the kernel would rewind later */
}
static inline long arch_syscall(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	long ret;
	__asm__ volatile("syscall"
	                 : "=a"(ret)
	                 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
	                 : "rcx", "r11", "memory");
	return ret;
}
#elif defined(__aarch64__)
#include <linux/audit.h>
#define ARCH_AUDIT AUDIT_ARCH_AARCH64
struct regs {
	struct user_regs_struct user;
};
#define REGS_INSN 4 /* bytes of the svc instruction */

static inline uint64_t regs_sp(const struct regs *r)
{
	return r->user.sp;
}
static inline int64_t regs_result(const struct regs *r)
{
	return (int64_t)r->user.regs[0];
}
static inline void regs_set_result(struct regs *r, int64_t value)
{
	r->user.regs[0] = (unsigned long long)value;
}
/* Makes the thread execute the instruction it is just past once more, as system call nr. */
static inline void regs_again(struct regs *r, long nr, const uint64_t arg[6])
{
	r->user.pc -= REGS_INSN;
	r->user.regs[8] = (unsigned long long)nr;
	for (int i = 0; i < 6; i++)
		r->user.regs[i] = arg[i];
}
/* Whether the thread has just been taken out of system call nr with these arguments by a signal,
 * to make it again.  The kernel has prepared that before a tracer sees it (do_signal): the first
 * argument is back in place and the program counter at the instruction. */
static inline bool regs_restarting(const struct regs *r, long nr, const uint64_t arg[6])
{
	return (long)r->user.regs[8] == nr && r->user.regs[1] == arg[1] && r->user.regs[2] == arg[2] &&
	       r->user.regs[3] == arg[3] && r->user.regs[0] == arg[0];
}
/* Then: as if it were past the instruction. */
static inline void regs_no_restart(struct regs *r)
{
	r->user.pc += REGS_INSN;
}
static inline long arch_syscall(long nr, long a, long b, long c, long d, long e)
{
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	__asm__ volatile("svc #0"
	                 : "+r"(x0)
	                 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4)
	                 : "memory");
	return x0;
}
#else
#error "bvisor runs on x86_64 and aarch64"
#endif

/* Reads and writes the general registers of a stopped tracee; 0 or -errno. */
static inline int regs_get(pid_t tid, struct regs *r)
{
	struct iovec io = {&r->user, sizeof(r->user)};

	return ptrace(PTRACE_GETREGSET, tid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}
static inline int regs_put(pid_t tid, const struct regs *r)
{
	struct regs copy = *r;
	struct iovec io = {&copy.user, sizeof(copy.user)};

	return ptrace(PTRACE_SETREGSET, tid, (void *)NT_PRSTATUS, &io) < 0 ? -errno : 0;
}

#endif
