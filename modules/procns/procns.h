/* SPDX-License-Identifier: Apache-2.0 */
#ifndef PROCNS_PROCNS_H
#define PROCNS_PROCNS_H
/*
 * procns's inner border.  Pids are the host's own numbers; this module is a filter over them: a
 * pid that is not the sandbox's does not exist, in every call that takes one and in /proc.
 *
 * "Pin, then check": a descriptor of /proc/<pid> (or a pidfd) names one process for good, so the
 * order open, is_guest(pid), use is safe against pid reuse whatever the host does in between.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <bvisor/module.h>
#include <bvisor/svc/vfs.h>

#include "cleanup.h"
#include "strbuf.h"

enum signals { SIGNALS_AUTO, SIGNALS_RELAY };
enum net_view { NET_OWN, NET_HOST };

struct conf {
	int signals; /* enum signals */
	int net;     /* enum net_view */
	struct bv_strings host_files;
	struct bv_strings restarting; /* names of programs, see restart.c */
};

struct procns {
	struct bv_self *self;
	const struct bv_host *host;
	const struct conf *conf;
	const struct bv_vfs *vfs;
	bool scoped;       /* Landlock keeps a guest's signals inside the sandbox */
	bool traced;       /* Landlock keeps a guest's ptrace-like access inside the sandbox */
	bool audited; /* somebody wants to know what is refused */
	bool have_skew;    /* skew is known */
	uint64_t skew;     /* clock ticks the sandbox's /proc/uptime is behind the host's */
};

#define REPLY(p, call, r) ((p)->host->reply((call), (r)))
/* pid (any number) is none of the sandbox's: ESRCH, as if it were nobody's.  pid.c */
enum bv_verdict pid_foreign(struct procns *p, struct bv_call *call, int32_t pid);

/* ---- pid.c: facts about processes ---- */
/* One line of /proc/<pid>/stat; pure. */
struct pid_stat {
	int32_t ppid;
	const char *ppid_at, *ppid_end;   /* where the field stands in the line */
	const char *start_at, *start_end; /* starttime */
	uint64_t start;
};
int pid_stat_parse(const char *line, struct pid_stat *out); /* 0 or -EINVAL */
/* What permission checks need of /proc/<pid>/status; pure. */
struct pid_status {
	int32_t tgid, ppid, tracer;
	uint32_t uid, euid, suid, gid, egid, sgid;
	uint64_t cap_permitted;
	uint64_t blocked, ignored, caught; /* signals, bit SIG - 1 */
};
int pid_status_parse(const char *text, struct pid_status *out);
/* Decimal without sign or leading zero: the number, or -1. */
int32_t pid_number(const char *s, size_t len);

/* Whole file name below dir (a borrowed descriptor, or AT_FDCWD); 0 or -errno. */
int read_whole(int dir, const char *name, struct strbuf *out);
/* True when pid (process or thread) is the sandbox's; the calling process needs no look-up. */
bool pid_own(struct procns *p, struct bv_call *call, int32_t pid);
/* An owned O_PATH descriptor of /proc/<pid> of an own process; -ESRCH. */
int pid_pin(struct procns *p, struct bv_call *call, int32_t pid);
int pid_status(int pinned, struct pid_status *out);
/* The thread group a thread id belongs to; -ESRCH. */
int32_t pid_group(struct procns *p, struct bv_call *call, int32_t tid);
/* The parent a guest sees of a process or thread whose parent really is `real`: 0 for the first
 * process, the first process for orphans.  pinned: its /proc directory. */
int32_t pid_parent(struct procns *p, int32_t pid, int pinned, int32_t real);
/* Calls fn(arg, tgid) for every own process until it returns != 0; that, or 0, or -errno. */
int pid_each(struct procns *p, int (*fn)(void *arg, int32_t tgid), void *arg);
/* True when some own process is in the group. */
bool pid_group_own(struct procns *p, int32_t pgid);
/* ptrace(2) "Ptrace access mode checking", PTRACE_MODE_READ_FSCREDS: 0 or -EACCES. */
int pid_may_inspect(struct procns *p, struct bv_call *call, int32_t pid, int pinned);
bool pid_may_inspect_as(const struct bv_creds *who, const struct pid_status *whom); /* pure */

/* ---- signal.c ---- */
/* kill(2)'s permission check (check_kill_permission() of the kernel) but for SIGCONT: 0 or -EPERM. */
int may_signal(const struct bv_creds *who, const struct pid_status *whom, bool cont_in_session);

/* ---- fatal.c: signals that end a child of the caller ---- */
/* True when kill(2) of pid with sig is answered here, the verdict in *out. */
bool fatal_kill(struct procns *p, struct bv_call *call, int32_t pid, int sig, enum bv_verdict *out);

/* ---- tree.c: /proc ---- */
extern const struct bv_vfs_ops proc_ops;
/* What a path below /proc names; pure. */
struct proc_path {
	int32_t pid, tid;   /* 0: none */
	const char *name;   /* first component below the process or thread ("" for itself) */
	size_t name_len;
	const char *rest;   /* behind name, without slash */
};
bool proc_path_parse(const char *rel, struct proc_path *out); /* false: no process's */
int write_whole(int fd, const struct strbuf *b); /* takes no ownership; -ENOMEM when b failed */

/* ---- text.c: files of a process whose text is made here ---- */
/* maps_shown_fn over the vfs service; arg is the module. */
ssize_t text_shown(void *arg, const char *host, char *out, size_t size);
int text_stat(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_status(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_maps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_smaps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_numa_maps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);

/* ---- maps.c: host paths in lines -> virtual ones; pure ---- */
/* Host path -> virtual path: its length, or -ENOENT. */
typedef ssize_t maps_shown_fn(void *arg, const char *host, char *out, size_t size);
void maps_rewrite(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out);
void maps_rewrite_unix(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out);
void maps_rewrite_numa(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out);

/* ---- mounts.c ---- */
int text_mounts(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_mountinfo(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);
int text_mountstats(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);

/* ---- nettab.c: /proc/<pid>/net ---- */
struct inode_set {
	uint64_t *item;
	size_t n, cap;
	bool failed;
};
void inode_set_add(struct inode_set *s, uint64_t ino);
void inode_set_sort(struct inode_set *s); /* before the first inode_set_has */
bool inode_set_has(const struct inode_set *s, uint64_t ino);
void inode_set_fini(struct inode_set *s);
/* Keeps the heading and the rows whose `column`-th word (from 0) is an inode of the set; pure. */
void net_filter(const char *text, unsigned column, const struct inode_set *own, struct strbuf *out);
int net_lookup(struct procns *p, const char *name, struct bv_vfs_node *out);
int net_list(struct procns *p, bv_vfs_emit_fn *emit, void *arg);
int net_text(struct procns *p, int pinned, const char *name, struct strbuf *out);

/* ---- pidfd.c ---- */
int pidfd_target(int pidfd); /* the pid a pidfd names, in our pid namespace; -ESRCH when gone, -EBADF */

/* Handler rows of each file, ended by a row without a name; module.c registers them. */
extern const struct bv_handler signal_handlers[], target_handlers[], priority_handlers[],
	pidfd_handlers[], restart_handlers[], clock_handlers[];

#endif
