/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNIT_BPF_H
#define UNIT_BPF_H
/* A seccomp program interpreted, and what the routes mean, evaluated directly. */
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>

#include "arch/audit.h"
#include "router.h"

static inline uint32_t bpf_run(const struct sock_fprog *p, const struct seccomp_data *d)
{
	uint32_t a = 0;
	for (size_t pc = 0; pc < p->len; pc++) {
		const struct sock_filter *i = &p->filter[pc];
		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			cr_assert(i->k % 4 == 0 && i->k < sizeof(*d), "load at %u", i->k);
			memcpy(&a, (const char *)d + i->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			pc += a & i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			cr_assert_fail("instruction 0x%x", i->code);
		}
	}
	cr_assert_fail("ran off the end");
	return 0;
}

static inline bool model_holds(const struct bv_cond *c, const uint64_t arg[6])
{
	uint64_t a = arg[c->index] & c->mask, v = c->value;
	if (!c->wide) {
		a = (uint32_t)a;
		v = (uint32_t)v;
	}
	switch (c->op) {
	case BV_EQ:
		return a == v;
	case BV_NE:
		return a != v;
	case BV_LT:
		return a < v;
	case BV_LE:
		return a <= v;
	case BV_GT:
		return a > v;
	default:
		return a >= v;
	}
}

static inline uint32_t model_return(enum bv_action action, int err)
{
	return action == BV_ACT_ALLOW  ? SECCOMP_RET_ALLOW
	       : action == BV_ACT_TRAP ? SECCOMP_RET_USER_NOTIF
				       : SECCOMP_RET_ERRNO | (uint32_t)err;
}

/* First match wins; then the default. */
static inline uint32_t model_run(const struct router *r, const struct seccomp_data *d)
{
	if (d->arch != FILTER_AUDIT_ARCH)
		return SECCOMP_RET_ERRNO | ENOSYS;
	const struct bv_rule *const *rule;
	uint64_t arg[6];
	memcpy(arg, d->args, sizeof(arg));
	size_t n = router_active_rules(r, d->nr, &rule);
	for (size_t i = 0; i < n; i++) {
		size_t k = 0;
		while (k < rule[i]->n_cond && model_holds(&rule[i]->cond[k], arg))
			k++;
		if (k == rule[i]->n_cond)
			return model_return(rule[i]->action, rule[i]->err);
	}
	struct verdict v = router_default(r, d->nr);
	return v.kind == KIND_ALLOW  ? SECCOMP_RET_ALLOW
	       : v.kind == KIND_TRAP ? SECCOMP_RET_USER_NOTIF
				     : SECCOMP_RET_ERRNO | (uint32_t)v.err;
}

/* Calls check(data) for every interesting argument vector of a call: each condition of each rule
 * met and missed by little, in both halves, alone and with all the rule's other conditions met. */
static inline void each_vector(const struct router *r, struct seccomp_data *d,
			       void (*check)(const struct seccomp_data *, void *), void *arg)
{
	static const uint64_t edges[] = {
		0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0xdeadbeef00000000, 0x8000000000000000, ~0ull};
	const struct bv_rule *const *rule;
	size_t n = router_active_rules(r, d->nr, &rule);
	for (size_t e = 0; e < sizeof(edges) / sizeof(edges[0]); e++) {
		for (int i = 0; i < 6; i++)
			d->args[i] = edges[e];
		check(d, arg);
	}
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < rule[i]->n_cond; k++) {
			const struct bv_cond *c = &rule[i]->cond[k];
			const uint64_t v = c->value, near[] = {v,
							       v + 1,
							       v - 1,
							       v | ~c->mask,
							       v ^ c->mask,
							       v ^ (c->mask & -c->mask),
							       (uint32_t)v,
							       (uint32_t)v | 0xabcdef0100000000,
							       v + 0x100000000,
							       v - 0x100000000,
							       ~v};
			for (size_t x = 0; x < sizeof(near) / sizeof(near[0]); x++) {
				for (int a = 0; a < 6; a++)
					d->args[a] = 0;
				for (size_t o = 0; o < rule[i]->n_cond; o++) {
					const struct bv_cond *other = &rule[i]->cond[o];
					uint64_t met = other->value + (other->op == BV_GT || other->op == BV_NE) -
						       (other->op == BV_LT);
					d->args[other->index] = met;
				}
				d->args[c->index] = near[x];
				check(d, arg);
			}
		}
}

#endif
