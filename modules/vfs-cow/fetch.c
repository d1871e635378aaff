/* SPDX-License-Identifier: Apache-2.0 */
#include "fetch.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utlist.h>

/* One file is fetched by one worker; who else wants it waits for that. */
struct flight {
	struct flight *next, *prev;
	dev_t dev;
	ino_t ino;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t landed = PTHREAD_COND_INITIALIZER;
static struct flight *flights;

int fetch_start(struct vfs *v)
{
	if (!(v->upper.flags & BV_LAYER_LAZY) || BV_HAS(struct bv_store_ops, v->store, fetch))
		return 0;
	v->host->fail(v->self, "the store gave a lazy layer, but has no fetch");
	return -EINVAL;
}

bool fetch_mark(const struct vfs *v, const char *name)
{
	return (v->upper.flags & BV_LAYER_LAZY) && strcmp(name, BV_ABSENT_XATTR) == 0;
}

/* An ordinary user's files may be closed to their owner, which we are too.  Is it open now, and was not? */
static bool open_up(const char *self, const struct stat *st)
{
	return geteuid() != 0 && (st->st_mode & 0600) != 0600 &&
	       chmod(self, (st->st_mode & 07777) | 0600) == 0;
}

static bool absent(int fd)
{
	char self[FD_PATH_MAX];
	struct stat st;

	real_fd_path(self, fd);
	bool marked = getxattr(self, BV_ABSENT_XATTR, NULL, 0) >= 0;
	if (marked || errno != EACCES || fstat(fd, &st) < 0 || !open_up(self, &st))
		return marked;
	marked = getxattr(self, BV_ABSENT_XATTR, NULL, 0) >= 0;
	(void)chmod(self, st.st_mode & 07777);
	return marked;
}

bool fetch_needed(struct vfs *v, struct loc *l)
{
	if (!(v->upper.flags & BV_LAYER_LAZY) || l->view != V_UPPER ||
	    (l->probed && !S_ISREG(l->st.st_mode)))
		return false;
	/* Not as the guest, who may be allowed to write a file and not to read its attributes. */
	v->host->as_creds(NULL);
	bv_autofd int fd = loc_open_path(v, l);
	return fd >= 0 && absent(fd);
}

static void take_off(struct flight *f, const struct stat *st)
{
	struct flight *other;

	f->dev = st->st_dev;
	f->ino = st->st_ino;
	pthread_mutex_lock(&lock);
again:
	DL_FOREACH(flights, other)
	if (other->dev == f->dev && other->ino == f->ino) {
		pthread_cond_wait(&landed, &lock);
		goto again;
	}
	DL_APPEND(flights, f);
	pthread_mutex_unlock(&lock);
}

static void land(struct flight *f)
{
	pthread_mutex_lock(&lock);
	DL_DELETE(flights, f);
	pthread_cond_broadcast(&landed);
	pthread_mutex_unlock(&lock);
}

/* The bytes into the file, which is open for us; *st is of before. */
static int bring(struct vfs *v, const char *path, const char *self, const struct stat *st)
{
	const struct timespec times[2] = {st->st_atim, st->st_mtim};
	char mark[BV_ABSENT_MAX];
	struct stat now;
	ssize_t n = getxattr(self, BV_ABSENT_XATTR, mark, sizeof(mark));

	if (n < 0)
		return errno == ENODATA ? 0 : -errno; /* somebody else needed it too */
	bv_autofd int fd = open(self, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	const struct bv_fetch what = {
		.head = BV_HEAD(SERVICE, struct bv_fetch),
		.path = path,
		.mark = mark,
		.mark_len = (size_t)n,
		.size = (uint64_t)st->st_size,
		.fd = fd,
	};
	int r = v->store->fetch(v->store_ctx, &v->upper, &what);
	if (r == 0 && (fstat(fd, &now) < 0 || now.st_size != st->st_size))
		r = -EIO;
	/* The bytes must not be lost behind a mark that is gone already. */
	if (r == 0 && (fdatasync(fd) < 0 || fremovexattr(fd, BV_ABSENT_XATTR) < 0))
		r = -errno;
	if (futimens(fd, times) < 0 && r == 0)
		r = -errno;
	return r;
}

static int fetch(struct vfs *v, const char *path, int object)
{
	char self[FD_PATH_MAX];
	struct stat st, now;

	real_fd_path(self, object);
	if (fstat(object, &st) < 0)
		return -errno;
	mode_t mine = open_up(self, &st) ? 0600 : 0;
	int r = bring(v, path, self, &st);
	if (fstat(object, &now) < 0)
		return r < 0 ? r : -errno;
	/* The kernel takes set-id bits away from what is written.  Other bits are as a guest left them. */
	if (mine || (now.st_mode ^ st.st_mode) & 06000)
		(void)chmod(self, ((now.st_mode & ~mine) | (st.st_mode & (06000 | mine))) & 07777);
	return r;
}

int fetch_now(struct vfs *v, const char *path, int fd)
{
	char text[PATH_MAX + 100];
	struct flight f;
	struct stat st;

	if (!(v->upper.flags & BV_LAYER_LAZY) || !absent(fd))
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	take_off(&f, &st);
	int r = fetch(v, path, fd);
	land(&f);
	if (r < 0 && r != -EINTR) {
		snprintf(text, sizeof(text), "%s: the store did not bring it: %s", path,
		         strerror(-r));
		v->host->log(v->self, BV_LOG_WARN, text);
	}
	return r;
}

/* ---- for guests ---- */

struct job {
	struct vfs *v;
	bv_handler_fn *handler;
	int fd, result;
	char path[];
};

static void job_work(void *arg)
{
	struct job *j = arg;

	j->result = fetch_now(j->v, j->path, j->fd);
}

static enum bv_verdict job_done(struct bv_call *call, void *arg)
{
	struct job *j = arg;
	struct vfs *v = j->v;
	bv_handler_fn *handler = j->handler;
	int r = j->result;

	close(j->fd);
	free(j);
	if (!call)
		return BV_PASS;
	return r < 0 ? REPLY(v, call, r) : handler(v, call);
}

enum bv_verdict fetch_defer(struct vfs *v, struct bv_call *call, struct loc *l,
                            bv_handler_fn *handler)
{
	struct job *j = malloc(sizeof(*j) + l->len + 1);
	int r = j ? loc_open_path(v, l) : -ENOMEM;

	if (r < 0) {
		free(j);
		return REPLY(v, call, r);
	}
	v->host->as_creds(NULL);
	j->v = v;
	j->handler = handler;
	j->fd = r;
	memcpy(j->path, l->path, l->len + 1);
	return v->host->defer(call, BV_DEFER_WAITS, job_work, job_done, j);
}
