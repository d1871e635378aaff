/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of our own in the run directory's `x` that the host kernel executes in place of what a
 * guest named: symlinks that give a process the right name (Linux takes comm from the path of
 * execve), and copies of programs that Landlock does not let the guest execute where they are
 * (wall.c) or whose ELF interpreter is not the host's.  Both are cached and bounded; guests can reach neither by path.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "exec.h"

#define MAX_ALIASES 256
#define MAX_COPIES 64

/* One file, at x/N/name; newest use first. */
struct made {
	struct made *next;
	unsigned long n;
	char *name;
	char *target; /* alias: what it links to; copy: the interpreter it names, or "" for its own */
	char *shown;  /* copy: virtual path of the program; alias: NULL */
	struct stat from, st; /* copy: what it was made of, and itself */
};

static void made_free(struct made *m)
{
	if (!m)
		return;
	free(m->name);
	free(m->target);
	free(m->shown);
	free(m);
}

int exec_init(struct vfs *v)
{
	const char *slash = strrchr(v->upper.root, '/');

	v->exec = calloc(1, sizeof(*v->exec));
	if (!v->exec)
		return -ENOMEM;
	v->exec->dir = -1;
	if (asprintf(&v->exec_dir, "%.*s/x", (int)(slash - v->upper.root), v->upper.root) < 0) {
		v->exec_dir = NULL;
		return -ENOMEM;
	}
	return 0;
}

void exec_fini(struct vfs *v)
{
	if (!v->exec)
		return;
	while (v->exec->made) {
		struct made *m = v->exec->made;

		v->exec->made = m->next;
		made_free(m);
	}
	program_forget(v);
	if (v->exec->dir >= 0)
		close(v->exec->dir);
	free(v->exec);
	free(v->exec_dir);
	v->exec = NULL;
	v->exec_dir = NULL;
}

static int path_of(const struct vfs *v, const struct made *m, char out[PATH_MAX])
{
	int n = snprintf(out, PATH_MAX, "%s/%lx/%s", v->exec_dir, m->n, m->name);

	return n < 0 || n >= PATH_MAX ? -ENAMETOOLONG : 0;
}

ssize_t exec_shown(struct vfs *v, const char *real, char out[PATH_MAX])
{
	size_t dir = v->exec_dir ? strlen(v->exec_dir) : 0;
	char *end;

	if (!dir || strncmp(real, v->exec_dir, dir) != 0 || real[dir] != '/')
		return -ENOENT;
	unsigned long n = strtoul(real + dir + 1, &end, 16);
	for (const struct made *m = v->exec->made; m && *end == '/'; m = m->next)
		if (m->shown && m->n == n && strcmp(m->name, end + 1) == 0) {
			size_t len = strlen(m->shown);

			memcpy(out, m->shown, len + 1);
			return (ssize_t)len;
		}
	return -ENOENT;
}

static void unmake(const struct vfs *v, const struct made *m)
{
	char dir[24], file[24 + NAME_MAX + 1];

	snprintf(dir, sizeof(dir), "%lx", m->n);
	snprintf(file, sizeof(file), "%lx/%s", m->n, m->name);
	(void)unlinkat(v->exec->dir, file, 0);
	(void)unlinkat(v->exec->dir, dir, AT_REMOVEDIR);
}

/* Puts m first, and lets the one go that was not used for longest if there are too many. */
static void keep(struct vfs *v, struct made *m)
{
	unsigned n = 0, max = m->shown ? MAX_COPIES : MAX_ALIASES;
	struct made **oldest = NULL;

	m->next = v->exec->made;
	v->exec->made = m;
	for (struct made **p = &m->next; *p; p = &(*p)->next)
		if (!(*p)->shown == !m->shown) {
			oldest = p;
			n++;
		}
	if (n < max || !oldest)
		return;
	struct made *old = *oldest;
	*oldest = old->next;
	unmake(v, old);
	made_free(old);
}

static void take_out(struct vfs *v, const struct made *m)
{
	for (struct made **p = &v->exec->made; *p; p = &(*p)->next)
		if (*p == m) {
			*p = m->next;
			return;
		}
}

