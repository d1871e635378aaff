/* SPDX-License-Identifier: Apache-2.0 */
/* The connection: a bvisor serve of our own, frames, requests. */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "link.h"

#define HEAD 12
#define FRAME_MAX (8u << 20)

int fail(struct bvisor_error *e, const char *code, int err, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -1;
	*e = (struct bvisor_error){.err = err};
	snprintf(e->code, sizeof(e->code), "%s", code);
	va_start(ap, fmt);
	vsnprintf(e->message, sizeof(e->message), fmt, ap);
	va_end(ap);
	return -1;
}

bool bytes_add(struct bytes *b, const void *data, size_t n)
{
	if (b->n + n + 1 > b->cap) {
		size_t cap = b->cap ? b->cap : 4096;

		while (cap < b->n + n + 1)
			cap *= 2;
		char *grown = realloc(b->data, cap);
		if (!grown)
			return false;
		b->data = grown;
		b->cap = cap;
	}
	if (n)
		memcpy(b->data + b->n, data, n);
	b->n += n;
	b->data[b->n] = '\0';
	return true;
}

void bytes_free(struct bytes *b)
{
	free(b->data);
	*b = (struct bytes){0};
}

/* ---- frames ---- */

/* Receives; false: nothing there (wait false), or the end. */
static bool fill(struct bvisor *b, bool wait)
{
	char buf[1 << 16];
	ssize_t n;

	if (b->taken && b->taken == b->in.n)
		b->taken = b->in.n = 0;
	do
		n = recv(b->fd, buf, sizeof(buf), wait ? 0 : MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n <= 0 || !bytes_add(&b->in, buf, (size_t)n))
		b->gone = true;
	return !b->gone;
}

