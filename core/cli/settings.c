/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command line options that change the configuration.  They become entries as if they stood in
 * bvisor.ini.  Paths are made absolute here, in the caller's directory and with its symlinks
 * resolved, since the mount table names what is mounted and not how it was reached.
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#include "cli.h"

int settings_add(struct settings *s, const char *section, const char *key, const char *value,
                 const char *where, bool append, struct bv_error *err)
{
	struct config_entry *grown = reallocarray(s->entry, s->n + 1, sizeof(*grown));

	if (!grown)
		return error_set(err, ENOMEM, "out of memory");
	s->entry = grown;
	bv_autofree char *own_section = strdup(section), *own_key = strdup(key),
			 *own_value = strdup(value);
	if (!own_section || !own_key || !own_value)
		return error_set(err, ENOMEM, "out of memory");
	s->entry[s->n++] = (struct config_entry){
		.section = bv_take(own_section),
		.key = bv_take(own_key),
		.value = bv_take(own_value),
		.where = where,
		.append = append,
	};
	return 0;
}

int settings_option(struct settings *s, const char *text, struct bv_error *err)
{
	bv_autofree char *copy = strdup(text);

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	char *value = strchr(copy, '='), *key = strchr(copy, '.');
	if (!value || !key || key > value || key == copy || key + 1 == value)
		return error_set(err, EINVAL, "'%s' is not SECTION.KEY=VALUE", text);
	*value++ = '\0';
	*key++ = '\0';
	if (strchr(value, '\n'))
		return error_set(err, EINVAL, "the value of %s.%s contains a newline", copy, key);
	return settings_add(s, copy, key, value, "-o", false, err);
}

static int check_path(const char *option, const char *path, struct bv_error *err)
{
	if (path[0] == '\0')
		return error_set(err, EINVAL, "%s: the path is empty", option);
	return 0;
}

/* One word of a line of the mount table. */
static void add_word(struct strbuf *b, const char *word)
{
	strbuf_puts(b, " \"");
	for (const char *c = word; *c; c++)
		strbuf_add(b,
		           *c == '\n'   ? "\\n"
		           : *c == '"'  ? "\\\""
		           : *c == '\\' ? "\\\\"
		                        : c,
		           *c == '\n' || *c == '"' || *c == '\\' ? 2 : 1);
	strbuf_puts(b, "\"");
}

static int mount_line(struct settings *s, const char *option, const char *verb, const char *a,
                      const char *b, const char *mode, struct bv_error *err)
{
	bv_autostrbuf struct strbuf line = {0};

	strbuf_puts(&line, verb);
	add_word(&line, a);
	if (b)
		add_word(&line, b);
	if (mode)
		add_word(&line, mode);
	if (line.failed)
		return error_set(err, ENOMEM, "out of memory");
	return settings_add(s, "vfs-cow", "mount", line.data, option, true, err);
}

int settings_mount(struct settings *s, const char *verb, const char *where, const char *path,
                   struct bv_error *err)
{
	bv_autofree char *real = realpath(path, NULL);

	if (!real)
		return error_set(err, errno, "%s: '%s': %s", where, path, strerror(errno));
	return mount_line(s, where, verb, real, NULL, NULL, err);
}

/* The longest part of path that exists, resolved, plus the rest as it was written: for paths that
 * need not exist.  last: the final component is left as it is, even when it is a symlink. */
static int absolute(const char *option, const char *path, bool last, char **out,
                    struct bv_error *err)
{
	char here[PATH_MAX] = "";
	bv_autofree char *work = NULL, *real = NULL;
	int r = check_path(option, path, err);

