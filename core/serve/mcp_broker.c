/* SPDX-License-Identifier: Apache-2.0 */
#include "mcp_broker.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#include "cli/cli.h"
#include "serve.h"

static bool send_frame(const struct link *l, enum frame_type type, uint32_t stream,
                       const void *bytes, size_t n)
{
	uint32_t head[3] = {htole32((uint32_t)n), htole32(stream), htole32((uint32_t)type)};

	if (send(l->fd, head, sizeof(head), MSG_NOSIGNAL | (n ? MSG_MORE : 0)) != sizeof(head))
		return false;
	for (size_t at = 0; at < n;) {
		ssize_t done = send(l->fd, (const char *)bytes + at, n - at, MSG_NOSIGNAL);

		if (done < 0 && errno != EINTR)
			return false;
		at += done > 0 ? (size_t)done : 0;
	}
	return true;
}

static bool read_all(int fd, void *to, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t got = read(fd, (char *)to + at, n - at);

		if (got == 0 || (got < 0 && errno != EINTR))
			return false;
		at += got > 0 ? (size_t)got : 0;
	}
	return true;
}

struct frame {
	uint32_t type, stream;
	size_t n;
	char *bytes; /* with a NUL behind; owned */
};

static bool read_frame(const struct link *l, struct frame *f)
{
	uint32_t head[3];

	if (!read_all(l->fd, head, sizeof(head)))
		return false;
	*f = (struct frame){
		.type = le32toh(head[2]), .stream = le32toh(head[1]), .n = le32toh(head[0])};
	f->bytes = f->n <= FRAME_MAX ? malloc(f->n + 1) : NULL;
	if (!f->bytes || !read_all(l->fd, f->bytes, f->n)) {
		free(f->bytes);
		return false;
	}
	f->bytes[f->n] = '\0';
	return true;
}

static bool send_json(const struct link *l, json_t *message)
{
	bv_autofree char *text = json_dumps(message, JSON_COMPACT);
	bool sent = text && send_frame(l, FRAME_JSON, 0, text, strlen(text));

	json_decref(message);
	return sent;
}

/* The next message, whatever else comes before it going to each(). */
static json_t *next_message(const struct link *l, void (*each)(void *arg, const struct frame *f),
                            void *arg)
{
	for (;;) {
		struct frame f;

		if (!read_frame(l, &f))
			return NULL;
		json_t *m = f.type == FRAME_JSON ? json_loadb(f.bytes, f.n, JSON_ALLOW_NUL, NULL)
		                                 : NULL;
		if (f.type != FRAME_JSON && each)
			each(arg, &f);
		free(f.bytes);
		if (f.type == FRAME_JSON)
			return m;
	}
}

int link_open(struct link *l)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	pid_t parent = getpid();
	*l = (struct link){.fd = pair[0], .pid = fork()};
	if (l->pid == 0) {
		char *argv[] = {(char *)"serve", (char *)"--fd", (char *)"3", NULL};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != parent || dup2(pair[1], 3) < 0)
			_exit(EXIT_BVISOR);
		(void)syscall(SYS_close_range, 4, ~0u, 0);
		(void)!freopen("/dev/null", "r", stdin);
		(void)!freopen("/dev/null", "w", stdout);
		_exit(serve_command(3, argv));
	}
	close(pair[1]);
	if (l->pid < 0)
		return -errno;
	if (!send_json(l, json_pack("{s:i}", "bvisor", PROTOCOL)))
		return -EPIPE;
	json_t *hello = next_message(l, NULL, NULL);
	bool good = json_object_get(hello, "version");
	json_decref(hello);
	return good ? 0 : -EPROTO;
}

void link_close(struct link *l)
{
	close(l->fd);
	waitpid(l->pid, NULL, 0);
}

/* The answer to the last request; events before it are dropped. */
static json_t *answer(struct link *l, json_t **why, void (*each)(void *, const struct frame *),
                      void *arg)
{
	*why = NULL;
	for (;;) {
		json_t *m = next_message(l, each, arg);

		if (!m)
			return NULL;
		json_t *id = json_object_get(m, "id");
		if (!json_is_integer(id) || json_integer_value(id) != l->last_id) {
			json_decref(m);
			continue;
		}
		json_t *result = json_incref(json_object_get(m, "result"));
		*why = json_incref(json_object_get(m, "error"));
		json_decref(m);
		return result;
	}
}

json_t *link_call(struct link *l, const char *method, json_t *params, json_t **why)
{
	*why = NULL;
	if (!send_json(l, json_pack("{s:I, s:s, s:o}", "id", (json_int_t)++l->last_id, "method",
	                            method, "params", params)))
		return NULL;
	return answer(l, why, NULL, NULL);
}

