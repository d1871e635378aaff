/* SPDX-License-Identifier: Apache-2.0 */
/* core/config.c: what is read, what is refused, and where the file is looked for. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"

static struct config *parse(const char *text)
{
	struct config *c = NULL;
	struct bv_error err = {""};
	int r = config_parse(&c, text, strlen(text), "t.ini", &err);
	cr_assert_eq(r, 0, "%s", err.text);
	return c;
}

static void refuse(const char *text, size_t len, const char *message)
{
	struct config *c = (struct config *)&c;
	struct bv_error err = {""};
	cr_assert_lt(config_parse(&c, text, len, "t.ini", &err), 0);
	cr_assert_eq(c, (struct config *)&c, "the output was touched");
	cr_assert(strstr(err.text, message), "'%s' lacks '%s'", err.text, message);
}

static void is(const struct config *c, size_t i, const char *section, const char *key, const char *value,
	       const char *where)
{
	const struct config_entry *e = config_at(c, i);
	cr_assert(e);
	cr_assert_str_eq(e->section, section);
	cr_assert_str_eq(e->key, key);
	cr_assert_str_eq(e->value, value);
	cr_assert_str_eq(e->where, where);
}

Test(config, pairs_with_their_lines)
{
	struct config *c = parse("\xef\xbb\xbf# comment\n[core]\n\nlog = debug ; inline\n"
				 "; comment\n[net]\nmode=none\nempty =\nlast = a=b");
	cr_assert_eq(config_count(c), 4);
	is(c, 0, "core", "log", "debug", "t.ini:4");
	is(c, 1, "net", "mode", "none", "t.ini:7");
	is(c, 2, "net", "empty", "", "t.ini:8");
	is(c, 3, "net", "last", "a=b", "t.ini:9");
	cr_assert_null(config_at(c, 4));
	config_free(c);
}

Test(config, indented_lines_continue)
{
	struct config *c = parse("[m]\nk = a\n  b\n\tc = d\n");
	cr_assert_eq(config_count(c), 3);
	is(c, 0, "m", "k", "a", "t.ini:2");
	is(c, 1, "m", "k", "b", "t.ini:3");
	is(c, 2, "m", "k", "c = d", "t.ini:4");
	config_free(c);
}

Test(config, sections_without_keys_are_seen)
{
	struct config *c = parse("\xef\xbb\xbf[a]\n[b]\n  [c]\n");
	const char *where;
	cr_assert_eq(config_count(c), 0);
	cr_assert_eq(config_sections(c), 3);
	cr_assert_str_eq(config_section(c, 0, &where), "a");
	cr_assert_str_eq(where, "t.ini:1");
	cr_assert_str_eq(config_section(c, 2, &where), "c");
	cr_assert_str_eq(where, "t.ini:3");
	config_free(c);
}

Test(config, refuses_with_file_and_line)
{
	static const char nul[] = "[a]\nk = x\0y\n";
	refuse(nul, sizeof(nul) - 1, "t.ini:2: line contains a NUL byte");
	refuse("k = 1\n", 6, "t.ini:1: 'k' stands before any [section]");
	refuse("[a]\n\njust words\n", 16, "t.ini:3: expected [section] or key = value");
	refuse("[a\nk = 1\n", 9, "t.ini:1: expected ']' at the end of the section name");
	refuse("[a]\n = 1\n", 9, "t.ini:2: no key");
	char name[80];
	memset(name, 'n', sizeof(name));
	memcpy(name, "[a]\n", 4);
	memcpy(name + 76, "=1\n", 4);
	refuse(name, 79, "t.ini:2: key is longer");
	memset(name, 'n', sizeof(name));
	memcpy(name, "[", 1);
	memcpy(name + 77, "]\n", 2);
	refuse(name, 79, "t.ini:1: section name is longer");
}

Test(config, long_lines_whole_or_refused)
{
#ifndef HAVE_INI_MAX_LINE
	cr_skip("this inih has a fixed line size");
#endif
	char text[CONFIG_LINE_MAX + 64];
	memset(text, 'v', sizeof(text));
	memcpy(text, "[a]\nkk =", 8);
	text[4 + CONFIG_LINE_MAX] = '\n';
	struct config *c = NULL;
	struct bv_error err = {""};
	cr_assert_eq(config_parse(&c, text, 4 + CONFIG_LINE_MAX + 1, "t.ini", &err), 0, "%s", err.text);
	cr_assert_eq(strlen(config_at(c, 0)->value), CONFIG_LINE_MAX - 4);
	config_free(c);
	/* Without a newline at the end as well. */
	cr_assert_eq(config_parse(&c, text, 4 + CONFIG_LINE_MAX, "t.ini", &err), 0, "%s", err.text);
	cr_assert_eq(strlen(config_at(c, 0)->value), CONFIG_LINE_MAX - 4);
	config_free(c);
	text[4 + CONFIG_LINE_MAX] = 'v';
	text[4 + CONFIG_LINE_MAX + 1] = '\n';
	refuse(text, 4 + CONFIG_LINE_MAX + 2, "t.ini:2: line has 4097 bytes, at most 4096");
}

