/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sandboxes: each a bvisor run of bvisor-init, forked from the broker.  It dies with the broker
 * (PR_SET_PDEATHSIG), and everything in it with it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "review_jobs.h"
#include "serve.h"

#define SAID_MAX 4096
#define END_MS 1500 /* for a sandbox to end by itself */

#define BOX_OF(s, member) ((struct box *)((char *)(s)-offsetof(struct box, member)))

struct box *box_find(const struct client *c, uint32_t id)
{
	struct box *b = c->boxes;

	while (b && b->id != id)
		b = b->next;
	return b;
}

/* ---- its command line ---- */

struct words {
	const char **word;
	size_t n, cap;
	bool failed;
};

static void add(struct words *w, const char *word)
{
	if (w->n + 1 >= w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 32;
		const char **grown = reallocarray(w->word, cap, sizeof(*grown));

		if (!grown) {
			w->failed = true;
			return;
		}
		w->word = grown;
		w->cap = cap;
	}
	w->word[w->n++] = word;
	w->word[w->n] = NULL;
}

/* The strings made here live as long as the process that runs the command does. */
static void add_pair(struct words *w, const char *option, const char *a, const char *between,
                     const char *b)
{
	char *text;

	if (asprintf(&text, "%s%s%s", a, between, b) < 0) {
		w->failed = true;
		return;
	}
	add(w, option);
	add(w, text);
}

struct rule {
	const char *key, *option;
	enum { TEXT, TEXTS, PAIRS, FLAG } kind;
};

static const struct rule rules[] = {
	{"name", "--name", TEXT},  {"config", "-c", TEXT},         {"options", "-o", PAIRS},
	{"rw", "--rw", TEXTS},     {"ro", "--ro", TEXTS},          {"hide", "--hide", TEXTS},
	{"bind", "--bind", TEXTS}, {"net", "--net", TEXT},         {"quota", "--quota", TEXT},
	{"env", "-e", PAIRS},      {"env_all", "--env-all", FLAG}, {"cwd", "-C", TEXT},
};

static bool is_text(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

/* One parameter: NULL, or what is wrong with it. */
static const char *take(struct words *w, const struct rule *r, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	switch (r->kind) {
	case FLAG:
		if (!json_is_boolean(value))
			return "is neither true nor false";
		if (json_is_true(value))
			add(w, r->option);
		return NULL;
	case TEXT:
		if (!is_text(value))
			return "is no string without NUL";
		add(w, r->option);
		add(w, json_string_value(value));
		return NULL;
	case TEXTS:
		if (!json_is_array(value))
			return "is no array of strings";
		json_array_foreach (value, i, item) {
			if (!is_text(item))
				return "is no array of strings";
			add(w, r->option);
			add(w, json_string_value(item));
		}
		return NULL;
	default:
		if (!json_is_object(value))
			return "is no object of strings";
		json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
			if (!is_text(item))
				return "is no object of strings";
			add_pair(w, r->option, key, "=", json_string_value(item));
		}
		return NULL;
	}
}

/* The words of a run: NULL, or what is wrong, of which key. */
static const char *command_line(struct words *w, json_t *params, const char *init, const char **bad)
{
	const char *key;
	json_t *value;

	add(w, "run");
	json_object_foreach (params, key, value) {
		const struct rule *r = NULL;

		for (size_t i = 0; i < BV_ROWS_OF(rules); i++)
			if (strcmp(rules[i].key, key) == 0)
				r = &rules[i];
		*bad = key;
		if (json_is_null(value))
			continue;
		const char *why = r ? take(w, r, value) : "is no parameter of create";
		if (why)
			return why;
	}
	add(w, "--");
	add(w, init);
	return NULL;
}

/* ---- its beginning ---- */

static _Noreturn void become(struct words *w, const char *cwd, int agent, int errors, pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || dup2(agent, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(errors, 2) < 0)
		_exit(EXIT_BVISOR);
	(void)syscall(SYS_close_range, 3, ~0u, 0);
	signal(SIGPIPE, SIG_DFL);
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid(); /* no terminal's signal is for it */
	/* Where it was started is where its changes may be committed. */
	if (cwd && chdir(cwd) < 0) {
		fprintf(stderr, "cwd: '%s': %s\n", cwd, strerror(errno));
		_exit(EXIT_BVISOR);
	}
	optind = 0;
	_exit(run_command((int)w->n, (char **)(uintptr_t)w->word));
}

