/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Scratch memory in a guest: below its stack pointer where that is safe, else a mapping made by a
 * system call in its name.
 *
 * A mapping is gone with the exec it was made for, unless the memory is shared with a parent that
 * waits in vfork(2) or posix_spawn(3): it would stay there, and one more with each exec.  So it is
 * made at one of a few fixed places and found again there, by a cookie that only we know.  (A
 * guest that copies the cookie has us use memory of its own: what the exec does is verified.)
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "exec_scratch.h"
#include "guest_mem.h"
#include "proc.h"

#define RED_ZONE 128         /* below SP, belongs to leaf functions (x86-64 ABI; more than aarch64's) */
#define MAIN_STACK (1 << 20) /* how far below its start the main thread's stack is trusted to go */
#define STACK_USE (64 * 1024)

/* Below what the smallest user address space has (39 bits), above where programs are linked. */
#define SLOT_BASE 0x3a00000000ULL
#define SLOT_SIZE (16 * 1024ULL)
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000 /* Linux 4.17 */
#endif

/* Start of the main thread's stack, from /proc/TID/stat (field 28, proc(5)); 0: unknown. */
static uint64_t stack_start(int proc_fd)
{
	char buf[1024];
	bv_autofd int fd = openat(proc_fd, "stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return 0;
	buf[n] = '\0';
	const char *at = proc_stat_field(buf, 28);
	return at ? strtoull(at, NULL, 10) : 0;
}

/*
 * Room below the stack pointer, when that is the main thread's own stack: what lies there is dead,
 * also to a parent that shares it by vfork.  A stack of another kind (a thread's, a goroutine's)
 * may end just below, with someone else's data behind.  0: no.
 */
static uint64_t below_stack(const struct tracee *t, const struct regs *regs, int proc_fd, size_t need)
{
	uint64_t sp = regs_sp(regs), start = stack_start(proc_fd), at;
	char byte;

	if (start == 0 || sp > start || start - sp > MAIN_STACK || need > STACK_USE)
		return 0;
	at = (sp - RED_ZONE - need) & ~15ULL;
	for (uint64_t page = at & ~4095ULL; page <= sp; page += 4096)
		if (guest_mem_read(t->tid, &byte, page < at ? at : page, 1) < 0)
			return 0;
	return at;
}

static int map(struct tracee *t, const struct regs *regs, uint64_t at, size_t len, int flags, int64_t *result)
{
	const uint64_t arg[6] = {at, len, PROT_READ | PROT_WRITE, (uint64_t)(MAP_PRIVATE | MAP_ANONYMOUS | flags),
	                         ~0ULL, 0};

	return tracee_syscall(t, regs, SYS_mmap, arg, result);
}

/* The slot's place, if it is free or holds a mapping of ours already; *found. */
static int slot_get(struct tracee *t, const struct regs *regs, uint64_t at, const unsigned char *cookie, bool *found)
{
	unsigned char there[SCRATCH_COOKIE];
	int64_t got;
	int r;

	*found = guest_mem_read(t->tid, there, at, sizeof(there)) == 0 && memcmp(there, cookie, sizeof(there)) == 0;
	if (*found)
		return 0;
	r = map(t, regs, at, SLOT_SIZE, MAP_FIXED_NOREPLACE, &got);
	if (r < 0 || (uint64_t)got != at)
		return r;
	*found = true;
	return tracee_write(t, at, cookie, SCRATCH_COOKIE);
}

int scratch_get(struct tracee *t, const struct regs *regs, int proc_fd, size_t need, unsigned slot,
                const unsigned char cookie[SCRATCH_COOKIE], struct scratch *out, int64_t *result)
{
	uint64_t place = SLOT_BASE + slot * SLOT_SIZE;
	bool found = false;
	int r = 0;

	*result = 0;
	*out = (struct scratch){.at = below_stack(t, regs, proc_fd, need)};
	if (out->at)
		return 0;
	if (slot < SCRATCH_SLOTS && need <= SLOT_SIZE - SCRATCH_COOKIE)
		r = slot_get(t, regs, place, cookie, &found);
	if (r < 0)
		return r;
	if (found) {
		*out = (struct scratch){place + SCRATCH_COOKIE, place, SLOT_SIZE};
		return 0;
	}
	r = map(t, regs, 0, need, 0, result);
	if (r < 0 || (*result < 0 && *result >= -4095))
		return r;
	*out = (struct scratch){(uint64_t)*result, (uint64_t)*result, need};
	*result = 0;
	return 0;
}

int scratch_put(struct tracee *t, const struct regs *regs, const struct scratch *s)
{
	const uint64_t arg[6] = {s->map, s->map_len};
	int64_t ignored;

	return s->map ? tracee_syscall(t, regs, SYS_munmap, arg, &ignored) : 0;
}
