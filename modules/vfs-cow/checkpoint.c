/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sync(2) and syncfs(2) where the store has a part in what they promise: a merged directory's
 * descriptor is the host's, so the kernel would make safe another file system than the layer's, and of
 * a store that keeps layers elsewhere it knows nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "fetch.h"

struct job {
	struct vfs *v;
	bool all; /* sync(2): also what is passed through for writing */
	int result;
};

bool checkpoint_wanted(const struct vfs *v)
{
	return BV_HAS(struct bv_store_ops, v->store, checkpoint) &&
	       !(v->upper.flags & BV_LAYER_READ);
}

static void job_work(void *arg)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	struct job *j = arg;

	for (struct mount *m = j->v->mounts; m && j->all; m = m->next) {
		bv_autofd int fd =
			m->rule == R_RW
				? open(m->source, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)
				: -1;

		if (fd >= 0)
			(void)syncfs(fd); /* sync(2) tells no errors */
	}
	pthread_mutex_lock(&one);
	j->result = j->v->store->checkpoint(j->v->store_ctx, &j->v->upper);
	pthread_mutex_unlock(&one);
}

static enum bv_verdict job_done(struct bv_call *call, void *arg)
{
	struct job *j = arg;
	int r = j->all || j->result > 0 ? 0 : j->result;
	struct vfs *v = j->v;

	free(j);
	return call ? REPLY(v, call, r) : BV_PASS;
}

static enum bv_verdict checkpoint(struct vfs *v, struct bv_call *call, bool all)
{
	struct job *j = malloc(sizeof(*j));

	if (!j)
		return REPLY(v, call, all ? 0 : -ENOMEM);
	*j = (struct job){.v = v, .all = all};
	return v->host->defer(call, BV_DEFER_WAITS, job_work, job_done, j);
}

BV_SYSCALL(sync)
{
	return checkpoint(self, call, true);
}

BV_SYSCALL(syncfs)
{
	struct vfs *v = self;
	struct loc l;
	int r = vfs_loc_fd(v, call, (int)call->arg[0], &l);
	bool layered = r == 0 && (l.view == V_LOWER || l.view == V_MERGED || l.view == V_UPPER);

	if (r < 0)
		return REPLY(v, call, r);
	loc_fini(&l);
	/* Of anything else the kernel knows best; the descriptor is in a register, nothing is pointed to. */
	return layered ? checkpoint(v, call, false) : BV_CONTINUE;
}

const struct bv_handler checkpoint_handlers[] = {
	BV_ON(sync, BV_SERVE),
	BV_ON(syncfs, BV_SERVE),
	{0},
};
