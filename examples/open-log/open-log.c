/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Example: an observer that writes every path a guest opens to a file of the host, one line each:
 * pid, call, path.  Shows the observe phase (it may only pass), reading strings, and host files.
 *
 *   [open-log]
 *   file = /var/log/opens.log
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bvisor/module.h>

struct conf {
	const char *file;
};

struct opens {
	const struct bv_host *host;
	int fd;
};

static const struct bv_option options[] = {
    {"file", BV_OPT_STR, offsetof(struct conf, file), "/dev/stderr", NULL,
     "Absolute path of the log; lines are appended."},
};

/* One line; bytes that would break it are written as \xNN, since names may hold any byte but NUL. */
static void record(struct opens *o, struct bv_call *call, const char *path)
{
	char line[4 * PATH_MAX + 64];
	int n = snprintf(line, 64, "%d %s ", o->host->task_pid(call->task), call->name);

	for (const unsigned char *c = (const unsigned char *)path; *c; c++)
		n += sprintf(line + n, *c < ' ' || *c == '\\' || *c == 0x7f ? "\\x%02x" : "%c", *c);
	line[n++] = '\n';
	if (write(o->fd, line, (size_t)n) < 0)
		return; /* a full log must not change what the guest sees */
}

static enum bv_verdict observe(struct opens *o, struct bv_call *call, uint64_t ptr)
{
	char path[PATH_MAX];

	/* A bad pointer is for the serving handler to refuse; there is nothing to log then. */
	if (o->host->mem_read_str(call, path, ptr, sizeof(path)) >= 0)
		record(o, call, path);
	return BV_PASS;
}

BV_SYSCALL(openat)
{
	return observe(self, call, call->arg[1]);
}

BV_SYSCALL(openat2)
{
	return observe(self, call, call->arg[1]);
}

BV_SYSCALL(open)
{
	return observe(self, call, call->arg[0]);
}

BV_SYSCALL(creat)
{
	return observe(self, call, call->arg[0]);
}

static const struct bv_handler handlers[] = {
    BV_ON(openat, BV_OBSERVE),
    BV_ON(openat2, BV_OBSERVE),
    BV_ON(open, BV_OBSERVE), /* not on every architecture: skipped there */
    BV_ON(creat, BV_OBSERVE),
};

static int init(struct bv_self *me, const struct bv_host *host, const void *conf, void **self)
{
	const struct conf *c = conf;
	struct opens *o = calloc(1, sizeof(*o));
	char why[512];

	if (!o)
		return -ENOMEM;
	o->host = host;
	o->fd = c->file[0] == '/' ? open(c->file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600) : -1;
	if (o->fd < 0) {
		snprintf(why, sizeof(why), "%s: file = %.200s: %s", host->option_where(me, "file"), c->file,
		         c->file[0] == '/' ? strerror(errno) : "is no absolute path");
		host->fail(me, why);
		free(o);
		return -EINVAL;
	}
	*self = o;
	return 0;
}

static void fini(void *self)
{
	struct opens *o = self;

	if (o)
		close(o->fd);
	free(o);
}

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
    .head = BV_HEAD(MODULE, struct bv_module),
    .name = "open-log",
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
