/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host paths in /proc/<pid>/{maps,smaps,numa_maps,net/unix} become virtual ones.  A path that the guest
 * may not see keeps only its last component, so that tools still tell mappings apart.  Pure.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "procns.h"

static int octal(const char *at)
{
	for (int i = 1; i <= 3; i++)
		if (at[i] < '0' || at[i] > '7')
			return -1;
	return (at[1] - '0') << 6 | (at[2] - '0') << 3 | (at[3] - '0');
}

/*
 * The kernel writes the bytes of `special` as \ooo and a backslash as itself (seq_path()), so only
 * those codes are undone.
 */
static size_t unescape(const char *from, size_t len, const char *special, char *to, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < len && n + 1 < size; i++) {
		int code = from[i] == '\\' && i + 3 < len ? octal(from + i) : -1;

		if (code > 0 && code < 128 && strchr(special, code)) {
			to[n++] = (char)code;
			i += 3;
		} else {
			to[n++] = from[i];
		}
	}
	to[n] = '\0';
	return n;
}

static void escape(const char *path, const char *special, struct strbuf *out)
{
	for (; *path; path++) {
		if (strchr(special, *path))
			strbuf_printf(out, "\\%03o", (unsigned char)*path);
		else
			strbuf_add(out, path, 1);
	}
}

/* Names that look like paths but are the kernel's own. */
static bool pseudo(const char *path)
{
	static const char *const names[] = {"/memfd:", "/SYSV", "/[aio]", "/anon_hugepage", "/dev/zero"};

	for (size_t i = 0; i < BV_ROWS_OF(names); i++)
		if (strncmp(path, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

/* " (deleted)" behind a name is part of the text that shown() is asked about. */
static void translate(const char *field, size_t len, const char *special, maps_shown_fn *shown, void *arg,
                      struct strbuf *out)
{
	char host[PATH_MAX], virt[PATH_MAX];

	unescape(field, len, special, host, sizeof(host));
	if (host[0] != '/' || pseudo(host)) {
		strbuf_add(out, field, len);
		return;
	}
	ssize_t got = shown(arg, host, virt, sizeof(virt));
	escape(got > 0 && (size_t)got < sizeof(virt) ? virt : strrchr(host, '/'), special, out);
}

/* The path behind `words` words: "start-end perms offset dev inode    path" has 5. */
static const char *path_field(const char *line, const char *end, int words)
{
	for (int word = 0; word < words; word++) {
		while (line < end && *line != ' ')
			line++;
		while (line < end && *line == ' ')
			line++;
	}
	return line < end && *line == '/' ? line : NULL;
}

static void rewrite(const char *text, int words, maps_shown_fn *shown, void *arg, struct strbuf *out)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');
		/* A heading or a line of smaps in between: it begins with an upper-case key. */
		const char *path = *text >= 'A' && *text <= 'Z' ? NULL : path_field(text, end, words);

		strbuf_add(out, text, (size_t)((path ? path : end) - text));
		if (path)
			translate(path, (size_t)(end - path), "\n", shown, arg, out);
		if (*end == '\n')
			strbuf_puts(out, "\n");
		text = *end ? end + 1 : end;
	}
}

void maps_rewrite(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out)
{
	rewrite(text, 5, shown, arg, out);
}

void maps_rewrite_unix(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out)
{
	rewrite(text, 7, shown, arg, out);
}

void maps_rewrite_numa(const char *text, maps_shown_fn *shown, void *arg, struct strbuf *out)
{
	while (*text) {
		const char *end = strchrnul(text, '\n');
		const char *path = memmem(text, (size_t)(end - text), " file=", 6);

		if (path) {
			const char *stop = path += 6;

			while (stop < end && *stop != ' ')
				stop++;
			strbuf_add(out, text, (size_t)(path - text));
			translate(path, (size_t)(stop - path), "\n\t= ", shown, arg, out);
			text = stop;
		}
		strbuf_add(out, text, (size_t)(end - text));
		if (*end == '\n')
			strbuf_puts(out, "\n");
		text = *end ? end + 1 : end;
	}
}
