/* SPDX-License-Identifier: Apache-2.0 */
#include "fakehost.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_TASKS 64
#define MAX_SERVICES 16

struct bv_task {
	int pid;
	void *slot;
};

struct bv_self {
	struct fake *fake;
};

struct fake {
	const struct bv_module *module;
	struct bv_self self;
	void *state, *conf;
	struct bv_task task[MAX_TASKS];
	struct fake_service offered[MAX_SERVICES], provided[MAX_SERVICES];
	struct bv_handler extra[MAX_TASKS]; /* added by host->route */
	size_t n_extra;
	char fail[512], reported[512];
	char *strings[256]; /* owned option values */
	size_t n_strings;
	int proc_fd; /* what host->proc_fd() lent last, or -1 */
	int watched; /* what host->on_readable() was given, with its function */
	void (*readable)(void *self);
};

/* The call that a handler sees, with room for the answer behind it. */
struct pending {
	struct bv_call call;
	struct fake *fake;
	struct fake_answer answer;
};

static struct pending *pending(struct bv_call *call)
{
	return (struct pending *)call;
}

static int move(void *local, uint64_t remote, size_t n, int write)
{
	struct iovec mine = {local, n}, theirs = {(void *)(uintptr_t)remote, n};
	ssize_t r = !n ? 0
	            : write ? process_vm_writev(getpid(), &mine, 1, &theirs, 1, 0)
	                    : process_vm_readv(getpid(), &mine, 1, &theirs, 1, 0);

	return r == (ssize_t)n ? 0 : -EFAULT;
}

static int mem_read(struct bv_call *call, void *to, uint64_t from, size_t n)
{
	(void)call;
	return move(to, from, n, 0);
}

static int mem_write(struct bv_call *call, uint64_t to, const void *from, size_t n)
{
	(void)call;
	return move((void *)(uintptr_t)from, to, n, 1);
}

static ssize_t mem_read_str(struct bv_call *call, char *to, uint64_t from, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		int r = mem_read(call, to + i, from + i, 1);

		if (r < 0)
			return r;
		if (!to[i])
			return (ssize_t)i;
	}
	return -ENAMETOOLONG;
}

static ssize_t mem_gather(struct bv_call *call, void *to, size_t cap, uint64_t iov, uint64_t n_iov)
{
	size_t done = 0;

	if (n_iov > 1024) /* UIO_MAXIOV */
		return -EINVAL;
	for (uint64_t i = 0; i < n_iov && done < cap; i++) {
		struct iovec v;
		int r = mem_read(call, &v, iov + i * sizeof(v), sizeof(v));
		size_t n = v.iov_len < cap - done ? v.iov_len : cap - done;

		if (r == 0)
			r = mem_read(call, (char *)to + done, (uint64_t)(uintptr_t)v.iov_base, n);
		if (r < 0)
			return r;
		done += n;
	}
	return (ssize_t)done;
}

static enum bv_verdict reply(struct bv_call *call, int64_t r)
{
	pending(call)->answer.value = r;
	pending(call)->answer.is_fd = 0;
	return BV_REPLIED;
}

static enum bv_verdict reply_fd(struct bv_call *call, int fd, unsigned flags)
{
	if (!(flags & O_CLOEXEC))
		(void)fcntl(fd, F_SETFD, 0);
	pending(call)->answer.value = fd;
	pending(call)->answer.is_fd = 1;
	return BV_REPLIED;
}

static enum bv_verdict defer(struct bv_call *call, unsigned flags, void (*work)(void *),
                             enum bv_verdict (*done)(struct bv_call *, void *), void *arg)
{
	(void)flags;
	work(arg);
	return done(call, arg);
}

static enum bv_verdict redirect(struct bv_call *call, const struct bv_redirect *r)
{
	(void)call;
	(void)r;
	return BV_DEFERRED;
}

static int get_fd(struct bv_call *call, int fd)
{
	int got = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	(void)call;
	return got < 0 ? -EBADF : got;
}

static int add_fd(struct bv_call *call, int fd, int at, unsigned flags)
{
	int got = at < 0 ? fcntl(fd, F_DUPFD, 3) : dup3(fd, at, (int)(flags & O_CLOEXEC));

	(void)call;
	return got < 0 ? -errno : got;
}

static int32_t task_pid(const struct bv_task *task)
{
	return task->pid;
}

