/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_GUEST_MEM_H
#define CORE_GUEST_MEM_H
/* Another process's memory, copied whole or not at all.  tid is a thread of it. */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define GUEST_IOV_MAX 1024 /* UIO_MAXIOV, readv(2) */

/* All n bytes or -EFAULT; -ESRCH when the thread is gone; -EPERM when we may not. */
int guest_mem_read(pid_t tid, void *to, uint64_t from, size_t n);
int guest_mem_write(pid_t tid, uint64_t to, const void *from, size_t n);
/* A string with its NUL: its length; -ENAMETOOLONG when there is none within size bytes. */
ssize_t guest_mem_read_str(pid_t tid, char *to, uint64_t from, size_t size);
/* Copies at most cap bytes of what the n_iov entries at iov describe: how many; -EINVAL for too
 * many entries or a negative length (readv(2)), -EFAULT when any byte of them faults, as
 * sendmsg(2) has it. */
ssize_t guest_mem_gather(pid_t tid, void *to, size_t cap, uint64_t iov, uint64_t n_iov);

#endif
