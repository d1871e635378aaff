/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was refused in a sandbox (core/audit.c), passed on to its client.  The supervisor never waits for
 * us: a client that does not read loses records, which are counted.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "serve.h"

#define AUDIT_READ 8192

static void pass_on(struct box *b, const char *line, size_t n)
{
	json_t *record = json_loadb(line, n, 0, NULL);
	json_int_t lost = record ? json_integer_value(json_object_get(record, "lost")) : 0;

	if (!json_is_object(record) || !b->wanted || b->state == BOX_STARTING ||
	    client_full(b->client)) {
		b->audit_lost += (uint64_t)lost + 1;
		json_decref(record);
		return;
	}
	if (b->audit_lost)
		json_object_set_new(record, "lost", json_integer(lost + (json_int_t)b->audit_lost));
	b->audit_lost = 0;
	client_json(b->client, json_pack("{s:s, s:i, s:o}", "event", "audit", "sandbox", (int)b->id,
	                                 "record", record));
}

static void on_audit(struct source *s, uint32_t events)
{
	struct box *b = BOX_OF(s, audit);
	char buf[AUDIT_READ];
	ssize_t n = read(s->fd, buf, sizeof(buf));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		source_close(b->client->broker, s);
		return;
	}
	strbuf_add(&b->records, buf, (size_t)n);
	size_t at = 0;
	for (char *end; b->records.len > at &&
	                (end = memchr(b->records.data + at, '\n', b->records.len - at));) {
		size_t len = (size_t)(end - b->records.data) - at;

		pass_on(b, b->records.data + at, len);
		at += len + 1;
	}
	if (at) {
		memmove(b->records.data, b->records.data + at, b->records.len - at);
		b->records.len -= at;
	}
}

int audit_begin(struct box *b, int *theirs)
{
	int fd[2];

	if (!json_is_true(json_object_get(b->params, "audit")))
		return 0;
	if (pipe2(fd, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(fd[0], F_SETFL, O_NONBLOCK);
	b->audit = (struct source){.fd = fd[0], .ready = on_audit};
	*theirs = fd[1];
	return source_watch(b->client->broker, &b->audit, EPOLLIN);
}

void audit_catch_up(struct box *b)
{
	int waits = 0;

	/* Bounded by the pipe: what guests cause meanwhile comes with the next event. */
	if (b->audit.fd < 0 || ioctl(b->audit.fd, FIONREAD, &waits) < 0)
		return;
	for (int read = 0; read < waits && b->audit.fd >= 0; read += AUDIT_READ)
		on_audit(&b->audit, EPOLLIN);
}
