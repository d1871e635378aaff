/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Holding a guest thread by ptrace.  The tracee may be killed at any moment: every wait accepts
 * its end.  PTRACE_O_EXITKILL makes sure that none stays stopped when we die.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tracee.h"

/* The kernel's sigset size, not libc's. */
#define SIGSET_BYTES 8

static int req(int request, pid_t tid, void *addr, void *data)
{
	return ptrace((enum __ptrace_request)request, tid, addr, data) < 0 ? -errno : 0;
}

/*
 * The next stop.  Waits for any child of this thread: it has none but the tracee, whose id changes
 * when a thread that is not the leader execs (execve(2)).
 */
static int wait_stop(struct tracee *t)
{
	pid_t pid;

	if (t->dead)
		return -ESRCH;
	do
		pid = waitpid(-1, &t->status, __WALL | __WNOTHREAD);
	while (pid < 0 && errno == EINTR);
	if (pid < 0 || !WIFSTOPPED(t->status)) {
		t->dead = true;
		/* ECHILD: another thread's exec swept this one away. */
		if (pid < 0)
			t->status = -1;
		return -ESRCH;
	}
	t->tid = pid;
	return 0;
}

int tracee_attach(struct tracee *t, pid_t tid, int (*release)(void *arg), void *arg)
{
	int r, left;

	*t = (struct tracee){.tid = tid};
	r = req(PTRACE_SEIZE, tid, NULL,
	        (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
	if (r < 0) {
		t->dead = true;
		t->status = -1;
		return r;
	}
	/* A killable wait is not woken by this, but the stop comes before anything else once the
	 * answer ends that wait: no signal is taken in between. */
	r = req(PTRACE_INTERRUPT, tid, NULL, NULL);
	left = r == 0 ? release(arg) : r;
	if (left < 0 && left != -ENOENT && left != -ESRCH)
		kill(tid, SIGKILL); /* it would wait for ever */
	r = wait_stop(t);
	return r < 0 ? r : left;
}

int tracee_block(struct tracee *t)
{
	uint64_t all = ~0ULL;
	int r = req(PTRACE_GETSIGMASK, t->tid, (void *)SIGSET_BYTES, &t->sigmask);

	if (r == 0)
		r = req(PTRACE_SETSIGMASK, t->tid, (void *)SIGSET_BYTES, &all);
	t->blocked = r == 0;
	return r;
}

/* The signal whose delivery the tracee is stopped at, to let it go on; 0: none. */
static intptr_t delivered(const struct tracee *t)
{
	return t->status >> 16 == 0 && WSTOPSIG(t->status) != (SIGTRAP | 0x80) ? WSTOPSIG(t->status) : 0;
}

int tracee_step(struct tracee *t, enum tracee_stop *stop)
{
	intptr_t inject = 0;

	for (;;) {
		int r = req(PTRACE_SYSCALL, t->tid, NULL, (void *)inject);

		if (r < 0 && r != -ESRCH)
			return r;
		/* ESRCH: killed while stopped; the wait tells. */
		r = wait_stop(t);
		if (r < 0)
			return r;
		if (WSTOPSIG(t->status) == (SIGTRAP | 0x80)) {
			*stop = TRACEE_SYSCALL;
			return 0;
		}
		if (t->status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
			*stop = TRACEE_EXEC;
			return 0;
		}
		/* SIGSTOP, or one the kernel forces, is on its way: let it go on.  The group stop that
		 * follows a SIGSTOP (an event) takes hold again when we detach. */
		inject = delivered(t);
	}
}

int tracee_syscall(struct tracee *t, const struct regs *base, long nr, const uint64_t arg[6], int64_t *result)
{
	struct regs regs = *base;
	enum tracee_stop stop;
	int r;

	regs_again(&regs, nr, arg);
	r = regs_put(t->tid, &regs);
	if (r == 0)
		r = tracee_step(t, &stop); /* entry */
	if (r == 0)
		r = tracee_step(t, &stop); /* exit */
	if (r == 0)
		r = regs_get(t->tid, &regs);
	if (r == 0)
		*result = regs_result(&regs);
	return r;
}

int tracee_write(struct tracee *t, uint64_t to, const void *from, size_t n)
{
	for (size_t at = 0; at < n; at += sizeof(long)) {
		long word = 0;
		int r;

		if (n - at < sizeof(word)) {
			errno = 0;
			word = ptrace(PTRACE_PEEKDATA, t->tid, (void *)(uintptr_t)(to + at), NULL);
			if (errno)
				return -errno;
		}
		memcpy(&word, (const char *)from + at, n - at < sizeof(word) ? n - at : sizeof(word));
		r = req(PTRACE_POKEDATA, t->tid, (void *)(uintptr_t)(to + at), (void *)word);
		if (r < 0)
			return r;
	}
	return 0;
}

void tracee_end(struct tracee *t, bool kill_it)
{
	unsigned long msg;

	/* Only while the number is the tracee's: another thread's exec may have taken it over. */
	if (!t->dead && kill_it && req(PTRACE_GETEVENTMSG, t->tid, NULL, &msg) == 0)
		kill(t->tid, SIGKILL);
	while (wait_stop(t) == 0)
		req(PTRACE_CONT, t->tid, NULL, NULL);
}

void tracee_detach(struct tracee *t)
{
	if (t->dead)
		return;
	if (t->blocked)
		req(PTRACE_SETSIGMASK, t->tid, (void *)SIGSET_BYTES, &t->sigmask);
	/* A stopped tracee refuses only when it is being killed: collect it, or it would stay bound to
	 * this thread for ever. */
	if (req(PTRACE_DETACH, t->tid, NULL, (void *)delivered(t)) < 0)
		tracee_end(t, false);
}