static void on_agent(struct source *s, uint32_t events);
static void on_errors(struct source *s, uint32_t events);

static int begin(struct box *b, struct words *w)
{
	struct broker *broker = b->client->broker;
	int pair[2], errors[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	b->agent = (struct source){.fd = pair[0], .ready = on_agent};
	bv_autofd int theirs = pair[1];
	if (pipe2(errors, O_CLOEXEC) < 0)
		return -errno;
	b->errors = (struct source){.fd = errors[0], .ready = on_errors};
	bv_autofd int said = errors[1];
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(errors[0], F_SETFL, O_NONBLOCK);
	pid_t parent = getpid();
	b->pid = fork();
	if (b->pid == 0)
		become(w, json_string_value(json_object_get(b->params, "cwd")), theirs, said,
		       parent);
	if (b->pid < 0)
		return -errno;
	int r = source_watch(broker, &b->agent, EPOLLIN);
	return r < 0 ? r : source_watch(broker, &b->errors, EPOLLIN);
}

static bool name_in_use(const struct client *c, const char *name)
{
	for (const struct box *b = c->boxes; b && name; b = b->next)
		if (b->name && strcmp(b->name, name) == 0)
			return true;
	return false;
}

void box_create(struct client *c, json_t *id, json_t *params)
{
	struct words w = {0};
	struct box *b = calloc(1, sizeof(*b));
	const char *bad = NULL, *why = b ? command_line(&w, params, c->broker->init, &bad) : NULL;
	const char *name = json_string_value(json_object_get(params, "name"));
	int r = 0;

	if (!b || w.failed) {
		client_error(c, id, "sandbox", ENOMEM, "out of memory");
	} else if (why) {
		client_error(c, id, "invalid", EINVAL, "sandbox.create: %s: %s", bad, why);
	} else if (name_in_use(c, name)) {
		client_error(c, id, "busy", EBUSY, "sandbox '%s' is open already", name);
	} else {
		b->client = c;
		b->id = ++c->broker->last_id;
		b->agent.fd = b->errors.fd = -1;
		b->name = name ? strdup(name) : NULL;
		b->params = json_incref(params);
		r = begin(b, &w);
		if (r == 0) {
			b->pending = id;
			b->next = c->boxes;
			c->boxes = b;
			b = NULL;
		} else {
			source_close(c->broker, &b->agent);
			source_close(c->broker, &b->errors);
			client_error(c, id, "sandbox", -r, "cannot start a sandbox: %s",
			             strerror(-r));
			free(b->name);
			json_decref(b->params);
		}
	}
	for (size_t i = 0; i + 1 < w.n; i++)
		if (strcmp(w.word[i], "-e") == 0 || strcmp(w.word[i], "-o") == 0)
			free((char *)(uintptr_t)w.word[++i]);
	free(w.word);
	free(b);
}

/* ---- what it says ---- */

static void on_errors(struct source *s, uint32_t events)
{
	struct box *b = BOX_OF(s, errors);
	char buf[1024];
	ssize_t n = read(s->fd, buf, sizeof(buf));

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		source_close(b->client->broker, s);
		return;
	}
	strbuf_add(&b->said, buf, (size_t)n);
	if (b->said.len > SAID_MAX && !b->said.failed) {
		memmove(b->said.data, b->said.data + b->said.len - SAID_MAX, SAID_MAX);
		b->said.len = SAID_MAX;
		b->said.data[SAID_MAX] = '\0';
	}
}

/* The last of it, without the end of the line. */
static const char *said(struct box *b)
{
	while (b->errors.fd >= 0) { /* what is there still */
		size_t before = b->said.len;

		on_errors(&b->errors, EPOLLIN);
		if (b->errors.fd >= 0 && b->said.len == before)
			break;
	}
	while (b->said.len && b->said.data[b->said.len - 1] == '\n')
		b->said.data[--b->said.len] = '\0';
	if (!b->said.len || b->said.failed)
		return "";
	static const char prefix[] = "bvisor run: ";
	return strncmp(b->said.data, prefix, sizeof(prefix) - 1) == 0
	               ? b->said.data + sizeof(prefix) - 1
	               : b->said.data;
}

static void ready(struct box *b)
{
	if (b->state != BOX_STARTING)
		return;
	b->state = BOX_READY;
	json_t *result = json_pack("{s:i}", "sandbox", (int)b->id);
	if (b->name)
		json_object_set_new(result, "name", json_string(b->name));
	client_result(b->client, b->pending, result);
	b->pending = NULL;
}

