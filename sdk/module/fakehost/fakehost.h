/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_FAKEHOST_H
#define BVISOR_FAKEHOST_H
/*
 * A host for unit tests: it loads one module's descriptor in the test's own process and calls its
 * handlers.  Guest memory is the test's own memory, read and written through process_vm_readv(2),
 * so that a bad pointer gives -EFAULT as it would in a sandbox.  One thread; deferred work runs at
 * once.  Copy it with your module; it is no part of the ABI.
 */
#include <bvisor/module.h>

struct fake;

/* What a handler answered. */
struct fake_answer {
	enum bv_verdict verdict;
	int64_t value; /* BV_REPLIED: the value or -errno; for an fd its number */
	int is_fd;     /* value is a descriptor that the test now owns */
};

/*
 * Starts the module with settings ("key=value", NULL-terminated array; NULL for all defaults).
 * *out is owned by the caller, fake_stop() frees it.  0; -errno with the reason in why (of size
 * bytes): what the module told host->fail, or an unknown key or bad value.
 */
int fake_start(struct fake **out, const struct bv_module *module, const char *const *settings, char *why, size_t size);
/* A service that the module needs, made by the test. */
struct fake_service {
	const char *name;
	const struct bv_head *ops;
};
/* The same as fake_start with services (terminated by a NULL name). */
int fake_start_with(struct fake **out, const struct bv_module *module, const char *const *settings,
                    const struct fake_service *services, char *why, size_t size);
/* Makes a call as guest process `pid` (any number; each has its own slot).  Every handler of that
 * name is asked in phase order.  BV_PASS when nobody took it. */
struct fake_answer fake_call(struct fake *f, int pid, const char *name, const uint64_t arg[6]);
/* The guest process ended: runs task_exit. */
void fake_exit(struct fake *f, int pid);
/* A service that the module provided, or NULL. */
const struct bv_head *fake_service(struct fake *f, const char *name);
/* What the module last told host->report: "denied NAME ERRNO WHAT", or "limit ..."; "" before. */
const char *fake_reported(struct fake *f);
/* One turn of the loop: when the descriptor last given to host->on_readable can be read, its function is
 * called.  Was it? */
int fake_look(struct fake *f);
/* Runs fini and frees. NULL is fine. */
void fake_stop(struct fake *f);

#endif
