/* SPDX-License-Identifier: Apache-2.0 */
/* The calls by which a file grows, trapped only when there is a quota: what they ask for, copied. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "quota_grow.h"

static enum bv_verdict do_write(struct vfs *v, struct bv_call *call, enum op op, off_t pos)
{
	enum bv_verdict verdict;
	struct grow *g = grow_begin(v, call, op, (int)call->arg[0], &verdict);

	if (!g)
		return verdict;
	if (op == OP_PWRITE && pos < 0)
		return grow_give_up(g, call, -EINVAL);
	g->buf = call->arg[1];
	g->left = call->arg[2] < BIGGEST ? call->arg[2] : BIGGEST;
	g->pos = pos;
	return grow_next(call, g);
}

BV_SYSCALL(write)
{
	return do_write(self, call, OP_WRITE, -1);
}

BV_SYSCALL(pwrite64)
{
	return do_write(self, call, OP_PWRITE, (off_t)call->arg[3]);
}

/* How much an iovec array asks for; -EINVAL, -EFAULT. */
static int64_t vec_size(struct vfs *v, struct bv_call *call)
{
	uint64_t n = call->arg[2], sum = 0;

	if (n > IOV_MAX)
		return -EINVAL;
	bv_autofree struct iovec *vec = calloc(n ? n : 1, sizeof(*vec));
	if (!vec)
		return -ENOMEM;
	int r = v->host->mem_read(call, vec, call->arg[1], n * sizeof(*vec));
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		if ((ssize_t)vec[i].iov_len < 0)
			r = -EINVAL;
		sum += vec[i].iov_len < BIGGEST - sum ? vec[i].iov_len : BIGGEST - sum;
	}
	return r < 0 ? r : (int64_t)sum;
}

static enum bv_verdict do_writev(struct vfs *v, struct bv_call *call, enum op op, off_t pos,
                                 int flags)
{
	enum bv_verdict verdict;
	struct grow *g = grow_begin(v, call, op, (int)call->arg[0], &verdict);

	if (!g)
		return verdict;
	int64_t n = pos < -1 || (op == OP_PWRITE && pos < 0) ? -EINVAL : vec_size(v, call);
	if (n < 0)
		return grow_give_up(g, call, (int)n);
	g->buf = call->arg[1];
	g->left = (uint64_t)n;
	g->vec = true;
	g->pos = pos;
	g->flags = flags;
	return grow_next(call, g);
}

BV_SYSCALL(writev)
{
	return do_writev(self, call, OP_WRITE, -1, 0);
}

/* The position stands in two registers, of which the first holds all 64 bits (pos_from_hilo,
 * fs/read_write.c). */
BV_SYSCALL(pwritev)
{
	return do_writev(self, call, OP_PWRITE, (off_t)call->arg[3], 0);
}

BV_SYSCALL(pwritev2)
{
	return do_writev(self, call, OP_PWRITEV2, (off_t)call->arg[3], (int)call->arg[5]);
}

BV_SYSCALL(fallocate)
{
	struct vfs *v = self;
	off_t pos = (off_t)call->arg[2], len = (off_t)call->arg[3];
	enum bv_verdict verdict;
	struct grow *g = grow_begin(v, call, OP_FALLOCATE, (int)call->arg[0], &verdict);

	if (!g)
		return verdict;
	if (pos < 0 || len <= 0)
		return grow_give_up(g, call, -EINVAL);
	if (pos > INT64_MAX - len)
		return grow_give_up(g, call, -EFBIG);
	g->flags = (int)call->arg[1];
	g->pos = pos;
	g->left = (uint64_t)len;
	if (g->flags & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE)) {
		quota_freed(v);
		g->upper = false; /* nothing grows by it */
	}
	return grow_next(call, g);
}

BV_SYSCALL(ftruncate)
{
	struct vfs *v = self;
	off_t length = (off_t)call->arg[1];
	enum bv_verdict verdict;
	struct grow *g = grow_begin(v, call, OP_TRUNCATE, (int)call->arg[0], &verdict);
	int r = 0;

	if (!g)
		return verdict;
	int flags = fcntl(g->fd, F_GETFL);
	if (length < 0 || (flags & O_ACCMODE) == O_RDONLY || (flags & O_PATH))
		r = flags >= 0 && (flags & O_PATH) ? -EBADF : -EINVAL;
	else
		r = v->host->creds(call, &g->creds);
	if (r < 0)
		return grow_give_up(g, call, r);
	return grow_resize(call, g, length);
}

struct move {
	enum op op;
	int in, out;
	uint64_t in_at, out_at, n;
	int flags;
};

