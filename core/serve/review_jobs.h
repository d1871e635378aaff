/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_REVIEW_JOBS_H
#define CORE_SERVE_REVIEW_JOBS_H
#include "serve.h"

/* A child has ended: false when it was none of these. */
bool review_reaped(struct broker *b, pid_t pid, int status);
/* The client goes. */
void review_forget(struct client *c);
void review_fini(struct broker *b);
/* box.c: the same of sandboxes. */
void box_reaped(struct broker *broker, pid_t pid);

#endif
