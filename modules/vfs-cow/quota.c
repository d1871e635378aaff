/* SPDX-License-Identifier: Apache-2.0 */
/* The account: what was measured, what was charged since, and when to measure again. */
#include "quota.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/resource.h>
#include <time.h>

/* A removed file that a guest holds, as an open descriptor of ours. */
struct ghost {
	struct ghost *next;
	int fd;
};

struct quota {
	uint64_t max_bytes, max_files; /* UINT64_MAX: no limit */
	struct usage used; /* as measured, and what was charged since */
	struct usage charged; /* ever */
	uint64_t guessed; /* charged since the last measuring, at the most */
	bool freed; /* something became less since then */
	bool short_of; /* the last taking failed, and measuring may help */
	struct ghost *ghosts;
	unsigned n_ghosts, max_ghosts;
	const struct bv_call *again; /* its handler runs after a measuring */
	bool measuring;
	uint64_t slow_until;
	atomic_uint measured; /* counts measurings; waiting workers look at it */
};

uint64_t quota_size(uint64_t length)
{
	return length > UINT64_MAX - QUOTA_BLOCK
	               ? length
	               : (length + QUOTA_BLOCK - 1) / QUOTA_BLOCK * QUOTA_BLOCK;
}

uint64_t quota_counted(const struct stat *st)
{
	uint64_t blocks = (uint64_t)st->st_blocks * 512, length = (uint64_t)st->st_size;

	return S_ISREG(st->st_mode) && length > blocks ? quota_size(length) : quota_size(blocks);
}

