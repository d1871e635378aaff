/* SPDX-License-Identifier: Apache-2.0 */
/* What happens in the merged view, as far as somebody watches it: from calls, and from the layers. */
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#define NAMES (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define LOOKING (IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE)
#define SET (IN_ATTRIB | IN_MODIFY | IN_ACCESS) /* of a directory: chmod(2), utimensat(2) */
#define AT_ONCE 2 /* reads in a row: guests' calls wait meanwhile */

/* ---- objects and their sides ---- */

static struct side *side_find(const struct watching *g, int wd)
{
	struct side *s;

	HASH_FIND_INT(g->sides, &wd, s);
	return s;
}

static void side_free(struct watching *g, int *wd)
{
	struct side *s = *wd < 0 ? NULL : side_find(g, *wd);

	*wd = -1;
	if (!s)
		return;
	(void)inotify_rm_watch(g->fd, s->wd);
	HASH_DEL(g->sides, s);
	free(s);
}

static void unname(struct watching *g, struct object *o)
{
	if (!o->path)
		return;
	HASH_DEL(g->objects, o);
	free(o->path);
	o->path = NULL;
}

void watch_name(struct watching *g, struct object *o, char *path)
{
	struct object *old = watch_find(g, path, strlen(path));

	if (old && old != o)
		unname(g, old);
	unname(g, o);
	o->path = path;
	HASH_ADD_KEYPTR(hh, g->objects, o->path, strlen(o->path), o);
}

struct object *watch_find(const struct watching *g, const char *path, size_t len)
{
	struct object *o;

	HASH_FIND(hh, g->objects, path, len, o);
	return o;
}

static void object_free(struct watching *g, struct object *o)
{
	side_free(g, &o->low);
	side_free(g, &o->up);
	unname(g, o);
	if (g->ending == o)
		g->ending = NULL;
	if (g->half.of == o)
		g->half.of = NULL;
	free(o);
}

void watch_hold(struct object *o)
{
	if (o)
		o->held++;
}

void watch_release(struct watching *g, struct object *o)
{
	if (o && !--o->held && !o->watches)
		object_free(g, o);
}

int watch_side(struct watching *g, int fd, uint32_t mask, struct object **o)
{
	char path[FD_PATH_MAX];

	real_fd_path(path, fd);
	int wd = inotify_add_watch(
		g->fd, path, (mask & IN_ALL_EVENTS) | IN_DELETE_SELF | IN_MOVE_SELF | IN_MASK_ADD);
	if (wd < 0)
		return -errno;
	struct side *s = side_find(g, wd);
	if (s) {
		*o = s->of;
		return wd;
	}
	s = calloc(1, sizeof(*s));
	if (s && !*o) {
		*o = calloc(1, sizeof(**o));
		if (*o)
			(*o)->low = (*o)->up = -1;
	}
	if (!s || !*o) {
		free(s);
		(void)inotify_rm_watch(g->fd, wd);
		return -ENOMEM;
	}
	s->wd = wd;
	s->of = *o;
	HASH_ADD_INT(g->sides, wd, s);
	return wd;
}

/* The directory that holds `path`, if it is watched; *name is the last component. */
static struct object *parent_of(const struct watching *g, const char *path, const char **name)
{
	const char *slash = strrchr(path, '/');

	*name = slash + 1;
	return watch_find(g, path, slash > path ? (size_t)(slash - path) : 1);
}

/* ---- what calls tell ---- */

static bool is_below(const char *path, const char *top, size_t len)
{
	return strncmp(path, top, len) == 0 && (path[len] == '/' || !path[len]);
}

static struct object *own(const struct watching *g, const struct loc *l)
{
	return watch_find(g, l->path, l->len);
}

static void tell_entry(struct watching *g, const char *path, uint32_t event)
{
	const char *name;
	struct object *dir = parent_of(g, path, &name);

	if (dir && *name) /* the root is in none */
		tell(g, dir, event, name);
}

/* Calls in the host's own directories are seen there, like what the host does. */
static bool tells_itself(const struct loc *l)
{
	return l->dir_view == V_RW;
}

void watch_made(struct vfs *v, const struct loc *l, bool is_dir)
{
	if (v->watching && !tells_itself(l))
		tell_entry(v->watching, l->path, IN_CREATE | (is_dir ? IN_ISDIR : 0));
}

