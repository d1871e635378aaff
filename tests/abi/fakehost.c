/* SPDX-License-Identifier: Apache-2.0 */
/* The fake host of sdk/module, where the template does not use it: descriptors that the loop looks at. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fakehost.h"

#define CHECK(c)                                                                        \
	do {                                                                            \
		if (!(c)) {                                                             \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #c); \
			exit(1);                                                        \
		}                                                                       \
	} while (0)

struct state {
	const struct bv_host *host;
	struct bv_self *self;
	int fd;
	uint64_t seen;
};

static void readable(void *self)
{
	struct state *s = self;
	uint64_t n = 0;

	CHECK(read(s->fd, &n, sizeof(n)) == sizeof(n));
	s->seen += n;
}

/* uname(2) starts looking, and says what was seen; sysinfo(2) stops. */
BV_SYSCALL(uname)
{
	struct state *s = self;

	CHECK(s->host->on_readable(s->self, s->fd, readable) == 0);
	return s->host->reply(call, (int64_t)s->seen);
}

BV_SYSCALL(sysinfo)
{
	struct state *s = self;

	CHECK(s->host->on_readable(s->self, s->fd, NULL) == 0);
	return s->host->reply(call, s->fd);
}

static const struct bv_handler handlers[] = {BV_ON(uname, BV_SERVE), BV_ON(sysinfo, BV_SERVE)};

static int init(struct bv_self *self, const struct bv_host *host, const void *conf, void **out)
{
	struct state *s = calloc(1, sizeof(*s));

	(void)conf;
	CHECK(s && BV_HAS(struct bv_host, host, on_readable));
	*s = (struct state){host, self, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), 0};
	*out = s;
	return 0;
}

static void fini(void *self)
{
	close(((struct state *)self)->fd);
	free(self);
}

static const struct bv_module module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "looker",
	.version = "1",
	.handlers = handlers,
	.n_handlers = BV_ROWS(handlers),
	.handler_size = sizeof(struct bv_handler),
	.init = init,
	.fini = fini,
};

int main(void)
{
	const char *const none[] = {NULL};
	const uint64_t arg[6] = {0}, three = 3;
	struct fake *f;
	char why[256];

	CHECK(fake_start(&f, &module, none, why, sizeof(why)) == 0);
	CHECK(!fake_look(f));
	CHECK(fake_call(f, 1, "uname", arg).value == 0);
	CHECK(!fake_look(f)); /* nothing to read yet */
	int fd = (int)fake_call(f, 1, "sysinfo", arg).value;
	CHECK(fake_call(f, 1, "uname", arg).value == 0);
	CHECK(write(fd, &three, sizeof(three)) == sizeof(three));
	CHECK(fake_look(f) && !fake_look(f));
	CHECK(fake_call(f, 1, "uname", arg).value == 3);
	CHECK(fake_call(f, 1, "sysinfo", arg).value == fd);
	CHECK(write(fd, &three, sizeof(three)) == sizeof(three));
	CHECK(!fake_look(f)); /* nobody wants to know any more */
	fake_stop(f);
	return 0;
}
