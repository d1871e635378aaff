/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Killing a whole tree of processes that may try to escape by forking.  Descendants are found by
 * the parent links in /proc, stopped until a scan finds no running one, then killed.  Signals go
 * through pidfds whose process was seen to be a descendant after the pidfd was opened, so a
 * reused pid of a stranger is never hit.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include "killall.h"
#include "proc.h"

/* One process of a scan. */
struct proc {
	pid_t pid, parent;
	bool known; /* whether it descends has been found out: */
	bool below;
	UT_hash_handle hh;
};

static void scan_free(struct proc *all)
{
	struct proc *p, *next;

	HASH_ITER(hh, all, p, next) {
		HASH_DEL(all, p);
		free(p);
	}
}

static struct proc *scan(void)
{
	struct proc *all = NULL, *p;
	DIR *dir = opendir("/proc");
	struct dirent *d;

	if (!dir)
		return NULL;
	while ((d = readdir(dir)) != NULL) {
		if (!isdigit((unsigned char)d->d_name[0]))
			continue;
		pid_t pid = (pid_t)atoi(d->d_name);
		pid_t parent = proc_parent(pid);
		if (parent < 0)
			continue;
		p = calloc(1, sizeof(*p));
		if (!p)
			break;
		p->pid = pid;
		p->parent = parent;
		HASH_ADD(hh, all, pid, sizeof(p->pid), p);
	}
	closedir(dir);
	return all;
}

static bool below(struct proc *all, struct proc *p, pid_t root)
{
	struct proc *parent;

	if (p->known)
		return p->below;
	p->known = true; /* also ends a cycle that a changing tree could show */
	if (p->parent == root) {
		p->below = true;
	} else {
		HASH_FIND(hh, all, &p->parent, sizeof(p->parent), parent);
		p->below = parent && below(all, parent, root);
	}
	return p->below;
}

/* Signals p if it still has the parent that makes it a descendant, or came to us meanwhile. */
static bool signal_one(const struct proc *p, pid_t root, int sig)
{
	int fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	pid_t parent;
	bool sent;

	if (fd < 0)
		return false;
	parent = proc_parent(p->pid);
	sent = (parent == p->parent || parent == root) && syscall(SYS_pidfd_send_signal, fd, sig, NULL, 0) == 0;
	close(fd);
	return sent;
}

/* Signals every descendant not in `done` yet, and remembers them there; how many. */
static unsigned pass(struct proc **done, int sig)
{
	pid_t root = getpid();
	struct proc *all = scan(), *p, *next, *seen;
	unsigned n = 0;

	HASH_ITER(hh, all, p, next) {
		if (!below(all, p, root))
			continue;
		HASH_FIND(hh, *done, &p->pid, sizeof(p->pid), seen);
		if (seen || !signal_one(p, root, sig))
			continue;
		n++;
		seen = calloc(1, sizeof(*seen));
		if (!seen)
			continue;
		seen->pid = p->pid;
		HASH_ADD(hh, *done, pid, sizeof(seen->pid), seen);
	}
	scan_free(all);
	return n;
}

unsigned killall_signal(void)
{
	struct proc *stopped = NULL, *killed = NULL;
	unsigned n = 0;

	while (pass(&stopped, SIGSTOP) > 0)
		continue;
	n = pass(&killed, SIGKILL);
	scan_free(stopped);
	scan_free(killed);
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

int killall(unsigned timeout_ms, void (*each)(void *arg, pid_t pid, int status), void *arg)
{
	uint64_t end = now_ms() + timeout_ms, again = 0;
	struct timespec pause = {.tv_nsec = 100000};

	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG | __WALL);

		if (pid > 0) {
			if (each && (WIFEXITED(status) || WIFSIGNALED(status)))
				each(arg, pid, status);
			continue;
		}
		/* Every descendant has an ancestor among our children: none left, none at all. */
		if (pid < 0 && errno == ECHILD)
			return 0;
		if (now_ms() > end)
			return -ETIMEDOUT;
		if (now_ms() >= again) {
			killall_signal();
			again = now_ms() + 50;
		} else {
			nanosleep(&pause, NULL);
			if (pause.tv_nsec < 5000000)
				pause.tv_nsec *= 2;
		}
	}
}
