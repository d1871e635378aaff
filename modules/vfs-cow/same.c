/* SPDX-License-Identifier: Apache-2.0 */
#include "same.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "vfs.h"

bool same_bytes(int a, int b)
{
	enum { SIZE = 65536 };
	bv_autofree char *buf = malloc(2 * SIZE);
	ssize_t n, m;

	if (!buf)
		return false;
	do {
		n = read(a, buf, SIZE);
		for (m = 0; n > 0 && m < n;) {
			ssize_t got = read(b, buf + SIZE + m, (size_t)(n - m));

			if (got <= 0)
				return false;
			m += got;
		}
		if (n > 0 && memcmp(buf, buf + SIZE, (size_t)n) != 0)
			return false;
	} while (n > 0);
	return n == 0 && read(b, buf, 1) == 0;
}

bool same_xattrs(int a, int b)
{
	enum { SIZE = 65536 }; /* XATTR_SIZE_MAX and XATTR_LIST_MAX, xattr(7) */
	char from[FD_PATH_MAX], to[FD_PATH_MAX];
	bv_autofree char *buf = malloc(4 * SIZE);

	if (!buf)
		return false;
	char *names = buf, *others = buf + SIZE, *value = buf + 2 * SIZE, *other = buf + 3 * SIZE;
	real_fd_path(from, a);
	real_fd_path(to, b);
	ssize_t n = listxattr(from, names, SIZE), m = listxattr(to, others, SIZE);
	if (n <= 0 && m <= 0)
		return true;
	if (n != m)
		return false;
	for (const char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t len = getxattr(from, name, value, SIZE);

		if (len != getxattr(to, name, other, SIZE) ||
		    (len > 0 && memcmp(value, other, (size_t)len) != 0))
			return false;
	}
	return true;
}

bool same_targets(int a, int b)
{
	char from[PATH_MAX], to[PATH_MAX];
	ssize_t n = readlinkat(a, "", from, sizeof(from));

	return n >= 0 && readlinkat(b, "", to, sizeof(to)) == n && memcmp(from, to, (size_t)n) == 0;
}
