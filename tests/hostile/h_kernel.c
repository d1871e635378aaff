/* SPDX-License-Identifier: Apache-2.0 */
/* Files by which a process reaches the kernel or the machine: none may be written, some not even read. */
#include "h.h"
#include <sys/sysmacros.h>

int main(int argc, char **argv)
{
	static const char *const no_write[] = {
		"/proc/sys/kernel/domainname", "/proc/sys/kernel/core_pattern", "/proc/sys/kernel/hostname", "/proc/sys/kernel/sysrq",
		"/proc/sys/vm/drop_caches", "/proc/sys/vm/overcommit_memory", "/proc/sys/net/ipv4/ip_forward", "/proc/sysrq-trigger",
		"/proc/1/oom_score_adj", "/proc/1/mem", "/proc/irq/default_smp_affinity", "/proc/kcore", "/proc/kmsg",
		"/proc/sys/kernel/modprobe", "/proc/sys/fs/binfmt_misc/register", "/proc/acpi/wakeup", "/proc/mtrr",
		"/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/transparent_hugepage/enabled",
		"/sys/module/kernel/parameters/panic", "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/cgroup.subtree_control",
		"/sys/kernel/debug/tracing/trace_marker", "/sys/kernel/tracing/trace_marker", "/sys/block/vda/uevent",
		"/sys/class/net/lo/mtu", "/sys/kernel/security/apparmor/.load",
		"/dev/mem", "/dev/kmem", "/dev/port", "/dev/kmsg", "/dev/vda", "/dev/vda1", "/dev/sda", "/dev/nvme0n1", "/dev/loop0",
		"/dev/loop-control", "/dev/mapper/control", "/dev/fuse", "/dev/kvm", "/dev/vsock", "/dev/net/tun", "/dev/uinput",
		"/dev/rtc0", "/dev/hpet", "/dev/cpu/0/msr", "/dev/tty0", "/dev/tty1", "/dev/console", "/dev/vcs",
		"/dev/input/event0", "/dev/userfaultfd", "/dev/vhost-net", "/dev/autofs", "/dev/btrfs-control",
	};
	static const char *const no_read[] = {
		"/proc/kcore", "/proc/1/environ", "/proc/1/mem", "/proc/1/maps", "/proc/1/root/etc/passwd", "/dev/mem", "/dev/kmem",
		"/dev/port", "/dev/kmsg", "/dev/vda", "/dev/vda1", "/dev/sda", "/dev/kvm", "/dev/cpu/0/msr", "/proc/kmsg",
		"/sys/kernel/debug/tracing/trace", "/sys/firmware/dmi/tables/DMI", "/proc/timer_list", "/proc/keys",
		"/proc/sysvipc/shm", "/proc/slabinfo", "/proc/vmallocinfo", "/run/docker.sock", "/var/run/docker.sock",
	};
	static const struct { mode_t type; unsigned major, minor; } node[] = {
		{ S_IFCHR, 1, 1 }, { S_IFCHR, 1, 2 }, { S_IFCHR, 1, 4 }, { S_IFCHR, 1, 11 }, { S_IFBLK, 254, 0 }, { S_IFBLK, 8, 0 },
		{ S_IFBLK, 7, 0 }, { S_IFCHR, 10, 232 }, { S_IFCHR, 10, 229 }, { S_IFCHR, 5, 1 }, { S_IFCHR, 4, 1 }, { S_IFCHR, 0, 0 },
	};
	struct hostile h = h_start(argc, argv);
	char b[PATH_MAX];

	MUST(!h.control);
	for (size_t i = 0; i < sizeof(no_write) / sizeof(no_write[0]); i++) {
		static const int flags[] = { O_WRONLY, O_RDWR, O_WRONLY | O_TRUNC };

		for (size_t k = 0; k < sizeof(flags) / sizeof(flags[0]); k++) {
			int fd = open(no_write[i], flags[k] | O_NONBLOCK);

			if (fd < 0)
				continue;
			breach("%s can be opened for writing", no_write[i]);
			/* Only where it does no harm if it gets through; the runner compares and restores. */
			if (i == 0)
				(void)!write(fd, "bvisor-breach", 13);
			close(fd);
		}
	}
	for (size_t i = 0; i < sizeof(no_read) / sizeof(no_read[0]); i++) {
		int fd = open(no_read[i], O_RDONLY | O_NONBLOCK);

		if (fd >= 0) {
			breach("%s can be opened for reading", no_read[i]);
			close(fd);
		}
	}
	for (size_t i = 0; i < sizeof(node) / sizeof(node[0]); i++) {
		const char *const dir[] = { "/tmp", h.rw, h.host, "/dev" };

		for (size_t k = 0; k < 4; k++) {
			h_fmt(b, "%s/node%zu", dir[k], i);
			if (mknod(b, node[i].type | 0666, makedev(node[i].major, node[i].minor)) < 0)
				continue;
			if (node[i].major) {
				int fd = open(b, O_RDONLY | O_NONBLOCK);

				breach("device %u:%u can be made in %s", node[i].major, node[i].minor, dir[k]);
				if (fd >= 0)
					breach("and opened");
				close(fd);
			}
			unlink(b);
		}
	}
	/* Names below the kernel's trees cannot be made or moved either. */
	if (mkdir("/sys/fs/cgroup/bvisor-breach", 0755) == 0) {
		breach("a cgroup can be made");
		rmdir("/sys/fs/cgroup/bvisor-breach");
	}
	if (symlink("/dev/mem", "/tmp/m") == 0 && open("/tmp/m", O_RDONLY) >= 0)
		breach("/dev/mem can be opened by a link");
	return h_end();
}