struct running {
	struct link *l;
	struct outcome *out;
	uint32_t id;
	uint64_t window; /* of its input */
};

static void keep(struct strbuf *b, uint64_t *size, const struct frame *f)
{
	size_t room = b->len < OUTCOME_MAX ? OUTCOME_MAX - b->len : 0;

	strbuf_add(b, f->bytes, f->n < room ? f->n : room);
	*size += f->n;
}

static void on_frame(void *arg, const struct frame *f)
{
	struct running *r = arg;
	uint32_t word;

	if (f->stream >> 2 != r->id)
		return; /* of one before, which nobody waits for any more */
	if (f->type == FRAME_CREDIT && f->n == sizeof(word)) {
		memcpy(&word, f->bytes, sizeof(word));
		r->window += le32toh(word);
	}
	if (f->type != FRAME_DATA)
		return;
	if ((f->stream & 3) == 1)
		keep(&r->out->out, &r->out->out_size, f);
	else
		keep(&r->out->err, &r->out->err_size, f);
	word = htole32((uint32_t)f->n);
	(void)send_frame(r->l, FRAME_CREDIT, f->stream, &word, sizeof(word));
}

static void on_refused(struct outcome *o, const json_t *record)
{
	const char *call = json_string_value(json_object_get(record, "call")),
		   *what = json_string_value(json_object_get(record, "what")),
		   *error = json_string_value(json_object_get(record, "errno"));
	struct strbuf text = {0};

	/* Whoever commands the guest need not know what there is of what is hidden. */
	if (!call || !error || strcmp(error, "ENOENT") == 0 || strcmp(error, "ESRCH") == 0 ||
	    o->n_refused == REFUSED_MAX)
		return;
	strbuf_printf(&text, "%s%s%s: %s", call, what ? " " : "", what ? what : "", error);
	for (unsigned i = 0; i < o->n_refused; i++)
		if (strcmp(o->refused[i].data, text.data ? text.data : "") == 0)
			strbuf_fini(&text);
	if (text.data && !text.failed)
		o->refused[o->n_refused++] = text;
	else
		strbuf_fini(&text);
}

bool link_run(struct link *l, json_t *params, const char *input, size_t n, struct outcome *out,
              json_t **why)
{
	struct running r = {l, out, 0, WINDOW_IN};

	*out = (struct outcome){.code = -1};
	if (!input)
		json_object_set_new(params, "stdin", json_string("null"));
	json_t *started = link_call(l, "process.start", params, why);
	if (!started)
		return false;
	uint32_t id = r.id = (uint32_t)json_integer_value(json_object_get(started, "process"));
	json_decref(started);
	for (size_t at = 0; input;) {
		size_t piece = n - at < r.window ? n - at : (size_t)r.window;

		piece = piece < DATA_MAX ? piece : DATA_MAX;
		if (at == n || !piece)
			break;
		if (!send_frame(l, FRAME_DATA, id << 2, input + at, piece))
			return false;
		at += piece;
		r.window -= piece;
		while (at < n && !r.window) { /* wait for more */
			struct frame f;

			if (!read_frame(l, &f))
				return false;
			if (f.type != FRAME_JSON)
				on_frame(&r, &f);
			free(f.bytes);
		}
	}
	if (input && !send_frame(l, FRAME_END, id << 2, NULL, 0))
		return false;
	for (;;) {
		json_t *m = next_message(l, on_frame, &r);

		if (!m)
			return false;
		const char *event = json_string_value(json_object_get(m, "event"));
		bool mine = event && strcmp(event, "exit") == 0 &&
		            json_integer_value(json_object_get(m, "process")) == id;
		bool over = event && strcmp(event, "sandbox_end") == 0;
		if (event && strcmp(event, "audit") == 0)
			on_refused(out, json_object_get(m, "record"));
		if (mine) {
			out->code = (int)json_integer_value(json_object_get(m, "code"));
			out->timed_out = json_is_true(json_object_get(m, "timed_out"));
		}
		json_decref(m);
		/* What it left behind may go on writing. */
		if (mine && (!send_frame(l, FRAME_END, id << 2 | 1, NULL, 0) ||
		             !send_frame(l, FRAME_END, id << 2 | 2, NULL, 0)))
			return false;
		if (mine || over)
			return true;
	}
}

void outcome_fini(struct outcome *o)
{
	strbuf_fini(&o->out);
	strbuf_fini(&o->err);
	for (unsigned i = 0; i < o->n_refused; i++)
		strbuf_fini(&o->refused[i]);
}