static uint64_t sub(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

static bool stale(const struct quota *q)
{
	return q->freed || q->guessed;
}

bool quota_unsure(const struct vfs *v, const struct bv_call *call)
{
	return v->quota && stale(v->quota) && v->quota->again != call;
}

static void charge(struct quota *q, uint64_t bytes, uint64_t files)
{
	q->used.bytes += bytes;
	q->used.files += files;
	q->charged.bytes += bytes;
	q->charged.files += files;
}

void quota_note(struct vfs *v, uint64_t bytes, uint64_t files)
{
	if (v->quota)
		charge(v->quota, bytes, files);
}

void quota_give(struct vfs *v, uint64_t bytes, uint64_t files)
{
	struct quota *q = v->quota;

	if (!q)
		return;
	q->used.bytes = sub(q->used.bytes, bytes);
	q->used.files = sub(q->used.files, files);
}

void quota_freed(struct vfs *v)
{
	if (v->quota)
		v->quota->freed = true;
}

/* ---- removed files that somebody holds ---- */

/*
 * Does anybody but us have the file open or mapped?  A write lease is given to the only holder
 * (fcntl(2), F_SETLEASE); it is the owner's right, so root asks as the owner.  Where leases do not
 * work the answer is yes: what is counted too long is no danger.
 */
static bool is_held(int fd, const struct stat *st)
{
	bool other = geteuid() == 0 && st->st_uid != 0;

	if (other)
		setfsuid(st->st_uid);
	bool alone = fcntl(fd, F_SETLEASE, F_WRLCK) == 0;
	if (alone)
		(void)fcntl(fd, F_SETLEASE, F_UNLCK);
	if (other)
		setfsuid(geteuid());
	return !alone;
}

/*
 * Drops those that nobody holds any more, or that have a name again, and what was charged for them;
 * counts the others.
 */
static struct usage count_ghosts(struct quota *q)
{
	struct usage u = {0};

	for (struct ghost **at = &q->ghosts; *at;) {
		struct ghost *g = *at;
		struct stat st;

		if (fstat(g->fd, &st) < 0)
			st = (struct stat){.st_nlink = 1};
		if (!st.st_nlink && is_held(g->fd, &st)) {
			u.bytes += quota_counted(&st);
			u.files++;
			at = &g->next;
			continue;
		}
		if (!st.st_nlink) {
			q->used.bytes = sub(q->used.bytes, quota_counted(&st));
			q->used.files = sub(q->used.files, 1);
		}
		*at = g->next;
		close(g->fd);
		free(g);
		q->n_ghosts--;
	}
	return u;
}

/* Takes fd. */
static int add_ghost(struct quota *q, int fd)
{
	struct ghost *g = NULL;

	if (q->n_ghosts >= q->max_ghosts)
		(void)count_ghosts(q);
	if (q->n_ghosts < q->max_ghosts)
		g = malloc(sizeof(*g));
	if (!g) {
		close(fd);
		return -ENOSPC;
	}
	g->fd = fd;
	g->next = q->ghosts;
	q->ghosts = g;
	q->n_ghosts++;
	return 0;
}

/* A reading descriptor of our own, whatever the mode says to us. */
static int open_own(int object, const struct stat *st)
{
	char path[FD_PATH_MAX];
	const int flags = O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;

	real_fd_path(path, object);
	int fd = open(path, flags);
	if (fd < 0 && errno == EACCES && chmod(path, (st->st_mode & 07777) | S_IRUSR) == 0) {
		fd = open(path, flags);
		(void)chmod(path, st->st_mode & 07777);
	}
	return fd < 0 ? -errno : fd;
}

int quota_removal(struct vfs *v, int dir, const char *name)
{
	struct quota *q = v->quota;
	struct stat st;

	if (!q)
		return 0;
	q->freed = true;
	bv_autofd int object = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (object < 0 || fstat(object, &st) < 0 || !S_ISREG(st.st_mode) || st.st_nlink > 1)
		return 0;
	bv_autofd int fd = open_own(object, &st);
	if (fd < 0)
		return -ENOSPC;
	return is_held(fd, &st) ? add_ghost(q, bv_take_fd(&fd)) : 0;
}

int quota_nameless(struct vfs *v, int fd)
{
	struct stat st;

	if (!v->quota)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	int own = open_own(fd, &st);
	return own < 0 ? -ENOSPC : add_ghost(v->quota, own);
}

/* ---- charging ---- */

uint64_t quota_room(const struct vfs *v)
{
	return sub(v->quota->max_bytes, v->quota->used.bytes);
}

static bool is_room(const struct quota *q, uint64_t bytes, uint64_t files)
{
	return bytes <= sub(q->max_bytes, q->used.bytes) &&
	       files <= sub(q->max_files, q->used.files);
}

/* With a look at who let go of what: that costs little. */
static bool has_room(struct quota *q, uint64_t bytes, uint64_t files)
{
	if (is_room(q, bytes, files))
		return true;
	if (!q->ghosts)
		return false;
	(void)count_ghosts(q);
	return is_room(q, bytes, files);
}

bool quota_has_room(struct vfs *v, uint64_t bytes)
{
	return has_room(v->quota, bytes, 0);
}

int quota_take(struct vfs *v, uint64_t bytes, uint64_t files)
{
	struct quota *q = v->quota;

	if (!q || (!bytes && !files))
		return 0;
	if (!has_room(q, bytes, files)) {
		q->short_of = stale(q);
		return -ENOSPC;
	}
	charge(q, bytes, files);
	return 0;
}

uint64_t *quota_slow_until(struct vfs *v)
{
	return &v->quota->slow_until;
}

/* ---- measuring ---- */

struct measure {
	struct vfs *v;
	bool waits; /* for the one that is being made */
	bool verify; /* quota_verify(): of a call that has the answer `reply` */
	int64_t reply;
	unsigned seen;
	int root, result;
	struct usage found, charged; /* charged: before it began */
};

static void settle(struct quota *q, const struct measure *m)
{
	struct usage held = count_ghosts(q);

	/* What was charged meanwhile may have been seen or not: it counts in any case. */
	q->guessed = q->charged.bytes - m->charged.bytes;
	q->used.bytes = m->found.bytes + held.bytes + q->guessed;
	q->used.files = m->found.files + held.files + (q->charged.files - m->charged.files);
}

static void measure_work(void *arg)
{
	struct measure *m = arg;
	struct quota *q = m->v->quota;
	const struct timespec nap = {.tv_nsec = 2000000};

	if (!m->waits) {
		m->result = quota_walk(m->root, &m->found);
		return;
	}
	/* A cancelled call ends the nap early. */
	while (atomic_load(&q->measured) == m->seen)
		if (nanosleep(&nap, NULL) < 0)
			return;
}

static bv_handler_fn *handler_of(const struct vfs *v, const char *name)
{
	for (size_t t = 0; v->tables[t].rows; t++)
		for (const struct bv_handler *row = v->tables[t].rows; row->syscall; row++)
			if (strcmp(row->syscall, name) == 0)
				return row->fn;
	return NULL;
}

/* Measured again: does the upper hold more than it may? */
static enum bv_verdict verify_done(struct bv_call *call, struct measure *m)
{
	struct vfs *v = m->v;
	int64_t r = m->reply;

	free(m);
	if (!call)
		return BV_PASS;
	if (v->quota->used.bytes > v->quota->max_bytes) {
		char text[96];
		int pid = v->host->task_pid(call->task);

		snprintf(text, sizeof(text),
		         "process %d made a file longer than the quota by a trick: killed", pid);
		v->host->log(v->self, BV_LOG_WARN, text);
		(void)kill(pid, SIGKILL);
	}
	return v->host->reply(call, r);
}

/* No room is left, now that it has been counted. */
enum bv_verdict quota_refuse(struct vfs *v, struct bv_call *call)
{
	if (v->named)
		v->host->report(v->self, call, BV_REPORT_LIMIT, ENOSPC, "quota");
	return v->host->reply(call, -ENOSPC);
}

static enum bv_verdict measure_done(struct bv_call *call, void *arg)
{
	struct measure *m = arg;
	struct vfs *v = m->v;
	struct quota *q = v->quota;
	int r = m->result;

	if (!m->waits) {
		if (r == 0)
			settle(q, m);
		else
			q->freed = true; /* as little known as before */
		q->measuring = false;
		atomic_fetch_add(&q->measured, 1);
	}
	if (m->verify)
		return verify_done(call, m);
	free(m);
	if (!call)
		return BV_PASS;
	bv_handler_fn *handler = handler_of(v, call->name);
	if (r < 0 || !handler)
		return quota_refuse(v, call);
	q->again = call;
	enum bv_verdict verdict = handler(v, call);
	q->again = NULL;
	return verdict;
}

/* Takes m. */
static enum bv_verdict measure(struct vfs *v, struct bv_call *call, struct measure *m)
{
	struct quota *q = v->quota;

	v->host->as_creds(NULL);
	m->v = v;
	m->root = v->upper.root_fd;
	m->waits = q->measuring && !m->verify;
	m->seen = atomic_load(&q->measured);
	if (!m->waits) {
		m->charged = q->charged;
		q->measuring = true;
		q->freed = false;
	}
	return v->host->defer(call, m->waits ? BV_DEFER_SIGNALS : 0, measure_work, measure_done, m);
}

enum bv_verdict quota_measure(struct vfs *v, struct bv_call *call)
{
	struct measure *m = calloc(1, sizeof(*m));

	return m ? measure(v, call, m) : quota_refuse(v, call);
}

enum bv_verdict quota_reply(struct vfs *v, struct bv_call *call)
{
	struct quota *q = v->quota;
	bool again = q->short_of && q->again != call;

	q->short_of = false;
	return again ? quota_measure(v, call) : quota_refuse(v, call);
}

enum bv_verdict quota_verify(struct vfs *v, struct bv_call *call, int64_t r)
{
	struct measure *m = calloc(1, sizeof(*m));

	if (!m)
		return v->host->reply(call, -ENOMEM);
	m->verify = true;
	m->reply = r;
	return measure(v, call, m);
}

/* ---- what guests are told ---- */

void quota_statfs(struct vfs *v, const struct statfs *fs, struct statfs *st)
{
	struct quota *q = v->quota;
	if (q)
		(void)count_ghosts(q);
	uint64_t unit = st->f_bsize > 0 ? (uint64_t)st->f_bsize : QUOTA_BLOCK;
	uint64_t store = (uint64_t)fs->f_bavail * (uint64_t)fs->f_bsize;
	uint64_t free_bytes = store, free_files = fs->f_ffree;

	if (q && q->max_bytes != UINT64_MAX) {
		free_bytes = quota_room(v) < store ? quota_room(v) : store;
		st->f_blocks = q->max_bytes / unit;
	} else {
		st->f_blocks = st->f_blocks - st->f_bfree + free_bytes / unit;
	}
	st->f_bfree = st->f_bavail = free_bytes / unit;
	if (q && q->max_files != UINT64_MAX) {
		free_files = sub(q->max_files, q->used.files);
		st->f_files = q->max_files;
	} else {
		st->f_files = st->f_files - st->f_ffree + free_files;
	}
	st->f_ffree = free_files;
}

/* ---- beginning and end ---- */

int quota_init(struct vfs *v)
{
	const struct conf *c = v->conf;
	struct rlimit files;

	if (!c->quota && !c->quota_files)
		return 0;
	struct quota *q = calloc(1, sizeof(*q));
	if (!q)
		return -ENOMEM;
	q->max_bytes = c->quota ? c->quota : UINT64_MAX;
	q->max_files = c->quota_files ? c->quota_files : UINT64_MAX;
	q->max_ghosts = getrlimit(RLIMIT_NOFILE, &files) == 0 && files.rlim_cur < 1 << 20
	                        ? (unsigned)files.rlim_cur / 2
	                        : 1 << 19;
	v->quota = q;
	return quota_walk(v->upper.root_fd, &q->used);
}

void quota_fini(struct vfs *v)
{
	struct quota *q = v->quota;

	if (!q)
		return;
	while (q->ghosts) {
		struct ghost *g = q->ghosts;

		q->ghosts = g->next;
		close(g->fd);
		free(g);
	}
	free(q);
	v->quota = NULL;
}
