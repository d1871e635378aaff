/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Killing a whole tree of processes that may try to escape by forking.
 *
 * killall(): our own children are killed and reaped until there are none.  Orphans of what died
 * become our children (we are a subreaper), so the tree comes down level by level, and a chain that
 * forks and exits as fast as it can is among our children all the time: one read of the kernel's
 * list and one kill are quicker than its next generation, which a scan of /proc is not.  An
 * unreaped child's pid cannot be reused, and nobody but us reaps.
 *
 * killall_signal(): every descendant at once, found by the parent links in /proc.  Signals go
 * through pidfds whose process was seen to be a descendant after the pidfd was opened, so a
 * reused pid of a stranger is never hit.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uthash.h>

#include <cleanup.h>

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

unsigned killall_signal(void)
{
	pid_t root = getpid();
	struct proc *all = scan(), *p, *next;
	unsigned n = 0;

	HASH_ITER(hh, all, p, next)
		if (below(all, p, root) && signal_one(p, root, SIGKILL))
			n++;
	scan_free(all);
	return n;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* SIGKILL to every child that the kernel lists; -errno when it does not (CONFIG_PROC_CHILDREN). */
static int kill_children(int list)
{
	char buf[32768];
	ssize_t n = pread(list, buf, sizeof(buf) - 1, 0);

	if (n < 0)
		return -errno;
	/* A list that does not fit ends within a number, maybe: that one waits for the next round. */
	while (n == (ssize_t)sizeof(buf) - 1 && n > 0 && buf[n - 1] != ' ')
		n--;
	buf[n] = '\0';
	char *end, *at = buf;
	for (long pid = strtol(at, &end, 10); end != at; pid = strtol(at = end, &end, 10))
		(void)kill((pid_t)pid, SIGKILL);
	return 0;
}

int killall(unsigned timeout_ms, void (*each)(void *arg, pid_t pid, int status), void *arg)
{
	static const struct timespec shortest = {.tv_nsec = 50000};
	struct timespec pause = shortest;
	uint64_t end = now_ms() + timeout_ms;
	char path[64];
	siginfo_t si;

	if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT | __WALL) < 0 && errno == ECHILD)
		return 0;
	/* Children belong to the thread that made or inherited them: the group's leader. */
	snprintf(path, sizeof(path), "/proc/self/task/%d/children", (int)getpid());
	bv_autofd int list = open(path, O_RDONLY | O_CLOEXEC);
	for (;;) {
		bool reaped = false;
		int status;
		pid_t pid;

		if (list < 0 || kill_children(list) < 0)
			killall_signal();
		while ((pid = waitpid(-1, &status, WNOHANG | __WALL)) > 0) {
			reaped = true;
			if (each && (WIFEXITED(status) || WIFSIGNALED(status)))
				each(arg, pid, status);
		}
		/* Every descendant has an ancestor among our children: none left, none at all. */
		if (pid < 0 && errno == ECHILD)
			return 0;
		if (now_ms() > end)
			return -ETIMEDOUT;
		if (reaped) {
			pause = shortest;
			continue;
		}
		nanosleep(&pause, NULL);
		if (pause.tv_nsec < 2000000)
			pause.tv_nsec *= 2;
	}
}
