/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree at /proc/sys: an allowlist of settings that programs read to size themselves, read-only.
 * What names the machine is virtual.
 */
#include <errno.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sysinfo.h"

/* Sorted, so that the children of a directory stand together. */
static const char *const names[] = {
	"abi/vsyscall32",
	"crypto/fips_enabled",
	"fs/aio-max-nr",
	"fs/epoll/max_user_watches",
	"fs/file-max",
	"fs/inotify/max_queued_events",
	"fs/inotify/max_user_instances",
	"fs/inotify/max_user_watches",
	"fs/lease-break-time",
	"fs/leases-enable",
	"fs/mqueue/msg_default",
	"fs/mqueue/msg_max",
	"fs/mqueue/msgsize_default",
	"fs/mqueue/msgsize_max",
	"fs/mqueue/queues_max",
	"fs/nr_open",
	"fs/pipe-max-size",
	"fs/pipe-user-pages-hard",
	"fs/pipe-user-pages-soft",
	"fs/protected_fifos",
	"fs/protected_hardlinks",
	"fs/protected_regular",
	"fs/protected_symlinks",
	"fs/suid_dumpable",
	"kernel/cap_last_cap",
	"kernel/core_pattern",
	"kernel/core_uses_pid",
	"kernel/dmesg_restrict",
	"kernel/domainname",
	"kernel/hostname",
	"kernel/kptr_restrict",
	"kernel/msgmax",
	"kernel/msgmnb",
	"kernel/msgmni",
	"kernel/ngroups_max",
	"kernel/osrelease",
	"kernel/ostype",
	"kernel/overflowgid",
	"kernel/overflowuid",
	"kernel/perf_event_paranoid",
	"kernel/pid_max",
	"kernel/random/boot_id",
	"kernel/random/entropy_avail",
	"kernel/random/poolsize",
	"kernel/random/uuid",
	"kernel/randomize_va_space",
	"kernel/sched_child_runs_first",
	"kernel/sched_rr_timeslice_ms",
	"kernel/seccomp/actions_avail",
	"kernel/sem",
	"kernel/shmall",
	"kernel/shmmax",
	"kernel/shmmni",
	"kernel/tainted",
	"kernel/threads-max",
	"kernel/unprivileged_bpf_disabled",
	"kernel/version",
	"net/core/optmem_max",
	"net/core/rmem_default",
	"net/core/rmem_max",
	"net/core/somaxconn",
	"net/core/wmem_default",
	"net/core/wmem_max",
	"net/ipv4/ip_local_port_range",
	"net/ipv4/ip_unprivileged_port_start",
	"net/ipv4/tcp_fin_timeout",
	"net/ipv4/tcp_max_syn_backlog",
	"net/ipv4/tcp_rmem",
	"net/ipv4/tcp_wmem",
	"net/ipv6/conf/all/disable_ipv6",
	"net/unix/max_dgram_qlen",
	"vm/hugetlb_shm_group",
	"vm/max_map_count",
	"vm/mmap_min_addr",
	"vm/nr_hugepages",
	"vm/nr_overcommit_hugepages",
	"vm/overcommit_kbytes",
	"vm/overcommit_memory",
	"vm/overcommit_ratio",
	"vm/swappiness",
};

bool sysctl_name_ok(const char *name)
{
	while (*name) {
		size_t len = strcspn(name, "/");

		if (!len || (len == 1 && name[0] == '.') || (len == 2 && name[0] == '.' && name[1] == '.'))
			return false;
		name += len;
		if (*name && !*++name)
			return false;
	}
	return true;
}

static const char *name_at(const struct sysinfo_module *m, size_t i)
{
	if (i < BV_ROWS_OF(names))
		return names[i];
	i -= BV_ROWS_OF(names);
	return i < m->conf->sysctl.n ? m->conf->sysctl.item[i] : NULL;
}

