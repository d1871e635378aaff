/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compiles the routes into a seccomp filter: a check of the architecture word, a balanced binary
 * tree over ranges of equal fate, and for calls with rules a block that tries them in order.
 * Fails when the program would exceed what the kernel takes; it never drops a rule.
 *
 * Code is emitted from its end to its beginning.  BPF jumps only go forward, so every target is
 * known when a jump to it is made, and returns can be shared while they are within reach.
 * x32 calls (bit 30 of the number) and -1 are larger than every number known, as the kernel
 * compares unsigned, and so end in the tree's last range: ENOSYS.
 */
#include <cleanup.h>
#include <errno.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>

#include "arch/audit.h"
#include "router.h"

#define JUMP_MAX 255u /* jt and jf are bytes */

typedef size_t label;

/* Instructions in reverse; a label is the number of instructions from the end. */
struct code {
	size_t n;
	bool full, audited;
	/* The latest return of each value: there are few, and most leaves share one. */
	struct {
		uint32_t value;
		label at;
	} given[16];
	size_t n_given;
	struct sock_filter insn[BPF_MAXINSNS];
};

struct range {
	uint32_t from;
	struct verdict verdict;
	const struct bv_rule *const *rules;
	size_t n_rules;
};

static label emit(struct code *c, uint16_t op, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (c->n == BPF_MAXINSNS)
		c->full = true;
	else
		c->insn[c->n++] = (struct sock_filter){op, jt, jf, k};
	return c->n;
}

/* How far the next instruction would jump to reach a label. */
static size_t distance(const struct code *c, label to)
{
	return c->n - to;
}

/* A label within a byte's reach of an instruction emitted `ahead` instructions from now. */
static label near(struct code *c, label to, size_t ahead)
{
	if (distance(c, to) + ahead <= JUMP_MAX)
		return to;
	return emit(c, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(c, to));
}

/* if (A op k) goto yes; else goto no; */
static label branch(struct code *c, uint16_t op, uint32_t k, label yes, label no)
{
	yes = near(c, yes, 1);
	no = near(c, no, 0);
	return emit(c, BPF_JMP | op | BPF_K, (uint8_t)distance(c, yes), (uint8_t)distance(c, no), k);
}

static uint32_t return_value(struct verdict v, bool audited)
{
	switch (v.kind) {
	case KIND_ALLOW:
		return SECCOMP_RET_ALLOW;
	case KIND_TRAP:
		return SECCOMP_RET_USER_NOTIF;
	case KIND_ERRNO:
		if (audited && router_is_refusal(v.err))
			return SECCOMP_RET_USER_NOTIF; /* told first, then refused (router_refused()) */
		break;
	}
	return SECCOMP_RET_ERRNO | ((uint32_t)v.err & SECCOMP_RET_DATA);
}

/* A return of this value: one near enough, or a new one. */
static label give(struct code *c, uint32_t value)
{
	size_t i = 0;
	while (i < c->n_given && c->given[i].value != value)
		i++;
	if (i < c->n_given && distance(c, c->given[i].at) < JUMP_MAX / 2)
		return c->given[i].at;
	label at = emit(c, BPF_RET | BPF_K, 0, 0, value);
	if (i == c->n_given && c->n_given < sizeof(c->given) / sizeof(c->given[0]))
		c->n_given++;
	if (i < c->n_given) {
		c->given[i].value = value;
		c->given[i].at = at;
	}
	return at;
}

