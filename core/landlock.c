/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock rules for guests (landlock(7)).  Rights are checked when a file is opened, against the
 * opener, so descriptors that the supervisor opens and injects keep what they were opened for.
 */
#include <bvisor/host.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "bvisor.h"
#include "kernel.h"
#include "landlock.h"

int landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static int add(int ruleset, const char *path)
{
	bv_autofd int fd = open(path, O_PATH | O_CLOEXEC);
	struct landlock_path_beneath_attr rule = {
		.allowed_access = LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE |
	                          LANDLOCK_ACCESS_FS_READ_DIR,
		.parent_fd = fd,
	};

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
		return 0;
	/* EINVAL: directory rights for what is no directory.  Cheaper than asking first. */
	rule.allowed_access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

int landlock_ruleset(char *const *path, size_t n)
{
	struct kernel_landlock_attr attr = {.handled_access_fs = KERNEL_LL_FS_V1};
	size_t size = sizeof(attr.handled_access_fs);
	int abi = landlock_abi();

	if (abi < 1)
		return -ENOSYS;
	if (abi >= 2)
		attr.handled_access_fs |= KERNEL_LL_FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= KERNEL_LL_FS_TRUNCATE;
	if (abi >= 5)
		attr.handled_access_fs |= KERNEL_LL_FS_IOCTL_DEV;
	if (abi >= 6) {
		attr.scoped = KERNEL_LL_SCOPE_ALL;
		size = sizeof(attr);
	}
	bv_autofd int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < n; i++) {
		int r = add(fd, path[i]);

		if (r < 0)
			return r;
	}
	return bv_take_fd(&fd);
}

/* ---- the supervisor's own ---- */

#define WRITE_FILES (LANDLOCK_ACCESS_FS_WRITE_FILE | KERNEL_LL_FS_TRUNCATE)
#define WRITE_DIRS (LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_REMOVE_DIR)
#define WRITE_ALL                                                                                \
	(WRITE_FILES | WRITE_DIRS | LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR |  \
	 LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO | \
	 LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM | KERNEL_LL_FS_REFER)

static int allow_fd(int ruleset, int fd, uint64_t rights)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = rights, .parent_fd = fd};

	if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
		return 0;
	if (errno != EINVAL)
		return -errno;
	rule.allowed_access &= WRITE_FILES; /* no directory */
	return syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) < 0 ? -errno : 0;
}

static int allow_path(int ruleset, const char *path, uint64_t rights)
{
	bv_autofd int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT || errno == ENOTDIR || errno == EACCES ? 0 : -errno;
	return allow_fd(ruleset, fd, rights);
}

int landlock_confine(const struct own_write *may, size_t n)
{
	/* What a guest may be given to write that is nobody's file. */
	static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random",
	                                      "/dev/urandom", "/dev/tty", "/dev/ptmx", "/dev/pts", "/proc"};
	struct kernel_landlock_attr attr = {.handled_access_fs = WRITE_ALL};
	int abi = landlock_abi(), r = 0;
	uint64_t known = WRITE_ALL;

	if (abi < 2)
		return -ENOSYS;
	if (abi < 3)
		known &= ~KERNEL_LL_FS_TRUNCATE;
	attr.handled_access_fs = known;
	bv_autofd int fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr.handled_access_fs), 0);
	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < n && r == 0; i++)
		r = allow_path(fd, may[i].path,
		               known & ((may[i].what & BV_WRITE_ALL ? WRITE_ALL : 0) | (may[i].what & BV_WRITE_FILES ? WRITE_FILES : 0) |
		                        (may[i].what & BV_WRITE_DIRS ? WRITE_DIRS : 0)));
	for (size_t i = 0; i < sizeof(devices) / sizeof(devices[0]) && r == 0; i++)
		r = allow_path(fd, devices[i], known & WRITE_FILES);
	/* A guest may open again what it was handed.  Pipes and sockets cannot be named, and need not. */
	for (int std = 0; std < 3 && r == 0; std++)
		(void)allow_fd(fd, std, known & WRITE_FILES);
	if (r < 0)
		return r;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		return -errno;
	return 0;
}