/* The text of a virtual one, or NULL. */
static const char *virtual_text(const struct sysinfo_module *m, const char *name)
{
	const struct {
		const char *name, *text;
	} rows[] = {
		{"kernel/core_pattern", "core"},         {"kernel/domainname", m->uts.domainname},
		{"kernel/hostname", m->uts.nodename},    {"kernel/osrelease", m->uts.release},
		{"kernel/ostype", m->uts.sysname},       {"kernel/random/boot_id", m->boot_id},
		{"kernel/tainted", "0"},                 {"kernel/version", m->uts.version},
	};

	for (size_t i = 0; i < BV_ROWS_OF(rows); i++)
		if (strcmp(rows[i].name, name) == 0)
			return rows[i].text;
	return NULL;
}

static bool on_host(const char *name, struct stat *st)
{
	char path[512];

	snprintf(path, sizeof(path), "/proc/sys/%s", name);
	return lstat(path, st) == 0 && S_ISREG(st->st_mode);
}

static int sysctl_lookup(void *ctx, struct bv_call *call, const char *rel, struct bv_vfs_node *out)
{
	const struct place *place = ctx;
	struct sysinfo_module *m = place->m;
	size_t len = strlen(rel);
	const char *name;
	struct stat st;

	memset(out, 0, sizeof(*out));
	out->mode = 0555;
	out->kind = BV_VFS_DIR;
	if (!len)
		return 0;
	for (size_t i = 0; (name = name_at(m, i)); i++) {
		if (strncmp(name, rel, len) != 0 || (name[len] && name[len] != '/'))
			continue;
		if (virtual_text(m, name)) {
			if (!name[len]) {
				out->kind = BV_VFS_TEXT;
				out->mode = 0444;
			}
			return 0;
		}
		/* A directory that this kernel has nothing for does not exist. */
		if (!on_host(name, &st))
			continue;
		if (!name[len]) {
			out->kind = BV_VFS_HOST;
			snprintf(out->target, sizeof(out->target), "/proc/sys/%s", name);
		}
		return 0;
	}
	return -ENOENT;
}

static bool listed(const struct strbuf *seen, const char *name)
{
	for (size_t i = 0; i < seen->len; i += strlen(seen->data + i) + 1)
		if (strcmp(seen->data + i, name) == 0)
			return true;
	return false;
}

static int sysctl_list(void *ctx, struct bv_call *call, const char *rel, bv_vfs_emit_fn *emit, void *arg)
{
	const struct place *place = ctx;
	bv_autostrbuf struct strbuf seen = {0}; /* names emitted, each with its NUL */
	size_t len = strlen(rel);
	const char *name;
	struct stat st;
	int r = 0;

	for (size_t i = 0; r == 0 && (name = name_at(place->m, i)); i++) {
		char child[256];

		if (len && (strncmp(name, rel, len) != 0 || name[len] != '/'))
			continue;
		if (!virtual_text(place->m, name) && !on_host(name, &st))
			continue;
		const char *at = name + len + (len ? 1 : 0);
		size_t n = strcspn(at, "/");
		if (n >= sizeof(child))
			continue;
		memcpy(child, at, n);
		child[n] = '\0';
		if (listed(&seen, child))
			continue;
		r = emit(arg, child, 0, at[n] ? DT_DIR : DT_REG);
		strbuf_add(&seen, child, n + 1);
	}
	return r;
}

static int sysctl_text(void *ctx, struct bv_call *call, const char *rel, int fd)
{
	const struct place *place = ctx;
	bv_autostrbuf struct strbuf b = {0};
	const char *text = virtual_text(place->m, rel);

	if (!text)
		return -ENOENT;
	strbuf_printf(&b, "%s\n", text);
	return write_text(fd, &b);
}

const struct bv_vfs_ops sysctl_ops = {
	.head = BV_HEAD(SERVICE, struct bv_vfs_ops),
	.lookup = sysctl_lookup,
	.list = sysctl_list,
	.text = sysctl_text,
};
