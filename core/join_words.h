/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_JOIN_WORDS_H
#define CORE_JOIN_WORDS_H
/* The strings of a join request (join.h), which come in a file of whoever asks. */
#include "join.h"

struct join_words {
	const char *cwd;
	char **argv, **envp;
	char *strings; /* which all of them point into */
};

/* Reads a copy of fd, from its beginning.  0; -EPROTO: not what q says, or no words; -E2BIG; -ENOMEM; -errno.
 * join_words_free() in any case. */
int join_words_read(int fd, const struct join_request *q, struct join_words *out);
void join_words_free(struct join_words *w);

#endif
