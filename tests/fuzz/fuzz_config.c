/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ini reader and the option parser on any bytes.  Beyond not crashing: an accepted file has
 * only whole entries, every error is one line that names the file, and appending a bad line to an
 * accepted file makes it refused.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct conf {
	int flag, mode, err;
	int64_t number;
	uint64_t size;
	const char *text;
	struct bv_strings words, lines;
};
#define AT(m) offsetof(struct conf, m)
static const struct bv_option rows[] = {
	{"flag", BV_OPT_BOOL, AT(flag), "yes", NULL, ""},       {"mode", BV_OPT_ENUM, AT(mode), "b", "a|b|cc", ""},
	{"err", BV_OPT_ERRNO, AT(err), "EPERM", NULL, ""},      {"number", BV_OPT_INT, AT(number), "-3", NULL, ""},
	{"size", BV_OPT_SIZE, AT(size), "64K", NULL, ""},       {"text", BV_OPT_STR, AT(text), NULL, NULL, ""},
	{"words", BV_OPT_WORDS, AT(words), "x y\nz", NULL, ""}, {"lines", BV_OPT_LINES, AT(lines), "o t", NULL, ""},
};

static void check(bool holds)
{
	if (!holds)
		abort();
}

static void check_error(const struct bv_error *err)
{
	check(!strncmp(err->text, "f:", 2) || !strcmp(err->text, "out of memory"));
}

static void options(const struct config *c)
{
	struct conf conf = {0};
	struct option_set *set = NULL;
	struct bv_error err = {""};
	if (option_apply(&set, c, "m", rows, sizeof(rows) / sizeof(rows[0]), sizeof(rows[0]), &conf, &err) < 0) {
		check(!set);
		check_error(&err);
		return;
	}
	check((conf.flag == 0 || conf.flag == 1) && conf.mode >= 0 && conf.mode <= 2 && conf.err > 0);
	for (size_t i = 0; i < conf.words.n; i++)
		check(conf.words.item[i][0] && !strpbrk(conf.words.item[i], " \t\r\n"));
	for (size_t i = 0; i < conf.lines.n; i++)
		check(conf.lines.item[i][0] && !strchr(conf.lines.item[i], '\n'));
	option_free(set);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *c = NULL;
	struct bv_error err = {""};
	if (config_parse(&c, (const char *)data, size, "f", &err) < 0) {
		check(!c);
		check_error(&err);
		return 0;
	}
	for (size_t i = 0; i < config_count(c); i++) {
		const struct config_entry *e = config_at(c, i);
		check(e->section[0] && e->key[0] && e->value && !strncmp(e->where, "f:", 2));
		check(strlen(e->key) <= 48 && strlen(e->section) <= 48 && strlen(e->value) <= CONFIG_LINE_MAX);
	}
	for (size_t i = 0; i < config_sections(c); i++)
		check(config_section(c, i, NULL) != NULL);
	options(c);
	config_free(c);

	static const char bad[] = "\n[m]\nno value here\n";
	char *longer = malloc(size + sizeof(bad));
	if (!longer)
		return 0;
	memcpy(longer, data, size);
	memcpy(longer + size, bad, sizeof(bad) - 1);
	check(config_parse(&c, longer, size + sizeof(bad) - 1, "f", NULL) < 0);
	free(longer);
	return 0;
}
