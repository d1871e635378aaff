/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which module is asked about which call, and what the filter does with it: chains of handlers by
 * phase and module order, static rules, denials, and the ledger of all calls.  It holds handlers
 * to their phase: a guard can only refuse, an observer can only look.
 */
#include "router.h"

#include <cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <strbuf.h>
#include <string.h>

#include "passthrough.h"

#define CHAIN_MAX 256u
#define RULE_MAX 256u
#define ERRNO_MAX 4095 /* MAX_ERRNO: what SECCOMP_RET_ERRNO can carry, seccomp(2) */

struct rule {
	struct bv_rule row;
	struct bv_self *owner;
};
struct chain {
	struct route *route;
	size_t n_routes;
	struct rule *rule;
	const struct bv_rule **rule_view; /* made at freeze */
	size_t n_rules;
	struct bv_self *denier;
	const struct passthrough *pass;
	uint16_t deny_err; /* 0: not denied */
	uint8_t complained; /* bits: what has been logged about this call */
};
enum { SAID_UNANSWERED = 1, SAID_GUARD = 2, SAID_OBSERVER = 4, SAID_VERDICT = 8 };

struct router {
	int max; /* highest number known */
	int unrouted;
	bool frozen, audited;
	bool (*answered_errno)(const struct bv_call *call);
	struct chain chain[];
};

int router_new(struct router **out, int unrouted_errno)
{
	int max = names_max();
	struct router *r = calloc(1, sizeof(*r) + ((size_t)max + 1) * sizeof(r->chain[0]));
	if (!r)
		return -ENOMEM;
	r->max = max;
	r->unrouted = unrouted_errno;
	const struct passthrough *p;
	for (size_t i = 0; (p = passthrough_at(i)); i++) {
		int nr = names_nr(p->name);
		if (nr >= 0)
			r->chain[nr].pass = p;
	}
	*out = r;
	return 0;
}

/* The chain of a name: 1 and *c, 0 when the row is to be skipped, or -errno. */
static int chain_of(struct router *r, const char *name, bool maybe, struct chain **c)
{
	if (r->frozen)
		return -EBUSY;
	if (!name)
		return -EINVAL;
	int nr = names_nr(name);
	if (nr == -ENOSYS || (nr < 0 && maybe))
		return 0;
	if (nr < 0 || nr > r->max)
		return -EINVAL;
	*c = &r->chain[nr];
	return 1;
}