/*
 * linked: its link count changes, as only a call that removes a directory does not tell.
 * What was the lower's only has no last descriptor that we could see close; its end is told at once,
 * as of a file that nobody has open.  What is in the upper tells by itself.
 */
static void end_later(struct watching *g, struct object *o, bool linked)
{
	if (o->up >= 0) {
		unname(g, o);
		return;
	}
	watch_hold(o);
	g->ending = o;
	if (linked)
		tell(g, o, IN_ATTRIB | (o->is_dir ? IN_ISDIR : 0), NULL);
	watch_release(g, o);
}

static void end_now(struct watching *g)
{
	struct object *o = g->ending;

	g->ending = NULL;
	if (o)
		tell(g, o, IN_DELETE_SELF | (o->is_dir ? IN_ISDIR : 0), NULL);
}

/* Linux's order: the link count, the file itself, if nobody has it open, and the name. */
void watch_gone(struct vfs *v, const struct loc *l, bool is_dir)
{
	struct watching *g = v->watching;

	if (!g || tells_itself(l))
		return;
	struct object *o = own(g, l);
	if (o)
		end_later(g, o, !is_dir);
	watch_look(v);
	end_now(g);
	tell_entry(g, l->path, IN_DELETE | (is_dir ? IN_ISDIR : 0));
}

void watch_dropped(struct vfs *v, const struct loc *l, bool is_dir)
{
	struct watching *g = v->watching;
	struct object *o, *next;

	if (!g)
		return;
	HASH_ITER (hh, g->objects, o, next)
		if (is_below(o->path, l->path, l->len) && o->path[l->len])
			unname(g, o); /* it tells of its end itself */
	watch_gone(v, l, is_dir);
}

void watch_listed(struct vfs *v, const struct loc *l)
{
	struct watching *g = v->watching;
	struct object *o = g ? own(g, l) : NULL;

	if (!g)
		return;
	tell_entry(g, l->path, IN_ACCESS | IN_ISDIR);
	if (o)
		tell(g, o, IN_ACCESS | IN_ISDIR, NULL);
}

void watch_touched(struct vfs *v, const struct loc *l, bool is_dir)
{
	struct watching *g = v->watching;
	struct object *o = g ? own(g, l) : NULL;
	const uint32_t event = IN_ATTRIB | (is_dir ? IN_ISDIR : 0);

	if (!g)
		return;
	tell_entry(g, l->path, event);
	if (o)
		tell(g, o, event, NULL);
}

struct renamed {
	struct object *of;
	char *path;
};

/* What is known by a path at or below `from` is known by one of `to`. */
static size_t collect(struct watching *g, const struct loc *from, const struct loc *to,
                      struct renamed *out)
{
	struct object *o, *next;
	size_t n = 0;

	HASH_ITER (hh, g->objects, o, next)
		if (is_below(o->path, from->path, from->len) &&
		    asprintf(&out[n].path, "%s%s", to->path, o->path + from->len) >= 0)
			out[n++].of = o;
	return n;
}

static void follow(struct watching *g, const struct loc *from, const struct loc *to, bool swap)
{
	bv_autofree struct renamed *r = calloc(HASH_COUNT(g->objects) + 1, sizeof(*r));

	if (!r)
		return;
	size_t n = collect(g, from, to, r);
	if (swap)
		n += collect(g, to, from, r + n);
	/* All off before one is on: one's new path may be another's old one. */
	for (size_t i = 0; i < n; i++)
		unname(g, r[i].of);
	for (size_t i = 0; i < n; i++)
		watch_name(g, r[i].of, r[i].path);
}

static void tell_moved(struct watching *g, const char *from, const char *to, bool is_dir)
{
	const char *old, *new;
	struct object *of = parent_of(g, from, &old), *at = parent_of(g, to, &new);

	tell_move(g, of, old, at, new, is_dir);
}

void watch_cleared(struct vfs *v, const struct loc *l)
{
	struct object *o = v->watching ? own(v->watching, l) : NULL;

	if (o && o->low >= 0)
		side_free(v->watching, &o->up);
}

