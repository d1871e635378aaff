/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The calls by which a file grows, trapped only when there is a quota.  On a file of the upper they
 * are done here, by a worker on a duplicate of the guest's descriptor, so that what was charged is
 * what grows: left to the kernel, another thread could give the descriptor's number to another file,
 * or write other sizes into an iovec.  Near the limit less is written than was asked for, as write(2)
 * may.  On anything else the kernel goes on, if the process has one thread, which is waiting for us,
 * and so nobody who could swap descriptors (quota_rules() sees to the latter); else it is done here too.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>

#include "quota_grow.h"

#define PIECE (1u << 20) /* of a write */
#define VEC_PIECE (8u << 20) /* the most that is written of an iovec array */
#define AT_ONCE (64u << 10) /* so much goes to the page cache in some microseconds */
#define SLOW_NS 2000000u
#define SLOW_FOR_NS 1000000000u

static void grow_free(struct grow *g)
{
	if (g->fd >= 0)
		close(g->fd);
	if (g->in >= 0)
		close(g->in);
	free(g->data);
	free(g);
}

/* The text of our own link cannot be forged: nothing but the upper's own files has a path below it. */
static bool is_upper(const struct vfs *v, int fd)
{
	char link[FD_PATH_MAX], real[PATH_MAX];
	struct stat st;

	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return false;
	real_fd_path(link, fd);
	ssize_t n = readlink(link, real, sizeof(real));
	return n > (ssize_t)v->upper_len && memcmp(real, v->upper.root, v->upper_len) == 0 &&
	       real[v->upper_len] == '/';
}

/* The thread of this call is the only one with these descriptors. */
static bool alone(struct vfs *v, struct bv_call *call)
{
	struct stat st;
	int proc = v->host->proc_fd(call);

	/* proc_task_getattr of fs/proc/base.c: the links of task/ are its threads and two. */
	return proc >= 0 && fstatat(proc, "task", &st, 0) == 0 && st.st_nlink == 3;
}

/* ---- a worker's part ---- */

static int64_t move(struct grow *g)
{
	off_t *in = g->in_pos_at ? &g->in_pos : NULL, *out = g->pos_at ? &g->pos : NULL;

	switch (g->op) {
	case OP_SENDFILE:
		return sendfile(g->fd, g->in, in, g->n);
	case OP_COPY:
		return copy_file_range(g->in, in, g->fd, out, g->n, (unsigned)g->flags);
	default:
		return splice(g->in, in, g->fd, out, g->n, (unsigned)g->flags);
	}
}

static void act(struct grow *g)
{
	struct iovec one = {g->data, g->n};

	switch (g->op) {
	case OP_WRITE:
		g->result = write(g->fd, g->data, g->n);
		break;
	case OP_PWRITE:
		g->result = pwrite(g->fd, g->data, g->n, g->pos);
		break;
	case OP_PWRITEV2:
		g->result = pwritev2(g->fd, &one, 1, g->pos, g->flags);
		break;
	case OP_FALLOCATE:
		g->result = fallocate(g->fd, g->flags, g->pos, (off_t)g->n);
		break;
	case OP_TRUNCATE:
		g->result = ftruncate(g->fd, (off_t)g->n);
		break;
	default:
		g->result = move(g);
		break;
	}
	if (g->result < 0)
		g->result = -errno;
}

static void grow_work(void *arg)
{
	struct grow *g = arg;

	g->result =
		g->v->host->as_creds(&g->creds); /* a write by others takes the set-id bits away */
	if (g->result == 0)
		act(g);
}

/* ---- the loop's part ---- */

/* As the kernel does where it says this error. */
static enum bv_verdict fail(struct vfs *v, struct bv_call *call, int signal, int err)
{
	(void)syscall(SYS_tgkill, v->host->task_pid(call->task), call->tid, signal);
	return v->host->reply(call, err);
}

/* More than was charged: somebody moved the file's position, or wrote as well. */
static bool outgrown(struct grow *g)
{
	struct stat st;
	uint64_t more = g->upper && fstat(g->fd, &st) == 0 ? quota_counted(&st) : 0;

	if (more <= g->end)
		return false;
	quota_note(g->v, more - g->end, 0);
	quota_freed(g->v); /* counted twice, perhaps */
	return more - g->end > PIECE;
}

static enum bv_verdict grow_done(struct bv_call *call, void *arg)
{
	struct grow *g = arg;
	struct vfs *v = g->v;
	int64_t r = g->result;
	bool moves = g->op >= OP_SENDFILE, far = outgrown(g);