int router_add(struct router *r, struct bv_self *owner, const struct bv_handler *row)
{
	struct chain *c;
	if (!row->fn || row->phase > BV_FALLBACK || (row->flags & ~BV_MAYBE))
		return -EINVAL;
	int known = chain_of(r, row->syscall, row->flags & BV_MAYBE, &c);
	if (known <= 0)
		return known;
	if (c->n_routes >= CHAIN_MAX)
		return -E2BIG;
	struct route *grown = reallocarray(c->route, c->n_routes + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->route = grown;
	struct route new = {.fn = row->fn, .owner = owner, .phase = row->phase, .order = (uint16_t)owner->index};
	size_t at = c->n_routes;
	while (at > 0 && (grown[at - 1].phase > new.phase ||
			  (grown[at - 1].phase == new.phase &&grown[at - 1].order > new.order)))
		at--;
	memmove(&grown[at + 1], &grown[at], (c->n_routes - at) * sizeof(*grown));
	grown[at] = new;
	c->n_routes++;
	return 0;
}

static bool condition_valid(const struct bv_cond *cond)
{
	if (cond->index > 5 || cond->op > BV_GE || cond->wide > 1 || cond->zero || cond->zero2)
		return false;
	/* A condition that looks at no bit is a forgotten mask. */
	return cond->wide ? cond->mask != 0 : (uint32_t)cond->mask != 0;
}

int router_rule(struct router *r, struct bv_self *owner, const struct bv_rule *row)
{
	struct chain *c;
	if (row->action > BV_ACT_TRAP || row->n_cond > BV_ROWS_OF(row->cond) || (row->flags & ~BV_MAYBE))
		return -EINVAL;
	if (row->action == BV_ACT_ERRNO ? row->err < 1 || row->err > ERRNO_MAX : row->err != 0)
		return -EINVAL;
	for (size_t i = 0; i < row->n_cond; i++)
		if (!condition_valid(&row->cond[i]))
			return -EINVAL;
	int known = chain_of(r, row->syscall, row->flags & BV_MAYBE, &c);
	if (known <= 0)
		return known;
	if (c->n_rules >= RULE_MAX)
		return -E2BIG;
	struct rule *grown = reallocarray(c->rule, c->n_rules + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	c->rule = grown;
	size_t at = c->n_rules;
	while (at > 0 && grown[at - 1].owner->index > owner->index)
		at--;
	memmove(&grown[at + 1], &grown[at], (c->n_rules - at) * sizeof(*grown));
	grown[at] = (struct rule){*row, owner};
	c->n_rules++;
	return 0;
}

int router_deny(struct router *r, struct bv_self *owner, const char *syscall, int err)
{
	struct chain *c;
	err = err < 0 ? -err : err;
	if (err < 1 || err > ERRNO_MAX)
		return -EINVAL;
	int known = chain_of(r, syscall, false, &c);
	if (known <= 0)
		return known;
	/* Of several denials the one earliest in the ini's order gives the errno. */
	if (!c->deny_err || c->denier->index > owner->index) {
		c->deny_err = (uint16_t)err;
		c->denier = owner;
	}
	return 0;
}

static const char *name_of(const struct bv_self *owner)
{
	return owner && owner->desc ? owner->desc->name : "core";
}

static void warn_conflicts(const struct chain *c, int nr)
{
	const char *name = names_name(nr);
	for (size_t i = 0; c->deny_err && i < c->n_routes; i++)
		if (c->route[i].phase == BV_SERVE || c->route[i].phase == BV_FALLBACK)
			log_line(BV_LOG_WARN, "router", "%s: denied by module %s; the handler of module %s is not used",
				 name, name_of(c->denier), name_of(c->route[i].owner));
	for (size_t i = 0; !c->n_routes && !c->deny_err && i < c->n_rules; i++)
		if (c->rule[i].row.action == BV_ACT_TRAP)
			log_line(BV_LOG_WARN, "router", "%s: a rule of module %s traps it, but no module handles it",
				 name, name_of(c->rule[i].owner));
}

/* One line for the calls that pass only because nobody thought of them. */
static void warn_unguarded(const struct router *r)
{
	bv_autostrbuf struct strbuf names = {0};
	for (int nr = 0; nr <= r->max; nr++) {
		const struct chain *c = &r->chain[nr];
		if (c->pass && c->pass->guarded && !c->n_routes && !c->n_rules && !c->deny_err)
			strbuf_printf(&names, "%s%s", names.len ? ", " : "", c->pass->name);
	}
	if (names.len)
		log_line(BV_LOG_WARN, "router", "no module limits what these may do: %s", names.data);
}

int router_freeze(struct router *r)
{
	for (int nr = 0; nr <= r->max; nr++) {
		struct chain *c = &r->chain[nr];
		for (size_t i = 0; i < c->n_routes; i++)
			c->route[i].self = c->route[i].owner->state;
		if (c->n_rules && !c->rule_view) {
			c->rule_view = calloc(c->n_rules, sizeof(c->rule_view[0]));
			if (!c->rule_view)
				return -ENOMEM;
			for (size_t i = 0; i < c->n_rules; i++)
				c->rule_view[i] = &c->rule[i].row;
		}
		warn_conflicts(c, nr);
	}
	warn_unguarded(r);
	r->frozen = true;
	return 0;
}

static void complain(struct chain *c, uint8_t what, int nr, const struct route *by, const char *text)
{
	if (c->complained & what)
		return;
	c->complained |= what;
	log_line(by ? BV_LOG_ERROR : BV_LOG_WARN, by ? name_of(by->owner) : "router", "%s: %s", names_name(nr), text);
}

/*
 * What a verdict means in a phase.  A module that breaks its phase's rule cannot be trusted with
 * this call, so the call is refused; a deferred one cannot be taken back, its answer stands.
 */
static enum bv_verdict judge(struct router *r, struct chain *c, const struct route *route, int nr, struct bv_call *call,
			     enum bv_verdict v, enum bv_verdict (*reply)(struct bv_call *, int64_t))
{
	uint8_t said = 0;
	const char *text = NULL;
	if ((unsigned)v > BV_DEFERRED) {
		said = SAID_VERDICT;
		text = "a handler returned an unknown verdict; refused with EPERM";
	} else if (route->phase == BV_GUARD && (v != BV_REPLIED || (r->answered_errno && !r->answered_errno(call)))) {
		said = SAID_GUARD;
		text = v == BV_DEFERRED ? "a guard deferred the call, which is not its place"
					: "a guard let the call succeed, which is not its place; refused with EPERM";
	} else if (route->phase == BV_OBSERVE) {
		said = SAID_OBSERVER;
		text = v == BV_DEFERRED ? "an observer deferred the call, which is not its place"
					: "an observer answered the call, which is not its place; refused with EPERM";
	}
	if (!text)
		return v;
	complain(c, said, nr, route, text);
	return v == BV_DEFERRED ? v : reply(call, -EPERM);
}

enum bv_verdict router_dispatch(struct router *r, int nr, struct bv_call *call,
				enum bv_verdict (*reply)(struct bv_call *, int64_t))
{
	if (nr < 0 || nr > r->max)
		return reply(call, -ENOSYS);
	struct chain *c = &r->chain[nr];
	for (size_t i = 0; i < c->n_routes; i++) {
		const struct route *route = &c->route[i];
		enum bv_verdict v = route->fn(route->self, call);
		if (v != BV_PASS)
			return judge(r, c, route, nr, call, v, reply);
	}
	if (names_name(nr))
		complain(c, SAID_UNANSWERED, nr, NULL, "no module answered; the guest gets ENOSYS");
	return reply(call, -ENOSYS);
}

struct verdict router_default(const struct router *r, int nr)
{
	if (nr < 0 || nr > r->max || !names_name(nr))
		return (struct verdict){KIND_ERRNO, ENOSYS};
	const struct chain *c = &r->chain[nr];
	if (c->deny_err)
		return (struct verdict){KIND_ERRNO, c->deny_err};
	if (c->n_routes)
		return (struct verdict){KIND_TRAP, 0};
	if (c->pass || !r->unrouted)
		return (struct verdict){KIND_ALLOW, 0};
	return (struct verdict){KIND_ERRNO, r->unrouted};
}

size_t router_active_rules(const struct router *r, int nr, const struct bv_rule *const **rules)
{
	if (nr < 0 || nr > r->max || r->chain[nr].deny_err)
		return 0;
	*rules = r->chain[nr].rule_view;
	return r->chain[nr].n_rules;
}

static bool holds(const struct bv_cond *cond, const uint64_t arg[6])
{
	uint64_t mask = cond->wide ? cond->mask : (uint32_t)cond->mask;
	uint64_t a = arg[cond->index] & mask, b = cond->wide ? cond->value : (uint32_t)cond->value;

	switch (cond->op) {
	case BV_EQ:
		return a == b;
	case BV_NE:
		return a != b;
	case BV_LT:
		return a < b;
	case BV_LE:
		return a <= b;
	case BV_GE:
		return a >= b;
	default: /* BV_GT */
		return a > b;
	}
}

int router_refused(const struct router *r, int nr, const uint64_t arg[6], const char **owner)
{
	if (nr < 0 || nr > r->max)
		return 0;
	const struct chain *c = &r->chain[nr];
	*owner = name_of(c->denier);
	if (c->deny_err)
		return c->deny_err;
	for (size_t i = 0; i < c->n_rules; i++) {
		const struct bv_rule *row = &c->rule[i].row;
		size_t k = 0;

		while (k < row->n_cond && holds(&row->cond[k], arg))
			k++;
		if (k < row->n_cond)
			continue;
		*owner = name_of(c->rule[i].owner);
		return row->action == BV_ACT_ERRNO ? row->err : 0;
	}
	struct verdict v = router_default(r, nr);
	return v.kind == KIND_ERRNO ? v.err : 0;
}

/* A call that nobody handles and whose first unconditional rule refuses it, before any that lets
 * it through, is blocked in the ledger's eyes. */
static const struct rule *refusing_rule(const struct chain *c)
{
	for (size_t i = 0; i < c->n_rules; i++) {
		if (c->rule[i].row.action != BV_ACT_ERRNO)
			return NULL;
		if (!c->rule[i].row.n_cond)
			return &c->rule[i];
	}
	return NULL;
}

enum disposition router_disposition(const struct router *r, int nr, const char **owner, int *err)
{
	*owner = "core";
	*err = 0;
	if (nr < 0 || nr > r->max || !names_name(nr)) {
		*err = ENOSYS;
		return DISP_UNKNOWN;
	}
	const struct chain *c = &r->chain[nr];
	const struct rule *refusing = refusing_rule(c);
	if (c->deny_err || refusing) {
		*owner = name_of(c->deny_err ? c->denier : refusing->owner);
		*err = c->deny_err ? c->deny_err : refusing->row.err;
		return DISP_BLOCKED;
	}
	if (c->n_routes) {
		/* The owner is who answers: the first that serves, else the first in the chain. */
		const struct route *by = &c->route[0];
		for (size_t i = 0; i < c->n_routes && by->phase < BV_SERVE; i++)
			if (c->route[i].phase >= BV_SERVE)
				by = &c->route[i];
		*owner = name_of(by->owner);
		return DISP_VIRTUAL;
	}
	/* Where an unconditional rule ends the list, the default is never asked. */
	for (size_t i = 0; i < c->n_rules; i++)
		if (!c->rule[i].row.n_cond && c->rule[i].row.action == BV_ACT_ALLOW) {
			*owner = name_of(c->rule[i].owner);
			return DISP_PASS;
		}
	struct verdict v = router_default(r, nr);
	*err = v.err;
	return v.kind == KIND_ALLOW ? DISP_PASS : DISP_BLOCKED;
}

size_t router_chain(const struct router *r, int nr, const struct route **chain)
{
	if (nr < 0 || nr > r->max)
		return 0;
	*chain = r->chain[nr].route;
	return r->chain[nr].n_routes;
}

size_t router_rules(const struct router *r, int nr, const struct bv_rule **rules, size_t cap)
{
	if (nr < 0 || nr > r->max)
		return 0;
	size_t n = r->chain[nr].n_rules;
	for (size_t i = 0; i < n && i < cap; i++)
		rules[i] = &r->chain[nr].rule[i].row;
	return n;
}

void router_set_probe(struct router *r, bool (*answered_errno)(const struct bv_call *call))
{
	r->answered_errno = answered_errno;
}

void router_audit(struct router *r)
{
	r->audited = true;
}

bool router_audited(const struct router *r)
{
	return r->audited;
}

bool router_is_refusal(int err)
{
	return err == EPERM || err == EACCES;
}

void router_free(struct router *r)
{
	if (!r)
		return;
	for (int nr = 0; nr <= r->max; nr++) {
		free(r->chain[nr].route);
		free(r->chain[nr].rule);
		free(r->chain[nr].rule_view);
	}
	free(r);
}