void watch_moved(struct vfs *v, const struct loc *from, bool from_dir, const struct loc *to,
                 bool replaced)
{
	struct watching *g = v->watching;

	if (!g || tells_itself(from))
		return;
	tell_moved(g, from->path, to->path, from_dir);
	struct object *o = replaced ? own(g, to) : NULL;
	if (o)
		end_later(g, o, true);
	if (from_dir || own(g, from))
		follow(g, from, to, false);
	watch_look(v); /* of what moved itself */
	end_now(g);
}

static void tell_swapped(struct watching *g)
{
	const struct loc *const *half = g->swapped;

	if (half[0])
		tell_moved(g, half[0]->path, half[1]->path, g->swapped_dir);
	g->swapped[0] = NULL;
}

void watch_swapped(struct vfs *v, const struct loc *from, bool from_dir, const struct loc *to,
                   bool to_dir)
{
	struct watching *g = v->watching;

	if (!g || tells_itself(from))
		return;
	tell_moved(g, from->path, to->path, from_dir);
	g->swapped[0] = to;
	g->swapped[1] = from;
	g->swapped_dir = to_dir;
	if (!own(g, from))
		tell_swapped(g);
	watch_look(v);
	tell_swapped(g);
	follow(g, from, to, true);
}

void watch_copied(struct vfs *v, const struct loc *l)
{
	struct watching *g = v->watching;
	struct object *o = g ? own(g, l) : NULL, *of = o;
	uint32_t mask = 0;

	if (!o || o->up >= 0)
		return;
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_NOFOLLOW, 0);
	for (const struct watch *w = o->watches; w; w = w->next)
		mask |= w->mask;
	int wd = fd < 0 ? fd : watch_side(g, fd, mask, &of);
	if (wd < 0 || of != o)
		return;
	o->up = wd;
	if (!o->is_dir)
		side_free(g, &o->low);
}

/* ---- what the layers tell ---- */

/* Does what the host has there show? */
static bool is_hosts(enum view view)
{
	return view == V_LOWER || view == V_MERGED || view == V_RO || view == V_RW;
}

/* A file without a name is shown as "#" and its number while it is written: a copy that is being made? */
static bool is_copy(const struct vfs *v, const char *name)
{
	return name[0] == '#' && !name[1 + strspn(name + 1, "0123456789")] &&
	       (v->watching->unheard || v->copies);
}

/* Asked only for who wants to know (inotify(7), IN_EXCL_UNLINK): a file that is open still may have no name. */
static bool is_there(const struct vfs *v, const struct object *o, const char *name)
{
	const struct watch *w = o->watches;
	char path[PATH_MAX + NAME_MAX + 1];

	while (w && !(w->mask & IN_EXCL_UNLINK))
		w = w->next;
	if (!w)
		return true;
	snprintf(path, sizeof(path), "%s/%s", o->path + 1, name);
	bv_autofd int fd =
		real_openat(v->upper.root_fd, o->path[1] ? path : name, O_PATH | O_NOFOLLOW, 0);
	return fd >= 0;
}

/* Is what the layer tells of this entry of o so in the merged view? */
static bool entry_shows(struct vfs *v, const struct object *o, bool upper,
                        const struct inotify_event *e, bool *gone)
{
	struct spot s;

	*gone = false;
	spot_at(v, o->path, &s);
	bool merged = s.view == V_LOWER || s.view == V_MERGED;
	if (upper && (e->mask & NAMES))
		return false; /* the calls have told */
	if (upper && merged && strncmp(e->name, ".wh.", 4) == 0)
		return false;
	spot_step(&s, e->name, strlen(e->name));
	if (upper && is_copy(v, e->name))
		return false;
	if (s.view == V_MERGED && upper)
		return e->mask &
		       SET; /* guests have the lower's descriptors, this side's are ours */
	*gone = upper && !is_there(v, o, e->name);
	return upper || is_hosts(s.view);
}

static bool self_shows(struct vfs *v, const struct object *o, bool upper,
                       const struct inotify_event *e)
{
	struct spot s;

	if (!o->is_dir || (e->mask & IN_DELETE_SELF))
		return upper || o->up < 0;
	if (!o->path)
		return upper;
	spot_at(v, o->path, &s);
	if (s.view == V_UPPER)
		return upper;
	return upper ? e->mask & (SET | IN_MOVE_SELF) : is_hosts(s.view);
}

/* Half of a rename whose other half is not watched, or not to be seen. */
static void tell_half(struct watching *g)
{
	struct object *o = g->half.of;

	g->half.of = NULL;
	if (o)
		tell_move(g, o, g->half.name, NULL, NULL, g->half.is_dir);
}