/* A = half of an argument, masked. */
static label load_half(struct code *c, unsigned index, bool high, uint32_t mask)
{
	if (mask != UINT32_MAX)
		emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
	size_t offset = offsetof(struct seccomp_data, args) + index * sizeof(uint64_t) + (high ? 4 : 0);
	return emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

static label compare32(struct code *c, uint8_t op, uint32_t k, label yes, label no)
{
	switch (op) {
	case BV_EQ:
		return branch(c, BPF_JEQ, k, yes, no);
	case BV_NE:
		return branch(c, BPF_JEQ, k, no, yes);
	case BV_LT:
		return branch(c, BPF_JGE, k, no, yes);
	case BV_GE:
		return branch(c, BPF_JGE, k, yes, no);
	case BV_LE:
		return branch(c, BPF_JGT, k, no, yes);
	default: /* BV_GT */
		return branch(c, BPF_JGT, k, yes, no);
	}
}

static label condition(struct code *c, const struct bv_cond *cond, label yes, label no)
{
	uint32_t low = (uint32_t)cond->value, high = (uint32_t)(cond->value >> 32);
	uint32_t mask_low = (uint32_t)cond->mask, mask_high = (uint32_t)(cond->mask >> 32);
	compare32(c, cond->op, low, yes, no);
	label at = load_half(c, cond->index, false, mask_low);
	if (!cond->wide)
		return at;
	/* The high half decides unless it is equal; then the low half does, by the code above. */
	switch (cond->op) {
	case BV_EQ:
		branch(c, BPF_JEQ, high, at, no);
		break;
	case BV_NE:
		branch(c, BPF_JEQ, high, at, yes);
		break;
	case BV_LT:
	case BV_LE:
		branch(c, BPF_JEQ, high, at, yes);
		branch(c, BPF_JGT, high, no, c->n);
		break;
	default: /* BV_GT, BV_GE */
		branch(c, BPF_JEQ, high, at, no);
		branch(c, BPF_JGT, high, yes, c->n);
		break;
	}
	return load_half(c, cond->index, true, mask_high);
}

static label leaf(struct code *c, const struct range *range)
{
	label next = give(c, return_value(range->verdict, c->audited));
	for (size_t i = range->n_rules; i-- > 0;) {
		const struct bv_rule *rule = range->rules[i];
		static const enum verdict_kind kind[] = {
			[BV_ACT_ALLOW] = KIND_ALLOW, [BV_ACT_ERRNO] = KIND_ERRNO, [BV_ACT_TRAP] = KIND_TRAP};
		label then = give(c, return_value((struct verdict){kind[rule->action], rule->err},
		                                  c->audited));
		for (size_t k = rule->n_cond; k-- > 0;)
			then = condition(c, &rule->cond[k], then, next);
		next = then;
	}
	return next;
}

static label tree(struct code *c, const struct range *range, size_t n)
{
	if (n == 1)
		return leaf(c, range);
	size_t half = n / 2;
	label right = tree(c, range + half, n - half);
	label left = tree(c, range, half);
	return branch(c, BPF_JGE, range[half].from, right, left);
}

static bool same_fate(const struct range *a, const struct range *b)
{
	return !a->n_rules && !b->n_rules &&
	       return_value(a->verdict, false) == return_value(b->verdict, false);
}

int filter_compile(const struct router *r, struct sock_fprog *out)
{
	int max = names_max();
	bv_autofree struct range *range = calloc((size_t)max + 2, sizeof(*range));
	bv_autofree struct code *c = malloc(sizeof(*c));
	if (!range || !c)
		return -ENOMEM;
	c->n = c->n_given = 0;
	c->full = false;
	c->audited = router_audited(r);
	size_t n = 0;
	/* One past the highest: everything from there on. */
	for (int nr = 0; nr <= max + 1; nr++) {
		struct range next = {.from = (uint32_t)nr, .verdict = router_default(r, nr)};
		next.n_rules = router_active_rules(r, nr, &next.rules);
		if (!n || !same_fate(&range[n - 1], &next))
			range[n++] = next;
	}
	label foreign = give(c, return_value((struct verdict){KIND_ERRNO, ENOSYS}, false));
	label native = tree(c, range, n);
	if (native != c->n)
		emit(c, BPF_JMP | BPF_JA, 0, 0, (uint32_t)distance(c, native));
	emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	branch(c, BPF_JEQ, FILTER_AUDIT_ARCH, c->n, foreign);
	emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	if (c->full)
		return -E2BIG;
	struct sock_filter *program = calloc(c->n, sizeof(*program));
	if (!program)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++)
		program[i] = c->insn[c->n - 1 - i];
	*out = (struct sock_fprog){(unsigned short)c->n, program};
	return 0;
}
