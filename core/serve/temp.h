/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_TEMP_H
#define CORE_SERVE_TEMP_H
/* Sandboxes whose files are kept, so that they can be reviewed, but no longer than their client. */
#include "serve.h"

/* "vfs-cow.state=DIR" for the directory of the broker's own, which is made by the first call; NULL: it
 * cannot be made. */
const char *temp_state(struct broker *b);

/* The client has one of that name, used by the process pid (0: by none).  0, -ENOMEM. */
int temp_used(struct client *c, const char *name, pid_t pid);
bool temp_has(const struct client *c, const char *name);
/* Another client has, or its files are just being removed. */
bool temp_others(const struct client *c, const char *name);
/* Its files go, as soon as no process uses it any more. */
void temp_remove(struct client *c, const char *name);
/* The client goes. */
void temp_forget(struct client *c);
/* A child has ended. */
void temp_reaped(struct broker *b, pid_t pid);
/* Removes all that is left.  Waits. */
void temp_fini(struct broker *b);

#endif
