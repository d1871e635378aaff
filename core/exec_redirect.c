/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lets the kernel run a guest's exec or chdir with a path of ours, since it cannot be told another
 * way: the thread is held by ptrace, made to enter the call again, and the path is written to
 * scratch memory only after it has entered.  What the call then did is verified before the thread
 * runs on, for other threads of the guest may have changed that memory: a wrong program or
 * directory costs the guest its life.
 *
 * Runs on a worker from attach to detach.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <utlist.h>

#include <cleanup.h>

#include "exec_redirect.h"
#include "exec_scratch.h"
#include "guest_mem.h"
#include "kernel.h"
#include "loop.h"
#include "notify.h"
#include "tracee.h"

#define ARGS_MAX 786432u     /* pointers; the kernel takes no more (execve(2), 6 MiB in all) */

struct redirect {
	struct ncall *nc; /* for done; the worker leaves it alone */
	struct loop *loop;
	uint64_t id, orig[6], arg[6]; /* arg: argv and envp, as execve has them, from 1 on */
	long nr;
	pid_t tid;
	int proc_fd; /* borrowed from the thread, which stays while this is in progress */
	bool chdir;
	char *path, *shown;
	char **argv;
	size_t n_argv;
	uint64_t dev, ino;
	unsigned slot; /* of scratch memory */
	/* The second notification: set by the worker, taken by the loop. */
	_Atomic bool expected;
	uint64_t expected_path;
	/* The outcome; complete once `over` is set, which is before the thread runs on. */
	_Atomic bool over;
	bool settled, sent, executed, reaped;
	pid_t reaped_pid;
	int error, status;
};

/* What goes to scratch memory, laid out for address `at`: [argv array][strings]. */
struct image {
	char *data;
	size_t len;
	uint64_t at, path, argv;
};

static void redirect_free(struct redirect *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->n_argv; i++)
		free(r->argv[i]);
	free(r->argv);
	free(r->path);
	free(r->shown);
	free(r);
}

bool exec_redirect_reentry(struct redirect *r, const struct seccomp_data *data)
{
	long nr = r->chdir ? SYS_chdir : SYS_execve;

	return data->nr == nr && atomic_load(&r->expected) && data->args[0] == r->expected_path &&
	       atomic_exchange(&r->expected, false);
}

/* What the outcome means for the thread; once. */
static void settle(struct redirect *r)
{
	struct ncall *nc = r->nc;

	if (r->settled || !nc->thread)
		return;
	r->settled = true;
	nc->thread->redirect = NULL;
	task_forget_creds(nc->thread->task);
	if (r->executed)
		nc->thread->task->exec_seen = nc->loop->tasks.hooks_exec;
}

static int release(void *arg)
{
	struct redirect *r = arg;
	int ret = notify_send(r->loop, r->id, 0);

	r->sent = true;
	return ret;
}

/* How many entries the guest's argv has, without its NULL. */
static int count_args(const struct redirect *r, size_t *out)
{
	uint64_t v[64];
	size_t n = 0;

	if (r->arg[1] == 0) {
		*out = 0;
		return 0;
	}
	for (;;) {
		/* One by one near the end of what is mapped, 64 at a time before. */
		size_t got = 64;

		if (guest_mem_read(r->tid, v, r->arg[1] + n * 8, sizeof(v)) < 0) {
			if (guest_mem_read(r->tid, v, r->arg[1] + n * 8, 8) < 0)
				return -EFAULT;
			got = 1;
		}
		for (size_t i = 0; i < got; i++, n++) {
			if (v[i] == 0) {
				*out = n;
				return 0;
			}
			if (n >= ARGS_MAX)
				return -E2BIG;
		}
	}
}

/* Bytes needed for the image when the guest's argv has n entries. */
static size_t image_size(const struct redirect *r, size_t n)
{
	size_t size = strlen(r->path) + 1;

	if (r->n_argv == 0)
		return size;
	for (size_t i = 0; i < r->n_argv; i++)
		size += strlen(r->argv[i]) + 1;
	return size + (r->n_argv + (n ? n - 1 : 0) + 1) * 8;
}

static uint64_t put(struct image *m, size_t *at, const char *s)
{
	size_t n = strlen(s) + 1;
	uint64_t where = m->at + *at;

	memcpy(m->data + *at, s, n);
	*at += n;
	return where;
}

/* Fills m (data and at are set) with the path and, for a #! program, the new argv. */
static int image_fill(const struct redirect *r, size_t n, struct image *m)
{
	uint64_t *v = (uint64_t *)(void *)m->data;
	size_t kept = n ? n - 1 : 0, at = 0;

	m->argv = r->arg[1];
	if (r->n_argv) {
		at = (r->n_argv + kept + 1) * 8;
		m->argv = m->at;
		for (size_t i = 0; i < r->n_argv; i++)
			v[i] = put(m, &at, r->argv[i]);
		/* The guest's own strings stay where they are: the kernel copies them as always. */
		if (kept && guest_mem_read(r->tid, v + r->n_argv, r->arg[1] + 8, kept * 8) < 0)
			return -EFAULT;
		v[r->n_argv + kept] = 0;
	}
	m->path = put(m, &at, r->path);
	return 0;
}