Test(config, command_line_replaces_or_appends)
{
	struct config *c = parse("[m]\nk = 1\nk = 2\nother = 3\n");
	cr_assert_eq(config_set(c, "m", "k", "9", "--k", false, NULL), 0);
	cr_assert_eq(config_count(c), 2);
	is(c, 0, "m", "other", "3", "t.ini:4");
	is(c, 1, "m", "k", "9", "--k");
	cr_assert_eq(config_set(c, "m", "k", "10", "--more", true, NULL), 0);
	cr_assert_eq(config_count(c), 3);
	cr_assert_not(config_at(c, 1)->append);
	cr_assert(config_at(c, 2)->append);
	config_free(c);
}

static char top[] = "/tmp/bvisor-unit-config-XXXXXX";

static void write_file(const char *path, const char *text, mode_t mode)
{
	FILE *f = fopen(path, "w");
	cr_assert(f);
	fputs(text, f);
	fclose(f);
	cr_assert_eq(chmod(path, mode), 0);
}

static void enter_top(void)
{
	cr_assert(mkdtemp(top));
	cr_assert_eq(chdir(top), 0);
	unsetenv("BVISOR_CONFIG");
	unsetenv("XDG_CONFIG_HOME");
	unsetenv("HOME");
}

static void leave_top(void)
{
	char command[128];
	snprintf(command, sizeof(command), "rm -rf '%s'", top);
	cr_assert_eq(system(command), 0);
}

/* The current directory may be the guest's: whatever it holds, it is not read. */
static void never_here(void)
{
	char *path = NULL;
	struct bv_error err = {""};
	int r = config_find(NULL, &path, &err);
	if (r == 0) {
		cr_assert_eq(path[0], '/', "%s", path);
		cr_assert_neq(strncmp(path, top, strlen(top)), 0, "%s", path);
		free(path);
	} else
		cr_assert_eq(r, -ENOENT);
}

Test(config, found_in_order, .init = enter_top, .fini = leave_top)
{
	char *path, expected[256];
	write_file("bvisor.ini", "", 0644);
	cr_assert_eq(mkdir("bvisor", 0755), 0);
	write_file("bvisor/bvisor.ini", "", 0644);
	never_here();
	setenv("XDG_CONFIG_HOME", ".", 1); /* relative: to be ignored */
	never_here();
	setenv("XDG_CONFIG_HOME", top, 1);
	snprintf(expected, sizeof(expected), "%s/bvisor/bvisor.ini", top);
	cr_assert_eq(config_find(NULL, &path, NULL), 0);
	cr_assert_str_eq(path, expected);
	free(path);
	unsetenv("XDG_CONFIG_HOME");
	setenv("HOME", top, 1);
	cr_assert_eq(mkdir(".config", 0755), 0);
	cr_assert_eq(rename("bvisor", ".config/bvisor"), 0);
	snprintf(expected, sizeof(expected), "%s/.config/bvisor/bvisor.ini", top);
	cr_assert_eq(config_find(NULL, &path, NULL), 0);
	cr_assert_str_eq(path, expected);
	free(path);
	setenv("BVISOR_CONFIG", "/from/env.ini", 1);
	cr_assert_eq(config_find(NULL, &path, NULL), 0);
	cr_assert_str_eq(path, "/from/env.ini");
	free(path);
	cr_assert_eq(config_find("given.ini", &path, NULL), 0);
	cr_assert_str_eq(path, "given.ini");
	free(path);
}

Test(config, load_refuses_what_it_should, .init = enter_top, .fini = leave_top)
{
	struct config *c;
	struct bv_error err;
	write_file("good.ini", "[a]\nb = c\n", 0644);
	cr_assert_eq(config_load(&c, "good.ini", &err), 0);
	is(c, 0, "a", "b", "c", "good.ini:2");
	config_free(c);
	write_file("open.ini", "[a]\nb = c\n", 0666);
	cr_assert_eq(config_load(&c, "open.ini", &err), -EPERM);
	cr_assert(strstr(err.text, "open.ini: refused"), "%s", err.text);
	cr_assert_eq(config_load(&c, ".", &err), -EISDIR);
	cr_assert_eq(config_load(&c, "absent.ini", &err), -ENOENT);
	cr_assert(strstr(err.text, "absent.ini"), "%s", err.text);
	cr_assert_eq(config_load(&c, "/dev/null", &err), 0);
	cr_assert_eq(config_count(c), 0);
	config_free(c);
	cr_assert_eq(config_load(&c, "/dev/zero", &err), -EFBIG);
}
