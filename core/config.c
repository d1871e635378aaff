/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads an ini file into a flat list of entries, and finds that file.  The syntax is inih's; the
 * reader here adds what inih leaves out: lines are counted, and over-long ones, NUL bytes and
 * lines without a value are refused instead of being cut.  Nothing here knows a module.
 */
#include "config.h"

#include <bvisor/abi.h>
#include <cleanup.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX (1u << 20)
#define ENTRY_MAX 65536u

struct entry {
	struct config_entry e;
	char *text; /* owns section, key, value and where */
};
struct section {
	char *name, *where;
};
struct config {
	char *name;
	struct entry *entry;
	size_t n, cap;
	struct section *section;
	size_t n_sections;
};

/* Where a parse stands: the reader feeds lines, the handler receives pairs. */
struct parse {
	struct config *config;
	const char *at, *end;
	unsigned line;
	struct bv_error *err;
	int code; /* first failure, 0: none yet */
};

static int entry_add(struct config *c, const char *section, const char *key, const char *value, const char *where,
		     bool append)
{
	if (c->n >= ENTRY_MAX)
		return -E2BIG;
	if (c->n == c->cap) {
		size_t cap = c->cap ? 2 * c->cap : 32;
		struct entry *grown = reallocarray(c->entry, cap, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		c->entry = grown;
		c->cap = cap;
	}
	size_t ns = strlen(section) + 1, nk = strlen(key) + 1, nv = strlen(value) + 1, nw = strlen(where) + 1;
	char *text = malloc(ns + nk + nv + nw);
	if (!text)
		return -ENOMEM;
	struct entry *e = &c->entry[c->n++];
	e->text = text;
	e->e = (struct config_entry){
		.section = memcpy(text, section, ns),
		.key = memcpy(text + ns, key, nk),
		.value = memcpy(text + ns + nk, value, nv),
		.where = memcpy(text + ns + nk + nv, where, nw),
		.append = append,
	};
	return 0;
}

static int section_add(struct parse *p, const char *name, size_t len)
{
	struct config *c = p->config;
	if (c->n_sections >= ENTRY_MAX)
		return -E2BIG;
	struct section *grown = reallocarray(c->section, c->n_sections + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->section = grown;
	bv_autofree char *copy = malloc(len + 1), *where = NULL;
	if (!copy || asprintf(&where, "%s:%u", c->name, p->line) < 0)
		return -ENOMEM;
	/* The text is a buffer and no string: nothing ends it. */
	memcpy(copy, name, len);
	copy[len] = '\0';
	c->section[c->n_sections++] = (struct section){bv_take(copy), bv_take(where)};
	return 0;
}

#define parse_fail(p, ecode, fmt, ...)                                                                      \
	do {                                                                                                \
		if (!(p)->code)                                                                             \
			(p)->code = error_set((p)->err, ecode, "%s:%u: " fmt, (p)->config->name, (p)->line, \
					      ##__VA_ARGS__);                                               \
	} while (0)

/* Notes section headers, since inih reports a section only through its keys. */
static void look_at_header(struct parse *p, const char *line, size_t len)
{
	size_t i = 0;
	/* inih accepts a byte order mark before the first line. */
	if (p->line == 1 && len >= 3 && !memcmp(line, "\xef\xbb\xbf", 3)) {
		line += 3;
		len -= 3;
	}
	while (i < len && (line[i] == ' ' || line[i] == '\t'))
		i++;
	if (i == len || line[i] != '[')
		return;
	const char *close = memchr(line + i, ']', len - i);
	if (!close) {
		/* Indented, it may continue a value. */
		if (i == 0)
			parse_fail(p, EINVAL, "expected ']' at the end of the section name");
		return;
	}
	size_t n = (size_t)(close - (line + i)) - 1;
	/* inih keeps 49 bytes of a name and would silently cut the rest. */
	if (n > 48)
		parse_fail(p, EINVAL, "section name is longer than 48 bytes");
	else if (section_add(p, line + i + 1, n) < 0)
		parse_fail(p, ENOMEM, "out of memory");
}

/* inih's fgets: one whole line into `to`, or NULL at the end and after a failure. */
static char *read_line(char *to, int size, void *stream)
{
	struct parse *p = stream;
	if (p->code || p->at == p->end || size < 2)
		return NULL;
	p->line++;
	size_t left = (size_t)(p->end - p->at);
	const char *newline = memchr(p->at, '\n', left);
	size_t len = newline ? (size_t)(newline - p->at) : left;
	size_t limit = (size_t)size - 2 < CONFIG_LINE_MAX ? (size_t)size - 2 : CONFIG_LINE_MAX;
	if (len > limit) {
		parse_fail(p, EINVAL, "line has %zu bytes, at most %zu are allowed; repeat the key to add items", len,
			   limit);
		return NULL;
	}
	if (memchr(p->at, '\0', len)) {
		parse_fail(p, EINVAL, "line contains a NUL byte");
		return NULL;
	}
	look_at_header(p, p->at, len);
	memcpy(to, p->at, len);
	to[len] = '\n';
	to[len + 1] = '\0';
	p->at += len + (newline ? 1 : 0);
	return to;
}

static int take_pair(void *user, const char *section, const char *key, const char *value)
{
	struct parse *p = user;
	if (p->code)
		return 0;
	bv_autofree char *where = NULL;
	if (!*section)
		parse_fail(p, EINVAL, "'%s' stands before any [section]", key);
	else if (!*key)
		parse_fail(p, EINVAL, "no key before '='");
	else if (strlen(key) > 48) /* as for sections */
		parse_fail(p, EINVAL, "key is longer than 48 bytes");
	else if (asprintf(&where, "%s:%u", p->config->name, p->line) < 0)
		parse_fail(p, ENOMEM, "out of memory");
	else {
		int r = entry_add(p->config, section, key, value ? value : "", where, false);
		if (r < 0)
			parse_fail(p, -r, "%s", r == -E2BIG ? "too many entries" : "out of memory");
	}
	return p->code == 0;
}

int config_parse(struct config **out, const char *text, size_t len, const char *name, struct bv_error *err)
{
	struct config *c = calloc(1, sizeof(*c));
	if (c)
		c->name = strdup(name);
	if (!c || !c->name) {
		config_free(c);
		return error_set(err, ENOMEM, "out of memory");
	}
	struct parse p = {.config = c, .at = text, .end = text + len, .err = err};
#ifdef HAVE_INI_MAX_LINE
	/* Debian's inih takes its limits from variables; elsewhere its compiled-in line size is
	 * ours too (read_line is told it).  Always the same values, so who sets them last is moot. */
	ini_use_stack = false;
	ini_allow_realloc = false;
	ini_max_line = ini_initial_alloc = (int)CONFIG_LINE_MAX + 3;
#endif
	int r = ini_parse_stream(read_line, &p, take_pair, &p);
	if (!p.code && r > 0) {
		p.line = (unsigned)r;
		parse_fail(&p, EINVAL, "expected [section] or key = value");
	}
	if (!p.code && r < 0)
		parse_fail(&p, ENOMEM, "out of memory");
	if (p.code) {
		config_free(c);
		return p.code;
	}
	*out = c;
	return 0;
}

int config_load(struct config **out, const char *path, struct bv_error *err)
{
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "%s: %s", path, strerror(errno));
	/* /dev/null and pipes (<(...)) are fine; a directory is not. */
	if (S_ISDIR(st.st_mode))
		return error_set(err, EISDIR, "%s: %s", path, strerror(EISDIR));
	if (!S_ISREG(st.st_mode))
		fcntl(fd, F_SETFL, 0);
	/* Who can write it decides what a sandbox may do. */
	if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH))
		return error_set(err, EPERM, "%s: refused: every user can write this file", path);
	bv_autofree char *text = malloc(FILE_MAX + 1);
	if (!text)
		return error_set(err, ENOMEM, "out of memory");
	size_t len = 0;
	for (;;) {
		ssize_t n = read(fd, text + len, FILE_MAX + 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set(err, errno, "%s: %s", path, strerror(errno));
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > FILE_MAX)
			return error_set(err, EFBIG, "%s: larger than %u bytes", path, FILE_MAX);
	}
	return config_parse(out, text, len, path, err);
}

