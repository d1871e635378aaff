/* SPDX-License-Identifier: Apache-2.0 */
/* One connection: frames in and out. */
#include <endian.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "review_jobs.h"
#include "temp.h"
#include "serve.h"

bool client_full(const struct client *c)
{
	return queue_size(&c->out) > OUT_HIGH;
}

static void flush(struct client *c)
{
	bool was_full = client_full(c);

	while (queue_size(&c->out)) {
		ssize_t n =
			send(c->source.fd, queue_bytes(&c->out), queue_size(&c->out), MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				c->dead = true;
			break;
		}
		queue_take(&c->out, (size_t)n);
	}
	source_watch(c->broker, &c->source, queue_size(&c->out) ? EPOLLIN | EPOLLOUT : EPOLLIN);
	if (was_full && !client_full(c) && !c->dead)
		process_resume(c);
}

void client_frame(struct client *c, enum frame_type type, uint32_t stream, const void *bytes,
                  size_t n)
{
	uint32_t head[3] = {htole32((uint32_t)n), htole32(stream), htole32((uint32_t)type)};

	if (c->dead)
		return;
	if (!queue_add(&c->out, head, sizeof(head)) || !queue_add(&c->out, bytes, n))
		c->dead = true;
	else
		flush(c);
}

void client_json(struct client *c, json_t *message)
{
	char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;

	if (text)
		client_frame(c, FRAME_JSON, 0, text, strlen(text));
	else
		c->dead = true;
	free(text);
	json_decref(message);
}

void client_result(struct client *c, json_t *id, json_t *result)
{
	client_json(c,
	            json_pack("{s:o, s:o}", "id", id, "result", result ? result : json_object()));
}

/*
 * The part of the policy that an error is about, as who wrote the policy calls it: "section.key" of a
 * configuration, or an option of bvisor run, "net".  NULL: of none.
 */
