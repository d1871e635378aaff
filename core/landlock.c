/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock rules for guests (landlock(7)).  Rights are checked when a file is opened, against the
 * opener, so descriptors that the supervisor opens and injects keep what they were opened for.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

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
