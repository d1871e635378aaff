/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file `who` of the layer's meta directory: pairs of NUL-terminated strings, "TIME PATH" and the
 * command, which is empty where it is the one of the pair before.  The last pair of a path counts.
 */
#include "who.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vfs.h"

#define FILE_NAME "who"
#define TEMP_NAME "who.new"
#define MAX_COMMAND 1000

/* A command, once for all that it did. */
struct command {
	UT_hash_handle hh;
	char text[];
};

struct record {
	UT_hash_handle hh;
	int64_t time;
	const struct command *command;
	char path[];
};

struct whos {
	struct record *records;
	struct command *commands;
	const struct command *last; /* written to the log last */
	int log; /* -1: none */
};

struct whos *whos_new(void)
{
	struct whos *w = calloc(1, sizeof(*w));

	if (w)
		w->log = -1;
	return w;
}

void whos_free(struct whos *w)
{
	struct record *r, *next;
	struct command *c, *after;

	if (!w)
		return;
	HASH_ITER (hh, w->records, r, next) {
		HASH_DEL(w->records, r);
		free(r);
	}
	HASH_ITER (hh, w->commands, c, after) {
		HASH_DEL(w->commands, c);
		free(c);
	}
	if (w->log >= 0)
		close(w->log);
	free(w);
}

static const struct command *command_of(struct whos *w, const char *text)
{
	struct command *c;
	size_t len = strlen(text);

	HASH_FIND(hh, w->commands, text, len, c);
	if (c)
		return c;
	c = malloc(sizeof(*c) + len + 1);
	if (!c)
		return NULL;
	memcpy(c->text, text, len + 1);
	HASH_ADD_KEYPTR(hh, w->commands, c->text, len, c);
	return c;
}

/* The record of path, made if there is none; NULL without memory. */
static struct record *record_of(struct whos *w, const char *path)
{
	struct record *r;
	size_t len = strlen(path);

	HASH_FIND(hh, w->records, path, len, r);
	if (r)
		return r;
	r = calloc(1, sizeof(*r) + len + 1);
	if (!r)
		return NULL;
	memcpy(r->path, path, len + 1);
	HASH_ADD_KEYPTR(hh, w->records, r->path, len, r);
	return r;
}

int whos_put(struct whos *w, const char *path, int64_t time, const char *command)
{
	const struct command *c = command_of(w, command);
	struct record *r = c ? record_of(w, path) : NULL;

	if (!r)
		return -ENOMEM;
	r->time = time;
	r->command = c;
	return 0;
}

static void format(struct strbuf *b, const struct record *r, const struct command *before)
{
	strbuf_printf(b, "%lld %s", (long long)r->time, r->path);
	strbuf_add(b, "", 1);
	if (r->command != before)
		strbuf_puts(b, r->command->text);
	strbuf_add(b, "", 1);
}

/* One pair; false: it is none. */
static bool parse(struct whos *w, const char *text, const char *command)
{
	char *end;

	errno = 0;
	int64_t time = strtoll(text, &end, 10);
	if (end == text || errno || end[0] != ' ' || end[1] != '/' || strlen(end + 1) >= PATH_MAX ||
	    !*command || strlen(command) > MAX_COMMAND)
		return false;
	return whos_put(w, end + 1, time, command) == 0;
}

int whos_load(struct whos *w, int meta)
{
	bv_autofd int fd = openat(meta, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	bv_autostrbuf struct strbuf text = {0};
	const char *command = "";
	struct stat st;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > INT32_MAX)
		return -EINVAL;
	if (!strbuf_reserve(&text, (size_t)st.st_size))
		return -ENOMEM;
	ssize_t n = pread(fd, text.data, (size_t)st.st_size, 0);
	if (n < 0)
		return -errno;
	text.data[n] = '\0';
	for (size_t at = 0; at < (size_t)n;) {
		const char *first = text.data + at, *second = first + strlen(first) + 1;
		size_t end = second < text.data + n
		                     ? (size_t)(second - text.data) + strlen(second) + 1
		                     : (size_t)n + 1;

		if (end > (size_t)n)
			break; /* it was being written when the supervisor or the machine died */
		if (*second)
			command = second;
		if (!parse(w, first, command))
			return -EINVAL;
		at = end;
	}
	return 0;
}

