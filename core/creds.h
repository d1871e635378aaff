/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CREDS_H
#define CORE_CREDS_H
/* Whose rights a call is judged by, and how a thread of ours takes them on for a moment. */
#include <bvisor/task.h>

struct bv_call;
struct sandbox;

/* Reads a thread's credentials through its /proc directory: 0, -ESRCH when it is gone. */
int creds_read(int proc_fd, struct bv_creds *out);
/* The thread's umask, or -ESRCH. */
int creds_umask(int proc_fd);
/* The calling thread takes on fsuid, fsgid, groups and file capabilities.  Any thread. */
int creds_assume(const struct bv_creds *creds);
/* Undoes creds_assume on the calling thread; free when there was none.  Ends the process when the
 * kernel refuses, since going on with a guest's identity or with too much is worse. */
void creds_restore(void);

#endif
