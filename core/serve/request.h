/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_REQUEST_H
#define CORE_SERVE_REQUEST_H
/* The parameters of process.start, as bvisor-init takes them. */
#include "serve.h"

struct request {
	struct strbuf payload; /* struct agent_exec and its words; the caller's to free */
	bool tty, no_input, merged; /* merged: stderr is where stdout is */
	unsigned n_handed;
	uint8_t handed
		[3]; /* which of 0, 1, 2 the client has brought descriptors for, in their order */
	bool cpu_limit, size_limit; /* whose signal tells that it was reached */
	double timeout; /* seconds; 0: none */
};

/* NULL, or what is wrong.  The first word INIT_WORD stands for `init`. */
#define INIT_WORD "@bvisor-init"
const char *request_parse(struct request *q, json_t *params, const char *init);

#endif
