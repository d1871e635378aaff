/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PROC_H
#define CORE_PROC_H
/* What core reads of a process in /proc. */
#include <stdint.h>
#include <sys/types.h>

/* pidfd_open(2): descriptor or -errno. */
int proc_pidfd(pid_t pid, unsigned flags);
/* O_PATH descriptor of /proc/TID, which is bound to the thread and not to its number; -ESRCH. */
int proc_open(pid_t tid);
/* Parent of a process or thread: > 0; 0 for none; -ESRCH. */
pid_t proc_parent(pid_t pid);
/* The thread group of the thread whose directory this is; -ESRCH. */
pid_t proc_group(int proc_fd);
/* The state letter of ps(1), of the first thread; '?': there is no such process. */
char proc_state(pid_t pid);
/* When the process started, in clock ticks since boot; 0: it is no more, or a zombie. */
uint64_t proc_start(pid_t pid);
/* Field n (from 3 on, proc(5)) of a /proc/.../stat text; NULL when there are not so many. */
const char *proc_stat_field(const char *text, int n);
/* What tells one program image from another: the random bytes the kernel gives each
 * (getauxval(3), AT_RANDOM) and where it put them.  0 or -errno. */
int proc_image(int proc_fd, pid_t tid, unsigned char out[16]);

#endif
