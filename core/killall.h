/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_KILLALL_H
#define CORE_KILLALL_H
/* Ends every descendant of this process (a child subreaper, so none can get away). */
#include <sys/types.h>

/* Sends SIGKILL to every descendant that one look at /proc finds: how many there were.  Those that
 * were forked meanwhile need another look. */
unsigned killall_signal(void);
/* Does so until no child is left, and reaps: each(arg, pid, status) per child.  0, or -ETIMEDOUT
 * when some could not be killed within the time (uninterruptible sleep). */
int killall(unsigned timeout_ms, void (*each)(void *arg, pid_t pid, int status), void *arg);

#endif
