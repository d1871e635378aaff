/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BLOCKLIST_H
#define BLOCKLIST_H
/* The inner border of the blocklist module. */
#include <bvisor/module.h>

#include "range.h"

struct blocklist_conf {
	struct bv_strings eperm, enosys, ipc, ioctl, ioctl_eperm;
};

struct blocklist {
	const struct bv_host *host;
	struct bv_self *self;
};

/* rules.c: the rules that look at arguments.  0 or -errno, after host->fail for a bad option. */
int rules_register(struct blocklist *m, const struct blocklist_conf *conf);

/* calls.c: what cannot be decided by registers alone. */
#define CALLS_N_HANDLERS 4
extern const struct bv_handler calls_handlers[CALLS_N_HANDLERS];

#endif
