/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount table as a guest sees it: one virtual root, and every customary mount point where
 * st_dev really changes in the virtual tree.  So df(1), find -xdev and getmntent(3) agree with
 * stat(2) and statfs(2), and nothing of the host's table is told.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

#include "procns.h"

struct point {
	int id, parent;
	const char *at, *type, *options;
	dev_t dev;
};

#define MAX_POINTS 16

/* File systems statfs(2) names; linux/magic.h lacks some. */
static const struct {
	unsigned long magic;
	const char *name;
} types[] = {
	{EXT4_SUPER_MAGIC, "ext4"}, {TMPFS_MAGIC, "tmpfs"},   {OVERLAYFS_SUPER_MAGIC, "overlay"},
	{XFS_SUPER_MAGIC, "xfs"},   {BTRFS_SUPER_MAGIC, "btrfs"}, {PROC_SUPER_MAGIC, "proc"},
	{SYSFS_MAGIC, "sysfs"},     {DEVPTS_SUPER_MAGIC, "devpts"}, {F2FS_SUPER_MAGIC, "f2fs"},
	{NFS_SUPER_MAGIC, "nfs"},   {FUSE_SUPER_MAGIC, "fuse"}, {SQUASHFS_MAGIC, "squashfs"},
	{0x2fc12fc1, "zfs"},        {0x01021997, "9p"},
};

static const char *type_name(unsigned long magic)
{
	for (size_t i = 0; i < BV_ROWS_OF(types); i++)
		if (types[i].magic == magic)
			return types[i].name;
	return "bvisor";
}

/* {path, type that is always shown (or NULL: by statfs, and only where st_dev differs), options} */
static const struct {
	const char *at, *type, *options;
} customary[] = {
	{"/", NULL, "rw,relatime"},
	{"/proc", "proc", "rw,nosuid,nodev,noexec,relatime"},
	{"/sys", "sysfs", "ro,nosuid,nodev,noexec,relatime"},
	{"/dev", NULL, "rw,nosuid"},
	{"/dev/pts", "devpts", "rw,nosuid,noexec,relatime"},
	{"/dev/shm", NULL, "rw,nosuid,nodev"},
	{"/run", NULL, "rw,nosuid,nodev"},
	{"/tmp", NULL, "rw,nosuid,nodev"},
	{"/var/tmp", NULL, "rw,nosuid,nodev"},
	{"/home", NULL, "rw,relatime"},
};

static int gather(struct procns *p, struct point point[MAX_POINTS])
{
	int n = 0;

	for (size_t i = 0; i < BV_ROWS_OF(customary); i++) {
		bv_autofd int fd = p->vfs->open_read(p->vfs, customary[i].at);
		struct point got = {20 + (int)i, 20, customary[i].at, customary[i].type, customary[i].options, 0};
		struct statfs fs;
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && fstatfs(fd, &fs) == 0) {
			got.dev = st.st_dev;
			if (!got.type)
				got.type = type_name((unsigned long)fs.f_type);
		} else if (i > 1) {
			continue;
		}
		if (!got.type)
			got.type = "bvisor";
		if (i == 0)
			got.parent = 1;
		if (i > 1 && got.dev == point[0].dev)
			continue;
		if (strncmp(got.at, "/dev/", 5) == 0)
			for (int j = 0; j < n; j++)
				if (strcmp(point[j].at, "/dev") == 0)
					got.parent = point[j].id;
		point[n++] = got;
	}
	return n;
}

int text_mounts(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	struct point point[MAX_POINTS];
	int n = gather(p, point);

	for (int i = 0; i < n; i++)
		strbuf_printf(out, "%s %s %s %s 0 0\n", i ? point[i].type : "bvisor", point[i].at, point[i].type,
		              point[i].options);
	return 0;
}

int text_mountinfo(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	struct point point[MAX_POINTS];
	int n = gather(p, point);

	for (int i = 0; i < n; i++)
		strbuf_printf(out, "%d %d %u:%u / %s %s - %s %s %.2s\n", point[i].id, point[i].parent,
		              major(point[i].dev), minor(point[i].dev), point[i].at, point[i].options, point[i].type,
		              i ? point[i].type : "bvisor", point[i].options);
	return 0;
}

int text_mountstats(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	struct point point[MAX_POINTS];
	int n = gather(p, point);

	for (int i = 0; i < n; i++)
		strbuf_printf(out, "device %s mounted on %s with fstype %s\n", i ? point[i].type : "bvisor", point[i].at,
		              point[i].type);
	return 0;
}
