/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls reviewed as harmless when the host kernel runs them for a guest: they act only on the
 * caller itself or on descriptors it already holds (each of which some module handed out or the
 * user let in).  No call that takes a path, another process's id, an address outside the sandbox
 * or that changes the machine is here.  Handlers, denials and rules of modules come first; a
 * call in no table gets the `unrouted` disposition.
 */
#include "passthrough.h"

#include <string.h>

#include "bvisor.h"

#define FDS "descriptors it holds"
#define MEMORY "own memory"
#define SIGNALS "own signals"
#define TIME "time, timers and sleeping"
#define SELF "own attributes and credentials"
#define CHILDREN "own children and threads"
#define SYNC "waiting and synchronisation"
#define SOCKETS "sockets it holds"

static const struct passthrough table[] = {
	{"close", FDS},
	{"close_range", FDS},
	{"copy_file_range", FDS},
	{"dup", FDS},
	{"dup2", FDS},
	{"dup3", FDS},
	{"cachestat", FDS},
	{"fadvise64", FDS},
	{"fallocate", FDS},
	{"fchdir", FDS},
	/* F_SETOWN with F_SETSIG aims a signal at any process of the same user, fcntl(2). */
	{"fcntl", FDS, true},
	{"fdatasync", FDS},
	{"flock", FDS},
	{"fstat", FDS},
	{"fstatfs", FDS},
	{"fsync", FDS},
	{"ftruncate", FDS},
	{"io_cancel", FDS},
	{"io_destroy", FDS},
	{"io_getevents", FDS},
	{"io_pgetevents", FDS},
	{"io_setup", FDS},
	{"io_submit", FDS},
	/* TIOCSTI, TIOCLINUX, FS_IOC_SETFLAGS and others reach past the descriptor. */
	{"ioctl", FDS, true},
	{"lseek", FDS},
	{"pipe", FDS},
	{"pipe2", FDS},
	{"pread64", FDS},
	{"preadv", FDS},
	{"preadv2", FDS},
	{"pwrite64", FDS},
	{"pwritev", FDS},
	{"pwritev2", FDS},
	{"read", FDS},
	{"readahead", FDS},
	{"readv", FDS},
	{"sendfile", FDS},
	{"splice", FDS},
	/* Writes out early what would be written anyway, as syncfs does. */
	{"sync", FDS},
	{"sync_file_range", FDS},
	{"syncfs", FDS},
	{"tee", FDS},
	{"vmsplice", FDS},
	{"write", FDS},
	{"writev", FDS},

	{"brk", MEMORY},
	{"get_mempolicy", MEMORY},
	{"madvise", MEMORY},
	{"map_shadow_stack", MEMORY},
	{"mbind", MEMORY},
	{"memfd_create", MEMORY},
	{"memfd_secret", MEMORY},
	{"mincore", MEMORY},
	{"mlock", MEMORY},
	{"mlock2", MEMORY},
	{"mlockall", MEMORY},
	{"mmap", MEMORY},
	{"mprotect", MEMORY},
	{"mremap", MEMORY},
	{"mseal", MEMORY},
	{"msync", MEMORY},
	{"munlock", MEMORY},
	{"munlockall", MEMORY},
	{"munmap", MEMORY},
	{"pkey_alloc", MEMORY},
	{"pkey_free", MEMORY},
	{"pkey_mprotect", MEMORY},
	{"remap_file_pages", MEMORY},
	{"set_mempolicy", MEMORY},
	{"set_mempolicy_home_node", MEMORY},

	{"pause", SIGNALS},
	{"restart_syscall", SIGNALS},
	{"rt_sigaction", SIGNALS},
	{"rt_sigpending", SIGNALS},
	{"rt_sigprocmask", SIGNALS},
	{"rt_sigreturn", SIGNALS},
	{"rt_sigsuspend", SIGNALS},
	{"rt_sigtimedwait", SIGNALS},
	{"sigaltstack", SIGNALS},
	{"signalfd", SIGNALS},
	{"signalfd4", SIGNALS},

	{"alarm", TIME},
	{"clock_getres", TIME},
	{"clock_gettime", TIME},
	{"clock_nanosleep", TIME},
	{"getitimer", TIME},
	{"gettimeofday", TIME},
	{"nanosleep", TIME},
	{"setitimer", TIME},
	{"time", TIME},
	/* A timer's signal goes to the caller's own threads only, timer_create(2). */
	{"timer_create", TIME},
	{"timer_delete", TIME},
	{"timer_getoverrun", TIME},
	{"timer_gettime", TIME},
	{"timer_settime", TIME},
	{"timerfd_create", TIME},
	{"timerfd_gettime", TIME},
	{"timerfd_settime", TIME},
	{"times", TIME},

	{"arch_prctl", SELF},
	{"capget", SELF},
	{"capset", SELF},
	{"getcpu", SELF},
	{"getegid", SELF},
	{"geteuid", SELF},
	{"getgid", SELF},
	{"getgroups", SELF},
	{"getpgrp", SELF},
	{"getpid", SELF},
	{"getppid", SELF},
	{"getrandom", SELF},
	{"getresgid", SELF},
	{"getresuid", SELF},
	{"getrlimit", SELF},
	{"getrusage", SELF},
	{"gettid", SELF},
	{"getuid", SELF},
	/* READ_IMPLIES_EXEC and ADDR_NO_RANDOMIZE weaken the caller, never others. */
	{"personality", SELF, true},
	/* PR_SET_DUMPABLE, PR_SET_PTRACER, PR_SET_MM, PR_SCHED_CORE: left to rules. */
	{"prctl", SELF, true},
	/* The kernel grants identities by capability, and only confined ones are left. */
	{"setfsgid", SELF},
	{"setfsuid", SELF},
	{"setgid", SELF},
	{"setgroups", SELF},
	{"setregid", SELF},
	{"setresgid", SELF},
	{"setresuid", SELF},
	{"setreuid", SELF},
	{"setrlimit", SELF},
	{"setsid", SELF},
	{"setuid", SELF},
	{"umask", SELF},

	/* CLONE_NEW* and CLONE_PARENT need rules; clone3 hides its flags in memory: not here. */
	{"clone", CHILDREN, true},
	{"exit", CHILDREN},
	{"exit_group", CHILDREN},
	{"fork", CHILDREN},
	{"rseq", CHILDREN},
	{"set_robust_list", CHILDREN},
	{"set_tid_address", CHILDREN},
	{"vfork", CHILDREN},
	{"wait4", CHILDREN},
	{"waitid", CHILDREN},

	{"epoll_create", SYNC},
	{"epoll_create1", SYNC},
	{"epoll_ctl", SYNC},
	{"epoll_pwait", SYNC},
	{"epoll_pwait2", SYNC},
	{"epoll_wait", SYNC},
	{"eventfd", SYNC},
	{"eventfd2", SYNC},
	{"futex", SYNC},
	{"futex_requeue", SYNC},
	{"futex_wait", SYNC},
	{"futex_waitv", SYNC},
	{"futex_wake", SYNC},
	{"inotify_init", SYNC},
	{"inotify_init1", SYNC},
	{"inotify_rm_watch", SYNC},
	{"membarrier", SYNC},
	{"poll", SYNC},
	{"ppoll", SYNC},
	{"pselect6", SYNC},
	{"sched_get_priority_max", SYNC},
	{"sched_get_priority_min", SYNC},
	{"sched_yield", SYNC},
	{"select", SYNC},

	{"accept", SOCKETS},
	{"accept4", SOCKETS},
	{"getpeername", SOCKETS},
	{"getsockname", SOCKETS},
	{"getsockopt", SOCKETS},
	{"listen", SOCKETS},
	{"recvfrom", SOCKETS},
	{"recvmmsg", SOCKETS},
	{"recvmsg", SOCKETS},
	{"setsockopt", SOCKETS},
	{"shutdown", SOCKETS},
	{"socketpair", SOCKETS},
};

const struct passthrough *passthrough_at(size_t i)
{
	return i < sizeof(table) / sizeof(table[0]) ? &table[i] : NULL;
}

const char *passthrough_reason(const char *name)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (!strcmp(table[i].name, name))
			return table[i].reason;
	return NULL;
}
