/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_ABI_H
#define BVISOR_ABI_H
/*
 * The frozen part of the module border: the head that opens every struct which crosses it, the
 * version rule and the small enums that all other headers share.  Stable since 1.0.
 *
 * Version rule (the kernel's extensible-struct rule, see openat2(2) "Extensibility"): major must
 * match; a module's minor must not exceed the host's; a struct shorter than the reader expects
 * is zero-filled; a longer one is accepted only if the surplus bytes are zero.
 */
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define BV_ABI_MAJOR 1
#define BV_ABI_MINOR 0

#define BV_MAGIC(a, b, c, d)                                                                     \
	((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define BV_MAGIC_MODULE BV_MAGIC('B', 'v', 'M', 'o')
#define BV_MAGIC_HOST BV_MAGIC('B', 'v', 'H', 'o')
#define BV_MAGIC_CALL BV_MAGIC('B', 'v', 'C', 'a')
#define BV_MAGIC_SERVICE BV_MAGIC('B', 'v', 'S', 'v')

/* Opens every struct that crosses the border.  Its own layout never changes.  Since 1.0. */
struct bv_head {
	uint32_t magic;        /* which kind of struct, BV_MAGIC_* */
	uint16_t major, minor; /* the LOWEST version its author needs */
	uint32_t size;         /* whole struct, head included, in bytes */
	uint32_t zero;         /* must be 0; checked, so that it can be used one day */
};

#define BV_HEAD(kind, T)                                                                         \
	{                                                                                        \
		BV_MAGIC_##kind, BV_ABI_MAJOR, 0, (uint32_t)sizeof(T), 0                         \
	}

/* True when *p, made by a possibly older author, has member f and it is not NULL. */
#define BV_HAS(T, p, f) ((p)->head.size >= offsetof(T, f) + sizeof((p)->f) && (p)->f != NULL)

/* What a handler says of a call.  Since 1.0. */
enum bv_verdict {
	BV_PASS = 0,     /* not mine: ask the next handler */
	BV_REPLIED = 1,  /* a value, an errno or an fd has been set with reply*() */
	BV_CONTINUE = 2, /* the host kernel runs the call unchanged; never because of pointed-to data */
	BV_DEFERRED = 3, /* defer() or redirect() took it; exactly one answer will follow */
};

/*
 * When a handler is asked, in this order; ties by the ini's module order, then table order.  The
 * router enforces: a guard may only pass or reply with an errno, an observer may only pass.
 */
enum bv_phase { BV_GUARD = 0, BV_OBSERVE = 1, BV_SERVE = 2, BV_FALLBACK = 3 };

struct bv_self; /* the host's record of one loaded module: opaque, passed back to the host */
struct bv_task; /* one guest process (thread group): opaque, see task.h */

#endif