static json_t *rule_of(const char *text)
{
	static const char name[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	const char *section = strchr(text, '['), *option = strstr(text, "--");
	size_t n = section ? strspn(section + 1, name) : 0;

	if (n && strncmp(section + 1 + n, "] ", 2) == 0) {
		const char *key = section + n + 3;
		size_t len = strspn(key, name);

		if (len && (key[len] == ':' || key[len] == ' '))
			return json_sprintf("%.*s.%.*s", (int)n, section + 1, (int)len, key);
	}
	n = option ? strspn(option + 2, name) : 0;
	if (n && option[2 + n] == ':' && (option == text || option[-1] == ' '))
		return json_sprintf("%.*s", (int)n, option + 2);
	return NULL;
}

void client_error(struct client *c, json_t *id, const char *code, int err, const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_t *message = json_string(text);
	if (!message) /* what bvisor or a guest said is not always UTF-8 */
		message = json_string("(no text)");
	json_t *error = json_pack("{s:s, s:o}", "code", code, "message", message);
	json_t *rule =
		strcmp(code, "invalid") == 0 || strcmp(code, "sandbox") == 0 ? rule_of(text) : NULL;
	if (rule)
		json_object_set_new(error, "rule", rule);
	if (err)
		json_object_set_new(
			error, "errno",
			json_string(strerrorname_np(err) ? strerrorname_np(err) : "EIO"));
	client_json(c, json_pack("{s:o, s:o}", "id", id ? id : json_null(), "error", error));
}

/* ---- what it says ---- */

static void protocol_error(struct client *c, const char *what)
{
	client_error(c, NULL, "protocol", 0, "%s", what);
	c->dead = true;
}

static void greet(struct client *c, const json_t *message)
{
	const json_t *version = json_object_get(message, "bvisor");

	if (!json_is_integer(version)) {
		protocol_error(c, "the first message is not {\"bvisor\": VERSION}");
		return;
	}
	if (json_integer_value(version) != PROTOCOL) {
		client_error(c, NULL, "version", 0, "protocol %lld is not spoken here, but %d",
		             (long long)json_integer_value(version), PROTOCOL);
		c->dead = true;
		return;
	}
	c->greeted = true;
	client_json(c,
	            json_pack("{s:i, s:s, s:i, s:i}", "bvisor", PROTOCOL, "version", BVISOR_VERSION,
	                      "window_in", (int)WINDOW_IN, "window_out", (int)WINDOW_OUT));
}

int client_handed(struct client *c)
{
	if (!c->n_handed)
		return -1;
	int fd = c->handed[0];
	memmove(c->handed, c->handed + 1, --c->n_handed * sizeof(c->handed[0]));
	return fd;
}

/* Nobody took them with the messages that they came with. */
static void drop_handed(struct client *c)
{
	while (c->n_handed)
		close(c->handed[--c->n_handed]);
}

/* Has it done.  What it brought and nobody took is not the next one's. */
static void request(struct client *c, json_t *message)
{
	size_t brought =
		json_array_size(json_object_get(json_object_get(message, "params"), "fds"));
	unsigned before = c->n_handed;

	method_call(c, message);
	while (c->n_handed && before - c->n_handed < brought)
		close(client_handed(c));
}

static void json_frame(struct client *c, const char *bytes, size_t n)
{
	json_error_t err;
	json_t *message = json_loadb(bytes, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);

	if (!json_is_object(message))
		protocol_error(c, message ? "a message is no object" : err.text);
	else if (!c->greeted)
		greet(c, message);
	else
		request(c, message);
	json_decref(message);
}

static void frame(struct client *c, uint32_t type, uint32_t stream, const char *bytes, size_t n)
{
	uint32_t credit;

	if (type != FRAME_JSON && !c->greeted) {
		protocol_error(c, "the first message is not {\"bvisor\": VERSION}");
		return;
	}
	switch (type) {
	case FRAME_JSON:
		json_frame(c, bytes, n);
		break;
	case FRAME_DATA:
		process_data(c, stream, bytes, n);
		break;
	case FRAME_CREDIT:
		if (n != sizeof(credit)) {
			protocol_error(c, "a credit frame has four bytes");
			break;
		}
		memcpy(&credit, bytes, sizeof(credit));
		process_credit(c, stream, le32toh(credit));
		break;
	case FRAME_END:
		process_stream_end(c, stream);
		break;
	default:
		protocol_error(c, "a frame of unknown type");
		break;
	}
}

static void frames(struct client *c)
{
	while (!c->dead && queue_size(&c->in) >= FRAME_HEAD) {
		uint32_t head[3];

		memcpy(head, queue_bytes(&c->in), sizeof(head));
		size_t n = le32toh(head[0]);
		if (n > FRAME_MAX) {
			protocol_error(c, "a frame is longer than 8 MiB");
			return;
		}
		if (queue_size(&c->in) < FRAME_HEAD + n)
			return;
		/* A handler that answers may move nothing of `in`: only we read. */
		frame(c, le32toh(head[2]), le32toh(head[1]), queue_bytes(&c->in) + FRAME_HEAD, n);
		queue_take(&c->in, FRAME_HEAD + n);
	}
}

/* As recv(2); descriptors that come along are kept for the messages that say what they are. */
static ssize_t receive(struct client *c, char *buf, size_t size)
{
	union {
		char bytes[CMSG_SPACE(HANDED_MAX * sizeof(int))];
		struct cmsghdr align;
	} control;
	struct iovec io = {.iov_base = buf, .iov_len = size};
	struct msghdr m = {.msg_iov = &io,
	                   .msg_iovlen = 1,
	                   .msg_control = &control,
	                   .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(c->source.fd, &m, MSG_CMSG_CLOEXEC);

	if (n < 0)
		return n;
	bool many = m.msg_flags & MSG_CTRUNC;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&m); h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		const int *fd = (const int *)CMSG_DATA(h);
		for (size_t i = 0; i < (h->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
			many |= c->n_handed == HANDED_MAX;
			if (c->n_handed < HANDED_MAX)
				c->handed[c->n_handed++] = fd[i];
			else
				close(fd[i]);
		}
	}
	if (many)
		protocol_error(c, "too many descriptors at once");
	return n;
}

static void on_ready(struct source *s, uint32_t events)
{
	struct client *c = (struct client *)s;
	char buf[1 << 16];

	if (events & EPOLLOUT)
		flush(c);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)) || c->dead)
		return;
	ssize_t n = receive(c, buf, sizeof(buf));
	if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		c->dead = true;
		return;
	}
	if (n > 0 && !queue_add(&c->in, buf, (size_t)n))
		c->dead = true;
	frames(c);
	if (!queue_size(&c->in))
		drop_handed(c);
}

struct client *client_new(struct broker *b, int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (!c) {
		close(fd);
		return NULL;
	}
	c->source = (struct source){.fd = fd, .ready = on_ready};
	c->broker = b;
	c->next = b->clients;
	b->clients = c;
	if (source_watch(b, &c->source, EPOLLIN) < 0)
		c->dead = true;
	return c;
}

void client_end(struct client *c)
{
	struct broker *b = c->broker;

	for (struct client **at = &b->clients; *at; at = &(*at)->next)
		if (*at == c) {
			*at = c->next;
			break;
		}
	review_forget(c);
	while (c->boxes)
		box_free(c->boxes);
	json_decref(c->latest);
	temp_forget(c);
	source_close(b, &c->source);
	drop_handed(c);
	queue_fini(&c->in);
	queue_fini(&c->out);
	broker_free_later(b, c);
}
