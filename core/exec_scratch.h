/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_EXEC_SCRATCH_H
#define CORE_EXEC_SCRATCH_H
/* Memory of a held guest thread that nobody else uses, for exec_redirect's paths and arguments. */
#include <stddef.h>
#include <stdint.h>

#include "tracee.h"

#define SCRATCH_SLOTS 64
#define SCRATCH_COOKIE 16

struct scratch {
	uint64_t at;
	uint64_t map; /* mapping to give back; 0: none */
	size_t map_len;
};

/* Finds `need` bytes.  slot: a number below SCRATCH_SLOTS that no other redirect in progress
 * has, or SCRATCH_SLOTS.  0 and *result 0, or *result the errno the guest shall see; -errno when
 * the tracee is lost. */
int scratch_get(struct tracee *t, const struct regs *regs, int proc_fd, size_t need, unsigned slot,
                const unsigned char cookie[SCRATCH_COOKIE], struct scratch *out, int64_t *result);
/* The memory is not needed and the program still runs: unmaps what was mapped. */
int scratch_put(struct tracee *t, const struct regs *regs, const struct scratch *s);

#endif