static bool is_file(const struct redirect *r, pid_t tid, const char *link)
{
	char path[48];
	struct stat st;

	if (r->dev == 0 && r->ino == 0)
		return r->chdir;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tid, link);
	return stat(path, &st) == 0 && st.st_dev == r->dev && st.st_ino == r->ino;
}

/* Lets the new program's AT_EXECFN (getauxval(3)) read as the guest named it. */
static void show_name(const struct redirect *r, struct tracee *t)
{
	char path[48];
	uint64_t v[2 * 64];

	if (!r->shown || strlen(r->shown) > strlen(r->path))
		return;
	snprintf(path, sizeof(path), "/proc/%d/auxv", (int)t->tid);
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, v, sizeof(v));
	for (size_t i = 0; n > 0 && i + 1 < (size_t)n / sizeof(v[0]); i += 2)
		if (v[i] == AT_EXECFN)
			tracee_write(t, v[i + 1], r->shown, strlen(r->shown) + 1);
}

/* Re-enters the call with the image in place.  *result: what the guest is to see; r->executed. */
static int run(struct redirect *r, struct tracee *t, const struct regs *regs, size_t n, struct image *m,
               int64_t *result)
{
	uint64_t arg[6];
	enum tracee_stop stop;
	struct regs now = *regs;
	int ret;

	memcpy(arg, r->arg, sizeof(arg));
	ret = image_fill(r, n, m);
	if (ret < 0) {
		*result = ret;
		return 0;
	}
	arg[0] = m->path;
	arg[1] = r->chdir ? r->arg[1] : m->argv;
	regs_again(&now, r->chdir ? SYS_chdir : SYS_execve, arg);
	ret = regs_put(t->tid, &now);
	if (ret == 0)
		ret = tracee_step(t, &stop); /* entry, before seccomp sees it (seccomp(2), Linux 4.8) */
	if (ret == 0)
		ret = tracee_write(t, m->at, m->data, m->len);
	if (ret < 0)
		return ret;
	r->expected_path = m->path;
	atomic_store(&r->expected, true);
	ret = tracee_step(t, &stop);
	atomic_store(&r->expected, false);
	if (ret < 0)
		return ret;
	if (stop == TRACEE_EXEC) {
		if (r->chdir || !is_file(r, t->tid, "exe"))
			return -EPERM;
		r->executed = true;
		show_name(r, t);
		return 0;
	}
	ret = regs_get(t->tid, &now);
	if (ret == 0)
		*result = regs_result(&now);
	if (ret == 0 && r->chdir && *result == 0 && !is_file(r, t->tid, "cwd"))
		return -EPERM;
	return ret;
}

/* What the guest sees when its program has not been replaced. */
static int give_back(const struct redirect *r, struct tracee *t, const struct regs *regs, int64_t result)
{
	struct regs now = *regs;

	/* Interrupted before it did anything (ERESTART*): the whole call once more, from the start. */
	if (result <= -KERNEL_ERESTARTSYS && result >= -KERNEL_ERESTART_LAST)
		regs_again(&now, r->nr, r->orig);
	else
		regs_set_result(&now, result);
	return regs_put(t->tid, &now);
}

/* left: the thread was not in its wait any more. */
static int redirect(struct redirect *r, struct tracee *t, bool left)
{
	struct regs regs;
	struct scratch scratch = {0};
	struct image m = {0};
	int64_t result = 0;
	size_t n = 0;
	int ret = regs_get(t->tid, &regs);

	if (ret < 0)
		return ret;
	if (left) {
		/* Another program under the same number (its exec won) is none of our business; before
		 * Linux 5.19 it may be our thread, about to make the same call again. */
		if (r->loop->killable || !regs_restarting(&regs, r->nr, r->orig))
			return 0;
		regs_no_restart(&regs);
	}
	ret = tracee_block(t);
	if (ret < 0)
		return ret;
	if (r->n_argv)
		result = count_args(r, &n);
	if (result == 0) {
		m.len = image_size(r, n);
		m.data = calloc(1, m.len);
		result = m.data ? 0 : -ENOMEM;
	}
	if (result == 0) {
		ret = scratch_get(t, &regs, r->proc_fd, m.len, r->slot, r->loop->scratch_cookie, &scratch, &result);
		m.at = scratch.at;
	}
	if (ret == 0 && result == 0)
		ret = run(r, t, &regs, n, &m, &result);
	if (ret == 0 && !r->executed)
		ret = scratch_put(t, &regs, &scratch);
	free(m.data);
	if (ret == 0 && !r->executed)
		ret = give_back(r, t, &regs, result);
	return ret;
}