/* As send(2), without waiting; the descriptors that are to go along do. */
static ssize_t send_some(struct bvisor *b, const char *bytes, size_t n)
{
	union {
		char bytes[CMSG_SPACE(sizeof(b->handed))];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec io = {.iov_base = (char *)(uintptr_t)bytes, .iov_len = n};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};

	if (b->n_handed) {
		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(b->n_handed * sizeof(int));
		struct cmsghdr *h = CMSG_FIRSTHDR(&m);
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(b->n_handed * sizeof(int));
		memcpy(CMSG_DATA(h), b->handed, b->n_handed * sizeof(int));
	}
	ssize_t done = sendmsg(b->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (done > 0)
		b->n_handed = 0;
	return done;
}

/* The broker may wait for us to read before it reads: so we do, while it does not take what we send. */
static bool send_all(struct bvisor *b, const void *bytes, size_t n)
{
	for (size_t at = 0; at < n && !b->gone;) {
		ssize_t done = send_some(b, (const char *)bytes + at, n - at);

		if (done >= 0) {
			at += (size_t)done;
		} else if (errno == EAGAIN) {
			struct pollfd p = {.fd = b->fd, .events = POLLIN | POLLOUT};

			if (poll(&p, 1, -1) > 0 && (p.revents & POLLIN))
				(void)fill(b, false);
		} else if (errno != EINTR) {
			b->gone = true;
		}
	}
	return !b->gone;
}

bool link_send(struct bvisor *b, unsigned type, uint32_t stream, const void *bytes, size_t n)
{
	uint32_t head[3] = {htole32((uint32_t)n), htole32(stream), htole32((uint32_t)type)};

	return n <= FRAME_MAX && send_all(b, head, sizeof(head)) && send_all(b, bytes, n);
}

static void message(struct bvisor *b, const char *bytes, size_t n)
{
	json_t *m = json_loadb(bytes, n, JSON_ALLOW_NUL, NULL);
	const json_t *id = json_object_get(m, "id");
	const char *event = json_string_value(json_object_get(m, "event"));

	if (json_is_integer(id) && json_integer_value(id) == b->last_id && !b->answer) {
		b->answer = m;
		return;
	}
	if (event && strcmp(event, "exit") == 0)
		process_exit(b, m);
	for (struct bvisor_sandbox *sb = b->sandboxes; sb && event && strcmp(event, "audit") == 0;
	     sb = sb->next)
		if (sb->id && sb->id == json_integer_value(json_object_get(m, "sandbox")))
			sandbox_audit(sb, json_object_get(m, "record"));
	for (struct bvisor_sandbox *sb = b->sandboxes;
	     sb && event && strcmp(event, "sandbox_end") == 0; sb = sb->next)
		if (sb->id && sb->id == json_integer_value(json_object_get(m, "sandbox"))) {
			const char *why = json_string_value(json_object_get(m, "message"));

			sb->ended = true;
			snprintf(sb->why, sizeof(sb->why), "%s",
			         why && *why ? why : "the sandbox has ended");
		}
	/* An error for nobody: the broker closes the connection after it. */
	json_decref(m);
}

bool link_pump(struct bvisor *b, bool wait)
{
	uint32_t head[3];

	for (;;) {
		size_t n = b->in.n - b->taken;
		const char *at = b->in.data + b->taken;

		if (n >= HEAD) {
			memcpy(head, at, sizeof(head));
			size_t size = le32toh(head[0]);
			if (size > FRAME_MAX)
				b->gone = true;
			else if (n >= HEAD + size) {
				b->taken += HEAD + size;
				if (le32toh(head[2]) == FRAME_JSON)
					message(b, at + HEAD, size);
				else
					process_frame(b, le32toh(head[2]), le32toh(head[1]),
					              at + HEAD, size);
				return true;
			}
		}
		if (b->gone || !fill(b, wait))
			return false;
	}
}

static bool send_json(struct bvisor *b, json_t *m)
{
	char *text = m ? json_dumps(m, JSON_COMPACT) : NULL;
	bool sent = text && link_send(b, FRAME_JSON, 0, text, strlen(text));

	free(text);
	json_decref(m);
	return sent;
}

json_t *link_call(struct bvisor *b, const char *method, json_t *params, struct bvisor_error *e)
{
	json_t *m = params ? json_pack("{s:I, s:s, s:o}", "id", (json_int_t)++b->last_id, "method",
	                               method, "params", params)
	                   : NULL;

	if (!m) {
		(void)fail(e, "memory", ENOMEM, "%s: a parameter is no UTF-8, or memory is short",
		           method);
		return NULL;
	}
	b->answer = NULL;
	bool sent = send_json(b, m);
	while (sent && !b->answer && link_pump(b, true))
		continue;
	if (!b->answer) {
		(void)fail(e, "host", EPIPE, "the broker has ended");
		return NULL;
	}
	json_t *answer = b->answer, *result = json_object_get(answer, "result"),
	       *error = json_object_get(answer, "error");
	b->answer = NULL;
	json_incref(result);
	if (!result) {
		const char *code = json_string_value(json_object_get(error, "code")),
			   *text = json_string_value(json_object_get(error, "message")),
			   *name = json_string_value(json_object_get(error, "errno"));
		int err = 0;

		for (int i = 1; name && !err && i < 256; i++)
			if (strerrorname_np(i) && strcmp(strerrorname_np(i), name) == 0)
				err = i;
		(void)fail(e, code ? code : "protocol", err, "%s", text ? text : method);
	}
	json_decref(answer);
	return result;
}

/* ---- its beginning and end ---- */

extern char **environ;

static pid_t spawn(const char *program, int fd)
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	sigset_t none;
	char *argv[] = {(char *)(uintptr_t)program, (char *)(uintptr_t) "serve",
	                (char *)(uintptr_t) "--fd", (char *)(uintptr_t) "3", NULL};
	pid_t pid = -1;

	sigemptyset(&none);
	if (posix_spawn_file_actions_init(&files) != 0)
		return -1;
	if (posix_spawnattr_init(&attr) == 0) {
		/* Duplicated even onto itself, which clears close-on-exec. */
		int r = posix_spawn_file_actions_adddup2(&files, fd, 3);

		if (r == 0)
			r = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", 0, 0);
		if (r == 0)
			r = posix_spawn_file_actions_adddup2(&files, 0, 1);
#ifdef __GLIBC__ /* the program's descriptors are its own; elsewhere those without close-on-exec stay open */
		if (r == 0)
			r = posix_spawn_file_actions_addclosefrom_np(&files, 4);
#endif
		posix_spawnattr_setsigmask(&attr, &none);
		/* A session of its own: the terminal's signals are the program's. */
		posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
		if (r == 0)
			r = strchr(program, '/')
			            ? posix_spawn(&pid, program, &files, &attr, argv, environ)
			            : posix_spawnp(&pid, program, &files, &attr, argv, environ);
		posix_spawnattr_destroy(&attr);
		errno = r;
		if (r != 0)
			pid = -1;
	}
	posix_spawn_file_actions_destroy(&files);
	return pid;
}

