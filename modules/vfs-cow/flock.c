/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flock(2).  A lock on a file or directory of the host would make the host's processes wait, so it is
 * kept in a table here and not with the file; so are those on a copy of such a file, for guests that
 * hold one or the other have the same file.  What is the sandbox's own is locked by the kernel.
 *
 * A flock belongs to the open file and ends with its last descriptor.  Nobody tells us of that, so a
 * lock in the table that stands in somebody's way is looked after: does any guest still have that very
 * open file (kcmp(2))?
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "holders.h"
#include "vfs.h"

#define TIDY_AT 32 /* locks in the table: then those that have ended go */
#define MAX_LOCKS 512
#define LOOK_AGAIN_NS 50000000 /* while waiting; a signal is noticed after some 20 ms */

struct key {
	dev_t dev; /* of the host's object */
	ino_t ino;
};

struct held {
	struct held *next;
	struct key key;
	pid_t pid; /* who took it: the first to ask whether it is still there */
	bool exclusive;
	int fd; /* a duplicate: the same open file */
};

struct flocks {
	struct held *first;
	unsigned n, tidy_at;
};

/* ---- the table ---- */

static void drop(struct vfs *v, struct held **at)
{
	struct held *f = *at;

	v->flocks->n--;
	*at = f->next;
	close(f->fd);
	free(f);
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->dev == b->dev && a->ino == b->ino;
}

/* This open file's own lock; *result is NULL without one. */
static struct held **find(struct vfs *v, const struct key *key, int fd)
{
	struct held **at = &v->flocks->first;

	for (; *at; at = &(*at)->next)
		if (same_key(&(*at)->key, key) && holders_same(fd, (*at)->fd) != 0)
			break;
	return at;
}

/* Does another lock stand in the way?  Those that have ended do not, and go. */
static bool conflicts(struct vfs *v, const struct key *key, int fd, bool exclusive)
{
	for (struct held **at = &v->flocks->first; *at;) {
		struct held *f = *at;

		if (!same_key(&f->key, key) || !(exclusive || f->exclusive) ||
		    holders_same(fd, f->fd) != 0) {
			at = &f->next;
			continue;
		}
		if (holders_have(v, f->pid, f->fd))
			return true;
		drop(v, at);
	}
	return false;
}

/* All that have ended go, once there are twice as many as were left the last time. */
static void tidy(struct vfs *v)
{
	struct flocks *t = v->flocks;

	if (t->n < t->tidy_at)
		return;
	for (struct held **at = &t->first; *at;)
		if (holders_have(v, (*at)->pid, (*at)->fd))
			at = &(*at)->next;
		else
			drop(v, at);
	t->tidy_at = t->n < TIDY_AT / 2 ? TIDY_AT : t->n * 2 < MAX_LOCKS ? t->n * 2 : MAX_LOCKS;
}

static int add(struct vfs *v, pid_t pid, const struct key *key, int fd, bool exclusive)
{
	struct held **own = find(v, key, fd);

	if (*own) {
		(*own)->exclusive = exclusive;
		return 0;
	}
	tidy(v);
	struct held *f = v->flocks->n < MAX_LOCKS ? malloc(sizeof(*f)) : NULL;
	if (!f)
		return -ENOLCK;
	*f = (struct held){
		.next = v->flocks->first, .key = *key, .pid = pid, .exclusive = exclusive};
	f->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (f->fd < 0) {
		free(f);
		return -ENOLCK;
	}
	v->flocks->first = f;
	v->flocks->n++;
	return 0;
}

void flock_free(struct vfs *v)
{
	if (!v->flocks)
		return;
	while (v->flocks->first)
		drop(v, &v->flocks->first);
	free(v->flocks);
	v->flocks = NULL;
}

/* ---- the call ---- */

struct nap {
	struct vfs *v;
	bool cut;
};

static void nap_work(void *arg)
{
	struct nap *n = arg;
	const struct timespec t = {.tv_nsec = LOOK_AGAIN_NS};

	n->cut = nanosleep(&t, NULL) < 0;
}

static enum bv_verdict nap_done(struct bv_call *call, void *arg);

static enum bv_verdict look_again(struct vfs *v, struct bv_call *call)
{
	struct nap *n = malloc(sizeof(*n));

	if (!n)
		return REPLY(v, call, -ENOLCK);
	n->v = v;
	return v->host->defer(call, BV_DEFER_SIGNALS, nap_work, nap_done, n);
}

/* In the table.  Takes nothing. */
static enum bv_verdict lock_here(struct vfs *v, struct bv_call *call, const struct key *key, int fd)
{
	int op = (int)call->arg[1], how = op & ~LOCK_NB;

