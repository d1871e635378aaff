/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SYSINFO_SYSINFO_H
#define SYSINFO_SYSINFO_H
/*
 * sysinfo's inner border: one policy (the ini section), one picture of the machine.  Every view of
 * a fact (uname(2) and /proc/sys/kernel/hostname, sysinfo(2) and /proc/uptime and the btime of
 * /proc/stat) is made from the same struct, so they cannot disagree.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/utsname.h>

#include <bvisor/module.h>
#include <bvisor/svc/vfs.h>

#include "cleanup.h"
#include "strbuf.h"

enum uptime_view { UPTIME_SANDBOX, UPTIME_HOST };

struct conf {
	const char *hostname, *domainname, *release, *version;
	int64_t cpus;
	uint64_t memory;
	int uptime; /* enum uptime_view */
	struct bv_strings sysctl;
};

struct sysinfo_module;
/* A synthetic file or directory of this module and what its callbacks get as ctx. */
struct place {
	struct sysinfo_module *m;
	const struct text_file *file; /* or NULL */
};

struct sysinfo_module {
	struct bv_self *self;
	const struct bv_host *host;
	const struct conf *conf;
	struct utsname uts;
	cpu_set_t cpus;      /* shown; all of the host's when !few */
	bool few;            /* the cpus option is in force */
	bool pinned;         /* the first process was put on `cpus` */
	int64_t started;     /* CLOCK_BOOTTIME of init, in nanoseconds */
	char boot_id[37];
	struct place place[16];
	size_t n_places;
};

#define REPLY(m, call, r) ((m)->host->reply((call), (r)))

/* ---- machine.c: the facts ---- */
int read_file(const char *path, struct strbuf *out); /* 0 or -errno */
int write_text(int fd, const struct strbuf *b);
int64_t machine_uptime(const struct sysinfo_module *m); /* nanoseconds since the shown boot */
int machine_processes(struct sysinfo_module *m);        /* of the sandbox */
/* `value` bytes of a machine with `total`, on one that has `shown` (0: as it is). */
uint64_t machine_scale(uint64_t value, uint64_t total, uint64_t shown);

extern const struct bv_handler machine_handlers[]; /* ended by a row without a name */

/* ---- cpus.c: pure ---- */
void cpus_first(const cpu_set_t *of, int64_t n, cpu_set_t *out); /* its first n */
void cpus_format(const cpu_set_t *set, struct strbuf *out);      /* "0-3,8" */
int cpus_parse(const char *list, cpu_set_t *out);                /* 0 or -EINVAL */
/* Blocks of /proc/cpuinfo whose processor is in the set, and those of no processor. */
void cpus_filter_info(const char *text, const cpu_set_t *set, struct strbuf *out);
/* /proc/stat: the lines of these CPUs, their sum (few), totals of intr and softirq, this btime. */
void cpus_filter_stat(const char *text, const cpu_set_t *set, bool few, int64_t btime, struct strbuf *out);
/* /proc/meminfo as a machine with `memory` bytes would show it. */
void meminfo_scale(const char *text, uint64_t memory, struct strbuf *out);

/* ---- files.c: files in /proc ---- */
struct text_file {
	const char *at; /* virtual path; also the host's */
	/* NULL, or returning false: the host's file as it is. */
	bool (*own)(const struct sysinfo_module *m);
	int (*text)(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out);
};
int files_mount(struct sysinfo_module *m, const struct bv_vfs *vfs);
struct place *place_add(struct sysinfo_module *m, const struct text_file *file);

/* ---- names.c: files in /etc ---- */
#define MACHINE_ID 34 /* 32 digits, a newline, NUL */
void hosts_rename(const char *text, const char *host, const char *shown,
                  struct strbuf *out); /* pure */
void machine_id(const char *shown, char out[MACHINE_ID]); /* pure */
/* host: the machine's own name. */
int names_show(struct sysinfo_module *m, const struct bv_vfs *vfs, const char *host);

/* ---- sysctl.c, syscpu.c: trees ---- */
extern const struct bv_vfs_ops sysctl_ops, syscpu_ops;
bool sysctl_name_ok(const char *name); /* pure: relative, no empty, "." or ".." component */

#endif
