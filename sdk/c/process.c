/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: started, fed, listened to, waited for. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"

#define PIECE (64u << 10) /* of input in one frame */

static struct bvisor_process *find(struct bvisor *b, uint32_t id)
{
	struct bvisor_process *p = b->processes;

	while (p && p->id != id)
		p = p->next;
	return p;
}

static struct bvisor_process *make(struct bvisor *b, uint32_t id)
{
	struct bvisor_process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->link = b;
	p->id = id;
	p->window = b->window_in;
	p->end.code = -1;
	p->fd[0] = p->fd[1] = p->fd[2] = -1;
	p->next = b->processes;
	b->processes = p;
	return p;
}

/* What comes of an unknown one while one is started overtook the answer that names it, and is kept for
 * who gets that; else it is of one that was forgotten. */
static struct bvisor_process *heard_of(struct bvisor *b, uint32_t id)
{
	struct bvisor_process *p = find(b, id);

	return p || !b->starting ? p : make(b, id);
}

static bool write_all(int fd, const char *bytes, size_t n)
{
	for (size_t at = 0; at < n;) {
		ssize_t done = write(fd, bytes + at, n - at);

		if (done < 0 && errno == EAGAIN) {
			struct pollfd w = {.fd = fd, .events = POLLOUT};

			(void)poll(&w, 1, -1);
		} else if (done < 0 && errno != EINTR) {
			return false;
		}
		at += done > 0 ? (size_t)done : 0;
	}
	return true;
}

/* Output goes where the command says, and more of it may come. */
static void give(struct bvisor_process *p, int which, const char *bytes, size_t n)
{
	if (p->box && p->output) {
		p->output(p->arg, which, bytes, n);
	} else if (p->box && p->fd[which] >= 0) {
		if (!p->failed && !write_all(p->fd[which], bytes, n)) {
			p->failed = true;
			p->err = errno;
		}
	} else if (!bytes_add(&p->kept[which], bytes, n)) {
		p->failed = true;
		p->err = ENOMEM;
	}
}

void process_frame(struct bvisor *b, unsigned type, uint32_t stream, const char *bytes, size_t n)
{
	struct bvisor_process *p = heard_of(b, stream >> 2);
	uint32_t word;

	if (type == FRAME_CREDIT && n == sizeof(word) && p) {
		memcpy(&word, bytes, sizeof(word));
		p->window += le32toh(word);
	} else if (type == FRAME_DATA && (stream & 3) != 0 && (stream & 3) != 3) {
		if (p)
			give(p, stream & 3, bytes, n);
		word = htole32((uint32_t)n); /* a forgotten one shall go on, too */
		(void)link_send(b, FRAME_CREDIT, stream, &word, sizeof(word));
	}
}

void process_exit(struct bvisor *b, const json_t *event)
{
	struct bvisor_process *p =
		heard_of(b, (uint32_t)json_integer_value(json_object_get(event, "process")));

	if (!p)
		return;
	p->over = true;
	p->end.code = (int)json_integer_value(json_object_get(event, "code"));
	p->end.signal = (int)json_integer_value(json_object_get(event, "signal"));
	p->end.timed_out = json_is_true(json_object_get(event, "timed_out"));
	p->end.duration = json_number_value(json_object_get(event, "duration"));
}

/* ---- start ---- */

static json_t *limits(const struct bvisor_limits *l)
{
	const struct {
		const char *key;
		uint64_t value;
	} rows[] = {{"cpu_seconds", l->cpu_seconds},
	            {"memory", l->memory},
	            {"processes", l->processes},
	            {"open_files", l->open_files},
	            {"file_size", l->file_size}};
	json_t *all = json_object();

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (rows[i].value)
			json_object_set_new(all, rows[i].key,
			                    json_integer((json_int_t)rows[i].value));
	return all;
}

