/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_AUDIT_H
#define CORE_AUDIT_H
/*
 * What policy refused the guests, as JSON lines to whoever asked for them (bvisor run --audit).  Loop
 * thread.
 */
#include <stdbool.h>
#include <stdint.h>

struct bv_call;

struct audit {
	int fd; /* -1: nobody listens; the caller's */
	unsigned tokens; /* records that may be written at once */
	int64_t filled; /* CLOCK_MONOTONIC, ms: since when the next ones count */
	uint64_t lost; /* records that were not written since the last one */
};

void audit_init(struct audit *a, int fd);
/* by: the module's name; kind: BV_REPORT_*; what may be NULL. */
void audit_report(struct audit *a, const char *by, struct bv_call *call, unsigned kind, int err,
                  const char *what);

#endif
