/* SPDX-License-Identifier: Apache-2.0 */
/* Processes of a sandbox, and their standard streams. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "request.h"
#include "serve.h"

enum { IN, OUT, ERR };

static uint32_t stream_of(const struct process *p, unsigned which)
{
	return p->id << 2 | which;
}

struct process *process_find(const struct client *c, uint32_t id)
{
	for (struct box *b = c->boxes; b; b = b->next)
		for (struct process *p = b->procs; p; p = p->next)
			if (p->id == id)
				return p;
	return NULL;
}

static struct broker *broker_of(const struct process *p)
{
	return p->box->client->broker;
}

/* ---- output ---- */

static struct source *output(struct process *p, unsigned which)
{
	return which == OUT ? &p->out : &p->err;
}

static bool may_read(const struct process *p, unsigned which)
{
	return p->unwanted[which] || (p->credit[which] > 0 && !client_full(p->box->client));
}

static void output_end(struct process *p, unsigned which)
{
	source_close(broker_of(p), output(p, which));
	if (!p->unwanted[which])
		client_frame(p->box->client, FRAME_END, stream_of(p, which), NULL, 0);
}

/* Reads what is there and may be sent; false: nothing more for now. */
static bool read_some(struct process *p, unsigned which)
{
	char buf[DATA_MAX];
	struct source *s = output(p, which);
	size_t want = p->unwanted[which] || p->credit[which] > sizeof(buf)
	                      ? sizeof(buf)
	                      : (size_t)p->credit[which];
	ssize_t n = read(s->fd, buf, want);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) { /* EIO: nobody has the terminal open any more */
		output_end(p, which);
		return false;
	}
	if (p->unwanted[which])
		return true;
	p->credit[which] -= (uint64_t)n;
	client_frame(p->box->client, FRAME_DATA, stream_of(p, which), buf, (size_t)n);
	return true;
}

static void watch_output(struct process *p, unsigned which)
{
	source_watch(broker_of(p), output(p, which), may_read(p, which) ? EPOLLIN : 0);
}

static void free_if_over(struct process *p)
{
	if (p->told && p->out.fd < 0 && p->err.fd < 0)
		process_free(p);
}

/* The client is told why it waits: for room that it has not granted. */
static void tell_unread(struct process *p)
{
	if (p->unread_told)
		return;
	p->unread_told = true;
	client_json(p->box->client,
	            json_pack("{s:s, s:i}", "event", "unread", "process", (int)p->id));
}

/* The limit that ended it, or NULL. */
static const char *limit_of(const struct process *p)
{
	int sig = WIFSIGNALED(p->end.a) ? WTERMSIG(p->end.a) : 0;

	if (p->timed_out)
		return "timeout";
	if (sig == SIGXCPU && p->cpu_limit)
		return "cpu_seconds";
	return sig == SIGXFSZ && p->size_limit ? "file_size" : NULL;
}

static void tell_exit(struct process *p)
{
	int status = p->end.a;
	const char *limit = limit_of(p);

	audit_catch_up(p->box); /* what it was refused is known by then */
	json_t *m = json_pack(
		"{s:s, s:i, s:i, s:b, s:f, s:f, s:f, s:I}", "event", "exit", "process", (int)p->id,
		"code", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
		"timed_out", p->timed_out, "duration", (double)(p->ended - p->began) / 1000,
		"user_time", (double)p->end.user_us / 1e6, "system_time",
		(double)p->end.system_us / 1e6, "max_rss", (json_int_t)p->end.max_rss_kb * 1024);
	json_object_set_new(m, "limit", limit ? json_string(limit) : json_null());
	json_object_set_new(m, "signal",
	                    WIFSIGNALED(status) ? json_integer(WTERMSIG(status)) : json_null());
	p->told = true;
	source_close(broker_of(p), &p->in);
	client_json(p->box->client, m);
}

/* After its end: all that it has written is sent first. */
static void tell_end(struct process *p)
{
	for (unsigned which = OUT; which <= ERR; which++)
		while (output(p, which)->fd >= 0 && !p->unwanted[which]) {
			if (!may_read(p, which)) {
				if (!p->credit[which])
					tell_unread(p);
				return; /* once more when there is room */
			}
			if (!read_some(p, which))
				break;
		}
	tell_exit(p);
	free_if_over(p);
}

