/* SPDX-License-Identifier: Apache-2.0 */
/* core/log.c and error.c: one clean line each, whatever goes in. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <string.h>

#include "bvisor.h"

TestSuite(log, .init = cr_redirect_stderr);

Test(log, levels)
{
	cr_assert_eq(log_level(), BV_LOG_WARN);
	log_line(BV_LOG_INFO, "t", "not shown");
	log_line(BV_LOG_WARN, "t", "shown %d", 1);
	log_set_level(BV_LOG_DEBUG);
	log_line(BV_LOG_DEBUG, NULL, "all");
	log_line(BV_LOG_INFO, "t", "plain");
	cr_assert_stderr_eq_str("bvisor: warning: t: shown 1\nbvisor: debug: all\nbvisor: t: plain\n");
}

Test(log, a_guest_cannot_write_to_the_terminal)
{
	errno = EDOM;
	log_line(BV_LOG_ERROR, "t", "a\nb\033[31m\x7f");
	cr_assert_eq(errno, EDOM);
	cr_assert_stderr_eq_str("bvisor: error: t: a?b?[31m?\n");
}

Test(log, long_lines_are_cut)
{
	static char text[10000], expected[2048];
	memset(text, 'x', sizeof(text) - 1);
	memset(expected, 'x', sizeof(expected));
	memcpy(expected, "bvisor: error: t: ", 18);
	expected[2046] = '\n';
	expected[2047] = '\0';
	log_line(BV_LOG_ERROR, "t", "%s", text);
	cr_assert_stderr_eq_str(expected);
}

Test(error, chains)
{
	struct bv_error err = {""};
	cr_assert_eq(error_set(&err, ENOENT, "inner %d", 1), -ENOENT);
	cr_assert_eq(error_set(&err, -EPERM, "outer: %s", err.text), -EPERM);
	cr_assert_str_eq(err.text, "outer: inner 1");
	cr_assert_eq(error_set(NULL, EIO, "nobody listens"), -EIO);
}
