/* SPDX-License-Identifier: Apache-2.0 */
/* core/names.c: numbers and names agree with each other and with libseccomp. */
#include <criterion/criterion.h>
#include <errno.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "bvisor.h"

Test(names, every_number_there_and_back)
{
	int known = 0;
	for (int nr = 0; nr <= names_max(); nr++) {
		const char *name = names_name(nr);
		if (!name)
			continue;
		known++;
		cr_assert_eq(names_nr(name), nr, "%s", name);
	}
	cr_assert_gt(known, 300);
	cr_assert(names_name(names_max()));
	cr_assert_null(names_name(-1));
	cr_assert_null(names_name(names_max() + 1));
	cr_assert_null(names_name(0x40000000));
}

Test(names, libseccomp_agrees)
{
	for (int nr = 0; nr <= names_max() + 100; nr++) {
		char *theirs = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
		if (theirs && nr <= names_max())
			cr_assert_str_eq(names_name(nr), theirs);
		free(theirs);
	}
	cr_assert_eq(names_nr("openat"), SYS_openat);
	cr_assert_eq(names_nr("rt_sigreturn"), SYS_rt_sigreturn);
}

Test(names, newer_calls)
{
	cr_assert_eq(names_nr("cachestat"), 451);
	cr_assert_eq(names_nr("fchmodat2"), 452);
	cr_assert_eq(names_nr("statmount"), 457);
	cr_assert_eq(names_nr("mseal"), 462);
	cr_assert_eq(names_nr("removexattrat"), 466);
	cr_assert_eq(names_nr("file_setattr"), 469);
}

Test(names, foreign_and_unknown)
{
	cr_assert_eq(names_nr("_newselect"), -ENOSYS); /* 32-bit only */
	cr_assert_eq(names_nr("sigreturn"), -ENOSYS);
#ifdef SYS_open
	cr_assert_eq(names_nr("open"), SYS_open);
#else
	cr_assert_eq(names_nr("open"), -ENOSYS);
#endif
	cr_assert_eq(names_nr("no_such_call"), -EINVAL);
	cr_assert_eq(names_nr(""), -EINVAL);
}

Test(names, errnos)
{
	cr_assert_str_eq(names_errno(EPERM), "EPERM");
	cr_assert_str_eq(names_errno(-ENOSYS), "ENOSYS");
	cr_assert_null(names_errno(4000));
	for (int err = 1; err < 4096; err++)
		if (names_errno(err))
			cr_assert_eq(names_errno_by(names_errno(err)), err, "%d", err);
	cr_assert_eq(names_errno_by("ENOTSUP"), EOPNOTSUPP);
	cr_assert_eq(names_errno_by("eperm"), -EINVAL);
	cr_assert_eq(names_errno_by("0"), -EINVAL);
	cr_assert_eq(names_errno_by(""), -EINVAL);
}
