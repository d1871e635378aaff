/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLI_FRONT_H
#define CORE_CLI_FRONT_H
/* Between front.c and between.c. */
#include <string.h>

#include "cli.h"

/* The front itself, with the signals of `set` blocked. */
int front_main(struct run_options *o, const sigset_t *set);
/* Stops this process as Ctrl-Z does, unless stale(arg) finds that what it stops for is over: then
 * false.  No SIGCONT that comes after that look is missed. */
bool front_stop_self(bool (*stale)(void *arg), void *arg);

/* Whether this process has children already. */
bool between_needed(void);
/* Runs the front in a child: in both processes, the exit code. */
int between_run(struct run_options *o, const sigset_t *set);

#endif
