/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "bvisor layer 1", then lines "key value".  Unknown keys are refused as unknown versions are: a
 * layer that a later bvisor wrote is not to be guessed at.
 */
#include "manifest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>
#include <strbuf.h>

#define MAX_SIZE 16384
#define TEMP MANIFEST ".new"

static bool number(const char *text, int64_t *out)
{
	char *end;

	errno = 0;
	*out = strtoll(text, &end, 10);
	return end != text && !*end && !errno;
}

/* SECONDS.NANOSECONDS */
static bool moment(const char *text, struct timespec *out)
{
	const char *dot = strchr(text, '.');
	char seconds[24];
	int64_t s, ns;

	if (!dot || strlen(dot + 1) != 9 || (size_t)(dot - text) >= sizeof(seconds))
		return false;
	memcpy(seconds, text, (size_t)(dot - text));
	seconds[dot - text] = '\0';
	if (!number(seconds, &s) || !number(dot + 1, &ns) || ns < 0)
		return false;
	*out = (struct timespec){.tv_sec = (time_t)s, .tv_nsec = (long)ns};
	return true;
}

/* Paths may hold newlines: those and backslashes are written as \n and \\. */
static bool unescape(const char *from, char *to, size_t size)
{
	size_t n = 0;

	for (; *from; from++) {
		char c = *from;

		if (c == '\\') {
			c = *++from == 'n' ? '\n' : *from == '\\' ? '\\' : '\0';
			if (!c)
				return false;
		}
		if (n + 1 >= size)
			return false;
		to[n++] = c;
	}
	to[n] = '\0';
	return true;
}

int manifest_parse(char *text, struct manifest *out, unsigned *line)
{
	char *save = NULL;
	bool created = false;

	*out = (struct manifest){0};
	*line = 1;
	for (char *at = strtok_r(text, "\n", &save); at; at = strtok_r(NULL, "\n", &save), ++*line) {
		char *value = strchr(at, ' ');

		if (*line == 1) {
			if (strcmp(at, "bvisor layer 1") != 0)
				return -EINVAL;
			out->version = 1;
			continue;
		}
		if (!value)
			return -EINVAL;
		*value++ = '\0';
		if (strcmp(at, "created") == 0 && !created && number(value, &out->created))
			created = true;
		else if (strcmp(at, "parent") == 0 && !out->parent[0] && value[0] && strlen(value) < sizeof(out->parent))
			memcpy(out->parent, value, strlen(value) + 1);
		else if (strcmp(at, "parent-used") == 0 && !out->parent_used.tv_sec &&
		         moment(value, &out->parent_used))
			continue;
		else if (strcmp(at, "tree") == 0 && !out->tree[0] && strlen(value) == TREE_ID - 1 &&
		         strspn(value, "0123456789abcdef") == TREE_ID - 1)
			memcpy(out->tree, value, TREE_ID);
		else if (strcmp(at, "start") != 0 || out->start[0] || value[0] != '/' ||
		         !unescape(value, out->start, sizeof(out->start)))
			return -EINVAL;
	}
	return out->version && created ? 0 : -EINVAL;
}

int manifest_load(int dir, struct manifest *out, char *why, size_t size)
{
	bv_autofd int fd = openat(dir, MANIFEST, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bv_autofree char *text = fd < 0 ? NULL : malloc(MAX_SIZE + 1);
	unsigned line;

	if (fd < 0 && errno == ENOENT)
		return -ENOENT;
	ssize_t n = text ? read(fd, text, MAX_SIZE + 1) : -1;
	if (n < 0) {
		int err = fd < 0 || text ? errno : ENOMEM;

		snprintf(why, size, "the layer's manifest: %s", strerror(err));
		return -err;
	}
	if (n > MAX_SIZE || memchr(text, '\0', (size_t)n)) {
		snprintf(why, size, "the layer's manifest is no manifest of bvisor");
		return -EINVAL;
	}
	text[n] = '\0';
	if (manifest_parse(text, out, &line) == 0)
		return 0;
	snprintf(why, size, "the layer's manifest, line %u: not as bvisor %s writes it", line,
	         line == 1 ? "of this version" : "");
	return -EINVAL;
}

int manifest_save(int dir, const struct manifest *m, bool durable)
{
	bv_autostrbuf struct strbuf b = {0};

	strbuf_printf(&b, "bvisor layer %d\ncreated %lld\n", m->version, (long long)m->created);
	if (m->start[0]) {
		strbuf_puts(&b, "start ");
		for (const char *c = m->start; *c; c++)
			strbuf_add(&b, *c == '\n' ? "\\n" : *c == '\\' ? "\\\\" : c, *c == '\n' || *c == '\\' ? 2 : 1);
		strbuf_puts(&b, "\n");
	}
	if (m->parent[0])
		strbuf_printf(&b, "parent %s\n", m->parent);
	if (m->parent_used.tv_sec)
		strbuf_printf(&b, "parent-used %lld.%09ld\n", (long long)m->parent_used.tv_sec,
		              m->parent_used.tv_nsec);
	if (m->tree[0])
		strbuf_printf(&b, "tree %s\n", m->tree);
	if (b.failed)
		return -ENOMEM;
	bv_autofd int fd = openat(dir, TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, b.data, b.len) != (ssize_t)b.len || (durable && fsync(fd) < 0) ||
	    renameat(dir, TEMP, dir, MANIFEST) < 0 || (durable && fsync(dir) < 0))
		return -errno;
	return 0;
}
