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
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "bvisor.h"

static const char *const by_number[] = {
#define SYSCALL(n) [__NR_##n] = #n,
#include "syscall_names.h"
#undef SYSCALL
};
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

/*
 * Numbers + 1 by a hash of their names, open addressing: a start resolves some hundred names.  Whoever
 * comes first fills it; the supervisor's threads begin after that.
 */
#define SLOTS 2048u
static uint16_t slot[SLOTS];
static bool filled;

static uint32_t hash(const char *name)
{
	uint32_t h = 2166136261u; /* FNV-1a */
	for (; *name; name++)
		h = (h ^ (unsigned char)*name) * 16777619u;
	return h ^ h >> 15;
}

static void fill(void)
{
	for (int nr = 0; nr <= names_max(); nr++) {
		const char *name = names_name(nr);
		if (!name)
			continue;
		uint32_t at = hash(name) % SLOTS;
		while (slot[at])
			at = (at + 1) % SLOTS;
		slot[at] = (uint16_t)(nr + 1);
	}
	filled = true;
}

int names_nr(const char *name)
{
	if (!filled)
		fill();
	for (uint32_t at = hash(name) % SLOTS; slot[at]; at = (at + 1) % SLOTS)
		if (!strcmp(names_name(slot[at] - 1), name))
			return slot[at] - 1;
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