int config_beside_exe(const char *relative, char **path)
{
	char exe[4096];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	if (n < 0)
		return -errno;
	exe[n] = '\0';
	char *slash = strrchr(exe, '/');
	if (!slash || exe[0] != '/')
		return -ENOENT;
	*slash = '\0';
	bv_autofree char *joined = NULL;
	if (asprintf(&joined, "%s/%s", exe, relative) < 0)
		return -ENOMEM;
	char *real = realpath(joined, NULL);
	if (!real)
		return -errno;
	*path = real;
	return 0;
}

/* Takes candidate when it exists, in whatever state: an unreadable file is an error, not absent. */
static bool there(char **candidate, char **path)
{
	if (!*candidate || access(*candidate, F_OK) < 0)
		return false;
	*path = bv_take(*candidate);
	return true;
}

int config_find(const char *explicit_path, char **path, struct bv_error *err)
{
	const char *given = explicit_path ? explicit_path : getenv("BVISOR_CONFIG");
	if (given && *given) {
		char *copy = strdup(given);
		if (!copy)
			return error_set(err, ENOMEM, "out of memory");
		*path = copy;
		return 0;
	}
	bv_autofree char *xdg = NULL, *beside = NULL, *installed = strdup(SYSCONF_INI);
	const char *base = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	/* A relative value would mean the current directory; the XDG specification says to ignore it. */
	if (base && base[0] == '/') {
		if (asprintf(&xdg, "%s/bvisor/bvisor.ini", base) < 0)
			xdg = NULL;
	} else if (home && home[0] == '/') {
		if (asprintf(&xdg, "%s/.config/bvisor/bvisor.ini", home) < 0)
			xdg = NULL;
	}
	if (there(&xdg, path))
		return 0;
	if (config_beside_exe(SYSCONF_INI_BESIDE, &beside) == 0 && there(&beside, path))
		return 0;
	if (there(&installed, path))
		return 0;
	return error_set(err, ENOENT, "no configuration found: neither -c, $BVISOR_CONFIG, %s nor %s",
			 xdg ? xdg : "~/.config/bvisor/bvisor.ini", SYSCONF_INI);
}

