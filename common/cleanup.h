/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_CLEANUP_H
#define COMMON_CLEANUP_H
/* Scope-bound release and its opposite, steal.  Releases preserve errno. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void bv_cleanup_free(void *p)
{
	int saved = errno;
	free(*(void **)p);
	errno = saved;
}
static inline void bv_cleanup_fd(int *fd)
{
	int saved = errno;
	if (*fd >= 0)
		close(*fd);
	errno = saved;
}
#define bv_autofree __attribute__((cleanup(bv_cleanup_free)))
#define bv_autofd __attribute__((cleanup(bv_cleanup_fd)))
static inline int bv_take_fd(int *fd)
{
	int got = *fd;
	*fd = -1;
	return got;
}
static inline void *bv_take_ptr(void *p)
{
	void *got = *(void **)p;
	*(void **)p = NULL;
	return got;
}
#define bv_take(p) ((__typeof__(p))bv_take_ptr(&(p)))
#define BV_ROWS_OF(a) (sizeof(a) / sizeof((a)[0]))

#endif
