/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running sandbox gives changes up: what lies in the upper goes, and the host's is seen again.  To guests
 * it is as if somebody had removed the one and made the other; what they have open they keep.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin.h"
#include "quota.h"
#include "review.h"
#include "scrub.h"
#include "watch.h"
#include "whiteout.h"
#include "who.h"

#define TRASH \
	"trash" /* beside the upper: directories, each emptied by a thread while guests go on */

/* Whose loop this is waits for them at its end. */
struct scrubber {
	struct scrubber *next;
	pthread_t thread;
	int trash; /* owned: the directory TRASH */
	char name[32];
};

static void *scrub_thread(void *arg)
{
	const struct scrubber *s = arg;
	bv_autofd int dir =
		openat(s->trash, s->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir >= 0)
		(void)scrub(dir, NULL);
	(void)unlinkat(s->trash, s->name, AT_REMOVEDIR);
	return NULL;
}

void undone_fini(struct vfs *v)
{
	while (v->scrubbers) {
		struct scrubber *s = v->scrubbers;

		(void)pthread_join(s->thread, NULL);
		v->scrubbers = s->next;
		close(s->trash);
		free(s);
	}
}

/* Without a thread it is done here and now. */
static void scrub_start(struct vfs *v, struct scrubber *s)
{
	sigset_t all, old;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&s->thread, NULL, scrub_thread, s);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (r == 0) {
		s->next = v->scrubbers;
		v->scrubbers = s;
		return;
	}
	(void)scrub_thread(s);
	close(s->trash);
	free(s);
}

/* A new directory for what one undo() throws away. */
static struct scrubber *trash_make(struct vfs *v)
{
	struct scrubber *s = calloc(1, sizeof(*s));
	bv_autofd int run = openat(v->upper.root_fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (!s)
		return NULL;
	snprintf(s->name, sizeof(s->name), "%u", ++v->last_trash);
	s->trash = run < 0 || (mkdirat(run, TRASH, 0700) < 0 && errno != EEXIST)
	                   ? -1
	                   : openat(run, TRASH, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (s->trash >= 0 && mkdirat(s->trash, s->name, 0700) == 0)
		return s;
	if (s->trash >= 0)
		close(s->trash);
	free(s);
	return NULL;
}

struct undo {
	struct vfs *v;
	struct scrubber *trash;
	unsigned thrown;
};

/* At once, whatever is in it. */
static int throw_away(struct undo *u, int dir, const char *name, const struct stat *st)
{
	char to[64];

	if (!u->trash && !(u->trash = trash_make(u->v)))
		return -ENOSPC;
	/* Its ".." changes, which takes the right to write in it. */
	if ((st->st_mode & 0700) != 0700 && fchmodat(dir, name, 0700, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	snprintf(to, sizeof(to), "%s/%u", u->trash->name, u->thrown++);
	return renameat(dir, name, u->trash->trash, to) < 0 ? -errno : 0;
}

/* Nothing is recorded of what is as on the host. */
static void forget(struct vfs *v, const char *path, bool below)
{
	struct origin *o, *next;

	origin_forget(v, path);
	if (below)
		HASH_ITER (hh, v->origins, o, next)
			if (path_below(o->path, path))
				origin_forget(v, o->path);
}

static int remove_object(struct undo *u, const struct loc *l, int dir, const char *name,
                         bool *is_dir)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*is_dir = S_ISDIR(st.st_mode);
	int r = *is_dir ? 0 : quota_removal(u->v, dir, name);
	if (r < 0)
		return r;
	/* Its own name first: who is killed here leaves the lower's to be seen, and not an empty place. */
	whiteout_drop_merged(u->v, l, dir, name);
	return *is_dir ? throw_away(u, dir, name, &st) : unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

/* What is at path, of the upper's or a whiteout, goes. */
static int drop(struct undo *u, const char *path, struct loc *l)
{
	struct vfs *v = u->v;
	const char *name;
	struct spot s, parent;
	struct stat low = {0};
	bool is_dir = false;

	place_at(v, path, l);
	spot_at(v, path, &s);
	char *slash = strrchr(l->path, '/');
	*slash = '\0';
	spot_at(v, l->path, &parent);
	*slash = '/';
	if (s.mount->rule != R_COW && s.mount->rule != R_BIND)
		return -EXDEV;
	if (s.view != V_UPPER && !(s.node && s.node->state == N_WHITEOUT))
		return 0; /* guests have given it up themselves, or it has come to be a part only */
	if (s.node && tree_has_mount(s.node))
		return -EBUSY;
	bv_autofd int dir = real_parent(v, l, V_UPPER, O_PATH, &name);
	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	int r = s.view == V_UPPER ? remove_object(u, l, dir, name, &is_dir) : 0;
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	whiteout_drop_merged(v, l, dir, name);
	moved_gone(v, path);
	moved_back(v, path);
	if (s.node) {
		s.node->parent->gen++;
		tree_drop(s.node);
	} else if (parent.node) {
		parent.node->gen++;
	}
	l->node = NULL;
	bool back = real_lower_has(v, l, &low);
	forget(v, path, is_dir || S_ISDIR(low.st_mode));
	if (s.view == V_UPPER)
		watch_dropped(v, l, is_dir);
	if (back)
		watch_made(v, l, S_ISDIR(low.st_mode));
	return 0;
}

/* Is it at or below none of the places that went? */
static bool stays(void *arg, const char *path)
{
	char above[PATH_MAX];

	snprintf(above, sizeof(above), "%s", path);
	for (char *end = above + strlen(above); end > above; end = strrchr(above, '/')) {
		*end = '\0';
		if (changes_find(arg, above))
			return false;
	}
	return true;
}

static void forget_who(struct vfs *v, const struct changes *places)
{
	if (!v->who || v->upper.meta_fd < 0)
		return;
	whos_filter(v->who, stays, (void *)(uintptr_t)places);
	(void)whos_save(v->who, v->upper.meta_fd); /* more than there need be does no harm */
}

static int take(struct undo *u, const char *record, struct loc *l)
{
	const char *path = record + 1;

	if (!path_is_normal(path) || !path[1])
		return -EINVAL;
	return record[0] == UNDO_DROP   ? drop(u, path, l)
	       : record[0] == UNDO_META ? reset_meta(u->v, path)
	                                : -EINVAL;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct bv_change *)a)->path, ((const struct bv_change *)b)->path);
}

int undo_take(struct vfs *v, const char *records, size_t len)
{
	struct undo u = {.v = v};
	struct changes places = {0};
	bv_autofree struct loc *l = calloc(1, sizeof(*l));
	bv_autofree struct bv_change *place = calloc(len / 2 + 1, sizeof(*place));
	int r = 0;

	if (!l || !place || (len && records[len - 1]))
		return l && place ? -EINVAL : -ENOMEM;
	places.at = place;
	for (size_t at = 0; at < len; at += strlen(records + at) + 1) {
		int got = take(&u, records + at, l);

		if (got == 0)
			place[places.n++].path = records + at + 1;
		r = r < 0 ? r : got;
	}
	if (places.n)
		qsort(place, places.n, sizeof(*place), by_path);
	quota_freed(v);
	if (u.trash)
		scrub_start(v, u.trash);
	forget_who(v, &places);
	int saved = origin_save(v, false);
	watch_look(v);
	return r < 0 ? r : saved;
}
