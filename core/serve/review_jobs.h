/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_REVIEW_JOBS_H
#define CORE_SERVE_REVIEW_JOBS_H
#include "serve.h"

/* Runs bvisor with these words in a child: its pid, -1. */
pid_t review_spawn(char **word, int n);
/* The same, again for 3 s while it fails, and nobody waits for it. */
void review_job(struct broker *b, char **word, int n);
/* A child has ended: false when it was none of these. */
bool review_reaped(struct broker *b, pid_t pid, int status);
/* If the request is such a job, it is killed, and answered then. */
bool review_cancel(struct client *c, json_int_t request);
/* The client goes. */
void review_forget(struct client *c);
void review_fini(struct broker *b);
/* box.c: the same of sandboxes. */
void box_reaped(struct broker *broker, pid_t pid);

#endif
