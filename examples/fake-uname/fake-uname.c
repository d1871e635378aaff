/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Example: answers uname(2) with names from the ini.  Shows options, a handler and guest memory.
 *
 *   [core]
 *   modules = /abs/path/fake-uname.so blocklist vfs-cow procns net sysinfo
 *   [fake-uname]
 *   machine = pdp11
 *
 * It stands before sysinfo in `modules`, so within the same phase it is asked first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include <bvisor/module.h>

struct conf {
	const char *sysname, *nodename, *release, *version, *machine;
};

struct fake {
	const struct bv_host *host;
	struct utsname names;
};

#define ROW(key, def, help)                                                                      \
	{                                                                                        \
		#key, BV_OPT_STR, offsetof(struct conf, key), def, NULL, help                    \
	}
static const struct bv_option options[] = {
    ROW(sysname, "Linux", "Name of the operating system."),
    ROW(nodename, "example", "Name of the machine on its network."),
    ROW(release, "6.0.0-fake", "Release of the kernel."),
    ROW(version, "#1 fake-uname", "Build of the kernel."),
    ROW(machine, "x86_64", "Hardware name."),
};

BV_SYSCALL(uname)
{
	struct fake *f = self;

	/* mem_write fails with -EFAULT for a bad pointer, which is what uname(2) gives. */
	return f->host->reply(call, f->host->mem_write(call, call->arg[0], &f->names, sizeof(f->names)));
}

static const struct bv_handler handlers[] = {BV_ON(uname, BV_SERVE)};

static int copy(struct bv_self *me, const struct bv_host *host, char *to, size_t size, const char *key, const char *from)
{
	char why[256];

	if ((size_t)snprintf(to, size, "%s", from) < size)
		return 0;
	snprintf(why, sizeof(why), "%s: %s: at most %zu bytes", host->option_where(me, key), key, size - 1);
	host->fail(me, why);
	return -EINVAL;
}

static int init(struct bv_self *me, const struct bv_host *host, const void *conf, void **self)
{
	const struct conf *c = conf;
	struct fake *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return -ENOMEM;
	f->host = host;
	r = copy(me, host, f->names.sysname, sizeof(f->names.sysname), "sysname", c->sysname);
	if (r == 0)
		r = copy(me, host, f->names.nodename, sizeof(f->names.nodename), "nodename", c->nodename);
	if (r == 0)
		r = copy(me, host, f->names.release, sizeof(f->names.release), "release", c->release);
	if (r == 0)
		r = copy(me, host, f->names.version, sizeof(f->names.version), "version", c->version);
	if (r == 0)
		r = copy(me, host, f->names.machine, sizeof(f->names.machine), "machine", c->machine);
	if (r < 0) {
		free(f);
		return r;
	}
	*self = f;
	return 0;
}

static void fini(void *self)
{
	free(self);
}

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
    .head = BV_HEAD(MODULE, struct bv_module),
    .name = "fake-uname",
    .version = "1.0",
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
};
