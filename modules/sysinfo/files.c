/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files this module serves in /proc.  Where policy changes nothing the host's own file is
 * shown, which stays alive while it is open; a text made here is a snapshot taken at open.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sysinfo.h"

static bool few_cpus(const struct sysinfo_module *m)
{
	return m->few;
}

static bool less_memory(const struct sysinfo_module *m)
{
	return m->conf->memory != 0;
}

static bool own_uptime(const struct sysinfo_module *m)
{
	return m->conf->uptime == UPTIME_SANDBOX;
}

static bool own_stat(const struct sysinfo_module *m)
{
	return m->few || own_uptime(m);
}

static bool always(const struct sysinfo_module *m)
{
	return true;
}

static int cpuinfo(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_file("/proc/cpuinfo", &b);

	if (r == 0 && b.data)
		cpus_filter_info(b.data, &m->cpus, out);
	return r;
}

static int meminfo(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_file("/proc/meminfo", &b);

	if (r == 0 && b.data)
		meminfo_scale(b.data, m->conf->memory, out);
	return r;
}

static int uptime(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	uint64_t hundredths = machine_uptime(m) / 10000000;
	double up = (double)hundredths / 100;
	double host_up, host_idle;
	int r = read_file("/proc/uptime", &b);

	if (r < 0)
		return r;
	if (!b.data || sscanf(b.data, "%lf %lf", &host_up, &host_idle) != 2 || host_up <= 0)
		return -EIO;
	/* Idle as long as the host was in proportion. */
	strbuf_printf(out, "%.2f %.2f\n", up, up * host_idle / host_up);
	return 0;
}

static int loadavg(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	double load[3];
	int r = read_file("/proc/loadavg", &b);

	if (r < 0)
		return r;
	if (!b.data || sscanf(b.data, "%lf %lf %lf", &load[0], &load[1], &load[2]) != 3)
		return -EIO;
	/* The host's count of tasks and last pid are nobody's business. */
	strbuf_printf(out, "%.2f %.2f %.2f 1/%d %d\n", load[0], load[1], load[2], machine_processes(m),
	              call ? call->tid : m->host->first_pid(m->self));
	return 0;
}

static int version(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	strbuf_printf(out, "%s version %s (bvisor@%s) %s\n", m->uts.sysname, m->uts.release, m->uts.nodename,
	              m->uts.version);
	return 0;
}

static int stat_text(struct sysinfo_module *m, struct bv_call *call, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_file("/proc/stat", &b);

	if (r == 0 && b.data)
		cpus_filter_stat(b.data, &m->cpus, m->few, (int64_t)time(NULL) - machine_uptime(m) / 1000000000, out);
	return r;
}

static const struct text_file files[] = {
	{"/proc/cpuinfo", few_cpus, cpuinfo},
	{"/proc/loadavg", always, loadavg},
	{"/proc/meminfo", less_memory, meminfo},
	{"/proc/stat", own_stat, stat_text},
	{"/proc/uptime", own_uptime, uptime},
	{"/proc/version", always, version},
};

static int file_lookup(void *ctx, struct bv_call *call, const char *rel, struct bv_vfs_node *out)
{
	const struct place *place = ctx;

	if (*rel)
		return -ENOTDIR;
	memset(out, 0, sizeof(*out));
	out->mode = 0444;
	if (place->file->own(place->m)) {
		out->kind = BV_VFS_TEXT;
		return 0;
	}
	out->kind = BV_VFS_HOST;
	snprintf(out->target, sizeof(out->target), "%s", place->file->at);
	return 0;
}

static int file_text(void *ctx, struct bv_call *call, const char *rel, int fd)
{
	bv_autostrbuf struct strbuf b = {0};
	const struct place *place = ctx;
	int r = place->file->text(place->m, call, &b);

	return r < 0 ? r : write_text(fd, &b);
}

static const struct bv_vfs_ops file_ops = {
	.head = BV_HEAD(SERVICE, struct bv_vfs_ops),
	.lookup = file_lookup,
	.text = file_text,
};

struct place *place_add(struct sysinfo_module *m, const struct text_file *file)
{
	if (m->n_places == BV_ROWS_OF(m->place))
		return NULL;
	struct place *place = &m->place[m->n_places++];

	place->m = m;
	place->file = file;
	return place;
}

int files_mount(struct sysinfo_module *m, const struct bv_vfs *vfs)
{
	for (size_t i = 0; i < BV_ROWS_OF(files); i++) {
		struct place *place = place_add(m, &files[i]);
		int r = place ? vfs->mount(vfs, m->self, files[i].at, &file_ops, place) : -ENOMEM;

		if (r < 0)
			return r;
	}
	return 0;
}