static void work(void *arg)
{
	struct redirect *r = arg;
	struct tracee t;
	int ret = tracee_attach(&t, r->tid, release, r);

	if (ret < 0 && t.dead && !r->sent) {
		/* Never held (it died, or someone else traces it): the call is still unanswered. */
		r->error = ret == -ESRCH ? ret : -EACCES;
		return;
	}
	if (ret == 0 || ret == -ENOENT)
		ret = redirect(r, &t, ret < 0);
	atomic_store(&r->over, true);
	if (ret == 0)
		tracee_detach(&t);
	else
		/* Fail closed: it may be anywhere in between.  ESRCH: it is dying, and not its process
		 * perhaps, when another thread's exec won. */
		tracee_end(&t, ret != -ESRCH);
	if (t.dead && t.status != -1) {
		r->reaped = true;
		r->reaped_pid = t.tid;
		r->status = t.status;
	}
}

void exec_redirect_met(struct loop *l, const struct bv_task *task)
{
	struct ncall *nc;

	DL_FOREACH(l->deferred, nc) {
		struct redirect *r = nc->job.arg;

		if (nc->redirect && nc->thread && nc->thread->task == task && atomic_load(&r->over))
			settle(r);
	}
}

static enum bv_verdict done(struct bv_call *call, void *arg)
{
	struct redirect *r = arg;
	struct ncall *nc = r->nc;
	struct loop *l = nc->loop;
	int error = r->error;

	l->redirects--;
	if (r->slot < SCRATCH_SLOTS)
		l->scratch_used &= ~(1ULL << r->slot);
	settle(r);
	if (r->sent)
		nc->answer = ANSWER_SENT;
	if (r->reaped) {
		nc->thread = NULL; /* about to go with its process */
		loop_reaped(l, r->reaped_pid, r->status);
	}
	bool sent = r->sent;
	redirect_free(r);
	return sent || !call ? BV_REPLIED : host_table.reply(call, error);
}

static struct redirect *copy(struct ncall *nc, const struct bv_redirect *from)
{
	struct redirect *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->nc = nc;
	r->path = strdup(from->path);
	r->argv = calloc(from->n_argv + 1, sizeof(r->argv[0]));
	if (from->shown)
		r->shown = strdup(from->shown);
	bool failed = !r->path || !r->argv || (from->shown && !r->shown);
	for (size_t i = 0; !failed && i < from->n_argv; i++) {
		r->argv[i] = strdup(from->argv[i]);
		r->n_argv += r->argv[i] != NULL;
		failed = !r->argv[i];
	}
	if (failed) {
		redirect_free(r);
		return NULL;
	}
	r->dev = from->dev;
	r->ino = from->ino;
	return r;
}

static unsigned scratch_slot(struct loop *l)
{
	unsigned slot = 0;

	while (slot < SCRATCH_SLOTS && (l->scratch_used >> slot & 1))
		slot++;
	if (slot < SCRATCH_SLOTS)
		l->scratch_used |= 1ULL << slot;
	return slot;
}

enum bv_verdict exec_redirect_start(struct ncall *nc, const struct bv_redirect *from)
{
	bool chdir = nc->nr != SYS_execve && nc->nr != SYS_execveat;
	struct redirect *r;

	/* An exec that cannot be verified is none we may run. */
	if (!nc->thread || nc->thread->redirect || !from->path || from->path[0] != '/' ||
	    (!chdir && from->dev == 0 && from->ino == 0))
		return host_table.reply(&nc->call, -EINVAL);
	int proc_fd = task_proc_fd(&nc->loop->tasks, nc->thread);
	if (proc_fd < 0)
		return host_table.reply(&nc->call, proc_fd);
	r = copy(nc, from);
	if (!r)
		return host_table.reply(&nc->call, -ENOMEM);
	r->loop = nc->loop;
	r->id = nc->id;
	r->tid = nc->call.tid;
	r->proc_fd = proc_fd;
	r->chdir = chdir;
	r->nr = nc->nr;
	memcpy(r->orig, nc->call.arg, sizeof(r->orig));
	/* execveat(dir, path, argv, envp, flags) becomes execve(path, argv, envp). */
	size_t skip = nc->nr == SYS_execveat ? 1 : 0;
	for (size_t i = 1; i <= 2; i++)
		r->arg[i] = nc->call.arg[i + skip];
	r->slot = scratch_slot(nc->loop);
	nc->thread->redirect = r;
	nc->redirect = true;
	nc->loop->redirects++;
	return defer_call(nc, 0, work, done, r);
}
