/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CONTROL_H
#define CORE_CONTROL_H
/*
 * What the front process and the supervisor tell each other, over a SOCK_SEQPACKET pair whose end
 * also means "the other one is gone".  Downwards go single bytes: the number of a signal for the
 * guest's first process, or CONTROL_GO; and for SIGCONT a control_cont.  Upwards go records.
 */
#include <stdint.h>
#include <sys/socket.h>

enum control_kind {
	CONTROL_STARTED = 1, /* value: pid of the first process */
	CONTROL_STOPPED, /* the first process was stopped, for the `value`th time */
	CONTROL_CONTINUED, /* it goes on; followed by SIGCONT, since a stopped front reads nothing */
	CONTROL_ENDED, /* every guest is dead; the supervisor waits for CONTROL_GO */
	CONTROL_EXIT, /* all is cleaned up; value: the exit code of bvisor */
};
#define CONTROL_GO 0u

struct control_msg {
	uint32_t kind;
	int32_t value;
};

/*
 * A SIGCONT for the guest.  The shell's fg sends one to the whole group, so the guest may have had
 * it already, and have been stopped again since: then ours would come too late.
 */
struct control_cont {
	unsigned char sig; /* SIGCONT */
	unsigned char was_stopped; /* the front, along with the guest */
	unsigned char pad[2];
	int32_t stop; /* the last CONTROL_STOPPED that was read before; 0: none */
};

static inline void control_send_flags(int fd, enum control_kind kind, int value, int flags)
{
	const struct control_msg m = {(uint32_t)kind, value};

	if (fd >= 0)
		(void)!send(fd, &m, sizeof(m), MSG_NOSIGNAL | flags);
}

/* Never blocks: a reader that is not there, or stopped with a full queue, is no reason to wait. */
static inline void control_send(int fd, enum control_kind kind, int value)
{
	control_send_flags(fd, kind, value, MSG_DONTWAIT);
}

/* For what must not be lost, when no guest waits any more. */
static inline void control_send_wait(int fd, enum control_kind kind, int value)
{
	control_send_flags(fd, kind, value, 0);
}

#endif
