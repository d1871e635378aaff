/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit: a line of JSON for each call that policy refused or that met a limit.  Guests make these
 * happen, so they come at a bounded rate, and a reader that is slow or gone holds nobody up: what is
 * not written is counted, and the next record says how many there were.
 */
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cleanup.h>

#include "audit.h"
#include "bvisor.h"

#define BURST 200u
#define REFILL_MS 20 /* for one */
#define WHAT_CUT 512 /* in a line that is too long; a byte can become six */

static int64_t now_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void audit_init(struct audit *a, int fd)
{
	*a = (struct audit){.fd = fd, .tokens = BURST, .filled = now_ms(CLOCK_MONOTONIC)};
}

static bool take_token(struct audit *a)
{
	int64_t now = now_ms(CLOCK_MONOTONIC), more = (now - a->filled) / REFILL_MS;

	a->filled += more * REFILL_MS;
	a->tokens = more > BURST - a->tokens ? BURST : a->tokens + (unsigned)more;
	if (!a->tokens)
		return false;
	a->tokens--;
	return true;
}

/* Text of a guest's own choice: what is no UTF-8 goes as hexadecimal digits under KEY_hex. */
static void set_text(json_t *to, const char *key, const char *text)
{
	json_t *value = json_string(text);
	char name[32];

	if (value) {
		json_object_set_new(to, key, value);
		return;
	}
	size_t n = strlen(text);
	bv_autofree char *hex = malloc(2 * n + 1);
	if (!hex)
		return;
	for (size_t i = 0; i < n; i++)
		snprintf(hex + 2 * i, 3, "%02x", (unsigned char)text[i]);
	snprintf(name, sizeof(name), "%s_hex", key);
	json_object_set_new(to, name, json_string(hex));
}

static void set_caller(json_t *to, struct bv_call *call)
{
	char name[64];
	int dir = host_table.proc_fd(call);
	bv_autofd int fd = dir < 0 ? -1 : openat(dir, "comm", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, name, sizeof(name) - 1);

	json_object_set_new(to, "pid", json_integer(host_table.task_pid(call->task)));
	if (n <= 0)
		return;
	name[n - (name[n - 1] == '\n')] = '\0';
	set_text(to, "command", name);
}

static json_t *record(const struct audit *a, const char *by, struct bv_call *call, unsigned kind,
                      int err, const char *what)
{
	const char *error = names_errno(err < 0 ? -err : err);
	json_t *o = json_pack("{s:f, s:s, s:s, s:s, s:s}", "time",
	                      (double)now_ms(CLOCK_REALTIME) / 1000, "event",
	                      kind == BV_REPORT_LIMIT ? "limit" : "denied", "by", by, "call",
	                      call->name, "errno", error ? error : "");

	if (!o)
		return NULL;
	if (what)
		set_text(o, "what", what);
	set_caller(o, call);
	if (a->lost)
		json_object_set_new(o, "lost", json_integer((json_int_t)a->lost));
	return o;
}

/* The line with the beginning of what, which is cut. */
static char *shortened(json_t *o, const char *what, size_t *n)
{
	char begin[WHAT_CUT + 1];

	snprintf(begin, sizeof(begin), "%s", what);
	json_object_del(o, "what");
	json_object_del(o, "what_hex");
	set_text(o, "what", begin);
	json_object_set_new(o, "cut", json_true());
	char *line = json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(14));
	*n = line ? strlen(line) : 0;
	return line;
}

void audit_report(struct audit *a, const char *by, struct bv_call *call, unsigned kind, int err,
                  const char *what)
{
	if (a->fd < 0)
		return;
	json_t *o = take_token(a) ? record(a, by, call, kind, err, what) : NULL;
	char *line = o ? json_dumps(o, JSON_COMPACT | JSON_REAL_PRECISION(14)) : NULL;
	size_t n = line ? strlen(line) : 0;

	if (n >= PIPE_BUF) { /* a pipe takes more than that in pieces */
		free(line);
		line = shortened(o, what, &n);
	}
	json_decref(o);
	if (line)
		line[n] = '\n'; /* in the place of the end */
	/* One write(2), so that lines of several sandboxes in one file do not mix. */
	ssize_t done = line ? write(a->fd, line, n + 1) : -1;
	if (line && done < 0 && errno == EPIPE)
		a->fd = -1; /* the reader has gone; the descriptor is the caller's */
	a->lost = done == (ssize_t)n + 1 ? 0 : a->lost + 1;
	free(line);
}
