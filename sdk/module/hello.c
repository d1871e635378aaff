/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The template: a whole module in one file.  It changes what a guest sees of sysinfo(2)'s uptime
 * and keeps a count of calls per process.  Replace it with your own; docs/module-author.md goes
 * through it line by line.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include <bvisor/module.h>

/* What the host fills from the module's ini section. */
struct conf {
	int64_t uptime; /* seconds */
	int64_t limit;  /* calls a process may make; 0: any number */
};

/* Your state: whatever init stores, every handler gets as `self`. */
struct hello {
	struct bv_self *me;
	const struct bv_host *host;
	const struct conf *conf;
};

static const struct bv_option options[] = {
    {"uptime", BV_OPT_INT, offsetof(struct conf, uptime), "42", NULL, "Uptime that guests see, in seconds."},
    {"limit", BV_OPT_INT, offsetof(struct conf, limit), "0", NULL,
     "How often one process may ask; then EPERM. 0 is any number."},
};

BV_SYSCALL(sysinfo)
{
	struct hello *h = self;
	struct sysinfo info = {.uptime = h->conf->uptime, .mem_unit = 1};
	/* Per-process state lives in the slot; task_exit below forgets it. */
	void **slot = h->host->slot(call->task, h->me);
	uintptr_t calls = (uintptr_t)*slot + 1;

	*slot = (void *)calls;
	if (h->conf->limit > 0 && calls > (uintptr_t)h->conf->limit)
		return h->host->reply(call, -EPERM);
	return h->host->reply(call, h->host->mem_write(call, call->arg[0], &info, sizeof(info)));
}

static const struct bv_handler handlers[] = {BV_ON(sysinfo, BV_SERVE)};

static int init(struct bv_self *me, const struct bv_host *host, const void *conf, void **self)
{
	struct hello *h = calloc(1, sizeof(*h));

	if (!h)
		return -ENOMEM;
	h->me = me;
	h->host = host;
	h->conf = conf;
	*self = h;
	host->log(me, BV_LOG_DEBUG, "ready");
	return 0;
}

static void fini(void *self)
{
	free(self);
}

static void task_exit(void *self, struct bv_task *task)
{
	struct hello *h = self;

	*h->host->slot(task, h->me) = NULL; /* nothing was allocated; otherwise free it here */
}

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
    .head = BV_HEAD(MODULE, struct bv_module),
    .name = "hello",
    .version = "0.1.0",
    .options = options,
    .n_options = BV_ROWS(options),
    .handlers = handlers,
    .n_handlers = BV_ROWS(handlers),
    .need_size = sizeof(struct bv_need),
    .option_size = sizeof(struct bv_option),
    .handler_size = sizeof(struct bv_handler),
    .rule_size = sizeof(struct bv_rule),
    .conf_size = sizeof(struct conf),
    .init = init,
    .fini = fini,
    .task_exit = task_exit,
};