static void **slot(struct bv_task *task, struct bv_self *self)
{
	(void)self;
	return &task->slot;
}

static int is_guest(struct bv_self *self, int32_t pid)
{
	for (size_t i = 0; i < MAX_TASKS; i++)
		if (pid && self->fake->task[i].pid == pid)
			return 1;
	return 0;
}

static int32_t first_pid(struct bv_self *self)
{
	return self->fake->task[0].pid;
}

static int creds(struct bv_call *call, struct bv_creds *out)
{
	(void)call;
	*out = (struct bv_creds){.uid = getuid(), .euid = geteuid(), .fsuid = geteuid(),
	                         .gid = getgid(), .egid = getegid(), .fsgid = getegid()};
	return 0;
}

static int guest_umask(struct bv_call *call)
{
	mode_t mask = umask(0);

	(void)call;
	umask(mask);
	return (int)mask;
}

static int as_guest(struct bv_call *call)
{
	(void)call;
	return 0;
}

static int as_creds(const struct bv_creds *c)
{
	(void)c;
	return 0;
}

static int route(struct bv_self *self, const struct bv_handler *row)
{
	struct fake *f = self->fake;

	if (f->n_extra == MAX_TASKS)
		return -ENOSPC;
	f->extra[f->n_extra++] = *row;
	return 0;
}

static int rule(struct bv_self *self, const struct bv_rule *row)
{
	(void)self;
	return row->n_cond <= 4 ? 0 : -EINVAL;
}

static int deny(struct bv_self *self, const char *syscall, int err)
{
	(void)self;
	return *syscall && err > 0 ? 0 : -EINVAL;
}

static int provide(struct bv_self *self, const char *service, const struct bv_head *ops)
{
	for (size_t i = 0; i < MAX_SERVICES; i++)
		if (!self->fake->provided[i].name) {
			self->fake->provided[i] = (struct fake_service){service, ops};
			return 0;
		}
	return -ENOSPC;
}

static const struct bv_head *find(const struct fake_service *table, const char *name)
{
	for (size_t i = 0; i < MAX_SERVICES && table[i].name; i++)
		if (strcmp(table[i].name, name) == 0)
			return table[i].ops;
	return NULL;
}

static const struct bv_head *service(struct bv_self *self, const char *name)
{
	return find(self->fake->offered, name);
}

static void log_line(struct bv_self *self, int level, const char *text)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	fprintf(stderr, "%s: %s: %s\n", self->fake->module->name, names[level & 3], text);
}

static void fail(struct bv_self *self, const char *text)
{
	snprintf(self->fake->fail, sizeof(self->fake->fail), "%s", text);
}

static int landlock_read(struct bv_self *self, const char *path)
{
	(void)self;
	return path[0] == '/' ? 0 : -EINVAL;
}

static int landlock_write(struct bv_self *self, const char *path, unsigned what)
{
	(void)self;
	return path[0] == '/' && what ? 0 : -EINVAL;
}

static const char *option_where(struct bv_self *self, const char *key)
{
	(void)self;
	(void)key;
	return "test";
}

static unsigned features(struct bv_self *self)
{
	(void)self;
	return BV_FEATURE_LANDLOCK | BV_FEATURE_AUDIT;
}

static void report(struct bv_self *self, struct bv_call *call, unsigned kind, int err,
                   const char *what)
{
	snprintf(self->fake->reported, sizeof(self->fake->reported), "%s %s %d%s%s",
	         kind == BV_REPORT_LIMIT ? "limit" : "denied", call->name, err, what ? " " : "",
	         what ? what : "");
}

static int on_readable(struct bv_self *self, int fd, void (*fn)(void *self))
{
	self->fake->watched = fd;
	self->fake->readable = fn;
	return 0;
}

int fake_look(struct fake *f)
{
	struct pollfd p = {.fd = f->watched, .events = POLLIN};

	if (!f->readable || poll(&p, 1, 0) != 1)
		return 0;
	f->readable(f->state);
	return 1;
}

const char *fake_reported(struct fake *f)
{
	return f->reported;
}

/* Borrowed, as from the real one: kept until the fake is asked for another process. */
static int proc_fd(struct bv_call *call)
{
	struct fake *f = pending(call)->fake;
	char path[32];

	if (f->proc_fd >= 0)
		close(f->proc_fd);
	snprintf(path, sizeof(path), "/proc/%d", (int)call->tid);
	f->proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return f->proc_fd < 0 ? -ESRCH : f->proc_fd;
}

