/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client of the broker may send: any bytes, in pieces of any size.  The frames that are handed on
 * are those that a parser of the whole input finds, and no others after the first bad one; and what
 * becomes command lines and requests obeys their rules.
 *
 * Input: a byte that chooses the pieces, then the stream behind a greeting.
 */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/request.h"
#include "serve/review_jobs.h"
#include "serve/temp.h"
#include "serve/words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* ---- what was handed on, as a running sum ---- */

static uint64_t sum;
static unsigned handed;

static void note(uint32_t kind, uint32_t stream, const char *bytes, size_t n)
{
	sum = sum * 1099511628211u + kind;
	sum = sum * 1099511628211u + stream;
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ (unsigned char)bytes[i]) * 1099511628211u;
	handed++;
}

/* ---- the broker around the client ---- */

int source_watch(struct broker *b, struct source *s, uint32_t events)
{
	(void)b;
	s->events = events;
	return 0;
}

void source_close(struct broker *b, struct source *s)
{
	(void)b;
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

void broker_free_later(struct broker *b, void *memory)
{
	(void)b;
	free(memory);
}

void review_forget(struct client *c)
{
	(void)c;
}

void temp_forget(struct client *c)
{
	(void)c;
}

void box_free(struct box *b)
{
	(void)b;
}

void process_resume(struct client *c)
{
	(void)c;
}

void process_data(struct client *c, uint32_t stream, const char *bytes, size_t n)
{
	(void)c;
	note(FRAME_DATA, stream, bytes, n);
}

void process_credit(struct client *c, uint32_t stream, uint32_t n)
{
	const uint32_t word = htole32(n);

	(void)c;
	note(FRAME_CREDIT, stream, (const char *)&word, sizeof(word));
}

void process_stream_end(struct client *c, uint32_t stream)
{
	(void)c;
	note(FRAME_END, stream, NULL, 0);
}

void method_call(struct client *c, json_t *request)
{
	json_t *params = json_object_get(request, "params");
	struct words w = {0};
	struct request q = {.timeout = 0};
	const char *bad = NULL;

	(void)c;
	note(FRAME_JSON, 0, NULL, 0);
	if (!json_is_object(params))
		return;
	if (!words_of_box(&w, params, "vfs-cow.state=/x", "name", "/init", &bad) && !w.failed) {
		check(w.n >= 5 && strcmp(w.word[0], "run") == 0 &&
		      strcmp(w.word[w.n - 1], "/init") == 0);
		check(strcmp(w.word[w.n - 2], "--") == 0 && !w.word[w.n]);
	}
	words_fini(&w);
	if (!request_parse(&q, params, "/init")) {
		struct agent_exec e;
		size_t words = 0;

		check(q.payload.len >= sizeof(e) && q.payload.len <= AGENT_MAX);
		memcpy(&e, q.payload.data, sizeof(e));
		for (size_t i = sizeof(e); i < q.payload.len; i++)
			words += q.payload.data[i] == '\0';
		check(e.argc > 0 && words == (size_t)1 + e.argc + e.envc &&
		      q.payload.data[q.payload.len - 1] == '\0');
	}
	strbuf_fini(&q.payload);
}

/* ---- the whole input at once ---- */

static void expect(const uint8_t *data, size_t size)
{
	while (size >= FRAME_HEAD) {
		uint32_t head[3];

		memcpy(head, data, sizeof(head));
		size_t n = le32toh(head[0]);
		uint32_t stream = le32toh(head[1]), type = le32toh(head[2]);
		const char *bytes = (const char *)data + FRAME_HEAD;

		if (n > FRAME_MAX || size < FRAME_HEAD + n)
			return;
		if (type == FRAME_JSON) {
			json_t *m =
				json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
			bool good = json_is_object(m);

			json_decref(m);
			if (!good)
				return;
			note(FRAME_JSON, 0, NULL, 0);
		} else if (type == FRAME_DATA) {
			note(type, stream, bytes, n);
		} else if (type == FRAME_CREDIT && n == 4) {
			note(type, stream, bytes, n);
		} else if (type == FRAME_END) {
			note(type, stream, NULL, 0);
		} else {
			return;
		}
		data += FRAME_HEAD + n;
		size -= FRAME_HEAD + n;
	}
}

static void give(struct client *c, int to, const void *bytes, size_t n)
{
	char dropped[4096];

	check(write(to, bytes, n) == (ssize_t)n);
	c->source.ready(&c->source, EPOLLIN);
	while (recv(to, dropped, sizeof(dropped), MSG_DONTWAIT) > 0)
		continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char greeting[] = "{\"bvisor\": 1}";
	struct broker b = {.epfd = -1};
	uint32_t head[3] = {htole32(sizeof(greeting) - 1), 0, htole32(FRAME_JSON)};
	int pair[2];

	if (size < 1 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
		return 0;
	size_t piece = data[0] % 61 + 1;
	data++;
	size--;
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	struct client *c = client_new(&b, pair[0]);
	check(c);
	give(c, pair[1], head, sizeof(head));
	give(c, pair[1], greeting, sizeof(greeting) - 1);
	check(c->greeted && !c->dead);
	sum = handed = 0;
	for (size_t at = 0; at < size && !c->dead; at += piece)
		give(c, pair[1], data + at, size - at < piece ? size - at : piece);
	uint64_t got = sum;
	unsigned n = handed;
	sum = handed = 0;
	expect(data, size);
	check(n == handed && got == sum);
	client_end(c);
	close(pair[1]);
	return 0;
}
