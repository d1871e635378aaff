/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inotify(7) calls.  A watch of what is in one layer only is put on the object itself, through a
 * duplicate of the guest's descriptor; any other on a stand-in (watch.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>

#include "holders.h"
#include "watch.h"

#define DIR_NAME "watch"
#define MANY 64 /* instances; a user may have 128 (inotify(7)) */

/* ---- the whole ---- */

static void readable(void *self)
{
	watch_look(self);
}

static void whole_free(struct watching *g)
{
	if (g->fd >= 0)
		close(g->fd);
	if (g->dir >= 0)
		close(g->dir);
	free(g->path);
	free(g);
}

static int whole_make(struct vfs *v)
{
	const char *slash = strrchr(v->upper.root, '/');
	struct watching *g = calloc(1, sizeof(*g));

	if (!g)
		return -ENOMEM;
	g->v = v;
	g->dir = -1;
	g->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = g->fd < 0 ? -errno : 0;
	if (r == 0 &&
	    asprintf(&g->path, "%.*s/" DIR_NAME, (int)(slash - v->upper.root), v->upper.root) < 0) {
		g->path = NULL;
		r = -ENOMEM;
	}
	if (r == 0 && mkdir(g->path, 0700) < 0)
		r = -errno;
	if (r == 0) {
		g->dir = open(g->path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		r = g->dir < 0 ? -errno : v->host->on_readable(v->self, g->fd, readable);
		if (r < 0)
			(void)rmdir(g->path);
	}
	if (r < 0) {
		whole_free(g);
		return r;
	}
	v->watching = g;
	return 0;
}

/* ---- instances ---- */

static struct instance *instance_find(const struct watching *g, int fd)
{
	struct instance *in = g->instances;

	while (in && holders_same(fd, in->fd) != 1)
		in = in->next;
	return in;
}

static struct instance *instance_get(struct watching *g, int fd)
{
	struct instance *in = instance_find(g, fd);

	if (in)
		return in;
	in = calloc(1, sizeof(*in));
	if (!in)
		return NULL;
	in->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (in->fd < 0) {
		free(in);
		return NULL;
	}
	in->next = g->instances;
	g->instances = in;
	g->n_instances++;
	return in;
}

static void instance_free(struct watching *g, struct instance **at)
{
	struct instance *in = *at;
	struct watch *w, *next;

	HASH_ITER (hh, in->watches, w, next)
		stand_in_free(g, w, true);
	*at = in->next;
	close(in->fd);
	free(in);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void tidy_now(struct vfs *v)
{
	struct watching *g = v->watching;
	size_t n = 0, i = 0;

	for (const struct instance *in = g->instances; in; in = in->next)
		n++;
	bv_autofree struct holder *h = calloc(n + 1, sizeof(*h));
	if (!h)
		return;
	for (const struct instance *in = g->instances; in; in = in->next)
		h[i++] = (struct holder){.fd = in->fd, .pid = in->pid, .held = true};
	holders_find(v, h, n);
	i = 0;
	for (struct instance **at = &g->instances; *at; i++)
		if (h[i].held) {
			(*at)->pid = h[i].pid;
			at = &(*at)->next;
		} else {
			instance_free(g, at);
			g->n_instances--;
		}
}

/* Those go that no guest has any more.  To look for that takes a fifth of the time at most, whatever guests do, unless
 * the kernel would soon count too many. */
static void tidy(struct vfs *v)
{
	struct watching *g = v->watching;
	uint64_t start = now();

	if (start < g->tidy_again && g->n_instances < MANY)
		return;
	tidy_now(v);
	g->untidy = false;
	g->tidy_again = now() + 4 * (now() - start);
}

void watch_left(struct vfs *v, pid_t pid)
{
	struct watching *g = v->watching;

	if (!g)
		return;
	for (const struct instance *in = g->instances; in && !g->untidy; in = in->next)
		g->untidy = in->pid == pid;
	if (g->untidy)
		tidy(v);
}

void watch_free(struct vfs *v)
{
	struct watching *g = v->watching;

	if (!g)
		return;
	while (g->instances)
		instance_free(g, &g->instances);
	(void)v->host->on_readable(v->self, g->fd, NULL);
	stand_in_spares_free(g);
	(void)rmdir(g->path);
	whole_free(g);
	v->watching = NULL;
}

/* ---- adding a watch ---- */

/*
 * Is it in a merged place?  What is the upper's alone there too: a watch of its own would be told of before the
 * directory's that it is in, and both may be one instance's.
 */
static bool in_merged(const struct loc *l)
{
	const mode_t type = l->st.st_mode & S_IFMT;

	/* And what shows not all that the host has there: a hidden name is not told of. */
	if (S_ISDIR(type) && (l->view == V_RO || l->view == V_RW))
		return tree_has_rules(l->node);
	return l->view == V_MERGED || (l->view == V_UPPER && l->mount->rule != R_TMP) ||
	       (l->view == V_LOWER && type != S_IFCHR && type != S_IFBLK);
}

/* The parts that there are, watched by us; *o is what they are of. */
static int sides_watch(struct vfs *v, struct bv_call *call, struct loc *l, uint32_t mask,
                       struct object **o)
{
	struct watching *g = v->watching;
	bv_autofd int low = l->view == V_UPPER ? -1 : loc_open_path(v, l);
	bv_autofd int up = l->view == V_UPPER    ? loc_open_path(v, l)
	                   : l->view == V_MERGED ? real_open(v, l, V_UPPER, O_PATH | O_DIRECTORY, 0)
	                                         : -1;

	if (low < 0 && l->view != V_UPPER)
		return low;
	if (up < 0 && (l->view == V_UPPER || l->view == V_MERGED))
		return up;
	int r = v->host->as_guest(call), wd;
	if (r == 0 && low >= 0 && (wd = r = watch_side(g, low, mask, o)) >= 0)
		(*o)->low = wd;
	v->host->as_creds(NULL);
	struct object *same = *o;
	if (r >= 0 && up >= 0 && (wd = r = watch_side(g, up, mask, &same)) >= 0 &&
	    (!*o || same == *o)) {
		*o = same;
		same->up = wd;
	}
	if (*o)
		(*o)->is_dir = S_ISDIR(l->st.st_mode);
	return r < 0 ? r : 0;
}

static int watch_add(struct watching *g, struct object *o, int fd, pid_t pid, uint32_t mask)
{
	struct instance *in = instance_get(g, fd);
	struct watch *w = in ? o->watches : NULL;

	if (!in)
		return -ENOMEM;
	in->pid = pid;
	while (w && w->in != in)
		w = w->next;
	if (w && (mask & IN_MASK_CREATE))
		return -EEXIST;
	if (w) {
		w->mask = mask & IN_MASK_ADD ? w->mask | mask : mask;
		return w->wd;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->of = o;
	w->in = in;
	w->mask = mask;
	int r = stand_in_make(g, w);
	if (r < 0) {
		free(w);
		return r;
	}
	w->next = o->watches;
	o->watches = w;
	HASH_ADD_INT(in->watches, wd, w);
	return w->wd;
}

static int watch_merged(struct vfs *v, struct bv_call *call, int in, struct loc *l, uint32_t mask)
{
	int r = v->watching ? 0 : whole_make(v);
	struct object *o = NULL;

	if (r == 0)
		r = sides_watch(v, call, l, mask, &o);
	struct watching *g = v->watching;
	watch_hold(o);
	if (r == 0 && (!o->path || strcmp(o->path, l->path) != 0)) {
		char *path = strdup(l->path);

		if (path)
			watch_name(g, o, path);
		else
			r = -ENOMEM;
	}
	if (r == 0)
		r = watch_add(g, o, in, v->host->task_pid(call->task), mask);
	watch_release(g, o);
	return r;
}

static int watch(struct vfs *v, struct bv_call *call, int in, struct loc *l, uint32_t mask)
{
	char path[FD_PATH_MAX];

	if ((mask & IN_ONLYDIR) && !S_ISDIR(l->st.st_mode))
		return -ENOTDIR;
	int r = perm_access(v, call, l, R_OK);
	if (r < 0)
		return r;
	if (in_merged(l))
		return watch_merged(v, call, in, l, mask);
	bv_autofd int fd = loc_open_path(v, l);
	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	r = v->host->as_guest(call);
	/* Through our own magic link, which IN_DONT_FOLLOW would watch instead of the object. */
	if (r == 0) {
		r = inotify_add_watch(in, path, mask & ~(uint32_t)IN_DONT_FOLLOW);
		r = r < 0 ? -errno : r;
	}
	v->host->as_creds(NULL);
	return r;
}

BV_SYSCALL(inotify_add_watch)
{
	struct vfs *v = self;
	struct loc l;
	uint32_t mask = (uint32_t)call->arg[2];

	bv_autofd int in = v->host->get_fd(call, (int)call->arg[0]);
	if (in < 0)
		return REPLY(v, call, in);
	/* What is wrong with mask or descriptor the kernel says, and before it looks for the path. */
	if (inotify_add_watch(in, "", mask) < 0 && errno != ENOENT)
		return REPLY(v, call, -errno);
	int r = vfs_walk_guest(v, call, AT_FDCWD, call->arg[1],
	                       W_PROBE | (mask & IN_DONT_FOLLOW ? W_NOFOLLOW : 0), &l);
	if (r < 0)
		return REPLY(v, call, r);
	r = watch(v, call, in, &l, mask);
	loc_fini(&l);
	return REPLY(v, call, r);
}

BV_SYSCALL(inotify_rm_watch)
{
	struct vfs *v = self;
	struct watching *g = v->watching;
	int wd = (int)call->arg[1];

	/* Numbers in registers, not pointed-to data: what is no stand-in's is the kernel's business. */
	if (!g)
		return BV_CONTINUE;
	bv_autofd int fd = v->host->get_fd(call, (int)call->arg[0]);
	struct instance *in = fd < 0 ? NULL : instance_find(g, fd);
	struct watch *w = NULL;
	if (in)
		HASH_FIND_INT(in->watches, &wd, w);
	if (!w)
		return BV_CONTINUE; /* as above */
	watch_look(v);
	stand_in_free(g, w, true);
	return REPLY(v, call, 0);
}

/* The kernel's limit of instances counts those that we keep alive for a guest that closed them. */
static enum bv_verdict new_instance(struct vfs *v)
{
	if (v->watching)
		tidy(v);
	return BV_CONTINUE; /* it points to nothing */
}

BV_SYSCALL(inotify_init)
{
	(void)call;
	return new_instance(self);
}

BV_SYSCALL(inotify_init1)
{
	(void)call;
	return new_instance(self);
}

const struct bv_handler watch_handlers[] = {
	BV_ON(inotify_init, BV_SERVE),
	BV_ON(inotify_init1, BV_SERVE),
	BV_ON(inotify_add_watch, BV_SERVE),
	BV_ON(inotify_rm_watch, BV_SERVE),
	{0},
};
