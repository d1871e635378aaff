/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree at /sys/devices/system/cpu, mounted only when fewer CPUs than the host's are shown:
 * the directories and lists of the others are left out.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "sysinfo.h"

#define SYSCPU "/sys/devices/system/cpu"

static bool is_list(const char *name)
{
	return strcmp(name, "online") == 0 || strcmp(name, "possible") == 0 || strcmp(name, "present") == 0;
}

/* False for the directory of a CPU that is not shown. */
static bool visible(const struct sysinfo_module *m, const char *name)
{
	char *end;

	if (strncmp(name, "cpu", 3) != 0 || name[3] < '0' || name[3] > '9')
		return true;
	unsigned long cpu = strtoul(name + 3, &end, 10);
	return *end || (cpu < CPU_SETSIZE && CPU_ISSET(cpu, &m->cpus));
}

static int syscpu_lookup(void *ctx, struct bv_call *call, const char *rel, struct bv_vfs_node *out)
{
	const struct place *place = ctx;
	struct stat st;

	memset(out, 0, sizeof(*out));
	if (!*rel) {
		out->kind = BV_VFS_DIR;
		out->mode = 0755;
		return 0;
	}
	if (is_list(rel)) {
		out->kind = BV_VFS_TEXT;
		out->mode = 0444;
		return 0;
	}
	if (strcmp(rel, "offline") == 0) {
		out->kind = BV_VFS_TEXT;
		out->mode = 0444;
		return 0;
	}
	if (strchr(rel, '/'))
		return -ENOENT; /* a HOST directory's children are not asked for */
	if (!visible(place->m, rel))
		return -ENOENT;
	snprintf(out->target, sizeof(out->target), SYSCPU "/%s", rel);
	if (lstat(out->target, &st) < 0)
		return -ENOENT;
	out->kind = BV_VFS_HOST;
	out->below = S_ISDIR(st.st_mode);
	return 0;
}

static int syscpu_list(void *ctx, struct bv_call *call, const char *rel, bv_vfs_emit_fn *emit, void *arg)
{
	const struct place *place = ctx;
	const struct dirent *e;
	int r = 0;
	DIR *d;

	if (*rel)
		return -ENOTDIR;
	d = opendir(SYSCPU);
	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d)))
		if (e->d_name[0] != '.' && visible(place->m, e->d_name))
			r = emit(arg, e->d_name, e->d_ino, e->d_type);
	closedir(d);
	return r;
}

static int syscpu_text(void *ctx, struct bv_call *call, const char *rel, int fd)
{
	const struct place *place = ctx;
	bv_autostrbuf struct strbuf b = {0};

	if (is_list(rel))
		cpus_format(&place->m->cpus, &b);
	else if (strcmp(rel, "offline") != 0)
		return -ENOENT;
	strbuf_puts(&b, "\n");
	return write_text(fd, &b);
}

const struct bv_vfs_ops syscpu_ops = {
	.head = BV_HEAD(SERVICE, struct bv_vfs_ops),
	.lookup = syscpu_lookup,
	.list = syscpu_list,
	.text = syscpu_text,
};
