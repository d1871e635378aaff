/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_SERVE_AGENT_H
#define CORE_SERVE_AGENT_H
/*
 * What the broker and bvisor-init say to each other, over a SOCK_SEQPACKET pair.  bvisor-init is the
 * first process of a sandbox and starts the others.  It is a guest: the broker believes it nothing
 * that could harm anybody but this sandbox.
 */
#include <stdint.h>

enum agent_kind {
	AGENT_EXEC =
		1, /* to init; descriptors: stdin, stdout, stderr without a terminal; the payload follows, or
	            * is in a memory file, the first descriptor */
	AGENT_SIGNAL, /* to init; a: the signal; b: 1: the whole group */
	AGENT_READY, /* from init, once */
	AGENT_STARTED, /* from init; a: the pid; with a terminal one descriptor, its master */
	AGENT_FAILED, /* from init; a: errno; b: enum agent_stage */
	AGENT_EXITED, /* from init; a: the wait status; usage is filled */
};

enum agent_stage {
	STAGE_REQUEST = 1,
	STAGE_TERMINAL,
	STAGE_FORK,
	STAGE_CWD,
	STAGE_LIMITS,
	STAGE_USER,
	STAGE_EXEC
};

struct agent_message {
	uint32_t kind, id; /* id: the process, of the broker's choice */
	int32_t a, b;
	uint64_t user_us, system_us, max_rss_kb;
};

#define AGENT_LIMITS 5
#define AGENT_NO_LIMIT UINT64_MAX
#define AGENT_TTY 1u
#define AGENT_USER 2u /* uid and gid are meant */
#define AGENT_MAX (8u << 20) /* bytes of a payload */
#define AGENT_INLINE 2048 /* as many go with the message: no file, and nothing to map */

/* The payload of AGENT_EXEC: this, then the words, each with its NUL: cwd ("" to stay), argv, additions to
 * the environment ("NAME=VALUE", or "NAME" to remove it). */
struct agent_exec {
	uint32_t argc, envc, flags, uid, gid;
	uint16_t rows, cols;
	uint64_t limit
		[AGENT_LIMITS]; /* CPU seconds, address space, processes, open files, file size */
};

#endif
