/* SPDX-License-Identifier: Apache-2.0 */
/* file_getattr (Linux 6.17): inode flags and project of any object, which ioctls tell of open files. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "target.h"

/* Newer than many headers, one number everywhere. */
#ifndef SYS_file_getattr
#define SYS_file_getattr 468
#endif

#define ATTR_SIZE_MIN 24 /* FILE_ATTR_SIZE_VER0 */
#define ATTR_SIZE_MAX 4096 /* the smallest page */

static int get_attr(struct vfs *v, struct bv_call *call)
{
	char attr[ATTR_SIZE_MAX];
	size_t size = call->arg[3];
	struct target_name name;
	struct source s;

	/* What the host's kernel does not have, its guests do not have. */
	if (syscall(SYS_file_getattr, -1, NULL, NULL, 0, ~0u) < 0 && errno == ENOSYS)
		return -ENOSYS;
	int r = target_name_at(v, call, (int)call->arg[4], &name);
	if (r == 0 && (size < ATTR_SIZE_MIN || size > sizeof(attr)))
		r = size < ATTR_SIZE_MIN ? -EINVAL : -E2BIG;
	if (r == 0)
		r = source_open(v, call, &name, &s);
	if (r < 0)
		return r;
	memset(attr, 0, size);
	r = v->host->as_guest(call);
	if (r >= 0)
		r = syscall(SYS_file_getattr, AT_FDCWD, s.path, attr, size, 0) < 0 ? -errno : 0;
	v->host->as_creds(NULL);
	source_fini(&s);
	return r < 0 ? r : v->host->mem_write(call, call->arg[2], attr, size);
}

BV_SYSCALL(file_getattr)
{
	return REPLY((struct vfs *)self, call, get_attr(self, call));
}

const struct bv_handler fileattr_handlers[] = {
	BV_ON_MAYBE(file_getattr, BV_SERVE),
	{0},
};