/* init has gone, and with it the sandbox. */
static void gone(struct box *b)
{
	struct client *c = b->client;

	source_close(c->broker, &b->agent);
	for (struct process *p = b->procs; p; p = p->next)
		process_agent(
			b, &(struct agent_message){.kind = AGENT_EXITED, .id = p->id, .a = SIGKILL},
			-1);
	if (b->state == BOX_ENDING)
		return;
	const char *text = said(b);
	if (b->state == BOX_STARTING) {
		client_error(c, b->pending, "sandbox", 0, "%s",
		             *text ? text : "the sandbox did not start");
		b->pending = NULL;
	} else {
		json_t *message = json_string(text);

		client_json(c,
		            json_pack("{s:s, s:i, s:o}", "event", "sandbox_end", "sandbox",
		                      (int)b->id, "message", message ? message : json_string("")));
	}
	box_end(b, NULL);
}

static void on_agent(struct source *s, uint32_t events)
{
	struct box *b = BOX_OF(s, agent);
	struct agent_message m;
	struct iovec iov = {&m, sizeof(m)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control;
	struct msghdr msg = {.msg_iov = &iov,
	                     .msg_iovlen = 1,
	                     .msg_control = control.room,
	                     .msg_controllen = sizeof(control.room)};
	ssize_t n = recvmsg(s->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	int fd = -1;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	for (struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
		for (size_t i = 0;
		     c->cmsg_type == SCM_RIGHTS && CMSG_LEN((i + 1) * sizeof(int)) <= c->cmsg_len;
		     i++) {
			if (fd >= 0)
				close(fd); /* one at the most belongs to a message */
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
		}
	if (n != sizeof(m)) {
		if (fd >= 0)
			close(fd);
		gone(b);
		return;
	}
	if (m.kind == AGENT_READY)
		ready(b);
	else
		process_agent(b, &m, bv_take_fd(&fd));
	if (fd >= 0)
		close(fd);
}

int box_send(struct box *b, const struct agent_message *m, const int *fd, unsigned n)
{
	struct iovec iov = {(void *)(uintptr_t)m, sizeof(*m)};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
	                      .cmsg_level = SOL_SOCKET,
	                      .cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		memcpy(CMSG_DATA(&control.head), fd, n * sizeof(int));
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(b->agent.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- its end ---- */

void box_end(struct box *b, json_t *pending)
{
	if (pending) {
		if (b->pending)
			client_error(b->client, b->pending, "sandbox", 0, "it was destroyed");
		b->pending = pending;
	}
	if (b->state == BOX_ENDING)
		return;
	b->state = BOX_ENDING;
	b->deadline = now_ms() + END_MS;
	source_close(b->client->broker, &b->agent);
}

static void ended(struct box *b)
{
	if (b->pending)
		client_result(b->client, b->pending, NULL);
	b->pending = NULL;
	b->pid = 0;
	box_free(b);
}

void box_reaped(struct broker *broker, pid_t pid)
{
	for (struct client *c = broker->clients; c; c = c->next)
		for (struct box *b = c->boxes; b; b = b->next)
			if (b->pid == pid) {
				if (b->state != BOX_ENDING)
					gone(b);
				ended(b);
				return;
			}
}

void box_free(struct box *b)
{
	struct client *c = b->client;

	for (struct box **at = &c->boxes; *at; at = &(*at)->next)
		if (*at == b) {
			*at = b->next;
			break;
		}
	/* Its front dies at once, the supervisor with all guests when it sees that. */
	if (b->pid > 0)
		kill(b->pid, SIGKILL);
	while (b->procs)
		process_free(b->procs);
	source_close(c->broker, &b->agent);
	source_close(c->broker, &b->errors);
	json_decref(b->pending);
	json_decref(b->params);
	strbuf_fini(&b->said);
	free(b->name);
	broker_free_later(c->broker, b);
}

void box_timers(struct box *b, int64_t now, int64_t *next)
{
	for (struct process *p = b->procs; p; p = p->next)
		process_timers(p, now, next);
	if (!b->deadline)
		return;
	if (now >= b->deadline) {
		if (b->pid > 0)
			kill(b->pid, SIGKILL);
		b->deadline = 0;
	} else if (*next < 0 || b->deadline < *next) {
		*next = b->deadline;
	}
}