	if (r < 0)
		return r;
	if (path[0] != '/' && !getcwd(here, sizeof(here)))
		return error_set(err, errno, "%s: the current directory: %s", option,
		                 strerror(errno));
	if (asprintf(&work, "%s/%s", here, path) < 0)
		return error_set(err, ENOMEM, "out of memory");
	size_t len = strlen(work);
	while (len > 1 && work[len - 1] == '/')
		work[--len] = '\0';
	size_t cut = len;
	if (last)
		while (cut > 0 && work[cut - 1] != '/')
			cut--;
	if (strcmp(work + cut, ".") == 0 || strcmp(work + cut, "..") == 0)
		cut = len; /* these are no symlink's names */
	for (;;) {
		char saved = work[cut];

		work[cut] = '\0';
		real = realpath(cut ? work : "/", NULL);
		work[cut] = saved;
		if (real || cut == 0)
			break;
		if (errno != ENOENT && errno != ENOTDIR)
			return error_set(err, errno, "%s: '%s': %s", option, path, strerror(errno));
		for (cut--; cut > 0 && work[cut] != '/'; cut--)
			continue;
	}
	if (!real)
		return error_set(err, errno, "%s: '%s': %s", option, path, strerror(errno));
	const char *rest = work + cut;
	while (*rest == '/')
		rest++;
	for (const char *p = rest; *p; p += strcspn(p, "/"), p += strspn(p, "/")) {
		size_t n = strcspn(p, "/");

		if ((n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return error_set(err, EINVAL,
			                 "%s: '%s': '.' and '..' after what does not exist", option,
			                 path);
	}
	if (asprintf(out, "%s%s%s", real[1] == '\0' && *rest ? "" : real, *rest ? "/" : "", rest) <
	    0)
		return error_set(err, ENOMEM, "out of memory");
	return 0;
}

int settings_hide(struct settings *s, const char *path, struct bv_error *err)
{
	bv_autofree char *link = NULL, *target = NULL;
	int r = absolute("--hide", path, true, &link, err);

	if (r < 0)
		return r;
	r = mount_line(s, "--hide", "hide", link, NULL, NULL, err);
	/* Who hides a symlink does not want its target shown under the other name. */
	target = realpath(path, NULL);
	if (r == 0 && target && strcmp(target, link) != 0)
		r = mount_line(s, "--hide", "hide", target, NULL, NULL, err);
	return r;
}

int settings_bind(struct settings *s, const char *spec, struct bv_error *err)
{
	bv_autofree char *copy = strdup(spec), *src = NULL, *dst = NULL;

	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	char *to = strchr(copy, ':');
	if (!to)
		return error_set(err, EINVAL, "--bind: '%s' is not SRC:DST", spec);
	*to++ = '\0';
	char *mode = strrchr(to, ':');
	if (mode && strcmp(mode, ":ro") != 0 && strcmp(mode, ":rw") != 0)
		return error_set(err, EINVAL,
		                 "--bind: '%s': after SRC:DST only :ro or :rw may stand", spec);
	if (mode)
		*mode++ = '\0';
	if (!copy[0] || !to[0])
		return error_set(err, EINVAL, "--bind: '%s' is not SRC:DST", spec);
	src = realpath(copy, NULL);
	if (!src)
		return error_set(err, errno, "--bind: '%s': %s", copy, strerror(errno));
	int r = absolute("--bind", to, false, &dst, err);
	return r < 0 ? r : mount_line(s, "--bind", "bind", src, dst, mode, err);
}

int settings_load(const struct settings *s, struct config **out, struct bv_error *err)
{
	bv_autofree char *path = NULL;
	struct config *c = NULL;
	int r = config_find(s->file, &path, err);

	if (r == 0)
		r = config_load(&c, path, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < s->n && r == 0; i++) {
		const struct config_entry *e = &s->entry[i];

		r = config_set(c, e->section, e->key, e->value, e->where, e->append, err);
	}
	if (r < 0) {
		config_free(c);
		return r;
	}
	*out = c;
	return 0;
}

int settings_parse(const char *cmd, int c, struct settings *s)
{
	struct bv_error err;

	if (c == 'c')
		s->file = optarg;
	else if (settings_option(s, optarg, &err) < 0)
		return cli_misuse(cmd, "%s", err.text);
	return 0;
}

void settings_fini(struct settings *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free((char *)s->entry[i].section);
		free((char *)s->entry[i].key);
		free((char *)s->entry[i].value);
	}
	free(s->entry);
	*s = (struct settings){0};
}