	if (!v->flocks && (v->flocks = calloc(1, sizeof(*v->flocks))))
		v->flocks->tidy_at = TIDY_AT;
	if (!v->flocks)
		return REPLY(v, call, -ENOLCK);
	struct held **own = find(v, key, fd);
	if (how == LOCK_UN) {
		if (*own)
			drop(v, own);
		return REPLY(v, call, 0);
	}
	if (!conflicts(v, key, fd, how == LOCK_EX))
		return REPLY(v, call,
		             add(v, v->host->task_pid(call->task), key, fd, how == LOCK_EX));
	/* flock(2): a lock that is converted is given up first. */
	own = find(v, key, fd);
	if (*own)
		drop(v, own);
	return op & LOCK_NB ? REPLY(v, call, -EWOULDBLOCK) : look_again(v, call);
}

struct wait {
	struct vfs *v;
	int fd, op, result;
};

static void wait_work(void *arg)
{
	struct wait *w = arg;

	w->result = flock(w->fd, w->op) < 0 ? -errno : 0;
}

static enum bv_verdict wait_done(struct bv_call *call, void *arg)
{
	struct wait *w = arg;
	struct vfs *v = w->v;
	int r = w->result;

	close(w->fd);
	free(w);
	return call ? REPLY(v, call, r) : BV_PASS;
}

/* By the kernel, on a duplicate, which is the same open file.  Takes fd. */
static enum bv_verdict lock_there(struct vfs *v, struct bv_call *call, int fd)
{
	int op = (int)call->arg[1];
	int r = flock(fd, op | LOCK_NB) < 0 ? -errno : 0;
	struct wait *w = r == -EWOULDBLOCK && !(op & LOCK_NB) ? malloc(sizeof(*w)) : NULL;

	if (!w) {
		close(fd);
		return REPLY(v, call, r == -EWOULDBLOCK && !(op & LOCK_NB) ? -ENOLCK : r);
	}
	*w = (struct wait){v, fd, op, 0};
	/* A lock that was given stays with the open file, whoever asked: it must not be taken back. */
	return v->host->defer(call, BV_DEFER_SIGNALS | BV_DEFER_KEEP, wait_work, wait_done, w);
}

/* Has the host an object that the descriptor's is, or is a copy of?  1 with its key; 0; -errno. */
static int host_key(struct vfs *v, struct bv_call *call, int guest_fd, struct key *key)
{
	struct loc l;
	struct stat low;
	int r = vfs_loc_fd(v, call, guest_fd, &l);

	if (r < 0)
		return r;
	bool kept = S_ISREG(l.st.st_mode) || S_ISDIR(l.st.st_mode);
	int flags = l.fd >= 0 ? fcntl(l.fd, F_GETFL) : -1;
	/* One that is open for writing the user handed in: it is meant to be the host's. */
	bool handed_in = l.view != V_UPPER && flags >= 0 && (flags & O_ACCMODE) != O_RDONLY;
	low = l.st;
	switch (l.view) {
	case V_LOWER:
	case V_MERGED:
	case V_RO:
		r = kept && !handed_in;
		break;
	case V_ANON:
		r = kept && !handed_in && !l.ours;
		break;
	case V_UPPER:
		r = kept && l.node && l.node->copied && real_lower_has(v, &l, &low);
		break;
	default:
		break;
	}
	*key = (struct key){low.st_dev, low.st_ino};
	loc_fini(&l);
	return r;
}

BV_SYSCALL(flock)
{
	struct vfs *v = self;
	int how = (int)call->arg[1] & ~LOCK_NB;
	struct key key;

	if (how != LOCK_SH && how != LOCK_EX && how != LOCK_UN)
		return BV_CONTINUE; /* EINVAL, or LOCK_MAND, which Linux 5.18 ignores: the operation is a register */
	bv_autofd int fd = v->host->get_fd(call, (int)call->arg[0]);
	if (fd < 0)
		return REPLY(v, call, fd);
	if (fcntl(fd, F_GETFL) & O_PATH)
		return REPLY(v, call, -EBADF);
	int r = host_key(v, call, (int)call->arg[0], &key);
	if (r < 0)
		return REPLY(v, call, r);
	return r ? lock_here(v, call, &key, fd) : lock_there(v, call, bv_take_fd(&fd));
}

static enum bv_verdict nap_done(struct bv_call *call, void *arg)
{
	struct nap *n = arg;
	struct vfs *v = n->v;
	bool cut = n->cut;

	free(n);
	if (!call)
		return BV_PASS;
	return cut ? REPLY(v, call, -EINTR) : sys_flock(v, call);
}

const struct bv_handler flock_handlers[] = {
	BV_ON(flock, BV_SERVE),
	{0},
};
