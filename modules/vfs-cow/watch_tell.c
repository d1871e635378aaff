/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stand-ins: what a guest's inotify(7) really watches.  A stand-in lies idle, and its watch waits for what
 * never happens to it then; to tell an event, that is armed, and the deed done that the kernel makes
 * it of (fsnotify_change of include/linux/fsnotify.h: a new access time alone is IN_ACCESS, a
 * new modification time alone IN_MODIFY, a mode IN_ATTRIB).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "watch.h"

#define IDLE IN_DELETE_SELF /* it is removed last, when nobody watches */
#define REL_MAX (NAME_MAX + 16)
#define AWAY "away" /* where what is moved comes from, or goes to */
#define SPARE_FILE "file"
#define SPARE_DIR "dir"

static bool wants(const struct watch *w, uint32_t event)
{
	return (w->mask & event & IN_ALL_EVENTS) && !(w->mask & event & IN_EXCL_UNLINK);
}

static void name_of(const struct watch *w, const char *name, char rel[REL_MAX])
{
	if (name)
		snprintf(rel, REL_MAX, "%u/%s", w->id, name);
	else
		snprintf(rel, REL_MAX, "%u", w->id);
}

static int make(const struct watching *g, const char *rel, bool is_dir)
{
	int r = is_dir ? mkdirat(g->dir, rel, 0700) : mknodat(g->dir, rel, S_IFREG | 0600, 0);

	return r < 0 ? -errno : 0;
}

/*
 * Entries come and go with each event, and making and removing as many inodes is slow: ext4 looks
 * long for one that was not removed lately.  So an entry is one more name of the one file, or the one
 * directory moved there.
 */
static int put(struct watching *g, const char *rel, bool is_dir)
{
	if (is_dir && g->spare_dir && renameat(g->dir, SPARE_DIR, g->dir, rel) == 0) {
		g->spare_dir = false;
		return 0;
	}
	if (is_dir)
		return make(g, rel, true);
	if (linkat(g->dir, SPARE_FILE, g->dir, rel, 0) == 0)
		return 0;
	if (errno == ENOENT && make(g, SPARE_FILE, false) == 0 &&
	    linkat(g->dir, SPARE_FILE, g->dir, rel, 0) == 0)
		return 0;
	return make(g, rel, false); /* a filesystem without links */
}

static void drop(const struct watching *g, const char *rel, bool is_dir)
{
	(void)unlinkat(g->dir, rel, is_dir ? AT_REMOVEDIR : 0);
}

static void put_away(struct watching *g, const char *rel, bool is_dir)
{
	if (is_dir && !g->spare_dir && renameat(g->dir, rel, g->dir, SPARE_DIR) == 0)
		g->spare_dir = true;
	else
		drop(g, rel, is_dir);
}

void stand_in_spares_free(struct watching *g)
{
	drop(g, SPARE_FILE, false);
	drop(g, SPARE_DIR, true);
}

/* What the guest's watch of its stand-in waits for.  The kernel knows a watch by what it is of, so
 * this changes the one that there is. */
static int wait_for(const struct watching *g, const struct watch *w, uint32_t mask)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/%u", g->path, w->id);
	int r = inotify_add_watch(w->in->fd, path, mask);
	return r < 0 ? -errno : r;
}

int stand_in_make(struct watching *g, struct watch *w)
{
	char rel[REL_MAX];

	w->id = ++g->last_id;
	name_of(w, NULL, rel);
	int r = make(g, rel, w->of->is_dir);
	if (r < 0)
		return r;
	w->wd = wait_for(g, w, IDLE);
	if (w->wd < 0)
		drop(g, rel, w->of->is_dir);
	return w->wd < 0 ? w->wd : 0;
}

void stand_in_free(struct watching *g, struct watch *w, bool unwatch)
{
	struct watch **at = &w->of->watches;
	char rel[REL_MAX];

	if (unwatch)
		(void)inotify_rm_watch(w->in->fd, w->wd);
	name_of(w, NULL, rel);
	drop(g, rel, w->of->is_dir);
	while (*at != w)
		at = &(*at)->next;
	*at = w->next;
	HASH_DEL(w->in->watches, w);
	watch_hold(w->of);
	watch_release(g, w->of);
	free(w);
}

/* After the event: back to idleness.  A watch for one event is over with it, which the kernel has seen to. */
static bool settle(struct watching *g, struct watch *w)
{
	if (w->mask & IN_ONESHOT)
		return false;
	(void)wait_for(g, w, IDLE);
	return true;
}

static int arm(const struct watching *g, const struct watch *w, uint32_t event)
{
	return wait_for(g, w, (event & IN_ALL_EVENTS) | (w->mask & IN_ONESHOT));
}

static void touch(const struct watching *g, const char *rel, bool access)
{
	const struct timespec times[2] = {{.tv_nsec = access ? UTIME_NOW : UTIME_OMIT},
	                                  {.tv_nsec = access ? UTIME_OMIT : UTIME_NOW}};

	(void)utimensat(g->dir, rel, times, AT_SYMLINK_NOFOLLOW);
}

#define STRIPPED (IN_MODIFY | IN_ATTRIB)

/* A truncation that takes set-id bits away is both at once; where we may keep them, one after the other. */
static void strip(const struct watching *g, const char *rel, int fd)
{
	struct stat st;

	if (ftruncate(fd, 0) == 0 && fstat(fd, &st) == 0 && st.st_mode & S_ISUID)
		(void)fchmodat(g->dir, rel, 0600, 0);
}

static void close_if(int fd)
{
	if (fd >= 0)
		close(fd);
}

