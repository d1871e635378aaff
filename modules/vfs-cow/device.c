/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes.  /dev/tty means the guest's controlling terminal, not the supervisor's.  Of the
 * host's pseudo terminals only those that the sandbox was started on or made itself may be opened:
 * the user's other terminals are not its business.
 */
#include "device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

/* Documentation/admin-guide/devices.txt: 136..143 are Unix98 PTY slaves; 5:0 /dev/tty, 5:2 ptmx. */
#define PTS_FIRST 136u
#define PTS_LAST 143u

static bool pts_number(dev_t dev, unsigned *n)
{
	if (major(dev) < PTS_FIRST || major(dev) > PTS_LAST)
		return false;
	*n = (major(dev) - PTS_FIRST) * 256 + minor(dev);
	/* The kernel gives all of devpts major 136 and a minor of 20 bits. */
	if (major(dev) == PTS_FIRST)
		*n = minor(dev);
	return true;
}

static void mark(struct vfs *v, unsigned n)
{
	if (n < sizeof(v->pts) * 8)
		v->pts[n / 8] |= (unsigned char)(1u << n % 8);
}

static bool marked(const struct vfs *v, unsigned n)
{
	return n < sizeof(v->pts) * 8 && (v->pts[n / 8] >> n % 8 & 1);
}

void device_adopt_stdio(struct vfs *v)
{
	struct stat st;
	unsigned n;

	for (int fd = 0; fd < 3; fd++)
		if (fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && pts_number(st.st_rdev, &n))
			mark(v, n);
}

/* tty_nr of proc(5) /proc/PID/stat, field 7; 0: no controlling terminal. */
static int controlling_tty(struct vfs *v, struct bv_call *call, dev_t *dev)
{
	char buf[1024];
	unsigned tty;
	int dir = v->host->proc_fd(call);
	bv_autofd int fd = dir < 0 ? -1 : openat(dir, "stat", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (n <= 0)
		return -ESRCH;
	buf[n] = '\0';
	/* The command name may hold anything, so count from its last parenthesis. */
	const char *p = strrchr(buf, ')');
	if (!p || sscanf(p + 1, " %*c %*d %*d %*d %u", &tty) != 1)
		return -ESRCH;
	if (!tty)
		return -ENXIO;
	*dev = makedev(tty >> 8 & 0xfff, (tty & 0xff) | (tty >> 12 & 0xfff00));
	return 0;
}

static int open_as_guest(struct vfs *v, struct bv_call *call, const char *path, int flags)
{
	int r = v->host->as_guest(call);
	return r < 0 ? r : real_openat(AT_FDCWD, path, flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW), 0);
}

/* The /dev node of a terminal that is not a pts: named by sysfs (DEVNAME=ttyS0). */
static int open_console(struct vfs *v, struct bv_call *call, dev_t dev, int flags)
{
	char path[64], buf[512], node[128];

	snprintf(path, sizeof(path), "/sys/dev/char/%u:%u/uevent", major(dev), minor(dev));
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (n <= 0)
		return -ENXIO;
	buf[n] = '\0';
	const char *name = strstr(buf, "DEVNAME=");
	if (!name || sscanf(name, "DEVNAME=%100[A-Za-z0-9]", buf) != 1)
		return -ENXIO;
	snprintf(node, sizeof(node), "/dev/%.100s", buf);
	return open_as_guest(v, call, node, flags);
}

int device_open(struct vfs *v, struct bv_call *call, struct loc *l, int flags)
{
	unsigned n;
	dev_t tty;
	char path[64];

	if (strncmp(l->path, "/dev/", 5) != 0 || (l->view != V_LOWER && l->view != V_MERGED))
		return -EACCES;
	/* The supervisor is no session leader, but the flag costs nothing and says what is meant. */
	flags |= O_NOCTTY;
	if (l->st.st_rdev == makedev(5, 0)) {
		int r = controlling_tty(v, call, &tty);

		if (r < 0)
			return r;
		if (!pts_number(tty, &n))
			return open_console(v, call, tty, flags);
		snprintf(path, sizeof(path), "/dev/pts/%u", n);
		return open_as_guest(v, call, path, flags);
	}
	if (pts_number(l->st.st_rdev, &n) && !marked(v, n) &&
	    (controlling_tty(v, call, &tty) < 0 || tty != l->st.st_rdev))
		return -EACCES;
	/* The node that was looked at, not whatever has its name now. */
	bv_autofd int node = loc_open_path(v, l);
	if (node < 0)
		return node;
	real_fd_path(path, node);
	int r = v->host->as_guest(call);
	if (r < 0)
		return r;
	int fd = open(path, (flags & ~(O_CREAT | O_EXCL | O_NOFOLLOW)) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (l->st.st_rdev == makedev(5, 2) && ioctl(fd, TIOCGPTN, &n) == 0)
		mark(v, n);
	return fd;
}