void process_lost(struct process *p)
{
	if (p->pending)
		client_error(p->box->client, p->pending, "sandbox", 0, "the sandbox has ended");
	p->pending = NULL;
	if (!p->started || p->told)
		return;
	if (!p->exited) {
		p->exited = true;
		p->end = (struct agent_message){.kind = AGENT_EXITED, .id = p->id, .a = SIGKILL};
		p->ended = now_ms();
	}
	tell_exit(p);
}

static void on_output(struct process *p, unsigned which)
{
	if (may_read(p, which))
		(void)read_some(p, which);
	if (p->exited && !p->told) {
		tell_end(p);
		return;
	}
	watch_output(p, which);
	free_if_over(p);
}

static void on_out(struct source *s, uint32_t events)
{
	(void)events;
	on_output((struct process *)((char *)s - offsetof(struct process, out)), OUT);
}

static void on_err(struct source *s, uint32_t events)
{
	(void)events;
	on_output((struct process *)((char *)s - offsetof(struct process, err)), ERR);
}

void process_credit(struct client *c, uint32_t stream, uint32_t n)
{
	struct process *p = process_find(c, stream >> 2);
	unsigned which = stream & 3;

	/* One that has ended meanwhile needs none. */
	if (!p || (which != OUT && which != ERR))
		return;
	p->credit[which] += n;
	if (p->exited && !p->told)
		tell_end(p);
	else
		watch_output(p, which);
}

void process_resume(struct client *c)
{
	for (struct box *b = c->boxes; b; b = b->next)
		for (struct process *p = b->procs, *next; p; p = next) {
			next = p->next;
			watch_output(p, OUT);
			watch_output(p, ERR);
			if (p->exited && !p->told)
				tell_end(p);
		}
}

/* ---- input ---- */

static void write_input(struct process *p)
{
	uint32_t done = 0;

	while (p->in.fd >= 0 && queue_size(&p->input)) {
		ssize_t n = write(p->in.fd, queue_bytes(&p->input), queue_size(&p->input));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) { /* nobody reads it any more: as good as written */
			done += (uint32_t)queue_size(&p->input);
			queue_fini(&p->input);
			source_close(broker_of(p), &p->in);
		}
		if (n < 0)
			break;
		queue_take(&p->input, (size_t)n);
		done += (uint32_t)n;
	}
	if (p->in.fd >= 0) {
		if (!queue_size(&p->input) && p->input_end && !p->tty)
			source_close(broker_of(p), &p->in);
		else
			source_watch(broker_of(p), &p->in, queue_size(&p->input) ? EPOLLOUT : 0);
	}
	if (done) {
		uint32_t word = htole32(done);

		client_frame(p->box->client, FRAME_CREDIT, stream_of(p, IN), &word, sizeof(word));
	}
}

static void on_in(struct source *s, uint32_t events)
{
	(void)events;
	write_input((struct process *)((char *)s - offsetof(struct process, in)));
}

void process_data(struct client *c, uint32_t stream, const char *bytes, size_t n)
{
	struct process *p = process_find(c, stream >> 2);

	if (!p || (stream & 3) != IN)
		return; /* it has ended, perhaps while this was on its way */
	if (queue_size(&p->input) + n > WINDOW_IN) {
		client_error(c, NULL, "protocol", 0, "more input than was granted");
		c->dead = true;
		return;
	}
	if (!queue_add(&p->input, bytes, n))
		c->dead = true;
	else if (p->started)
		write_input(p);
}

/* The client reads no more of it: what still comes is thrown away, so whoever writes it, perhaps one that
 * was left behind, neither waits nor fails. */
static void output_unwanted(struct process *p, unsigned which)
{
	if (output(p, which)->fd < 0)
		return;
	p->unwanted[which] = true;
	if (p->exited && !p->told)
		tell_end(p);
	else
		watch_output(p, which);
}

void process_stream_end(struct client *c, uint32_t stream)
{
	struct process *p = process_find(c, stream >> 2);
	unsigned which = stream & 3;

	if (!p || which > ERR)
		return;
	if (which != IN) {
		output_unwanted(p, which);
		return;
	}
	p->input_end = true;
	/* On a terminal it is what Ctrl-D is. */
	if (p->tty && p->started && !queue_add(&p->input, "\x04", 1))
		c->dead = true;
	if (p->started)
		write_input(p);
}

/* ---- beginning ---- */