/* The host renamed something. */
static void host_moved(struct watching *g, struct object *o, const struct inotify_event *e)
{
	const bool is_dir = e->mask & IN_ISDIR;

	if (e->mask & IN_MOVED_FROM) {
		g->half.of = o;
		g->half.cookie = e->cookie;
		g->half.is_dir = is_dir;
		snprintf(g->half.name, sizeof(g->half.name), "%s", e->name);
		return;
	}
	struct object *from = g->half.of;
	g->half.of = NULL;
	tell_move(g, from, g->half.name, o, e->name, is_dir);
}

static void entry_event(struct watching *g, struct object *o, bool upper,
                        const struct inotify_event *e)
{
	bool gone = true; /* with the directory, which somebody has open still */

	if (o->path ? !entry_shows(g->v, o, upper, e, &gone) : !upper || (e->mask & NAMES))
		return;
	if (e->mask & (IN_MOVED_FROM | IN_MOVED_TO))
		host_moved(g, o, e);
	else
		tell(g, o, (e->mask & (IN_ALL_EVENTS | IN_ISDIR)) | (gone ? IN_EXCL_UNLINK : 0),
		     e->name);
}

/* What we have done ourselves just now.  (That a guest looked at something meanwhile is lost with it.) */
static bool is_ours(const struct watching *g, const struct object *o, const struct inotify_event *e)
{
	char path[PATH_MAX + NAME_MAX + 1];

	if (!(e->mask & g->unheard) || (e->mask & LOOKING) || !o->path || !g->ours)
		return e->mask & g->unheard & LOOKING;
	snprintf(path, sizeof(path), "%s%s%s", o->path[1] ? o->path : "", e->len ? "/" : "",
	         e->len ? e->name : "");
	/* Directories above it may have been mirrored. */
	return is_below(path, g->ours, strlen(g->ours)) ||
	       ((e->mask & IN_ISDIR) && is_below(g->ours, path, path[1] ? strlen(path) : 0));
}

static void event(struct watching *g, const struct inotify_event *e)
{
	struct side *s = side_find(g, e->wd);

	if (g->half.of && !((e->mask & IN_MOVED_TO) && e->cookie == g->half.cookie))
		tell_half(g);
	if (!s)
		return;
	struct object *o = s->of;
	const bool upper = e->wd == o->up;
	if (e->mask & IN_IGNORED) { /* the inode is gone */
		*(upper ? &o->up : &o->low) = -1;
		HASH_DEL(g->sides, s);
		free(s);
		return;
	}
	if (!(e->mask & IN_ALL_EVENTS) || is_ours(g, o, e))
		return;
	if (e->len)
		entry_event(g, o, upper, e);
	else if (self_shows(g->v, o, upper, e))
		tell(g, o, e->mask & (IN_ALL_EVENTS | IN_ISDIR), NULL);
	if (e->mask & IN_MOVE_SELF)
		tell_swapped(g);
}

static void overflow(struct watching *g)
{
	if (!g->lost)
		g->v->host->log(g->v->self, BV_LOG_WARN,
		                "more happened to watched files than could be told");
	g->lost = true;
}

static void look(struct watching *g)
{
	_Alignas(struct inotify_event) char buf[8192];
	ssize_t n;

	for (int i = 0; i < AT_ONCE && (n = read(g->fd, buf, sizeof(buf))) > 0; i++)
		for (char *at = buf; at < buf + n;) {
			const struct inotify_event *e = (const void *)at;

			at += sizeof(*e) + e->len;
			if (e->mask & IN_Q_OVERFLOW)
				overflow(g);
			else
				event(g, e);
		}
	tell_half(g);
}

void watch_look(struct vfs *v)
{
	if (v->watching && !v->watching->quiet)
		look(v->watching);
}

void watch_quiet(struct vfs *v)
{
	if (!v->watching)
		return;
	watch_look(v);
	v->watching->quiet++;
}

void watch_heard(struct vfs *v, const char *path, uint32_t heard)
{
	struct watching *g = v->watching;

	if (!g || !g->quiet)
		return;
	if (--g->quiet)
		return;
	g->ours = path;
	g->unheard = heard | LOOKING;
	look(g);
	g->unheard = 0;
}