static int write_all(int fd, const struct strbuf *b)
{
	for (size_t at = 0; at < b->len;) {
		ssize_t n = write(fd, b->data + at, b->len - at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return 0;
}

int whos_save(const struct whos *w, int meta)
{
	bv_autostrbuf struct strbuf b = {0};
	const struct command *before = NULL;

	for (const struct record *r = w->records; r; r = r->hh.next) {
		format(&b, r, before);
		before = r->command;
	}
	if (b.failed)
		return -ENOMEM;
	bv_autofd int fd = openat(meta, TEMP_NAME,
	                          O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, &b);
	if (r == 0 && renameat(meta, TEMP_NAME, meta, FILE_NAME) < 0)
		r = -errno;
	return r;
}

int whos_log(struct whos *w, int meta)
{
	/* What was superseded meanwhile, or had no end, goes. */
	int r = whos_save(w, meta);

	if (r < 0)
		return r;
	w->last = NULL;
	w->log = openat(meta, FILE_NAME, O_WRONLY | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
	return w->log < 0 ? -errno : 0;
}

bool whos_find(const struct whos *w, const char *path, struct who *out)
{
	const struct record *found = NULL;

	for (size_t len = strlen(path); len > 1 && !found; len--)
		if (!path[len] || path[len] == '/')
			HASH_FIND(hh, w->records, path, len, found);
	if (found)
		*out = (struct who){found->time, found->command->text};
	return found;
}

void whos_filter(struct whos *w, bool (*keep)(void *arg, const char *path), void *arg)
{
	struct record *r, *next;

	HASH_ITER (hh, w->records, r, next) {
		if (keep(arg, r->path))
			continue;
		HASH_DEL(w->records, r);
		free(r);
	}
}

int whos_each(const struct whos *w, int (*fn)(void *arg, const char *path, const struct who *who),
              void *arg)
{
	int result = 0;

	for (const struct record *r = w->records; r && result == 0; r = r->hh.next) {
		const struct who who = {r->time, r->command->text};

		result = fn(arg, r->path, &who);
	}
	return result;
}

/* ---- of the running sandbox ---- */

int who_start(struct vfs *v)
{
	bool kept = v->upper.meta_fd >= 0;
	int r = 0;

	if (v->conf->provenance == PROVENANCE_NO ||
	    (!kept && v->conf->provenance != PROVENANCE_ALL))
		return 0;
	v->who = whos_new();
	if (!v->who)
		return -ENOMEM;
	if (kept)
		r = whos_load(v->who, v->upper.meta_fd);
	return r;
}

/* An argument as a shell would have to be given it. */
static void add_word(struct strbuf *b, const char *word)
{
	static const char plain[] = "_@%+=:,./-";
	const char *c = word;

	while (*c && (isalnum((unsigned char)*c) || strchr(plain, *c)))
		c++;
	if (*word && !*c) {
		strbuf_puts(b, word);
		return;
	}
	strbuf_puts(b, "'");
	for (c = word; *c; c++)
		strbuf_add(b, *c == '\'' ? "'\\''" : c, *c == '\'' ? 4 : 1);
	strbuf_puts(b, "'");
}

/* The guest is stopped in its call, so its number is its own. */
static void command_line(pid_t tid, struct strbuf *out)
{
	char path[40], raw[MAX_COMMAND + 1];

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)tid);
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, raw, sizeof(raw) - 1);
	raw[n > 0 ? n : 0] = '\0';
	for (ssize_t at = 0; at < n; at += (ssize_t)strlen(raw + at) + 1) {
		if (at)
			strbuf_puts(out, " ");
		add_word(out, raw + at);
	}
	if (n <= 0)
		strbuf_puts(out, "?");
	if (out->failed || (n < (ssize_t)sizeof(raw) - 1 && out->len <= MAX_COMMAND))
		return;
	if (out->len > MAX_COMMAND - 3)
		out->len = MAX_COMMAND - 3;
	out->data[out->len] = '\0';
	strbuf_puts(out, "...");
}

void who_note(struct vfs *v, const char *path)
{
	bv_autostrbuf struct strbuf text = {0}, line = {0};
	struct timespec now;

	if (!v->who || !v->actor)
		return;
	command_line(v->actor, &text);
	const struct command *c = text.failed ? NULL : command_of(v->who, text.data);
	struct record *r = c ? record_of(v->who, path) : NULL;
	clock_gettime(CLOCK_REALTIME_COARSE, &now);
	if (!r || (r->command == c && r->time == now.tv_sec))
		return;
	r->command = c;
	r->time = now.tv_sec;
	/* The file is opened by the first change: a sandbox that only looks leaves none. */
	if (v->upper.meta_fd < 0 || (v->who->log < 0 && whos_log(v->who, v->upper.meta_fd) == 0))
		return;
	format(&line, r, v->who->last);
	if (!line.failed && write(v->who->log, line.data, line.len) == (ssize_t)line.len)
		v->who->last = c;
}