/* The deed itself, to what is there already; IN_CREATE and IN_DELETE make and remove it.  False: the watch is over. */
static bool act(struct watching *g, struct watch *w, const char *rel, uint32_t event)
{
	const bool is_dir = event & IN_ISDIR;
	const bool strips = (event & STRIPPED) == STRIPPED && !is_dir;
	const int before =
		strips || event & (IN_CLOSE_WRITE | IN_CLOSE_NOWRITE)
			? openat(g->dir, rel,
	                         (event & IN_CLOSE_NOWRITE ? O_RDONLY : O_WRONLY) | O_CLOEXEC)
			: -1;
	char away[REL_MAX + 8];
	int after = -1;

	if (strips)
		(void)fchmodat(g->dir, rel, 04600, 0);
	if (arm(g, w, event) < 0) {
		close_if(before);
		return true;
	}
	switch (event & IN_ALL_EVENTS) {
	case IN_CREATE:
		(void)(is_dir ? make(g, rel, true) : put(g, rel, false));
		break;
	case IN_DELETE:
		drop(g, rel, is_dir);
		break;
	case IN_ACCESS:
	case IN_MODIFY:
		touch(g, rel, event & IN_ACCESS);
		break;
	case IN_ATTRIB:
		(void)fchmodat(g->dir, rel, is_dir ? 0700 : 0600, 0);
		break;
	case STRIPPED:
		strip(g, rel, before);
		after = before;
		break;
	case IN_OPEN:
		after = openat(g->dir, rel, O_RDONLY | O_CLOEXEC);
		break;
	case IN_CLOSE_WRITE:
	case IN_CLOSE_NOWRITE:
		close_if(before);
		break;
	case IN_MOVE_SELF:
		snprintf(away, sizeof(away), "%s.", rel);
		if (renameat(g->dir, rel, g->dir, away) == 0) {
			/* The kernel finds the watch by its path: back with it before anything else. */
			uint32_t once = w->mask & IN_ONESHOT;
			char path[PATH_MAX];

			snprintf(path, sizeof(path), "%s/%s", g->path, away);
			if (!once)
				(void)inotify_add_watch(w->in->fd, path, IDLE);
			(void)renameat(g->dir, away, g->dir, rel);
		}
		break;
	default:
		break;
	}
	bool lasts = settle(g, w);
	close_if(after);
	return lasts;
}

static void tell_one(struct watching *g, struct watch *w, uint32_t event, const char *name)
{
	const bool is_dir = event & IN_ISDIR, makes = event & IN_CREATE,
		   removes = event & IN_DELETE;
	char rel[REL_MAX];

	name_of(w, name, rel);
	if (name && !makes && put(g, rel, is_dir) < 0)
		return;
	bool lasts = act(g, w, rel, event);
	if (name && !removes)
		put_away(g, rel, is_dir);
	if (!lasts)
		stand_in_free(g, w, false);
}

/* With its stand-in the watch goes, which IN_IGNORED tells whoever asked for nothing else. */
static void end_one(struct watching *g, struct watch *w)
{
	if (wants(w, IN_DELETE_SELF))
		(void)arm(g, w, IN_DELETE_SELF);
	else
		(void)wait_for(g, w, IN_MOVE_SELF);
	stand_in_free(g, w, false);
}

void tell(struct watching *g, struct object *o, uint32_t event, const char *name)
{
	const bool ends = event & IN_DELETE_SELF;

	watch_hold(o);
	for (struct watch *w = o->watches, *next; w; w = next) {
		next = w->next;
		if (ends)
			end_one(g, w);
		else if (wants(w, event))
			tell_one(g, w, event, name);
	}
	watch_release(g, o);
}

static struct watch *of_instance(const struct object *o, const struct instance *in)
{
	struct watch *w = o ? o->watches : NULL;

	while (w && w->in != in)
		w = w->next;
	return w;
}

/* A rename from the stand-in of `from` to that of `to`; NULL: not watched, at least not for that. */
static void move_one(struct watching *g, struct watch *from, const char *old, struct watch *to,
                     const char *new, bool is_dir)
{
	uint32_t out = from && wants(from, IN_MOVED_FROM) ? IN_MOVED_FROM : 0;
	uint32_t in = to && wants(to, IN_MOVED_TO) ? IN_MOVED_TO : 0;
	char source[REL_MAX] = AWAY, target[REL_MAX] = AWAY;

	if (!out && !in)
		return;
	if (out)
		name_of(from, old, source);
	if (in)
		name_of(to, new, target);
	if (put(g, source, is_dir) < 0)
		return;
	bool both = from == to && out && in;
	if (out)
		(void)arm(g, from, both ? out | in : out);
	if (in && !both)
		(void)arm(g, to, in);
	bool moved = renameat(g->dir, source, g->dir, target) == 0;
	bool from_lasts = !out || settle(g, from), to_lasts = !in || both || settle(g, to);
	put_away(g, moved ? target : source, is_dir);
	if (!from_lasts)
		stand_in_free(g, from, false);
	if (!to_lasts)
		stand_in_free(g, to, false);
}

void tell_move(struct watching *g, struct object *from, const char *old, struct object *to,
               const char *new, bool is_dir)
{
	struct watch *w, *next;

	watch_hold(from);
	watch_hold(to);
	for (w = to ? to->watches : NULL; w; w = next) {
		next = w->next;
		if (!of_instance(from, w->in))
			move_one(g, NULL, old, w, new, is_dir);
	}
	for (w = from ? from->watches : NULL; w; w = next) {
		next = w->next;
		move_one(g, w, old, of_instance(to, w->in), new, is_dir);
	}
	watch_release(g, from);
	watch_release(g, to);
}