static const struct bv_host host = {
	.head = BV_HEAD(HOST, struct bv_host),
	.mem_read = mem_read,
	.mem_write = mem_write,
	.mem_read_str = mem_read_str,
	.mem_gather = mem_gather,
	.reply = reply,
	.reply_fd = reply_fd,
	.defer = defer,
	.redirect = redirect,
	.get_fd = get_fd,
	.add_fd = add_fd,
	.task_pid = task_pid,
	.slot = slot,
	.is_guest = is_guest,
	.first_pid = first_pid,
	.creds = creds,
	.umask = guest_umask,
	.as_guest = as_guest,
	.as_creds = as_creds,
	.route = route,
	.rule = rule,
	.deny = deny,
	.provide = provide,
	.service = service,
	.log = log_line,
	.fail = fail,
	.landlock_read = landlock_read,
	.landlock_write = landlock_write,
	.option_where = option_where,
	.features = features,
	.proc_fd = proc_fd,
	.report = report,
	.on_readable = on_readable,
};

/* ---- options ---- */

static char *keep(struct fake *f, const char *text, size_t len)
{
	char *s = f->n_strings < 256 ? strndup(text, len) : NULL;

	if (s)
		f->strings[f->n_strings++] = s;
	return s;
}

static int set_list(struct fake *f, struct bv_strings *list, const char *value, const char *sep)
{
	while (*value) {
		size_t n;

		value += strspn(value, sep);
		n = strcspn(value, sep);
		if (!n)
			break;
		const char **grown = realloc((void *)list->item, (list->n + 1) * sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		grown[list->n] = keep(f, value, n);
		list->item = grown;
		if (!grown[list->n++])
			return -ENOMEM;
		value += n;
	}
	return 0;
}

static int set_option(struct fake *f, const struct bv_option *o, const char *value)
{
	void *to = (char *)f->conf + o->offset;
	char *end;

	switch (o->type) {
	case BV_OPT_BOOL:
		*(int *)to = strchr("yYtT1", value[0]) || strcmp(value, "on") == 0;
		return 0;
	case BV_OPT_INT:
		*(int64_t *)to = strtoll(value, &end, 10);
		return *value && !*end ? 0 : -EINVAL;
	case BV_OPT_SIZE: {
		uint64_t n = strtoull(value, &end, 10);
		const char *unit = *end ? strchr("KMGT", *end) : NULL;

		if (end == value || (*end && (!unit || end[1])))
			return -EINVAL;
		*(uint64_t *)to = unit ? n << 10 * (strchr("KMGT", *end) - "KMGT" + 1) : n;
		return 0;
	}
	case BV_OPT_STR:
		*(const char **)to = keep(f, value, strlen(value));
		return *(const char **)to ? 0 : -ENOMEM;
	case BV_OPT_ENUM: {
		int i = 0;

		for (const char *c = o->choices; c && *c; i++) {
			size_t n = strcspn(c, "|");

			if (strlen(value) == n && strncmp(value, c, n) == 0) {
				*(int *)to = i;
				return 0;
			}
			c += n + (c[n] == '|');
		}
		return -EINVAL;
	}
	case BV_OPT_ERRNO:
		for (int e = 1; e < 134; e++)
			if (strerrorname_np(e) && strcmp(strerrorname_np(e), value) == 0) {
				*(int *)to = e;
				return 0;
			}
		return -EINVAL;
	case BV_OPT_WORDS:
	case BV_OPT_LINES:
		return set_list(f, to, value, o->type == BV_OPT_LINES ? "\n" : " \t\n");
	default:
		return -EINVAL;
	}
}

static const struct bv_option *option(const struct bv_module *m, size_t i)
{
	return (const struct bv_option *)((const char *)m->options + i * m->option_size);
}

static int apply(struct fake *f, const char *const *settings)
{
	const struct bv_module *m = f->module;

	for (const char *const *s = settings; s && *s; s++) {
		size_t n = strcspn(*s, "="), known = 0;

		for (size_t i = 0; i < m->n_options; i++)
			known |= strlen(option(m, i)->key) == n && strncmp(option(m, i)->key, *s, n) == 0;
		if (!known || !(*s)[n]) {
			snprintf(f->fail, sizeof(f->fail), "unknown key in '%s'", *s);
			return -EINVAL;
		}
	}
	for (size_t i = 0; i < m->n_options; i++) {
		const struct bv_option *o = option(m, i);
		size_t n = strlen(o->key);
		int seen = 0, r = 0;

		for (const char *const *s = settings; s && *s && r == 0; s++)
			if (strncmp(*s, o->key, n) == 0 && (*s)[n] == '=') {
				r = set_option(f, o, *s + n + 1);
				seen = 1;
			}
		if (!seen && o->def)
			r = set_option(f, o, o->def);
		if (r < 0) {
			snprintf(f->fail, sizeof(f->fail), "bad value for '%s'", o->key);
			return r;
		}
	}
	return 0;
}

/* ---- the test's side ---- */

int fake_start_with(struct fake **out, const struct bv_module *module, const char *const *settings,
                    const struct fake_service *services, char *why, size_t size)
{
	struct fake *f = calloc(1, sizeof(*f));

	if (!f)
		return -ENOMEM;
	*f = (struct fake){.proc_fd = -1, .module = module, .self.fake = f};
	f->conf = calloc(1, module->conf_size ? module->conf_size : 1);
	for (size_t i = 0; services && services[i].name && i < MAX_SERVICES - 1; i++)
		f->offered[i] = services[i];
	int r = f->conf ? apply(f, settings) : -ENOMEM;
	if (r == 0 && module->init)
		r = module->init(&f->self, &host, f->conf, &f->state);
	if (r < 0) {
		snprintf(why, size, "%s", f->fail);
		f->module = NULL; /* a failed init is not undone by fini */
		fake_stop(f);
		return r;
	}
	*out = f;
	return 0;
}

int fake_start(struct fake **out, const struct bv_module *module, const char *const *settings, char *why, size_t size)
{
	return fake_start_with(out, module, settings, NULL, why, size);
}

static struct bv_task *task_of(struct fake *f, int pid)
{
	struct bv_task *unused = NULL;

	for (size_t i = MAX_TASKS; i-- > 0;) {
		if (f->task[i].pid == pid)
			return &f->task[i];
		if (!f->task[i].pid)
			unused = &f->task[i];
	}
	if (!unused)
		abort();
	*unused = (struct bv_task){.pid = pid};
	if (f->module->task_new)
		f->module->task_new(f->state, NULL, unused);
	return unused;
}

struct fake_answer fake_call(struct fake *f, int pid, const char *name, const uint64_t arg[6])
{
	struct pending p = {.call = {.head = BV_HEAD(CALL, struct bv_call), .name = name, .tid = pid},
	                    .fake = f};

	memcpy(p.call.arg, arg, sizeof(p.call.arg));
	p.call.task = task_of(f, pid);
	for (unsigned phase = BV_GUARD; phase <= BV_FALLBACK; phase++)
		for (size_t i = 0; i < f->module->n_handlers + f->n_extra; i++) {
			const struct bv_handler *h = i < f->module->n_handlers
			    ? (const struct bv_handler *)((const char *)f->module->handlers + i * f->module->handler_size)
			    : &f->extra[i - f->module->n_handlers];

			if (h->phase != phase || strcmp(h->syscall, name) != 0)
				continue;
			p.answer.verdict = h->fn(f->state, &p.call);
			if (p.answer.verdict != BV_PASS)
				return p.answer;
		}
	return p.answer;
}

void fake_exit(struct fake *f, int pid)
{
	struct bv_task *t = task_of(f, pid);

	if (f->module->task_exit)
		f->module->task_exit(f->state, t);
	*t = (struct bv_task){0};
}

const struct bv_head *fake_service(struct fake *f, const char *name)
{
	return find(f->provided, name);
}

void fake_stop(struct fake *f)
{
	if (!f)
		return;
	if (f->module) {
		if (f->module->fini)
			f->module->fini(f->state);
		for (size_t i = 0; i < f->module->n_options; i++) {
			const struct bv_option *o = option(f->module, i);

			if (o->type == BV_OPT_WORDS || o->type == BV_OPT_LINES)
				free((void *)((struct bv_strings *)((char *)f->conf + o->offset))->item);
		}
	}
	for (size_t i = 0; i < f->n_strings; i++)
		free(f->strings[i]);
	free(f->conf);
	if (f->proc_fd >= 0)
		close(f->proc_fd);
	free(f);
}
