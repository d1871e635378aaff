/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SDK_C_LINK_H
#define SDK_C_LINK_H
/* What the files of libbvisor share. */
#include <stdbool.h>
#include <sys/types.h>

#include <jansson.h>

#include "bvisor.h"

enum { FRAME_JSON = 1, FRAME_DATA, FRAME_CREDIT, FRAME_END };

struct bytes {
	char *data; /* NUL-terminated, NULL while empty */
	size_t n, cap;
};

struct bvisor {
	int fd;
	pid_t pid; /* the broker */
	bool gone, starting; /* starting: a process is, whose number is not known yet */
	struct bytes in; /* received, not taken yet */
	size_t taken; /* of it */
	uint32_t last_id;
	unsigned n_handed;
	int handed[3]; /* go with the next message; the program's */
	uint64_t window_in;
	json_t *answer; /* to last_id, when it has come */
	struct bvisor_sandbox *sandboxes;
	struct bvisor_process *processes;
	char version[32];
};

struct bvisor_sandbox {
	struct bvisor *link;
	struct bvisor_sandbox *next;
	json_t *params;
	uint32_t id; /* 0: not running now, as after a review */
	char *name; /* the broker's, for all but the first start */
	bool temporary, ended;
	void (*denied)(void *arg, const struct bvisor_denial *denial);
	void *denied_arg;
	char why[256]; /* it ended */
};

struct bvisor_process {
	struct bvisor *link;
	struct bvisor_process *next;
	struct bvisor_sandbox *box; /* NULL: heard of, not started by us yet */
	uint32_t id;
	int pid;
	uint64_t window; /* bytes of input that it takes now */
	struct bytes kept[3];
	bool over, input_over,
		failed; /* failed: out of memory, or a descriptor of the command's did not take it */
	int err; /* of that */
	struct bvisor_result end;
	void (*output)(void *arg, int stream, const void *bytes, size_t n);
	void *arg;
	int fd[3]; /* the command's; -1 */
};

int fail(struct bvisor_error *e, const char *code, int err, const char *fmt, ...)
	__attribute__((format(printf, 4, 5))); /* -1 */
bool bytes_add(struct bytes *b, const void *data, size_t n);
void bytes_free(struct bytes *b);
bool link_send(struct bvisor *b, unsigned type, uint32_t stream, const void *bytes, size_t n);
/* One frame, or false: nothing has come (wait false), or the broker is gone. */
bool link_pump(struct bvisor *b, bool wait);
/* The result of a method, the caller's; NULL with *e.  Takes params. */
json_t *link_call(struct bvisor *b, const char *method, json_t *params, struct bvisor_error *e);
/* process.c: what has come for one. */
void process_frame(struct bvisor *b, unsigned type, uint32_t stream, const char *bytes, size_t n);
void process_exit(struct bvisor *b, const json_t *event);
/* sandbox.c: one that can be used, started again if need be; -1 with *e. */
int sandbox_ready(struct bvisor_sandbox *sb, struct bvisor_error *e);
void sandbox_free(struct bvisor_sandbox *sb);
/* audit.c: a record of its audit has come. */
void sandbox_audit(struct bvisor_sandbox *sb, const json_t *record);
json_t *json_words(const char *const *words);

#endif
