/* SPDX-License-Identifier: Apache-2.0 */
/* ioctl(2): commands that reach past the descriptor, with garbage in the upper half of the register. */
#include "h.h"
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <termios.h>

static void want(int fd, unsigned long cmd, void *arg, int e, const char *what)
{
	static const unsigned long upper[] = { 0, 1ul << 32, 0xdeadbeef00000000ul };

	for (size_t i = 0; i < 3; i++) {
		long r = syscall(SYS_ioctl, (long)fd, cmd | upper[i], arg);

		if (r != -1 || errno != e)
			breach("%s: %ld %s", what, r, r == -1 ? strerrorname_np(errno) : "");
	}
}
#define EP(fd, cmd, arg) want(fd, cmd, arg, EPERM, #cmd)
#define TTY(fd, cmd, arg) want(fd, cmd, arg, ENOTTY, #cmd)

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX], c = 'x';
	int flags = 0x10 /* FS_IMMUTABLE_FL */, big[64] = { 0 }, n = 0, fd, pts, disc = 0;
	struct winsize ws;

	MUST(!h.control);
	h_time_limit(30);
	pts = posix_openpt(O_RDWR | O_NOCTTY);
	MUST(pts >= 0);
	EP(pts, TIOCSTI, &c);
	EP(pts, TIOCLINUX, &c);
	EP(pts, TIOCCONS, NULL);
	EP(pts, TIOCSETD, &disc);
	EP(0, TIOCSTI, &c);
	fd = open(h_fmt(b, "%s/a.txt", h.host), O_RDONLY);
	MUST(fd >= 0);
	EP(fd, FS_IOC_SETFLAGS, &flags);
	EP(fd, FS_IOC_FSSETXATTR, big);
	TTY(fd, FIFREEZE, NULL);
	TTY(fd, FITRIM, big);
	TTY(fd, FIBMAP, &n);
	TTY(fd, FIDEDUPERANGE, big);
	TTY(fd, 0x6601 | 0, &n);                /* ext4 and others: the old numbers */
	TTY(fd, 0x50009401 /* BTRFS_IOC_SNAP_CREATE */, big);
	TTY(fd, 0x5000940e /* BTRFS_IOC_SUBVOL_CREATE */, big);
	TTY(fd, 0x401c9414 /* BTRFS_IOC_SUBVOL_SETFLAGS... */, big);
	TTY(fd, 0x40086604 /* EXT4_IOC_SETVERSION */, &n);
	TTY(fd, 0xc028660f /* EXT4_IOC_MOVE_EXT */, big);
	TTY(fd, 0xb701 /* NS_GET_USERNS */, NULL);
	TTY(fd, 0x8901 /* FIOSETOWN */, &n);
	TTY(fd, 0x8902 /* SIOCSPGRP */, &n);
	TTY(fd, 0x40086607, &n);
	TTY(fd, 0xffffffff, &n);
	TTY(fd, 0, &n);
	/* And what programs need goes on. */
	if (ioctl(pts, TIOCGWINSZ, &ws) < 0 || ioctl(fd, FIONREAD, &n) < 0 || ioctl(fd, FIOCLEX) < 0)
		breach("harmless commands: %s", strerror(errno));
	return h_end();
}
