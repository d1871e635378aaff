/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_SERVE_H
#define CORE_SERVE_SERVE_H
/*
 * The broker (docs/protocol.md): one thread, one epoll instance.  A client has sandboxes, a sandbox has
 * processes; each belongs to the one above and ends with it at the latest.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <cleanup.h>
#include <strbuf.h>

#include "agent.h"

#define PROTOCOL 1
#define FRAME_HEAD 12
#define FRAME_MAX (8u << 20) /* bytes of a payload */
#define DATA_MAX (64u << 10) /* bytes of a data frame that we send */
#define WINDOW_IN (256u << 10) /* what a client may send to a standard input ahead */
#define WINDOW_OUT (1u << 20) /* what we send of an output ahead, before the client grants more */
#define HANDED_MAX 16 /* descriptors that a client sends at once */
#define OUT_HIGH (4u << 20) /* so much waits for a client: no more is read for it */

enum frame_type { FRAME_JSON = 1, FRAME_DATA, FRAME_CREDIT, FRAME_END };

/* Something epoll watches.  First member of what holds it. */
struct source {
	int fd; /* owned; -1: closed */
	uint32_t events; /* as registered; 0: not registered */
	void (*ready)(struct source *s, uint32_t events);
};

struct broker {
	int epfd;
	bool stop; /* a signal said so */
	struct client *clients;
	struct source listener;
	char *init; /* bvisor-init's path */
	struct job *jobs; /* review.c */
	struct temp *temps; /* temp.c */
	char *temp_state; /* option of their directory; NULL: not made yet */
	int temp_dir; /* that directory, locked */
	struct source children; /* SIGCHLD, and the signals that end us */
	struct garbage *garbage; /* freed when no event can mean it any more */
	uint32_t last_id;
};

/* A growing queue of bytes. */
struct queue {
	char *data;
	size_t at, len, cap;
};

struct client {
	struct source source;
	struct broker *broker;
	struct client *next;
	struct box *boxes; /* with the spare one */
	struct box *spare; /* made ahead, or NULL; no answer names it */
	int64_t spare_at; /* when it will be made; 0 */
	bool hurried; /* sandboxes are asked for faster than that */
	json_t *latest; /* what the latest sandbox was created with */
	struct queue in, out;
	bool greeted, dead;
	unsigned n_handed;
	int handed[HANDED_MAX]; /* descriptors that came with what is in `in` */
};

enum box_state { BOX_STARTING, BOX_READY, BOX_ENDING };

struct box {
	struct source agent, errors; /* errors: what bvisor says */
	struct client *client;
	struct box *next;
	struct process *procs;
	uint32_t id;
	char *name; /* of a kept one, temporary or not; or NULL */
	json_t *params; /* it was created with */
	json_t *pending; /* id of the request that waits for it to be ready, or to have ended; or NULL */
	enum box_state state;
	pid_t pid; /* bvisor's front process */
	bool wanted; /* it was asked for; not a spare one */
	int64_t began, deadline; /* when it is killed, if it is ending; 0 */
	struct strbuf said; /* on the errors pipe, its last 4 KiB */
	struct source audit; /* where what was refused is told; closed: nobody asked */
	struct strbuf records; /* of it, not yet a whole line */
	uint64_t audit_lost; /* records that the client was not told of */
};
#define BOX_OF(s, member) ((struct box *)((char *)(s)-offsetof(struct box, member)))

struct process {
	struct source in, out, err; /* with a terminal: `out` is its master, `in` a duplicate */
	struct box *box;
	struct process *next;
	uint32_t id;
	json_t *pending; /* id of the request that started it */
	struct queue input; /* not written yet */
	bool input_end, tty, started, exited, told, unread_told, timed_out;
	bool cpu_limit, size_limit; /* it has one */
	bool cancelled; /* nobody waits for it to start: then it is killed, and nothing is told */
	uint64_t credit[3]; /* of stdout and stderr; [0] is unused */
	bool unwanted[3];
	struct agent_message end;
	int64_t began, ended, deadline; /* ms; deadline 0: none */
	double timeout;
};