	/* What was charged for more than was written is found when the layer is measured next. */
	if (g->upper && r < (int64_t)g->n)
		quota_freed(v);
	if (!call) {
		grow_free(g);
		return BV_PASS;
	}
	bool last = r < (int64_t)g->n || g->vec || g->op > OP_PWRITE || g->left <= g->n;
	if (r >= 0 && moves &&
	    ((g->pos_at && v->host->mem_write(call, g->pos_at, &g->pos, sizeof(g->pos)) < 0) ||
	     (g->in_pos_at &&
	      v->host->mem_write(call, g->in_pos_at, &g->in_pos, sizeof(g->in_pos)) < 0)))
		r = -EFAULT;
	if (r >= 0 && !last && !far) {
		g->total += r;
		g->buf += (uint64_t)r;
		g->left -= (uint64_t)r;
		if (g->op == OP_PWRITE)
			g->pos += r;
		return grow_next(call, g);
	}
	r = r >= 0 || !g->total ? g->total + r : g->total;
	grow_free(g);
	/* A hole that nobody was charged for could be filled by a mapping: is there room for it? */
	if (far)
		return quota_verify(v, call, r);
	return r == -EPIPE ? fail(v, call, SIGPIPE, -EPIPE) : v->host->reply(call, r);
}

/* Where the bytes go; -1: nowhere. */
static off_t begins(const struct grow *g, const struct stat *st, int flags)
{
	if (g->op == OP_FALLOCATE)
		return g->pos;
	if ((flags & O_APPEND) || (g->op == OP_PWRITEV2 && (g->flags & RWF_APPEND)))
		return st->st_size;
	return g->pos >= 0 ? g->pos : lseek(g->fd, 0, SEEK_CUR);
}

/* RLIMIT_FSIZE is the guest's. */
static uint64_t size_limit(const struct vfs *v, const struct bv_call *call)
{
	struct rlimit lim;

	return prlimit(v->host->task_pid(call->task), RLIMIT_FSIZE, NULL, &lim) == 0 &&
	                       lim.rlim_cur < INT64_MAX
	               ? lim.rlim_cur
	               : INT64_MAX;
}

/* Charges g->n bytes, or as many as there is room for.  1: the call was answered, into *verdict. */
static int charge_piece(struct bv_call *call, struct grow *g, enum bv_verdict *verdict)
{
	struct vfs *v = g->v;
	struct stat st;
	bool whole = g->op == OP_FALLOCATE;
	int flags = fcntl(g->fd, F_GETFL);

	if (fstat(g->fd, &st) < 0)
		return -errno;
	if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
		return -EBADF;
	off_t at = begins(g, &st, flags);
	uint64_t limit = size_limit(v, call), counted = quota_counted(&st);
	if (at < 0)
		return -EINVAL;
	if (whole ? (uint64_t)at + g->n > limit : g->n && (uint64_t)at >= limit) {
		*verdict =
			g->total ? v->host->reply(call, g->total) : fail(v, call, SIGXFSZ, -EFBIG);
		return 1;
	}
	if (!whole && g->n > limit - (uint64_t)at)
		g->n = limit - (uint64_t)at;
	g->end = quota_size((uint64_t)at + g->n);
	if (whole && (g->flags & FALLOC_FL_INSERT_RANGE))
		g->end = counted + quota_size(g->n); /* what is behind it moves on */
	uint64_t more = g->end > counted ? g->end - counted : 0;
	if (!quota_has_room(v, more)) {
		if (!g->total && quota_unsure(v, call)) {
			(void)quota_take(v, more, 0);
			*verdict = quota_reply(v, call);
			return 1;
		}
		uint64_t end = counted + quota_room(v) / QUOTA_BLOCK * QUOTA_BLOCK;
		if (whole || end <= (uint64_t)at) {
			*verdict =
				g->total ? v->host->reply(call, g->total) : quota_refuse(v, call);
			return 1;
		}
		g->n = end - (uint64_t)at;
		if (flags & O_DIRECT)
			g->n -= g->n % QUOTA_BLOCK;
		g->end = quota_size((uint64_t)at + g->n);
		more = g->end > counted ? g->end - counted : 0;
	}
	if (g->end < counted)
		g->end = counted;
	return quota_take(v, more, 0);
}