/* The directory is made when it is first needed: most sandboxes never do. */
static int made_dir(struct vfs *v)
{
	if (v->exec->dir >= 0)
		return 0;
	bv_autofd int run = openat(v->upper.root_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (run < 0)
		return -errno;
	/* Guests of other users than the supervisor must pass here when the kernel runs a program. */
	if (mkdirat(run, "x", 0711) < 0 && errno != EEXIST)
		return -errno;
	v->exec->dir = openat(run, "x", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return v->exec->dir < 0 ? -errno : 0;
}

/* A new record with its directory x/N made. */
static int made_new(struct vfs *v, const char *name, const char *target, const char *shown, struct made **out)
{
	int r = made_dir(v);
	struct made *m = r < 0 ? NULL : calloc(1, sizeof(*m));
	char dir[24];

	if (!m)
		return r < 0 ? r : -ENOMEM;
	m->n = ++v->exec->serial;
	m->name = strdup(name);
	m->target = strdup(target);
	m->shown = shown ? strdup(shown) : NULL;
	snprintf(dir, sizeof(dir), "%lx", m->n);
	if (!m->name || !m->target || (shown && !m->shown)) {
		made_free(m);
		return -ENOMEM;
	}
	if (mkdirat(v->exec->dir, dir, 0711) < 0) {
		int err = errno;

		made_free(m);
		return -err;
	}
	*out = m;
	return 0;
}

int made_alias(struct vfs *v, const char *target, const char *name, char out[PATH_MAX])
{
	char file[24 + NAME_MAX + 1];
	struct made *m;

	if (!*name || strlen(name) > NAME_MAX)
		return -ENAMETOOLONG;
	for (m = v->exec->made; m; m = m->next)
		if (!m->shown && strcmp(m->name, name) == 0 && strcmp(m->target, target) == 0)
			break;
	if (m) {
		take_out(v, m);
		keep(v, m);
		return path_of(v, m, out);
	}
	int r = made_new(v, name, target, NULL, &m);
	if (r < 0)
		return r;
	snprintf(file, sizeof(file), "%lx/%s", m->n, name);
	if (symlinkat(target, v->exec->dir, file) < 0) {
		r = -errno;
		unmake(v, m);
		made_free(m);
		return r;
	}
	keep(v, m);
	return path_of(v, m, out);
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
	       a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

static struct made *find_copy(const struct vfs *v, const struct stat *from, const char *interp, const char *path)
{
	for (struct made *m = v->exec->made; m; m = m->next)
		if (m->shown && same(&m->from, from) && strcmp(m->target, interp) == 0 && strcmp(m->shown, path) == 0)
			return m;
	return NULL;
}

/* A copy being made. */
struct job {
	struct vfs *v;
	bv_handler_fn *handler;
	struct made *made;
	int from, to, result;
};

static int job_open(struct job *j, struct vfs *v, int file, const struct stat *st, const char *path, const char *interp)
{
	const char *name = strrchr(path, '/') + 1;
	char at[24 + NAME_MAX + 1];
	int r = made_new(v, name, interp, path, &j->made);

	if (r < 0)
		return r;
	j->v = v;
	j->made->from = *st;
	snprintf(at, sizeof(at), "%lx/%s", j->made->n, name);
	j->to = openat(v->exec->dir, at, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0700);
	j->from = fcntl(file, F_DUPFD_CLOEXEC, 3);
	return j->to < 0 || j->from < 0 ? -errno : 0;
}

static void job_work(void *arg)
{
	struct job *j = arg;

	j->result = image_copy(j->from, j->to, j->made->target);
}

/* The copy becomes usable, or goes.  Its descriptor for writing is closed either way (ETXTBSY). */
static int job_close(struct job *j, int r)
{
	/* Whoever may execute the program was asked before; nobody reads the copy by path. */
	if (r == 0 && (fchmod(j->to, 0755) < 0 || fstat(j->to, &j->made->st) < 0))
		r = -errno;
	if (j->from >= 0)
		close(j->from);
	if (j->to >= 0)
		close(j->to);
	if (!j->made)
		return r;
	if (r == 0) {
		keep(j->v, j->made);
	} else {
		unmake(j->v, j->made);
		made_free(j->made);
	}
	return r;
}

int made_copy(struct vfs *v, int file, struct stat *st, const char *path, const char *interp, char out[PATH_MAX])
{
	struct made *m = find_copy(v, st, interp, path);

	if (m) {
		take_out(v, m);
		keep(v, m);
	} else {
		struct job j = {.from = -1, .to = -1};

		if ((uint64_t)st->st_size > v->conf->copyup_inline)
			return MADE_LATER;
		int r = job_open(&j, v, file, st, path, interp);
		if (r == 0)
			r = image_copy(j.from, j.to, interp);
		r = job_close(&j, r);
		if (r < 0)
			return r;
		m = v->exec->made;
	}
	*st = m->st;
	return path_of(v, m, out);
}

static enum bv_verdict job_done(struct bv_call *call, void *arg)
{
	struct job *j = arg;
	struct vfs *v = j->v;
	bv_handler_fn *handler = j->handler;
	int r = job_close(j, j->result);

	free(j);
	if (!call)
		return BV_PASS;
	return r < 0 ? REPLY(v, call, r) : handler(v, call);
}

enum bv_verdict made_defer(struct vfs *v, struct bv_call *call, int file, const struct stat *st, const char *path,
                           const char *interp, bv_handler_fn *handler)
{
	struct job *j = calloc(1, sizeof(*j));

	if (!j)
		return REPLY(v, call, -ENOMEM);
	j->from = j->to = -1;
	j->handler = handler;
	int r = job_open(j, v, file, st, path, interp);
	if (r < 0) {
		job_close(j, r);
		free(j);
		return REPLY(v, call, r);
	}
	return v->host->defer(call, 0, job_work, job_done, j);
}