static struct source unwatched(int fd, void (*ready)(struct source *, uint32_t))
{
	if (fd >= 0)
		(void)fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return (struct source){.fd = fd, .ready = ready};
}

/* A pipe for an output of which nobody brought the end: ours into s, its to *fd. */
static int output_pipe(struct source *s, void (*ready)(struct source *, uint32_t), int *fd)
{
	int end[2];

	if (*fd >= 0)
		return 0;
	if (pipe2(end, O_CLOEXEC) < 0)
		return -errno;
	*s = unwatched(end[0], ready);
	*fd = end[1];
	/* A megabyte where we may: fewer turns for the same bytes. */
	(void)fcntl(end[1], F_SETPIPE_SZ, 1 << 20);
	return 0;
}

static int input_pipe(struct process *p, bool none, int *fd)
{
	int end[2] = {-1, -1};

	if (*fd >= 0)
		return 0;
	if ((none ? (end[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) : pipe2(end, O_CLOEXEC)) < 0)
		return -errno;
	p->in = unwatched(end[1], on_in);
	*fd = end[0];
	return 0;
}

/* Its streams, theirs in fd[0..2]: what the client brought, else pipes of which we have the other ends. */
static int make_streams(struct process *p, const struct request *q, int fd[3])
{
	int r = 0;

	for (unsigned i = 0; i < q->n_handed; i++)
		if ((fd[q->handed[i]] = client_handed(p->box->client)) < 0)
			r = -EBADF;
	if (r == 0)
		r = input_pipe(p, q->no_input, &fd[IN]);
	if (r == 0)
		r = output_pipe(&p->out, on_out, &fd[OUT]);
	if (r == 0 && q->merged && (fd[ERR] = fcntl(fd[OUT], F_DUPFD_CLOEXEC, 3)) < 0)
		r = -errno;
	return r == 0 ? output_pipe(&p->err, on_err, &fd[ERR]) : r;
}

static int payload_file(const struct strbuf *b)
{
	int fd = b->failed ? -1 : memfd_create("bvisor-exec", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, b->data, b->len) != (ssize_t)b->len) {
		close(fd);
		fd = -1;
	}
	return fd;
}

/* fd: theirs, and before them the place for the payload's. */
static int send_exec(struct process *p, const struct request *q, int fd[4])
{
	const struct agent_message m = {.kind = AGENT_EXEC, .id = p->id};
	unsigned n = q->tty ? 0 : 3;
	int r = -EAGAIN;

	if (!q->payload.failed && q->payload.len <= AGENT_INLINE)
		r = box_send(p->box, &m, &q->payload, fd + 1, n);
	if (r != -EAGAIN) /* the socket has room for more of those without */
		return r;
	fd[0] = payload_file(&q->payload);
	return fd[0] < 0 ? -ENOMEM : box_send(p->box, &m, NULL, fd, n + 1);
}

void process_start(struct box *b, json_t *id, json_t *params)
{
	struct client *c = b->client;
	struct request q = {.timeout = 0};
	const char *why = request_parse(&q, params, c->broker->init);
	struct process *p = why ? NULL : calloc(1, sizeof(*p));
	int fd[4] = {-1, -1, -1, -1}, r = 0;

	if (!p) {
		client_error(c, id, why ? "invalid" : "sandbox", why ? EINVAL : ENOMEM,
		             "process.start: %s", why ? why : "out of memory");
		strbuf_fini(&q.payload);
		return;
	}
	*p = (struct process){.box = b,
	                      .id = ++c->broker->last_id & 0x3fffffff,
	                      .tty = q.tty,
	                      .timeout = q.timeout,
	                      .cpu_limit = q.cpu_limit,
	                      .size_limit = q.size_limit};
	p->in.fd = p->out.fd = p->err.fd = -1;
	p->credit[OUT] = p->credit[ERR] = WINDOW_OUT;
	p->began = now_ms();
	if (!q.tty)
		r = make_streams(p, &q, fd + 1);
	if (r == 0)
		r = send_exec(p, &q, fd);
	for (size_t i = 0; i < BV_ROWS_OF(fd); i++)
		if (fd[i] >= 0)
			close(fd[i]);
	strbuf_fini(&q.payload);
	p->next = b->procs;
	b->procs = p;
	if (r < 0) {
		client_error(c, id, r == -EBADF ? "invalid" : "sandbox", -r, "process.start: %s",
		             r == -EBADF ? "the descriptors of fds did not come with the message"
		                         : strerror(-r));
		process_free(p);
		return;
	}
	p->pending = id;
}