static int read_pos(struct vfs *v, struct bv_call *call, uint64_t at, off_t *pos)
{
	if (!at)
		return 0;
	int r = v->host->mem_read(call, pos, at, sizeof(*pos));
	return r < 0 ? r : *pos < 0 ? -EINVAL : 0;
}

/* From descriptor to descriptor. */
static enum bv_verdict do_move(struct vfs *v, struct bv_call *call, const struct move *m)
{
	enum bv_verdict verdict;
	struct grow *g = grow_begin(v, call, m->op, m->out, &verdict);
	struct stat from;

	if (!g)
		return verdict;
	g->in = v->host->get_fd(call, m->in);
	g->in_pos_at = m->in_at;
	g->pos_at = m->out_at;
	g->flags = m->flags;
	g->left = m->n < MOVE ? m->n : MOVE;
	int r = g->in < 0 ? g->in : read_pos(v, call, m->in_at, &g->in_pos);
	if (r == 0 && m->out_at)
		r = read_pos(v, call, m->out_at, &g->pos);
	if (r < 0)
		return grow_give_up(g, call, r);
	/* No more is charged than there is to copy.  (Files of procfs have no size.) */
	if (fstat(g->in, &from) == 0 && S_ISREG(from.st_mode) && from.st_size > 0) {
		off_t at = m->in_at ? g->in_pos : lseek(g->in, 0, SEEK_CUR);
		uint64_t most = at >= 0 && from.st_size > at ? (uint64_t)(from.st_size - at) : 0;

		g->left = g->left < most ? g->left : most;
	}
	return grow_next(call, g);
}

BV_SYSCALL(sendfile)
{
	struct move m = {OP_SENDFILE,
	                 (int)call->arg[1],
	                 (int)call->arg[0],
	                 call->arg[2],
	                 0,
	                 call->arg[3],
	                 0};

	return do_move(self, call, &m);
}

BV_SYSCALL(copy_file_range)
{
	struct move m = {OP_COPY,      (int)call->arg[0], (int)call->arg[2], call->arg[1],
	                 call->arg[3], call->arg[4],      (int)call->arg[5]};

	return do_move(self, call, &m);
}

BV_SYSCALL(splice)
{
	struct move m = {OP_SPLICE,    (int)call->arg[0], (int)call->arg[2], call->arg[1],
	                 call->arg[3], call->arg[4],      (int)call->arg[5]};

	return do_move(self, call, &m);
}

const struct bv_handler quota_handlers[] = {
	BV_ON(write, BV_SERVE),
	BV_ON(pwrite64, BV_SERVE),
	BV_ON(writev, BV_SERVE),
	BV_ON(pwritev, BV_SERVE),
	BV_ON(pwritev2, BV_SERVE),
	BV_ON(fallocate, BV_SERVE),
	BV_ON(ftruncate, BV_SERVE),
	BV_ON(sendfile, BV_SERVE),
	BV_ON(copy_file_range, BV_SERVE),
	BV_ON(splice, BV_SERVE),
	{0},
};

static int refuse_if(struct vfs *v, const char *syscall, int err, struct bv_cond cond)
{
	const struct bv_rule rule = {.syscall = syscall,
	                             .action = BV_ACT_ERRNO,
	                             .err = (uint16_t)err,
	                             .n_cond = 1,
	                             .cond = {cond}};

	return v->host->rule(v->self, &rule);
}

int quota_rules(struct vfs *v)
{
	/* Clones share blocks that count for both, and the others reserve blocks: copying does as well. */
	static const uint32_t refused[] = {FICLONE, FICLONERANGE, 0x40305828 /* FS_IOC_RESVSP */,
	                                   0x4030582a /* FS_IOC_RESVSP64 */,
	                                   0x40305839 /* FS_IOC_ZERO_RANGE */};
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(refused) && r == 0; i++)
		r = refuse_if(
			v, "ioctl", EOPNOTSUPP,
			(struct bv_cond){
				.index = 1, .op = BV_EQ, .mask = UINT32_MAX, .value = refused[i]});
	/* Processes that are no threads of one another and share descriptors all the same: alone(). */
	if (r == 0)
		r = refuse_if(v, "clone", EPERM,
		              (struct bv_cond){.op = BV_EQ,
		                               .mask = CLONE_FILES | CLONE_THREAD,
		                               .value = CLONE_FILES});
	/* What is submitted stands in shared memory; programs fall back on threads. */
	if (r == 0)
		r = v->host->deny(v->self, "io_setup", ENOSYS);
	return r == 0 ? v->host->deny(v->self, "io_submit", ENOSYS) : r;
}
