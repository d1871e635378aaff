/* SPDX-License-Identifier: Apache-2.0 */
/* core/option.c: every type, defaults, lists, and errors that name place, key, value, allowed. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bvisor.h"

struct conf {
	int flag, mode, err;
	int64_t number;
	uint64_t size;
	const char *text;
	struct bv_strings words, lines;
};
#define AT(m) offsetof(struct conf, m)
static const struct bv_option rows[] = {
	{"flag", BV_OPT_BOOL, AT(flag), "yes", NULL, ""},
	{"mode", BV_OPT_ENUM, AT(mode), "b", "a|b|cc", ""},
	{"err", BV_OPT_ERRNO, AT(err), "EPERM", NULL, ""},
	{"number", BV_OPT_INT, AT(number), "-3", NULL, ""},
	{"size", BV_OPT_SIZE, AT(size), "64K", NULL, ""},
	{"text", BV_OPT_STR, AT(text), NULL, NULL, ""},
	{"words", BV_OPT_WORDS, AT(words), "x y\nz", NULL, ""},
	{"lines", BV_OPT_LINES, AT(lines), "one two\nthree", NULL, ""},
};

static struct option_set *set;
static struct conf conf;

static int apply(const char *text, struct bv_error *err)
{
	struct config *c;
	cr_assert_eq(config_parse(&c, text, strlen(text), "t.ini", err), 0, "%s", err->text);
	memset(&conf, 0, sizeof(conf));
	set = NULL;
	int r = option_apply(&set, c, "m", rows, sizeof(rows) / sizeof(rows[0]), sizeof(rows[0]), &conf, err);
	config_free(c);
	return r;
}

static void good(const char *text)
{
	struct bv_error err = {""};
	cr_assert_eq(apply(text, &err), 0, "%s", err.text);
}

static void bad(const char *text, const char *message)
{
	struct bv_error err = {""};
	cr_assert_eq(apply(text, &err), -EINVAL);
	cr_assert_null(set);
	cr_assert(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
}

static void items(struct bv_strings s, const char *joined)
{
	char text[256] = "";
	for (size_t i = 0; i < s.n; i++) {
		strcat(text, i ? "|" : "");
		strcat(text, s.item[i]);
	}
	cr_assert_str_eq(text, joined);
}

Test(option, defaults)
{
	good("[other]\nx = y\n");
	cr_assert_eq(conf.flag, 1);
	cr_assert_eq(conf.mode, 1);
	cr_assert_eq(conf.err, EPERM);
	cr_assert_eq(conf.number, -3);
	cr_assert_eq(conf.size, 65536);
	cr_assert_null(conf.text);
	items(conf.words, "x|y|z");
	items(conf.lines, "one two|three");
	cr_assert_str_eq(option_where(set, "words"), "default");
	cr_assert_str_eq(option_where(set, "nothing"), "default");
	option_free(set);
}

Test(option, values)
{
	good("[m]\nflag = off\nmode = cc\nerr = EWOULDBLOCK\nnumber = 9223372036854775807\n"
	     "size = 3G\ntext = a b\nwords = p q\nwords = r\nlines = l 1\nlines = l 2\n");
	cr_assert_eq(conf.flag, 0);
	cr_assert_eq(conf.mode, 2);
	cr_assert_eq(conf.err, EAGAIN);
	cr_assert_eq(conf.number, INT64_MAX);
	cr_assert_eq(conf.size, 3ull << 30);
	cr_assert_str_eq(conf.text, "a b");
	items(conf.words, "p|q|r");
	items(conf.lines, "l 1|l 2");
	cr_assert_str_eq(option_where(set, "flag"), "t.ini:2");
	cr_assert_str_eq(option_where(set, "words"), "t.ini:8");
	option_free(set);
}

Test(option, an_empty_list_replaces_the_default)
{
	good("[m]\nwords =\nlines =\n");
	cr_assert_eq(conf.words.n, 0);
	cr_assert_eq(conf.lines.n, 0);
	option_free(set);
}

Test(option, every_spelling_of_a_boolean)
{
	static const char *const yes[] = {"yes", "true", "on", "1"}, *const no[] = {"no", "false", "off", "0"};
	for (size_t i = 0; i < 4; i++) {
		char text[64];
		snprintf(text, sizeof(text), "[m]\nflag = %s\n", yes[i]);
		good(text);
		cr_assert_eq(conf.flag, 1);
		option_free(set);
		snprintf(text, sizeof(text), "[m]\nflag = %s\n", no[i]);
		good(text);
		cr_assert_eq(conf.flag, 0);
		option_free(set);
	}
}

Test(option, appended_entries_keep_what_was_there)
{
	struct config *c;
	cr_assert_eq(config_parse(&c, "[m]\nwords = w\n", 14, "t.ini", NULL), 0);
	cr_assert_eq(config_set(c, "m", "words", "more", "--more", true, NULL), 0);
	cr_assert_eq(config_set(c, "m", "lines", "four", "--four", true, NULL), 0);
	memset(&conf, 0, sizeof(conf));
	cr_assert_eq(option_apply(&set, c, "m", rows, sizeof(rows) / sizeof(rows[0]), sizeof(rows[0]), &conf, NULL), 0);
	items(conf.words, "w|more");
	items(conf.lines, "one two|three|four");
	cr_assert_str_eq(option_where(set, "lines"), "--four");
	option_free(set);
	config_free(c);
}

Test(option, errors)
{
	bad("[m]\nwrong = 1\n", "t.ini:2: [m] has no key 'wrong'; allowed: flag, mode, err, number, size, text, words");
	bad("[m]\nflag = maybe\n", "t.ini:2: [m] flag = maybe: expected yes or no");
	bad("[m]\nflag =\n", "t.ini:2: [m] flag = : expected yes or no");
	bad("[m]\nmode = c\n", "t.ini:2: [m] mode = c: expected one of a|b|cc");
	bad("[m]\nmode = a|b\n", "expected one of");
	bad("[m]\nerr = EWHAT\n", "t.ini:2: [m] err = EWHAT: expected the name of an errno");
	bad("[m]\nerr = 1\n", "expected the name of an errno");
	bad("[m]\nnumber = 1x\n", "t.ini:2: [m] number = 1x: expected a whole number");
	bad("[m]\nnumber = 9223372036854775808\n", "expected a whole number");
	bad("[m]\nnumber =\n", "expected a whole number");
	bad("[m]\nsize = -1\n", "expected a size");
	bad("[m]\nsize = 16777216T\n", "expected a size");
	bad("[m]\nsize = 1KB\n", "expected a size");
	bad("[m]\nsize = K\n", "expected a size");
	bad("[m]\nflag = yes\n\nflag = no\n", "t.ini:4: [m] flag is set twice, first at t.ini:2");
}

/* A module of an older minor has shorter rows: what they lack reads as zero. */
Test(option, shorter_rows)
{
	struct short_row {
		const char *key;
		uint32_t type, offset;
		const char *def;
	} row[] = {{"number", BV_OPT_INT, AT(number), "5"}, {"text", BV_OPT_STR, AT(text), "t"}};
	struct config *c;
	cr_assert_eq(config_parse(&c, "", 0, "t.ini", NULL), 0);
	memset(&conf, 0, sizeof(conf));
	cr_assert_eq(option_apply(&set, c, "m", (const void *)row, 2, sizeof(row[0]), &conf, NULL), 0);
	cr_assert_eq(conf.number, 5);
	cr_assert_str_eq(conf.text, "t");
	option_free(set);
	config_free(c);
}