static const char *stage_name(int stage)
{
	static const char *const names[] = {[STAGE_REQUEST] = "the request",
	                                    [STAGE_TERMINAL] = "a terminal",
	                                    [STAGE_FORK] = "fork",
	                                    [STAGE_CWD] = "cwd",
	                                    [STAGE_LIMITS] = "limits",
	                                    [STAGE_USER] = "user",
	                                    [STAGE_EXEC] = "exec"};

	return stage > 0 && (size_t)stage < BV_ROWS_OF(names) ? names[stage] : "start";
}

static void started(struct process *p, const struct agent_message *m, int fd)
{
	if (p->tty) {
		int again = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

		p->out = unwatched(fd, on_out);
		p->in = unwatched(again, on_in);
	} else if (fd >= 0) {
		close(fd);
	}
	p->started = true;
	client_result(p->box->client, p->pending,
	              json_pack("{s:i, s:i}", "process", (int)p->id, "pid", (int)m->a));
	p->pending = NULL;
	if (p->timeout > 0)
		p->deadline = p->began + (int64_t)(p->timeout * 1000);
	watch_output(p, OUT);
	watch_output(p, ERR);
	if (p->input_end || queue_size(&p->input))
		write_input(p);
}

bool process_cancel(struct client *c, json_int_t request)
{
	for (struct box *b = c->boxes; b; b = b->next)
		for (struct process *p = b->procs; p; p = p->next)
			if (p->pending && json_integer_value(p->pending) == request) {
				client_error(c, p->pending, "cancelled", ECANCELED,
				             "it was cancelled");
				p->pending = NULL;
				p->cancelled = true;
				return true;
			}
	return false;
}

/* What comes of one that was cancelled. */
static void unwanted(struct process *p, const struct agent_message *m)
{
	if (m->kind == AGENT_STARTED)
		process_signal(p, SIGKILL, true);
	else
		process_free(p);
}

void process_agent(struct box *b, const struct agent_message *m, int fd)
{
	struct process *p = b->procs;

	while (p && p->id != m->id)
		p = p->next;
	if (p && p->cancelled) {
		if (fd >= 0)
			close(fd);
		unwanted(p, m);
		return;
	}
	if (p && m->kind == AGENT_STARTED && !p->started && p->pending) {
		started(p, m, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (!p)
		return;
	if (m->kind == AGENT_FAILED && p->pending) {
		client_error(b->client, p->pending, m->b == STAGE_EXEC ? "exec" : "invalid", m->a,
		             "%s: %s", stage_name(m->b), strerror(m->a));
		p->pending = NULL;
		process_free(p);
	} else if (m->kind == AGENT_EXITED && !p->exited) {
		if (p->pending) {
			client_error(b->client, p->pending, "sandbox", 0, "the sandbox has ended");
			p->pending = NULL;
		}
		p->exited = true;
		p->end = *m;
		p->ended = now_ms();
		p->deadline = 0;
		if (p->started)
			tell_end(p);
	}
}

/* ---- while it runs ---- */

void process_signal(struct process *p, int sig, bool group)
{
	if (!p->exited)
		(void)box_send(p->box,
		               &(struct agent_message){
				       .kind = AGENT_SIGNAL, .id = p->id, .a = sig, .b = group},
		               NULL, NULL, 0);
}

int process_resize(struct process *p, unsigned rows, unsigned cols)
{
	struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)cols};

	if (!p->tty || p->out.fd < 0)
		return -ENOTTY;
	return ioctl(p->out.fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

void process_timers(struct process *p, int64_t now, int64_t *next)
{
	if (!p->deadline)
		return;
	if (now >= p->deadline) {
		p->deadline = 0;
		p->timed_out = true;
		process_signal(p, SIGKILL, true);
	} else if (*next < 0 || p->deadline < *next) {
		*next = p->deadline;
	}
}

void process_free(struct process *p)
{
	struct box *b = p->box;
	struct broker *broker = broker_of(p);

	for (struct process **at = &b->procs; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	source_close(broker, &p->in);
	source_close(broker, &p->out);
	source_close(broker, &p->err);
	queue_fini(&p->input);
	json_decref(p->pending);
	broker_free_later(broker, p);
}
