/* SPDX-License-Identifier: Apache-2.0 */
/* core/guest_mem.c against a child's memory: borders of pages and of what is mapped. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "guest_mem.h"

#define PAGE 4096

/* Three pages, the last unmapped, filled before the child is forked. */
static char *map;
static pid_t child;

static void start(void)
{
	child = fork();
	cr_assert_geq(child, 0);
	if (child == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
}

static void setup(void)
{
	map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	cr_assert_neq(map, MAP_FAILED);
	memset(map, 'x', 2 * PAGE);
	cr_assert_eq(munmap(map + 2 * PAGE, PAGE), 0);
}

static void teardown(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

TestSuite(guest_mem, .init = setup, .fini = teardown);

static uint64_t at(size_t offset)
{
	return (uint64_t)(uintptr_t)(map + offset);
}

Test(guest_mem, string_over_a_page_border)
{
	char got[64];

	strcpy(map + PAGE - 5, "over the border");
	start();
	cr_assert_eq(guest_mem_read_str(child, got, at(PAGE - 5), sizeof(got)), 15);
	cr_assert_str_eq(got, "over the border");
}

Test(guest_mem, string_ending_with_the_mapping)
{
	char got[64];

	strcpy(map + 2 * PAGE - 5, "last");
	start();
	cr_assert_eq(guest_mem_read_str(child, got, at(2 * PAGE - 5), sizeof(got)), 4);
	cr_assert_str_eq(got, "last");
	cr_assert_eq(guest_mem_read_str(child, got, at(2 * PAGE - 1), 1), 0, "an empty string at the very end");
}

Test(guest_mem, string_without_end)
{
	char got[3 * PAGE];

	start();
	cr_assert_eq(guest_mem_read_str(child, got, at(0), 100), -ENAMETOOLONG);
	cr_assert_eq(guest_mem_read_str(child, got, at(0), 2 * PAGE), -ENAMETOOLONG);
	cr_assert_eq(guest_mem_read_str(child, got, at(0), sizeof(got)), -EFAULT, "runs into the unmapped page");
	cr_assert_eq(guest_mem_read_str(child, got, at(PAGE), 0), -ENAMETOOLONG);
}

Test(guest_mem, string_exactly_as_long_as_there_is_room)
{
	char got[8];

	strcpy(map + PAGE - 3, "seven77");
	start();
	cr_assert_eq(guest_mem_read_str(child, got, at(PAGE - 3), 8), 7);
	cr_assert_eq(guest_mem_read_str(child, got, at(PAGE - 3), 7), -ENAMETOOLONG);
}

Test(guest_mem, wild_pointers)
{
	const uint64_t wild[] = {0, 1, PAGE - 1, at(2 * PAGE), 0x8000000000000000ULL, ~0ULL, ~0ULL - PAGE};
	char got[64];

	start();
	for (size_t i = 0; i < sizeof(wild) / sizeof(wild[0]); i++) {
		cr_assert_eq(guest_mem_read_str(child, got, wild[i], sizeof(got)), -EFAULT, "%zu", i);
		cr_assert_eq(guest_mem_read(child, got, wild[i], sizeof(got)), -EFAULT, "%zu", i);
		cr_assert_eq(guest_mem_write(child, wild[i], got, sizeof(got)), -EFAULT, "%zu", i);
		cr_assert_eq(guest_mem_gather(child, got, sizeof(got), wild[i], 1), -EFAULT, "%zu", i);
	}
}

Test(guest_mem, read_is_whole_or_nothing)
{
	char got[PAGE];

	start();
	cr_assert_eq(guest_mem_read(child, got, at(2 * PAGE - 10), 10), 0);
	cr_assert_eq(guest_mem_read(child, got, at(2 * PAGE - 10), 11), -EFAULT);
	cr_assert_eq(guest_mem_read(child, got, at(2 * PAGE), 0), 0);
}

Test(guest_mem, write_arrives_and_respects_protection)
{
	char got[4];

	cr_assert_eq(mprotect(map + PAGE, PAGE, PROT_READ), 0);
	start();
	cr_assert_eq(guest_mem_write(child, at(PAGE - 4), "abcd", 4), 0);
	cr_assert_eq(guest_mem_read(child, got, at(PAGE - 4), 4), 0);
	cr_assert_eq(memcmp(got, "abcd", 4), 0);
	cr_assert_eq(map[PAGE - 4], 'x', "it was the child's copy");
	cr_assert_eq(guest_mem_write(child, at(PAGE), "abcd", 4), -EFAULT);
}

Test(guest_mem, gather_joins_and_stops_at_cap)
{
	struct iovec *v = (struct iovec *)(void *)map;
	char got[64];

	strcpy(map + PAGE, "one two three");
	v[0] = (struct iovec){map + PAGE, 4};
	v[1] = (struct iovec){NULL, 0};
	v[2] = (struct iovec){map + PAGE + 8, 5};
	start();
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), 3), 9);
	cr_assert_eq(memcmp(got, "one three", 9), 0);
	cr_assert_eq(guest_mem_gather(child, got, 6, at(0), 3), 6);
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), 0), 0);
}

Test(guest_mem, gather_of_many_entries)
{
	struct iovec *v = (struct iovec *)(void *)map;
	char got[512];

	for (int i = 0; i < 200; i++)
		v[i] = (struct iovec){map + PAGE + i, 1};
	for (int i = 0; i < 200; i++)
		map[PAGE + i] = (char)('a' + i % 26);
	start();
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), 200), 200);
	cr_assert_eq(memcmp(got, map + PAGE, 200), 0);
}

Test(guest_mem, gather_refuses_as_the_kernel_does)
{
	struct iovec *v = (struct iovec *)(void *)map;
	char got[64];

	v[0] = (struct iovec){map + PAGE, 4};
	v[1] = (struct iovec){map + PAGE, (size_t)-1};
	v[2] = (struct iovec){map + 2 * PAGE, 4};
	start();
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), 2), -EINVAL);
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(sizeof(v[0]) * 2), 1), -EFAULT);
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), GUEST_IOV_MAX + 1), -EINVAL);
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(0), ~0ULL), -EINVAL);
	cr_assert_eq(guest_mem_gather(child, got, sizeof(got), at(2 * PAGE - sizeof(v[0])), 2), -EFAULT,
	             "the array itself leaves the mapping");
}

Test(guest_mem, gone)
{
	char got[4];

	start();
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	cr_assert_eq(guest_mem_read(child, got, at(0), 4), -ESRCH);
	cr_assert_eq(guest_mem_read_str(child, got, at(0), 4), -ESRCH);
}