int config_set(struct config *c, const char *section, const char *key, const char *value, const char *where,
	       bool append, struct bv_error *err)
{
	if (!append) {
		size_t kept = 0;
		for (size_t i = 0; i < c->n; i++) {
			if (!strcmp(c->entry[i].e.section, section) && !strcmp(c->entry[i].e.key, key))
				free(c->entry[i].text);
			else
				c->entry[kept++] = c->entry[i];
		}
		c->n = kept;
	}
	int r = entry_add(c, section, key, value, where, append);
	return r < 0 ? error_set(err, -r, "%s: %s", where, r == -E2BIG ? "too many entries" : "out of memory") : 0;
}

size_t config_count(const struct config *c)
{
	return c->n;
}

const struct config_entry *config_at(const struct config *c, size_t i)
{
	return i < c->n ? &c->entry[i].e : NULL;
}

size_t config_sections(const struct config *c)
{
	return c->n_sections;
}

const char *config_section(const struct config *c, size_t i, const char **where)
{
	if (where)
		*where = c->section[i].where;
	return c->section[i].name;
}

const char *config_name(const struct config *c)
{
	return c->name;
}

void config_free(struct config *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n; i++)
		free(c->entry[i].text);
	for (size_t i = 0; i < c->n_sections; i++) {
		free(c->section[i].name);
		free(c->section[i].where);
	}
	free(c->entry);
	free(c->section);
	free(c->name);
	free(c);
}