/* Reads what the piece writes. */
static int read_piece(struct bv_call *call, struct grow *g)
{
	struct vfs *v = g->v;

	if (!g->data && posix_memalign(&g->data, QUOTA_BLOCK, g->n ? g->n : 1) !=
	                        0) { /* aligned for O_DIRECT */
		g->data = NULL;
		return -ENOMEM;
	}
	if (!g->vec)
		return v->host->mem_read(call, g->data, g->buf, g->n);
	ssize_t got = v->host->mem_gather(call, g->data, g->n, g->buf, call->arg[2]);
	if (got >= 0)
		g->n = (uint64_t)got;
	return got < 0 ? (int)got : 0;
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/*
 * Without a worker, which costs more than the write itself: what only goes to the page cache.  Even
 * that the kernel slows down when too much is dirty (balance_dirty_pages), and others should not wait
 * for it: after one that took long, workers do it for a while.
 */
static bool at_once(const struct grow *g)
{
	int flags = fcntl(g->fd, F_GETFL);

	return g->upper && g->op <= OP_PWRITE && g->n <= AT_ONCE && g->left <= g->n &&
	       !(flags & (O_SYNC | O_DSYNC | O_DIRECT)) && now() >= *quota_slow_until(g->v);
}

static int do_at_once(struct bv_call *call, struct grow *g)
{
	uint64_t began = now();
	int r = g->v->host->as_guest(call);

	if (r < 0)
		return r;
	act(g);
	g->v->host->as_creds(NULL);
	uint64_t ended = now();
	if (ended - began > SLOW_NS)
		*quota_slow_until(g->v) = ended + SLOW_FOR_NS;
	return 0;
}

enum bv_verdict grow_next(struct bv_call *call, struct grow *g)
{
	struct vfs *v = g->v;
	enum bv_verdict verdict = BV_PASS;
	uint64_t most = g->op <= OP_PWRITE && !g->vec ? PIECE
	                : g->op == OP_FALLOCATE       ? UINT64_MAX
	                : g->vec                      ? VEC_PIECE
	                                              : MOVE;
	int r = 0;

	g->n = g->left < most ? g->left : most;
	if (g->upper)
		r = charge_piece(call, g, &verdict);
	if (r == 0 && g->op <= OP_PWRITEV2)
		r = read_piece(call, g);
	if (r == 0 && at_once(g)) {
		r = do_at_once(call, g);
		if (r == 0)
			return grow_done(call, g);
	}
	if (r == 0)
		r = v->host->creds(call, &g->creds);
	if (r == 0)
		return v->host->defer(call,
		                      g->upper && g->in < 0 ? 0 : BV_DEFER_SIGNALS | BV_DEFER_KEEP,
		                      grow_work, grow_done, g);
	if (r < 0)
		verdict = v->host->reply(call, g->total ? g->total : r);
	grow_free(g);
	return verdict;
}

struct grow *grow_begin(struct vfs *v, struct bv_call *call, enum op op, int guest_fd,
                        enum bv_verdict *verdict)
{
	bv_autofd int fd = v->host->get_fd(call, guest_fd);
	bool upper = fd >= 0 && is_upper(v, fd);

	if (!upper && alone(v, call)) {
		/* The descriptor is a register, and nobody can make it mean a file of the upper meanwhile. */
		*verdict = BV_CONTINUE;
		return NULL;
	}
	struct grow *g = fd < 0 ? NULL : calloc(1, sizeof(*g));
	if (!g) {
		*verdict = v->host->reply(call, fd < 0 ? fd : -ENOMEM);
		return NULL;
	}
	*g = (struct grow){
		.v = v, .op = op, .upper = upper, .fd = bv_take_fd(&fd), .in = -1, .pos = -1};
	return g;
}

enum bv_verdict grow_give_up(struct grow *g, struct bv_call *call, int err)
{
	struct vfs *v = g->v;

	grow_free(g);
	return v->host->reply(call, err);
}

enum bv_verdict grow_resize(struct bv_call *call, struct grow *g, off_t length)
{
	struct vfs *v = g->v;
	struct stat st;
	int r = 0;

	if (g->upper && fstat(g->fd, &st) < 0)
		return grow_give_up(g, call, -errno);
	if (g->upper) {
		uint64_t counted = quota_counted(&st);

		if ((uint64_t)length > size_limit(v, call)) {
			grow_free(g);
			return fail(v, call, SIGXFSZ, -EFBIG);
		}
		g->end = quota_size((uint64_t)length);
		r = g->end > counted ? quota_take(v, g->end - counted, 0) : 0;
		if (g->end < counted)
			quota_freed(v), g->end = counted;
	}
	if (r < 0) {
		grow_free(g);
		return REPLY(v, call, r);
	}
	g->n = (uint64_t)length;
	return v->host->defer(call, 0, grow_work, grow_done, g);
}
