/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Commit: the changes of a sandbox become the host's.  All are judged before the first is made.
 * What was approved is written down (`commit` in the layer's meta directory) before it is done, so
 * that a commit which was killed is finished by the next one, without mistaking what it has made
 * itself for somebody else's doing.
 *
 * Of a snapshot, whose sandbox may go on meanwhile, nothing leaves the layer and nothing is written
 * down: what was made before a kill is the same on both sides afterwards, hence no change.
 */
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit_host.h"
#include "origin.h"
#include "review.h"

#define JOURNAL "commit"
#define JOURNAL_TEMP "commit.new"

struct commit {
	struct vfs *v;
	const struct bv_selection *what;
	struct changes all;
	bool *chosen; /* by index in all */
	size_t n_chosen;
	uint64_t done, total; /* bytes, and one for each change */
	struct host host;
};

static void tell(const struct commit *c, enum bv_commit_event event, const struct bv_change *change, const char *text)
{
	if (c->what->tell)
		c->what->tell(c->what->arg, event, change, text, c->done, c->total);
}

bool path_below(const char *path, const char *dir)
{
	size_t len = strlen(dir);

	while (len > 1 && dir[len - 1] == '/')
		len--;
	if (len == 1 && dir[0] == '/')
		return true;
	return strncmp(path, dir, len) == 0 && (path[len] == '/' || !path[len]);
}

bool selection_has(const struct bv_selection *s, const char *path)
{
	bool in = s->n_paths == 0;

	for (size_t i = 0; i < s->n_paths && !in; i++)
		in = path_below(path, s->path[i]);
	/* A pattern that fits a directory leaves out what is in it, too. */
	for (size_t i = 0; i < s->n_excludes && in; i++) {
		char part[PATH_MAX];

		for (const char *end = path; in && *end;) {
			end = strchrnul(end + 1, '/');
			memcpy(part, path, (size_t)(end - path));
			part[end - path] = '\0';
			in = fnmatch(s->exclude[i], part, 0) != 0 &&
			     fnmatch(s->exclude[i], strrchr(part, '/') + 1, 0) != 0;
		}
	}
	return in;
}

/* ---- judging ---- */

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool later(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec > b->tv_sec || (a->tv_sec == b->tv_sec && a->tv_nsec > b->tv_nsec);
}

/* What the host did at the change's place since the sandbox first changed it; NULL: nothing. */
static const char *host_did(struct commit *c, const struct bv_change *change)
{
	const struct origin *o = origin_find(c->v, change->path);
	struct stat st;
	struct timespec latest;
	int r = host_stat(c->v, change->path, &st);

	if (r == -ENOENT || r == -ENOTDIR)
		return o && change->kind != 'D' ? "it is gone from the host" : NULL;
	if (r < 0)
		return "the host does not let it be looked at";
	if (!o) {
		if (change->kind == 'A' && S_ISDIR(st.st_mode) && change->type == 'd')
			return NULL; /* both made the directory */
		/* Or the record of what was there before was lost in a crash: then too somebody must decide. */
		return "it appeared on the host meanwhile";
	}
	if ((st.st_mode & S_IFMT) != (o->mode & S_IFMT) || st.st_ino != o->ino)
		return "the host has another one there now";
	if (!S_ISDIR(st.st_mode))
		return st.st_size != o->size || !same_time(&st.st_mtim, &o->modified) || !same_time(&st.st_ctim, &o->changed)
		           ? "the host changed it meanwhile"
		           : NULL;
	if (st.st_mode != o->mode || st.st_uid != o->uid || st.st_gid != o->gid)
		return "the host changed its mode or owner meanwhile";
	if (change->kind == 'M' || change->kind == 'A')
		return NULL;
	/* A whole tree is to go: nothing in it may be newer than the decision. */
	r = host_latest(c->v, change->path, &latest);
	if (r < 0)
		return "the host does not let it be looked at";
	return later(&latest, &o->noted) ? "the host changed something in it meanwhile" : NULL;
}

static bool outside(const struct bv_selection *s, const char *path)
{
	for (size_t i = 0; i < s->n_allowed; i++)
		if (path_below(path, s->allowed[i]))
			return false;
	return true;
}

/* Inside it gave nobody anything (no_new_privs); on the host it would.  NULL: nothing of the kind. */
static const char *raises(const struct bv_change *change)
{
	uint32_t before = S_ISREG(change->old_mode) ? change->old_mode : 0;

	if (!S_ISREG(change->mode) || !(change->mode & ~before & (S_ISUID | S_ISGID)))
		return NULL;
	return "it would be set-user-ID or set-group-ID on the host";
}

static int judge(struct commit *c)
{
	bool refused = false;

	for (size_t i = 0; i < c->all.n; i++) {
		const struct bv_change *change = &c->all.at[i];
		const char *why;

		c->chosen[i] = selection_has(c->what, change->path);
		if (!c->chosen[i])
			continue;
		c->n_chosen++;
		c->total += 1 + change->size;
		if (c->what->flags & BV_COMMIT_FORCE)
			continue;
		if (outside(c->what, change->path)) {
			tell(c, BV_COMMIT_OUTSIDE, change, NULL);
			refused = true;
		} else if ((why = raises(change)) || (why = host_did(c, change))) {
			tell(c, BV_COMMIT_CONFLICT, change, why);
			refused = true;
		}
	}
	return refused ? -ESTALE : 0;
}

/* ---- the journal ---- */

static int journal_write(struct commit *c)
{
	bv_autostrbuf struct strbuf b = {0};
	int meta = c->v->upper.meta_fd;

	for (size_t i = 0; i < c->all.n; i++)
		if (c->chosen[i])
			strbuf_add(&b, c->all.at[i].path, strlen(c->all.at[i].path) + 1);
	if (b.failed)
		return -ENOMEM;
	bv_autofd int fd = openat(meta, JOURNAL_TEMP, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < b.len;) {
		ssize_t n = write(fd, b.data + at, b.len - at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	return fsync(fd) < 0 || renameat(meta, JOURNAL_TEMP, meta, JOURNAL) < 0 || fsync(meta) < 0 ? -errno : 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Chooses what an earlier commit had approved: 1 when there was one, 0, -errno. */
static int journal_read(struct commit *c)
{
	struct stat st;
	size_t n = 0;
	bv_autofd int fd = openat(c->v->upper.meta_fd, JOURNAL, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_size > INT32_MAX)
		return -EINVAL;
	bv_autofree char *text = malloc((size_t)st.st_size + 1);
	if (!text)
		return -ENOMEM;
	ssize_t len = read(fd, text, (size_t)st.st_size);
	if (len < 0 || len != st.st_size || (len && text[len - 1]))
		return len < 0 ? -errno : -EINVAL;
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(text + at) + 1)
		n++;
	bv_autofree char **path = calloc(n + 1, sizeof(*path));
	if (!path)
		return -ENOMEM;
	n = 0;
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(text + at) + 1)
		path[n++] = text + at;
	qsort(path, n, sizeof(*path), by_text);
	for (size_t i = 0; i < c->all.n; i++) {
		const char *key = c->all.at[i].path;

		c->chosen[i] = bsearch(&key, path, n, sizeof(*path), by_text) != NULL;
		c->n_chosen += c->chosen[i];
		c->total += c->chosen[i] ? 1 + c->all.at[i].size : 0;
	}
	for (size_t i = 0; i < n; i++)
		if (path[i][0] == '/' && strlen(path[i]) < PATH_MAX && !changes_touch(&c->all, path[i]))
			host_made(&c->host, path[i]);
	return 1;
}

static int journal_end(struct commit *c)
{
	if (unlinkat(c->v->upper.meta_fd, JOURNAL, 0) < 0 && errno != ENOENT)
		return -errno;
	return fsync(c->v->upper.meta_fd) < 0 ? -errno : 0;
}

/* ---- doing ---- */

static int apply_all(struct commit *c)
{
	struct host *h = &c->host;
	int failed = 0;

	for (size_t i = 0; i < c->all.n; i++) {
		const struct bv_change *change = &c->all.at[i];

		if (!c->chosen[i])
			continue;
		int r = host_apply(h, change);
		c->done += 1 + change->size;
		if (r == 0) {
			tell(c, BV_COMMIT_DONE, change, NULL);
		} else if (r == -EOPNOTSUPP) {
			tell(c, BV_COMMIT_SKIPPED, change, h->why);
			c->chosen[i] = false;
		} else {
			tell(c, BV_COMMIT_FAILED, change, h->why);
			c->chosen[i] = false;
			failed = -EIO;
		}
	}
	/* Deepest first, since what was done in a directory changed its times. */
	for (size_t i = c->all.n; i-- > 0;)
		if (c->chosen[i] && c->all.at[i].type == 'd' && c->all.at[i].kind != 'D')
			host_dir_last(h, c->all.at[i].path);
	return failed;
}

/* What stays in the upper although the host has it now (its neighbours do not) starts anew. */
static void renew_origins(struct commit *c)
{
	for (size_t i = 0; i < c->all.n; i++) {
		const char *path = c->all.at[i].path;
		struct stat st;

		if (!c->chosen[i])
			continue;
		origin_forget(c->v, path);
		if (c->all.at[i].kind != 'D' && host_stat(c->v, path, &st) == 0)
			origin_note(c->v, path, &st);
	}
}

/* For who goes on with the layer that this is a snapshot of (bv_review.note); st NULL: the host has nothing there. */
static void tell_record(const struct commit *c, const char *path, const struct stat *st)
{
	bv_autostrbuf struct strbuf b = {0};

	if (st)
		origin_text(path, st, &b);
	else
		strbuf_add(&b, path, strlen(path) + 1);
	if (!b.failed)
		c->what->made(c->what->arg, b.data, b.len);
}

/* A change was made below the directory. */
static bool made_below(const struct commit *c, const char *dir)
{
	size_t end;

	for (size_t i = changes_below(&c->all, dir, &end); i < end; i++)
		if (c->chosen[i])
			return true;
	return false;
}

/* It went with a directory that was removed or replaced. */
static bool gone_with(const struct commit *c, const char *path)
{
	char above[PATH_MAX];

	for (const char *slash = strrchr(path, '/'); slash > path; slash = strrchr(above, '/')) {
		size_t len = slash == strrchr(path, '/') ? (size_t)(slash - path)
		                                         : (size_t)(slash - above);

		memmove(above, path, len);
		above[len] = '\0';
		const struct bv_change *change = changes_find(&c->all, above);
		if (change)
			return c->chosen[change - c->all.at] && change->kind != 'A' &&
			       change->kind != 'M';
		if (!len)
			break;
	}
	return false;
}

static void tell_made(const struct commit *c)
{
	struct origin *o, *next;
	struct stat st;

	if (!BV_HAS(struct bv_selection, c->what, made) || !c->what->made)
		return;
	for (size_t i = 0; i < c->all.n; i++) {
		const char *path = c->all.at[i].path;

		if (c->chosen[i])
			tell_record(c, path,
			            c->all.at[i].kind != 'D' && host_stat(c->v, path, &st) == 0
			                    ? &st
			                    : NULL);
	}
	/* A directory known from earlier has had changes of ours since then, which are nobody else's. */
	HASH_ITER (hh, c->v->origins, o, next) {
		int r = host_stat(c->v, o->path, &st);

		if (r < 0 && !changes_find(&c->all, o->path) && gone_with(c, o->path))
			tell_record(c, o->path, NULL);
		else if (r == 0 && S_ISDIR(o->mode) && S_ISDIR(st.st_mode) &&
		         made_below(c, o->path))
			tell_record(c, o->path, &st);
	}
}

static int make(struct commit *c)
{
	int r = apply_all(c);
	int err = 0;

	renew_origins(c);
	err = collapse(c->v);
	if (err == 0)
		err = origin_save(c->v, true);
	if (err == 0)
		err = journal_end(c);
	return err < 0 ? err : r;
}

static void commit_fini(struct commit *c)
{
	changes_free(&c->all);
	host_fini(&c->host);
	free(c->chosen);
	c->chosen = NULL;
	c->n_chosen = 0;
	c->done = c->total = 0;
}

static int begin(struct commit *c)
{
	int r = changes_collect(c->v, &c->all);

	if (r < 0)
		return r;
	c->chosen = calloc(c->all.n + 1, sizeof(*c->chosen));
	return c->chosen ? 0 : -ENOMEM;
}

static int commit_snapshot(struct commit *c)
{
	bool dry = c->what->flags & BV_COMMIT_DRY_RUN;
	int r = begin(c), found;

	if (r == 0 && (found = journal_read(c)) != 0) {
		/* What it approved is known, but not as it was then. */
		if (found > 0 && c->what->tell)
			c->what->tell(c->what->arg, BV_COMMIT_FAILED, NULL,
			              "an earlier commit was interrupted: end the sandbox, then "
			              "commit again",
			              0, 0);
		r = found < 0 ? found : -EIO;
	}
	if (r == 0)
		r = judge(c);
	for (size_t i = 0; r == 0 && dry && i < c->all.n; i++)
		if (c->chosen[i])
			tell(c, BV_COMMIT_DONE, &c->all.at[i], NULL);
	if (r == 0 && !dry && c->n_chosen) {
		r = apply_all(c);
		tell_made(c);
	}
	commit_fini(c);
	return r;
}

int commit_changes(struct vfs *v, const struct bv_selection *what)
{
	struct commit c = {.v = v, .what = what, .host = {.v = v}};
	bool dry = what->flags & BV_COMMIT_DRY_RUN;

	if (!v->keeps_origins)
		return -EOPNOTSUPP;
	if (v->upper.flags & BV_LAYER_READ)
		return commit_snapshot(&c);
	int r = begin(&c);
	if (r == 0)
		r = journal_read(&c);
	if (r > 0 && !dry) {
		r = make(&c);
		commit_fini(&c);
		if (r == 0)
			r = begin(&c);
	} else if (r > 0) {
		memset(c.chosen, 0, c.all.n);
		c.n_chosen = 0;
		c.total = 0;
		r = 0;
	}
	if (r == 0)
		r = judge(&c);
	for (size_t i = 0; r == 0 && dry && i < c.all.n; i++)
		if (c.chosen[i])
			tell(&c, BV_COMMIT_DONE, &c.all.at[i], NULL);
	if (r == 0 && !dry && c.n_chosen) {
		r = journal_write(&c);
		if (r == 0)
			r = make(&c);
	}
	commit_fini(&c);
	return r;
}
