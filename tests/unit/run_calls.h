/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RUN_CALLS_H
#define TESTS_RUN_CALLS_H
/*
 * What run.c's handlers do for run_guest.c.  getpriority(2) stands for calls of our own making:
 * its first argument says which, the second is the call's.
 */
#define CALL_PPID 4242
#define CALL_PROG "/virtual/prog"   /* redirected to a copy of the guest program */
#define CALL_WRONG "/virtual/wrong" /* redirected to a program that is not the promised one */
#define CALL_GONE "/virtual/gone"   /* redirected to a file that does not exist */
#define CALL_SCRIPT "/virtual/script" /* redirected with an argv of its own */
#define CALL_DIR "/virtual/dir"
#define CALL_FILE "/virtual/file" /* a descriptor of "inner" */

enum {
	CALL_SLOW = 100,          /* sleeps so many ms on a worker; signals cancel */
	CALL_SLOW_DEAF,           /* signals do not */
	CALL_SLOW_KEPT,           /* like CALL_SLOW, by BV_DEFER_KEEP */
	CALL_DONE_KEPT,           /* the same of work that succeeds although it was cancelled */
	CALL_COUNT,               /* how often it was called */
	CALL_TWICE,               /* deferred again by done */
	CALL_FD_SIZE,             /* size of the file behind a guest descriptor */
	CALL_FD_PLACE,            /* put a descriptor there */
	CALL_IS_GUEST,
	CALL_SUPERVISOR_IS_GUEST,
	CALL_UMASK,
	CALL_UID,                 /* fsuid that creds() tells */
	CALL_GROUPS,              /* how many groups */
	CALL_ACT,                 /* owner of a file made under as_guest() */
	CALL_BREACH,              /* the supervisor tries to write beside what it may: -errno */
};
#define CALL_SLOW_RESULT 7

#endif