static int greet(struct bvisor *b, const char *program, struct bvisor_error *e)
{
	b->last_id = 0;
	if (send_json(b, json_pack("{s:i, s:s}", "bvisor", 1, "client", "c")))
		while (b->in.n == 0 && fill(b, true))
			continue;
	/* The greeting has no id: it is taken by hand. */
	uint32_t head[3] = {0};
	while (!b->gone && (b->in.n < HEAD ||
	                    (memcpy(head, b->in.data, HEAD), b->in.n < HEAD + le32toh(head[0]))))
		if (le32toh(head[0]) > FRAME_MAX || !fill(b, true))
			break;
	json_t *hello = b->gone || b->in.n < HEAD
	                        ? NULL
	                        : json_loadb(b->in.data + HEAD, le32toh(head[0]), 0, NULL);
	const char *version = json_string_value(json_object_get(hello, "version"));
	int r = 0;
	if (!version)
		r = fail(e, hello ? "protocol" : "host", hello ? EPROTO : ENOEXEC, "%s serve %s",
		         program,
		         hello ? "speaks another protocol" : "ended at once: is it bvisor?");
	else
		snprintf(b->version, sizeof(b->version), "%s", version);
	b->window_in = (uint64_t)json_integer_value(json_object_get(hello, "window_in"));
	b->taken = HEAD + le32toh(head[0]);
	json_decref(hello);
	return r;
}

struct bvisor *bvisor_open(const char *program, struct bvisor_error *e)
{
	struct bvisor *b = calloc(1, sizeof(*b));
	int pair[2];

	if (!program || !*program)
		program = getenv("BVISOR_BIN");
	if (!program || !*program)
		program = "bvisor";
	if (!b || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) {
		(void)fail(e, b ? "io" : "memory", errno, "a socket: %s", strerror(errno));
		free(b);
		return NULL;
	}
	b->fd = pair[0];
	b->pid = spawn(program, pair[1]);
	int err = errno;
	close(pair[1]);
	if (b->pid < 0)
		(void)fail(e, "host", err, "cannot start '%s': %s", program, strerror(err));
	if (b->pid < 0 || greet(b, program, e) < 0) {
		bvisor_close(b);
		return NULL;
	}
	return b;
}

void bvisor_close(struct bvisor *b)
{
	if (!b)
		return;
	while (b->processes)
		bvisor_forget(b->processes);
	while (b->sandboxes)
		sandbox_free(b->sandboxes);
	close(b->fd); /* it ends when it sees that */
	while (b->pid > 0 && waitpid(b->pid, NULL, 0) < 0 && errno == EINTR)
		continue;
	bytes_free(&b->in);
	free(b);
}

const char *bvisor_version(const struct bvisor *b)
{
	return b->version;
}

int bvisor_fd(const struct bvisor *b)
{
	return b->fd;
}

int bvisor_pump(struct bvisor *b, struct bvisor_error *e)
{
	while (link_pump(b, false))
		continue;
	return b->gone ? fail(e, "host", EPIPE, "the broker has ended") : 0;
}
