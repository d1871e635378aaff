/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_JOIN_H
#define CORE_JOIN_H
/*
 * Processes that others start in a running sandbox (bvisor exec).  Who does connects to a SOCK_SEQPACKET
 * socket in the kept sandbox's own directory, which no guest sees and only its user may enter, and sends
 * one struct join_request with descriptors: a memory file of its strings, then standard input, output
 * and error, or with JOIN_TTY the terminal alone, or with JOIN_ALLOW, JOIN_NOTE and JOIN_UNDO none.  Then it may send single bytes, numbers of signals;
 * when it goes, the process group is killed.  Back come struct control_msg (control.h): CONTROL_STARTED,
 * CONTROL_STOPPED, CONTROL_CONTINUED and CONTROL_EXIT with the wait status; or JOIN_FAILED.  A commit connects
 * before it writes and asks afterwards (JOIN_NOTE): one that goes without having asked may have been killed in it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct loop;

#define JOIN_SOCKET "join" /* its name */
#define JOIN_MAGIC 0x316e6a62u
#define JOIN_TTY 1u
#define JOIN_ALLOW \
	2u /* no process: the words are rules for svc/net.h, with one descriptor; CONTROL_EXIT answers */
#define JOIN_NOTE \
	4u /* no process: the memory file has records for svc/review.h's note(); CONTROL_EXIT answers */
#define JOIN_UNDO 8u /* the same for its undo() */
#define JOIN_STRINGS_MAX (4u << 20)
#define JOIN_NOTES_MAX (256u << 20)

enum { JOIN_FAILED = 100, /* value: errno */ JOIN_NOT_EXECUTED /* value: errno of the exec */ };

/* The strings: the directory to start in, then argc words, then envc of "NAME=VALUE", each with its NUL. */
struct join_request {
	uint32_t magic, flags, argc, envc;
};

/* Something has come on the listening socket or on that of who joined. */
void join_event(struct loop *l, int fd);
/* A child has ended. */
void join_reaped(struct loop *l, pid_t pid, int status);
/* One was stopped or goes on. */
void join_stopped(struct loop *l, pid_t pid, bool stopped);
void join_fini(struct loop *l);

#endif
