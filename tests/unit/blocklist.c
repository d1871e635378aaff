/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of modules/blocklist: number ranges of the ini. */
#include <criterion/criterion.h>
#include <errno.h>

#include "range.h"

static void reads(const char *word, uint32_t first, uint32_t last)
{
	struct range r = {0};

	cr_assert_eq(range_parse(word, &r), 0, "%s", word);
	cr_assert_eq(r.first, first, "%s", word);
	cr_assert_eq(r.last, last, "%s", word);
}

Test(blocklist_range, numbers_and_ranges)
{
	reads("0x5401", 0x5401, 0x5401);
	reads("0x5401-0x540b", 0x5401, 0x540b);
	reads("21505", 21505, 21505);
	reads("0", 0, 0);
	reads("0-0xffffffff", 0, UINT32_MAX);
	reads("7-7", 7, 7);
}

Test(blocklist_range, refuses_everything_else)
{
	static const char *const bad[] = {
		"", "-", "x", "0x", "-1", "+1", " 1", "1 ", "1-", "-1-2", "2-1", "1-2-3", "0x100000000",
		"1-0x100000000", "99999999999999999999", "TCGETS", "1,2", "0x54g1",
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct range r = {42, 43};

		cr_assert_eq(range_parse(bad[i], &r), -EINVAL, "\"%s\"", bad[i]);
		cr_assert_eq(r.first, 42u, "\"%s\" left its mark", bad[i]);
	}
}

Test(blocklist_range, merges_what_touches)
{
	struct range r[] = {{20, 30}, {1, 5}, {6, 6}, {25, 40}, {100, UINT32_MAX}, {UINT32_MAX, UINT32_MAX}, {8, 9}};

	cr_assert_eq(range_merge(r, 7), 4u);
	cr_assert_eq(r[0].first, 1u);
	cr_assert_eq(r[0].last, 6u);
	cr_assert_eq(r[1].first, 8u);
	cr_assert_eq(r[1].last, 9u);
	cr_assert_eq(r[2].first, 20u);
	cr_assert_eq(r[2].last, 40u);
	cr_assert_eq(r[3].first, 100u);
	cr_assert_eq(r[3].last, UINT32_MAX);
	cr_assert_eq(range_merge(r, 0), 0u);
}
