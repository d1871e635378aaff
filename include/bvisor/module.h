/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_MODULE_H
#define BVISOR_MODULE_H
/* What a module is: one const symbol, `bvisor_module`, all data.  Stable since 1.0. */
#include <bvisor/abi.h>
#include <bvisor/call.h>
#include <bvisor/host.h>
#include <bvisor/option.h>

/* A service this module uses: name, major that must match, lowest minor. */
struct bv_need {
	const char *service;
	uint16_t major, minor;
	uint16_t optional; /* 1: service() may return NULL */
	uint16_t zero;
};

struct bv_module {
	struct bv_head head; /* BV_HEAD(MODULE, struct bv_module) */
	const char *name;    /* = ini section = log topic */
	const char *version;
	const struct bv_need *needs;       /* n_needs rows */
	const char *const *provides;       /* NULL-terminated service names, or NULL */
	const struct bv_option *options;   /* n_options rows */
	const struct bv_handler *handlers; /* n_handlers rows */
	const struct bv_rule *rules;       /* n_rules rows */
	uint32_t n_needs, n_options, n_handlers, n_rules;
	uint32_t need_size, option_size, handler_size, rule_size; /* strides: rows may grow too */
	uint32_t conf_size;
	uint32_t zero;
	/*
	 * All on the loop thread.  init: needed services are already initialised; store the
	 * module's state in *self; 0 or -errno (call host->fail first).  conf is borrowed until
	 * after fini.  Runs before the guest; may block briefly.
	 */
	int (*init)(struct bv_self *host_self, const struct bv_host *host, const void *conf, void **self);
	void (*fini)(void *self);                                                /* may be NULL */
	int (*task_new)(void *self, struct bv_task *parent, struct bv_task *child); /* parent may be NULL */
	void (*task_exec)(void *self, struct bv_task *task); /* lazily, at the first trapped call after exec */
	void (*task_exit)(void *self, struct bv_task *task); /* once; its memory is gone */
};

#define BV_MODULE_EXPORT __attribute__((visibility("default")))
#define BV_ROWS(a) (uint32_t)(sizeof(a) / sizeof((a)[0]))

#endif