/* ---- main.c ---- */
int64_t now_ms(void);
int source_watch(struct broker *b, struct source *s, uint32_t events); /* 0: not at all for now */
void source_close(struct broker *b, struct source *s);
/* In a child: the limit of open files that the broker was started with. */
void broker_give_back_files(void);
void broker_free_later(struct broker *b, void *memory);

/* ---- queue.c ---- */
bool queue_add(struct queue *q, const void *bytes, size_t n);
size_t queue_size(const struct queue *q);
const char *queue_bytes(const struct queue *q);
void queue_take(struct queue *q, size_t n);
void queue_fini(struct queue *q);

/* ---- client.c ---- */
struct client *client_new(struct broker *b, int fd); /* takes fd */
void client_end(struct client *c); /* with all it has */
void client_frame(struct client *c, enum frame_type type, uint32_t stream, const void *bytes,
                  size_t n);
void client_json(struct client *c, json_t *message); /* takes message */
/* The next descriptor that came with the present message; the caller's.  -1: none. */
int client_handed(struct client *c);
/* An answer; both take id and result. */
void client_result(struct client *c, json_t *id, json_t *result);
__attribute__((format(printf, 5, 6))) void
client_error(struct client *c, json_t *id, const char *code, int err, const char *fmt, ...);
bool client_full(const struct client *c);

/* ---- method.c ---- */
void method_call(struct client *c, json_t *request); /* borrowed */

/* ---- audit.c ---- */
/* If its parameters ask for an audit: *theirs (the caller's) is where the sandbox tells.  0, -errno. */
int audit_begin(struct box *b, int *theirs);
#define AUDIT_FD 3 /* what it has there, when it begins */
/* Passes on what was told until now. */
void audit_catch_up(struct box *b);

/* ---- box.c ---- */
void box_create(struct client *c, json_t *id, json_t *params); /* takes id; borrows params */
bool box_cancel(struct client *c,
                json_int_t request); /* if it makes a sandbox, it is answered and no more */
void box_end(struct box *b, json_t *pending); /* asks it to end; pending is answered then */
void box_free(struct box *b);
struct box *box_find(const struct client *c, uint32_t id);
struct box *box_temporary(const struct client *c, const char *name);
/* payload: goes with it, or NULL.  0, -errno */
int box_send(struct box *b, const struct agent_message *m, const struct strbuf *payload,
             const int *fd, unsigned n);
/* One like the client's latest is made ahead, when it is time. */
void box_spare(struct client *c, int64_t now, int64_t *next);
void box_timers(struct box *b, int64_t now, int64_t *next);

/* ---- stats.c ---- */
void box_stats(const struct box *b, json_t *id); /* answers */

/* ---- process.c ---- */
void process_start(struct box *b, json_t *id, json_t *params); /* takes id */
struct process *process_find(const struct client *c, uint32_t id);
void process_agent(struct box *b, const struct agent_message *m, int fd); /* takes fd */
void process_data(struct client *c, uint32_t stream, const char *bytes, size_t n);
void process_credit(struct client *c, uint32_t stream, uint32_t n);
void process_stream_end(struct client *c,
                        uint32_t stream); /* no more of the input comes, or of an output is read */
void process_resume(struct client *c); /* it can take more again */
bool process_cancel(struct client *c,
                    json_int_t request); /* if it starts a process, it is answered */
void process_signal(struct process *p, int sig, bool group);
int process_resize(struct process *p, unsigned rows, unsigned cols);
void process_lost(struct process *p); /* its sandbox has ended: so has it, whatever is unread */
void process_free(struct process *p);
void process_timers(struct process *p, int64_t now, int64_t *next);

/* ---- review.c ---- */
/* Runs bvisor with these words, of a temporary sandbox or not, and answers with what it says. */
void review_call(struct client *c, json_t *id, json_t *argv, bool temporary);

#endif
