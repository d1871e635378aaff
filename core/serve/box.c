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
#include "temp.h"
#include "words.h"

#define SAID_MAX 4096
#define END_MS 1500 /* for a sandbox to end by itself */
#define SPARE_MS 10000 /* how old one made ahead may become */
#define SPARE_DELAY_MS 15 /* what the one just made is first used for goes before */
#define SPARE_WAITED_MS 60 /* one that has waited so long was early enough */

struct box *box_find(const struct client *c, uint32_t id)
{
	struct box *b = c->boxes;

	while (b && b->id != id)
		b = b->next;
	return b;
}

/* ---- its beginning ---- */

static _Noreturn void become(struct words *w, const char *cwd, int agent, int errors, int audit,
                             pid_t parent)
{
	int null = open("/dev/null", O_RDWR);

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent || null < 0 || dup2(agent, 0) < 0 || dup2(null, 1) < 0 ||
	    dup2(errors, 2) < 0 || (audit >= 0 && audit != AUDIT_FD && dup2(audit, AUDIT_FD) < 0))
		_exit(EXIT_BVISOR);
	(void)syscall(SYS_close_range, audit >= 0 ? AUDIT_FD + 1 : AUDIT_FD, ~0u, 0);
	broker_give_back_files();
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
	_exit(run_own((int)w->n, (char **)(uintptr_t)w->word));
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
	bv_autofd int audit = -1;
	int r = audit_begin(b, &audit);
	if (r < 0)
		return r;
	(void)fcntl(pair[0], F_SETFL, O_NONBLOCK);
	(void)fcntl(errors[0], F_SETFL, O_NONBLOCK);
	pid_t parent = getpid();
	b->pid = fork();
	if (b->pid == 0)
		become(w, json_string_value(json_object_get(b->params, "cwd")), theirs, said, audit,
		       parent);
	if (b->pid < 0)
		return -errno;
	r = source_watch(broker, &b->agent, EPOLLIN);
	return r < 0 ? r : source_watch(broker, &b->errors, EPOLLIN);
}

static bool is_temporary(const struct box *b)
{
	return json_is_true(json_object_get(b->params, "temporary"));
}

static struct box *by_name(const struct client *c, const char *name, bool temporary)
{
	struct box *b = c->boxes;

	while (b && (!b->name || is_temporary(b) != temporary || strcmp(b->name, name) != 0))
		b = b->next;
	return b;
}

struct box *box_temporary(const struct client *c, const char *name)
{
	return by_name(c, name, true);
}

/* It is ready, and somebody waits for it. */
static void answer(struct box *b)
{
	json_t *result = json_pack("{s:i}", "sandbox", (int)b->id);

	if (b->name)
		json_object_set_new(result, "name", json_string(b->name));
	client_result(b->client, b->pending, result);
	b->pending = NULL;
}

#define refuse(c, id, ...)                                \
	do {                                              \
		if (id)                                   \
			client_error(c, id, __VA_ARGS__); \
	} while (0)

/* A new box of these parameters; NULL, with the error told to id (NULL: to nobody). */
static struct box *make(struct client *c, json_t *id, json_t *params)
{
	struct words w = {0};
	struct box *b = calloc(1, sizeof(*b));
	bool temporary = json_is_true(json_object_get(params, "temporary"));
	const char *state = temporary ? temp_state(c->broker) : NULL, *bad = "temporary";
	const json_t *given = json_object_get(params, "name");
	const char *name = words_text(given) ? json_string_value(given) : NULL;
	const char *why = temporary && !state ? "there is no place for its files" : NULL;
	char own[24];
	int r;

	if (temporary && !name) {
		do
			snprintf(own, sizeof(own), "t%u", ++c->broker->last_id);
		while (temp_has(c, own) || temp_others(c, own));
		name = own;
	}
	if (b && !why)
		why = words_of_box(&w, params, state, name, c->broker->init, &bad);
	if (!b || w.failed) {
		refuse(c, id, "sandbox", ENOMEM, "out of memory");
		goto failed;
	}
	if (why) {
		refuse(c, id, "invalid", EINVAL, "sandbox.create: --%s: %s", bad, why);
		goto failed;
	}
	if (name && (by_name(c, name, temporary) || (temporary && temp_others(c, name)))) {
		refuse(c, id, "busy", EBUSY, "sandbox '%s' is open already", name);
		goto failed;
	}
	b->client = c;
	b->id = ++c->broker->last_id;
	b->agent.fd = b->errors.fd = b->audit.fd = -1;
	b->name = name ? strdup(name) : NULL;
	b->params = json_incref(params);
	b->began = now_ms();
	r = begin(b, &w);
	if (r == 0 && temporary)
		r = temp_used(c, name, b->pid);
	if (r == 0) {
		words_fini(&w);
		b->next = c->boxes;
		c->boxes = b;
		return b;
	}
	if (b->pid > 0)
		kill(b->pid, SIGKILL);
	source_close(c->broker, &b->agent);
	source_close(c->broker, &b->errors);
	source_close(c->broker, &b->audit);
	refuse(c, id, "sandbox", -r, "cannot start a sandbox: %s", strerror(-r));
	free(b->name);
	json_decref(b->params);
failed:
	words_fini(&w);
	free(b);
	return NULL;
}

