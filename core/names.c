/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Syscall names and numbers of this architecture.  Three sources, all const: the kernel headers
 * we are built with (a generated table), libseccomp for names that only other architectures
 * have, and the calls younger than both.  Numbers from 424 on are the same on every architecture
 * we run on (Linux 5.1 unified them, include/uapi/asm-generic/unistd.h).
 */
#include <asm/unistd.h>
#include <errno.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bvisor.h"

static const char *const by_number[] = {
#define SYSCALL(n) [__NR_##n] = #n,
#include "syscall_names.h"
#undef SYSCALL
};
/* The same, sorted by name as the generator leaves them: a start resolves some hundred names. */
static const struct named {
	const char *name;
	int nr;
} by_name[] = {
#define SYSCALL(n) {#n, __NR_##n},
#include "syscall_names.h"
#undef SYSCALL
};
#define N_BY_NAME (sizeof(by_name) / sizeof(by_name[0]))
#define N_BY_NUMBER (sizeof(by_number) / sizeof(by_number[0]))

#define NEWER_FIRST 451
static const char *const newer[] = {
	"cachestat", /* 6.5 */
	"fchmodat2", /* 6.6 */
	"map_shadow_stack", /* 6.6 */
	"futex_wake", /* 6.7 */
	"futex_wait", /* 6.7 */
	"futex_requeue", /* 6.7 */
	"statmount", /* 6.8 */
	"listmount", /* 6.8 */
	"lsm_get_self_attr", /* 6.8 */
	"lsm_set_self_attr", /* 6.8 */
	"lsm_list_modules", /* 6.8 */
	"mseal", /* 6.10 */
	"setxattrat", /* 6.13 */
	"getxattrat", /* 6.13 */
	"listxattrat", /* 6.13 */
	"removexattrat", /* 6.13 */
	"open_tree_attr", /* 6.15 */
	"file_getattr", /* 6.17 */
	"file_setattr", /* 6.17 */
};
#define N_NEWER (sizeof(newer) / sizeof(newer[0]))

int names_max(void)
{
	int newest = NEWER_FIRST + (int)N_NEWER - 1;
	return newest > (int)N_BY_NUMBER - 1 ? newest : (int)N_BY_NUMBER - 1;
}

const char *names_name(int nr)
{
	if (nr < 0)
		return NULL;
	if ((size_t)nr < N_BY_NUMBER && by_number[nr])
		return by_number[nr];
	if (nr >= NEWER_FIRST && nr < NEWER_FIRST + (int)N_NEWER)
		return newer[nr - NEWER_FIRST];
	return NULL;
}

static int compare_name(const void *key, const void *row)
{
	return strcmp(key, ((const struct named *)row)->name);
}

int names_nr(const char *name)
{
	const struct named *known = bsearch(name, by_name, N_BY_NAME, sizeof(by_name[0]), compare_name);

	if (known)
		return known->nr;
	for (size_t i = 0; i < N_NEWER; i++)
		if (!strcmp(newer[i], name))
			return NEWER_FIRST + (int)i;
	/* libseccomp gives a name of other architectures a number below -1. */
	int nr = seccomp_syscall_resolve_name(name);
	/* A number past our ledger has no disposition there: to us the name is unknown. */
	if (nr >= 0 && names_name(nr))
		return nr;
	return nr < __NR_SCMP_ERROR ? -ENOSYS : -EINVAL;
}

const char *names_errno(int err)
{
	return strerrorname_np(err < 0 ? -err : err);
}

int names_errno_by(const char *name)
{
	static const struct {
		const char *name;
		int err;
	} alias[] = {
		{"EWOULDBLOCK", EWOULDBLOCK},
		{"ENOTSUP", ENOTSUP},
		{"EDEADLOCK", EDEADLOCK},
	};
	for (size_t i = 0; i < sizeof(alias) / sizeof(alias[0]); i++)
		if (!strcmp(alias[i].name, name))
			return alias[i].err;
	for (int err = 1; err <= EHWPOISON; err++) { /* the last one, errno(3) */
		const char *known = strerrorname_np(err);
		if (known && !strcmp(known, name))
			return err;
	}
	return -EINVAL;
}
