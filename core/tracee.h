/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_TRACEE_H
#define CORE_TRACEE_H
/*
 * A guest thread held by ptrace(2) for a moment.  All on one worker thread: the kernel ties a
 * tracee to the thread that attached.  Functions return 0 or -errno; -ESRCH when it died.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "arch/regs.h"

struct tracee {
	pid_t tid;          /* becomes the process id when an exec by another thread succeeds */
	bool dead;          /* waited for: */
	int status;         /* its wait status then */
	bool blocked;       /* signals are held back: */
	uint64_t sigmask;   /* the mask to put back */
};
enum tracee_stop { TRACEE_TRAP, TRACEE_SYSCALL, TRACEE_EXEC };

/* Attaches to a thread that waits for an answer and takes it out of that wait with `release`, up
 * to a stop before user mode.  -ENOENT when release said so: stopped, but the thread was not in
 * that wait any more, or is another one that has come by the number. */
int tracee_attach(struct tracee *t, pid_t tid, int (*release)(void *arg), void *arg);
/* Holds signals back until tracee_detach. */
int tracee_block(struct tracee *t);
/* Lets it run to its next stop of interest. */
int tracee_step(struct tracee *t, enum tracee_stop *stop);
/* Runs one system call in it, which starts and ends at its current place: the result in *result
 * (negative: -errno). */
int tracee_syscall(struct tracee *t, const struct regs *base, long nr, const uint64_t arg[6], int64_t *result);
/* Puts the signal mask back and lets go.  Nothing when it is dead. */
void tracee_detach(struct tracee *t);
/* Writes memory of this very tracee and no other: a thread id can change hands at any moment, when
 * another thread execs, and process_vm_writev(2) would not notice. */
int tracee_write(struct tracee *t, uint64_t to, const void *from, size_t n);
/* Waits for the end of one that is dying by itself; SIGKILLs its process first if told to. */
void tracee_end(struct tracee *t, bool kill_it);

#endif