/*
 * Who makes one like the one before will make a third: it is made ready meanwhile.  Kept ones have
 * names and are not made twice.
 */
void box_spare(struct client *c, int64_t now, int64_t *next)
{
	if (!c->spare_at)
		return;
	if (now >= c->spare_at) {
		c->spare_at = 0;
		/* The latest may have become another one, with a name that is not ours to take. */
		if (!json_object_get(c->latest, "name"))
			c->spare = make(c, NULL, c->latest);
	} else if (*next < 0 || c->spare_at < *next) {
		*next = c->spare_at;
	}
}

static struct box *take_spare(struct client *c, json_t *params)
{
	struct box *b = c->spare;

	if (!b || !json_equal(b->params, params))
		return NULL;
	c->spare = NULL;
	return b;
}

void box_create(struct client *c, json_t *id, json_t *params)
{
	bool again = json_equal(c->latest, params);
	struct box *b = take_spare(c, params);

	if (!b)
		c->hurried = again && c->spare_at;
	else if (now_ms() - b->began > SPARE_WAITED_MS)
		c->hurried = false;
	if (!b)
		b = make(c, id, params);
	if (!b)
		return;
	b->pending = id;
	b->wanted = true;
	json_decref(c->latest);
	c->latest = json_incref(params);
	if (b->state == BOX_READY)
		answer(b);
	if (again && !c->spare && !c->spare_at && !json_object_get(params, "name"))
		c->spare_at = now_ms() + (c->hurried ? 0 : SPARE_DELAY_MS);
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
	if (b->wanted)
		answer(b);
}

/* init has gone, and with it the sandbox. */
static void gone(struct box *b)
{
	struct client *c = b->client;

	audit_catch_up(b);
	source_close(c->broker, &b->agent);
	for (struct process *p = b->procs, *next; p; p = next) {
		next = p->next;
		process_agent(
			b, &(struct agent_message){.kind = AGENT_EXITED, .id = p->id, .a = SIGKILL},
			-1);
	}
	if (b->state == BOX_ENDING)
		return;
	const char *text = said(b);
	if (!b->wanted) {
		c->spare = NULL; /* who asks for one like it is told why then */
	} else if (b->state == BOX_STARTING) {
		if (*text)
			client_error(c, b->pending, "sandbox", 0, "%s", text);
		else
			client_error(c, b->pending, "sandbox", 0,
			             "the sandbox did not start: %s could not be executed",
			             c->broker->init);
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

int box_send(struct box *b, const struct agent_message *m, const struct strbuf *payload,
             const int *fd, unsigned n)
{
	struct iovec iov[2] = {{(void *)(uintptr_t)m, sizeof(*m)}};
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(4 * sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(n * sizeof(int)),
	                      .cmsg_level = SOL_SOCKET,
	                      .cmsg_type = SCM_RIGHTS}};
	struct msghdr msg = {.msg_iov = iov, .msg_iovlen = payload ? 2 : 1};

	if (payload)
		iov[1] = (struct iovec){payload->data, payload->len};
	if (n) {
		memcpy(CMSG_DATA(&control.head), fd, n * sizeof(int));
		msg.msg_control = control.room;
		msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(b->agent.fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
}

/* ---- its end ---- */

bool box_cancel(struct client *c, json_int_t request)
{
	for (struct box *b = c->boxes; b; b = b->next)
		if (b->pending && b->state == BOX_STARTING &&
		    json_integer_value(b->pending) == request) {
			client_error(c, b->pending, "cancelled", ECANCELED, "it was cancelled");
			b->pending = NULL;
			if (b->name && is_temporary(b))
				temp_remove(c, b->name);
			box_end(b, NULL);
			return true;
		}
	return false;
}

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
	for (struct process *p = b->procs; p; p = p->next)
		process_lost(p);
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
	if (c->spare == b)
		c->spare = NULL;
	/* Its front dies at once, the supervisor with all guests when it sees that. */
	if (b->pid > 0)
		kill(b->pid, SIGKILL);
	while (b->procs)
		process_free(b->procs);
	source_close(c->broker, &b->agent);
	source_close(c->broker, &b->errors);
	source_close(c->broker, &b->audit);
	json_decref(b->pending);
	json_decref(b->params);
	strbuf_fini(&b->said);
	strbuf_fini(&b->records);
	free(b->name);
	broker_free_later(c->broker, b);
}

void box_timers(struct box *b, int64_t now, int64_t *next)
{
	for (struct process *p = b->procs; p; p = p->next)
		process_timers(p, now, next);
	if (b == b->client->spare) {
		/* The world it was made for passes. */
		if (now >= b->began + SPARE_MS) {
			b->client->spare = NULL;
			if (b->name)
				temp_remove(b->client, b->name);
			box_end(b, NULL);
		} else if (*next < 0 || b->began + SPARE_MS < *next) {
			*next = b->began + SPARE_MS;
		}
	}
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
