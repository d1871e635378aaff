/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_PASSTHROUGH_H
#define CORE_PASSTHROUGH_H
/* The reviewed table itself, for the router; others ask passthrough_reason(). */
#include <stdbool.h>
#include <stddef.h>

struct passthrough {
	const char *name, *reason;
	bool guarded; /* harmless only together with filter rules or a handler of some module */
};
/* NULL past the end. */
const struct passthrough *passthrough_at(size_t i);

#endif