/* "NAME=VALUE", or null for "NAME". */
static json_t *environment(const char *const *words)
{
	json_t *all = json_object();

	for (; words && *words; words++) {
		size_t n = strcspn(*words, "=");
		char *name = strndup(*words, n);
		int r = name ? json_object_set_new(all, name,
		                                   (*words)[n] ? json_string(*words + n + 1)
		                                               : json_null())
		             : -1;

		free(name);
		if (r < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static json_t *params_of(const struct bvisor_sandbox *sb, const struct bvisor_command *c)
{
	json_t *p = json_pack("{s:i}", "sandbox", (int)sb->id);
	int r = c->shell ? json_object_set_new(p, "shell", json_string(c->shell))
	                 : json_object_set_new(p, "argv", json_words(c->argv));

	if (r == 0 && c->cwd)
		r = json_object_set_new(p, "cwd", json_string(c->cwd));
	if (r == 0 && c->env)
		r = json_object_set_new(p, "env", environment(c->env));
	if (r == 0 && c->timeout > 0)
		r = json_object_set_new(p, "timeout", json_real(c->timeout));
	if (r == 0)
		r = json_object_set_new(p, "limits", limits(&c->limits));
	if (r == 0 && c->as_user)
		r = json_object_set_new(p, "user",
		                        json_pack("{s:I, s:I}", "uid", (json_int_t)c->uid, "gid",
		                                  (json_int_t)c->gid));
	if (r == 0 && c->tty)
		r = json_object_set_new(p, "tty",
		                        json_pack("{s:i, s:i}", "rows", c->rows ? c->rows : 24,
		                                  "cols", c->cols ? c->cols : 80));
	if (r == 0 && !c->input && !c->in_fd && !c->write_input && !c->tty)
		r = json_object_set_new(p, "stdin", json_string("null"));
	if (r == 0)
		return p;
	json_decref(p);
	return NULL;
}

/* The command's own descriptors go to the sandbox as they are, except that a terminal is in between.  -1: one is none. */
static int hand(struct bvisor *b, const struct bvisor_command *c, json_t *params)
{
	static const char *const name[] = {"stdin", "stdout", "stderr"};
	const int *fd[] = {c->input || c->write_input ? NULL : c->in_fd,
	                   c->output ? NULL : c->out_fd, c->output ? NULL : c->err_fd};
	json_t *fds = json_array();

	b->n_handed = 0;
	for (size_t i = 0; i < 3; i++)
		if (fd[i] && !c->tty) {
			if (fcntl(*fd[i], F_GETFD) < 0) {
				json_decref(fds);
				return -1;
			}
			b->handed[b->n_handed++] = *fd[i];
			json_array_append_new(fds, json_string(name[i]));
		}
	return json_object_set_new(params, "fds", fds);
}

/* It is ours: what overtook the answer goes where the command says. */
static void adopt(struct bvisor_process *p, struct bvisor_sandbox *sb,
                  const struct bvisor_command *c, int pid)
{
	struct bytes early[3];

	memcpy(early, p->kept, sizeof(early));
	memset(p->kept, 0, sizeof(p->kept));
	p->box = sb;
	p->pid = pid;
	p->output = c->output;
	p->arg = c->arg;
	if (c->tty) {
		p->fd[0] = c->in_fd ? *c->in_fd : -1;
		p->fd[1] = c->out_fd ? *c->out_fd : -1;
		p->fd[2] = c->err_fd ? *c->err_fd : -1;
	}
	p->input_over = c->in_fd && !c->tty;
	for (int i = 1; i < 3; i++) {
		if (early[i].n)
			give(p, i, early[i].data, early[i].n);
		bytes_free(&early[i]);
	}
}

static struct bvisor_process *start(struct bvisor_sandbox *sb, const struct bvisor_command *c,
                                    struct bvisor_error *e)
{
	struct bvisor *b = sb->link;
	struct bvisor_process *p = NULL;

	if (!c->shell == !c->argv) {
		(void)fail(e, "invalid", EINVAL, "a command has either shell or argv");
		return NULL;
	}
	if (sandbox_ready(sb, e) < 0)
		return NULL;
	json_t *params = params_of(sb, c);
	if (params && hand(b, c, params) < 0) {
		(void)fail(e, "invalid", EBADF, "a command's stream is no descriptor");
		json_decref(params);
		return NULL;
	}
	b->starting = true;
	json_t *started = link_call(b, "process.start", params, e);
	b->starting = false;
	b->n_handed = 0;
	if (started) {
		uint32_t id = (uint32_t)json_integer_value(json_object_get(started, "process"));

		p = find(b, id);
		if (!p)
			p = make(b, id);
		if (p)
			adopt(p, sb, c, (int)json_integer_value(json_object_get(started, "pid")));
		else
			(void)fail(e, "memory", ENOMEM, "out of memory");
		json_decref(started);
	}
	for (struct bvisor_process *q = b->processes, *next; q; q = next) {
		next = q->next;
		if (!q->box)
			bvisor_forget(q); /* nobody's */
	}
	return p;
}

/* The command as it is now, an older program's being shorter. */
static struct bvisor_command whole(const struct bvisor_command *given)
{
	struct bvisor_command c = {0};

	memcpy(&c, given, given->size < sizeof(c) ? given->size : sizeof(c));
	return c;
}

struct bvisor_process *bvisor_start(struct bvisor_sandbox *sb, const struct bvisor_command *command,
                                    struct bvisor_error *e)
{
	const struct bvisor_command c = whole(command);
	struct bvisor_process *p = start(sb, &c, e);

	if (p && c.input &&
	    (bvisor_write(p, c.input, c.input_size, e) < 0 || bvisor_end_input(p, e) < 0)) {
		bvisor_forget(p);
		return NULL;
	}
	return p;
}

int bvisor_pid(const struct bvisor_process *p)
{
	return p->pid;
}

int bvisor_ended(const struct bvisor_process *p)
{
	return p->over;
}

void bvisor_forget(struct bvisor_process *p)
{
	if (!p)
		return;
	for (struct bvisor_process **at = &p->link->processes; *at; at = &(*at)->next)
		if (*at == p) {
			*at = p->next;
			break;
		}
	/* What it goes on writing, or what it left behind does, is nobody's. */
	for (uint32_t i = 1; i < 3; i++)
		(void)link_send(p->link, FRAME_END, p->id << 2 | i, NULL, 0);
	for (int i = 0; i < 3; i++)
		bytes_free(&p->kept[i]);
	free(p);
}

/* ---- input ---- */

static int lost(struct bvisor_error *e)
{
	return fail(e, "host", EPIPE, "the broker has ended");
}

int bvisor_write(struct bvisor_process *p, const void *bytes, size_t n, struct bvisor_error *e)
{
	for (size_t at = 0; at < n;) {
		if (p->over || p->input_over)
			return fail(e, "io", EPIPE, "the process takes no more");
		size_t piece = n - at < PIECE ? n - at : PIECE;
		piece = piece < p->window ? piece : (size_t)p->window;
		if (piece &&
		    !link_send(p->link, FRAME_DATA, p->id << 2, (const char *)bytes + at, piece))
			return lost(e);
		at += piece;
		p->window -= piece;
		/* Its output has to be taken, or it would not come to reading. */
		if (!piece && !link_pump(p->link, true))
			return lost(e);
	}
	return 0;
}

int bvisor_end_input(struct bvisor_process *p, struct bvisor_error *e)
{
	if (p->input_over || p->over)
		return 0;
	p->input_over = true;
	return link_send(p->link, FRAME_END, p->id << 2, NULL, 0) ? 0 : lost(e);
}

int bvisor_signal(struct bvisor_process *p, int signal, int group, struct bvisor_error *e)
{
	struct bvisor_error own;

	if (p->over)
		return 0;
	json_t *r = link_call(p->link, "process.signal",
	                      json_pack("{s:i, s:i, s:b}", "process", (int)p->id, "signal", signal,
	                                "group", group),
	                      &own);
	if (!r && own.err != ESRCH) { /* it may have ended meanwhile */
		if (e)
			*e = own;
		return -1;
	}
	json_decref(r);
	return 0;
}

int bvisor_resize(struct bvisor_process *p, unsigned rows, unsigned cols, struct bvisor_error *e)
{
	json_t *r = link_call(p->link, "process.resize",
	                      json_pack("{s:i, s:i, s:i}", "process", (int)p->id, "rows", (int)rows,
	                                "cols", (int)cols),
	                      e);

	json_decref(r);
	return r ? 0 : -1;
}

/* ---- its end ---- */

/* What *in_fd has, as far as it is wanted. */
static int feed(struct bvisor_process *p, struct bvisor_error *e)
{
	char buf[PIECE];
	ssize_t n = read(p->fd[0], buf, p->window < sizeof(buf) ? (size_t)p->window : sizeof(buf));

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n > 0)
		return bvisor_write(p, buf, (size_t)n, e) < 0 && !p->over ? -1 : 0;
	p->fd[0] = -1;
	return bvisor_end_input(p, e);
}

static int wait_some(struct bvisor_process *p, struct bvisor_error *e)
{
	if (p->fd[0] < 0 || !p->window || p->input_over)
		return link_pump(p->link, true) ? 0 : lost(e);
	if (link_pump(p->link, false))
		return 0;
	struct pollfd fd[] = {{.fd = p->link->fd, .events = POLLIN},
	                      {.fd = p->fd[0], .events = POLLIN}};
	if (p->link->gone)
		return lost(e);
	if (poll(fd, 2, -1) > 0 && fd[1].revents)
		return feed(p, e);
	return 0;
}

int bvisor_wait(struct bvisor_process *p, struct bvisor_result *result, struct bvisor_error *e)
{
	int r = 0;

	while (!p->over && r == 0)
		r = wait_some(p, e);
	if (r == 0 && p->failed)
		r = fail(e, p->err == ENOMEM ? "memory" : "io", p->err, "its output: %s",
		         strerror(p->err));
	if (r == 0 && result) {
		*result = p->end;
		result->out_size = p->kept[1].n;
		result->err_size = p->kept[2].n;
		result->out = p->kept[1].data ? p->kept[1].data : calloc(1, 1);
		result->err = p->kept[2].data ? p->kept[2].data : calloc(1, 1);
		memset(p->kept, 0, sizeof(p->kept));
	}
	bvisor_forget(p);
	return r;
}

/* The command may end without wanting all of its input. */
static int give_input(struct bvisor_process *p, const struct bvisor_command *c,
                      struct bvisor_error *e)
{
	if (!c->input)
		return 0;
	if (bvisor_write(p, c->input, c->input_size, e) < 0)
		return p->over ? 0 : -1;
	return bvisor_end_input(p, e);
}

int bvisor_run(struct bvisor_sandbox *sb, const struct bvisor_command *command,
               struct bvisor_result *result, struct bvisor_error *e)
{
	const struct bvisor_command c = whole(command);
	struct bvisor_process *p = start(sb, &c, e);

	if (!p)
		return -1;
	if (give_input(p, &c, e) < 0) {
		bvisor_forget(p);
		return -1;
	}
	return bvisor_wait(p, result, e);
}

void bvisor_result_free(struct bvisor_result *result)
{
	if (!result)
		return;
	free(result->out);
	free(result->err);
	result->out = result->err = NULL;
}
