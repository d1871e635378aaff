/* SPDX-License-Identifier: Apache-2.0 */
/* Unit tests of the template, over the fake host.  Any failure ends with a message and status 1. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "fakehost.h"

extern const struct bv_module bvisor_module;

#define CHECK(c)                                                                                 \
	do {                                                                                     \
		if (!(c)) {                                                                      \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c);          \
			exit(1);                                                                 \
		}                                                                                \
	} while (0)

static void answers_from_the_ini(void)
{
	const char *const settings[] = {"uptime=77", NULL};
	struct sysinfo info = {0};
	struct fake *f;
	char why[256];

	CHECK(fake_start(&f, &bvisor_module, settings, why, sizeof(why)) == 0);
	struct fake_answer a = fake_call(f, 1, "sysinfo", (uint64_t[6]){(uintptr_t)&info});
	CHECK(a.verdict == BV_REPLIED && a.value == 0 && info.uptime == 77);
	a = fake_call(f, 1, "sysinfo", (uint64_t[6]){8});
	CHECK(a.verdict == BV_REPLIED && a.value == -EFAULT);
	CHECK(fake_call(f, 1, "uname", (uint64_t[6]){0}).verdict == BV_PASS);
	fake_stop(f);
}

static void counts_per_process(void)
{
	const char *const settings[] = {"limit=1", NULL};
	struct sysinfo info;
	const uint64_t arg[6] = {(uintptr_t)&info};
	struct fake *f;
	char why[256];

	CHECK(fake_start(&f, &bvisor_module, settings, why, sizeof(why)) == 0);
	CHECK(fake_call(f, 1, "sysinfo", arg).value == 0);
	CHECK(fake_call(f, 1, "sysinfo", arg).value == -EPERM);
	CHECK(fake_call(f, 2, "sysinfo", arg).value == 0);
	fake_exit(f, 1);
	CHECK(fake_call(f, 1, "sysinfo", arg).value == 0);
	fake_stop(f);
}

static void refuses_bad_settings(void)
{
	const char *const unknown[] = {"colour=red", NULL}, *const bad[] = {"uptime=soon", NULL};
	struct fake *f;
	char why[256];

	CHECK(fake_start(&f, &bvisor_module, unknown, why, sizeof(why)) == -EINVAL && strstr(why, "colour"));
	CHECK(fake_start(&f, &bvisor_module, bad, why, sizeof(why)) == -EINVAL && strstr(why, "uptime"));
}

int main(void)
{
	answers_from_the_ini();
	counts_per_process();
	refuses_bad_settings();
	puts("hello: all well");
	return 0;
}
