/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_LAUNCH_H
#define CORE_LAUNCH_H
/* What outlives launch_spawn: memory that the child uses until its exec succeeded. */

#include <stdbool.h>

struct bv_error;
struct launch_state;
struct sandbox;

/*
 * Takes the seccomp listener of the child that launch_spawn() made, waiting for it; no trapped call
 * happens between the filter's installation and this.  On failure the child is gone.  0; -errno
 * with err.
 */
int launch_listener(struct sandbox *box, int *listener, struct bv_error *err);

/*
 * Another process in the running sandbox, with a filter and listener of its own; its exec is its first
 * trapped call.  What l points to must stay until *out is freed, which may happen once the process has
 * exec'd or ended.  Its pid; -errno with err.  Takes the time of a filter's installation, half a
 * millisecond.
 */
struct launch;
int launch_join(struct sandbox *box, const struct launch *l, struct launch_state **out,
                int *listener, struct bv_error *err);

/* Whether guests wait for answers undisturbed by signals (WAIT_KILLABLE_RECV, Linux 5.19). */
bool launch_killable(const struct launch_state *s);

/* Why the first process could not exec; 0 when it did (valid once it has ended). */
int launch_exec_errno(const struct launch_state *s);
/* After the first process has ended.  Accepts NULL. */
void launch_free(struct launch_state *s);

#endif
