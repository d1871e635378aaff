/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_NOTIFY_H
#define CORE_NOTIFY_H
/* The seccomp listener: receiving calls, dispatching them, answering.  Loop thread unless said. */
#include <stdbool.h>
#include <stdint.h>

#include <bvisor/call.h>

struct loop;
struct ncall;

/* Before the listener is there: 0 or -errno. */
int notify_setup(struct loop *l);
/* Takes a listener into use, for which there must be room; and out of it, closing it. */
bool notify_room(const struct loop *l);
void notify_listen(struct loop *l, int listener);
void notify_unlisten(struct loop *l, unsigned which);
/* Receives one call and has it handled; 0, -ENOENT when there was none after all, -errno. */
int notify_next(struct loop *l, int listener);
/* ioctl(2) on the listener that knows the call's id.  Any thread. */
int notify_ioctl(const struct loop *l, unsigned long what, void *arg);
/* Whether the guest still waits for the answer.  Any thread. */
bool notify_valid(const struct loop *l, uint64_t id);
/* Plain answers: 0, -ENOENT when the guest went away.  Any thread. */
int notify_send(const struct loop *l, uint64_t id, int64_t value);
/* Carries out a handler's verdict, except that nothing is done for BV_DEFERRED. */
void notify_finish(struct ncall *nc, enum bv_verdict verdict);
/* The call has been answered, or nobody waits for it: keeps the record for the next call. */
void notify_recycle(struct ncall *nc);
/* Releases a call record and an answer not given. */
void ncall_free(struct ncall *nc);

#endif
