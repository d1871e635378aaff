/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ROUTER_H
#define CORE_ROUTER_H
/* What the filter compiler and sandbox.c need of the router beyond bvisor.h. */
#include "bvisor.h"

/* What the filter does with a call when no rule of it holds. */
enum verdict_kind { KIND_ALLOW, KIND_ERRNO, KIND_TRAP };
struct verdict {
	enum verdict_kind kind;
	int err; /* KIND_ERRNO */
};
/* After router_freeze.  Any nr: numbers without a name are ENOSYS. */
struct verdict router_default(const struct router *r, int nr);
/* The rules that count, in the order they are tried; none when the call is denied outright. */
size_t router_active_rules(const struct router *r, int nr, const struct bv_rule *const **rules);
/* Before the freeze: what policy refuses is to be told.  The filter then traps such calls. */
void router_audit(struct router *r);
bool router_audited(const struct router *r);
/*
 * Whether a refusal with this errno is one of policy.  ENOSYS and ENOTTY are not: they say, as on a
 * kernel without it, that there is no such thing, and programs go on without.
 */
bool router_is_refusal(int err);
/* Tells the router how to see whether the answer a handler has set is an errno, so that it can
 * hold guards to their word. */
void router_set_probe(struct router *r, bool (*answered_errno)(const struct bv_call *call));

#endif
