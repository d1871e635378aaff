/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_MCP_BROKER_H
#define CORE_SERVE_MCP_BROKER_H
/* A client of a broker of its own that waits for each answer: what bvisor mcp needs. */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <jansson.h>

#include <cleanup.h>
#include <strbuf.h>

struct link {
	int fd;
	pid_t pid; /* the broker */
	uint32_t last_id;
};

#define REFUSED_MAX 10 /* of which a reader wants to know */

/* How a process ended. */
struct outcome {
	struct strbuf out, err; /* at most OUTCOME_MAX bytes each; the rest is counted only */
	uint64_t out_size, err_size;
	struct strbuf refused[REFUSED_MAX]; /* what the sandbox refused meanwhile, each once */
	unsigned n_refused;
	int code;
	bool timed_out;
};
#define OUTCOME_MAX (256u << 10)

int link_open(struct link *l); /* 0 or -errno */
void link_close(struct link *l); /* ends the broker and all its sandboxes */
/* Asks and waits: the result, the caller's; NULL with *why, the caller's too (NULL: the broker is gone). */
json_t *link_call(struct link *l, const char *method, json_t *params,
                  json_t **why); /* takes params */
/* Runs a process to its end, giving it `input`.  False with *why as above. */
bool link_run(struct link *l, json_t *params, const char *input, size_t n, struct outcome *out,
              json_t **why);
void outcome_fini(struct outcome *o);

#endif
