/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_WATCH_H
#define VFS_COW_WATCH_H
/*
 * inotify(7) of what has a part in two layers, or may get one: a directory of the host, or a file of it
 * before its copy-up.  A guest's watch cannot be on both layers' objects, and what happens in the layers
 * is not what happens in the merged view: a deletion makes a whiteout, a first write a copy.
 *
 * So the guest's watch is put on a stand-in, an empty file or directory of ours that nobody else can
 * reach, and what happens in the merged view is done to the stand-in, for which the kernel then queues
 * the very event: names, cookies, coalescing, poll(2), read(2) and its errors are its own
 * (watch_tell.c).  What happens is known from two sides (watch.c): the calls that change names are
 * trapped, and tell us; what is not trapped (read, write, close) and what the host does, an inotify of
 * ours on the layers' objects sees.
 *
 * What is in one layer only is watched itself (watch_call.c).
 */
#include <uthash.h>

#include "vfs.h"

/* One of a guest's inotify instances. */
struct instance {
	struct instance *next;
	int fd; /* a duplicate of the guest's */
	pid_t pid; /* who used it last: the first to ask whether it is still there */
	struct watch *watches; /* uthash by wd */
};

/* One watch of one instance. */
struct watch {
	struct watch *next; /* of the same object */
	struct object *of;
	struct instance *in;
	int wd; /* the guest's number, of the stand-in */
	uint32_t mask; /* what the guest asked for */
	unsigned id; /* the stand-in's name */
	UT_hash_handle hh;
};

/* What is watched: a file or directory as guests know it. */
struct object {
	char *path; /* virtual, where it is now; NULL: it has no name any more */
	bool is_dir;
	int low, up; /* our own watches of its two sides; -1: none */
	unsigned held; /* somebody is at work with it: it stays, even without watches */
	struct watch *watches;
	UT_hash_handle hh; /* by path */
};

/* A watch of our own. */
struct side {
	int wd;
	struct object *of;
	UT_hash_handle hh;
};

struct watching {
	struct vfs *v;
	int fd; /* our own inotify */
	int dir; /* where the stand-ins are */
	char *path; /* of that directory */
	unsigned last_id;
	uint64_t tidy_again; /* not before: CLOCK_MONOTONIC, ns */
	bool untidy; /* somebody is gone who might have been the last to have an instance */
	bool spare_dir; /* there is one to be moved to where an entry is needed */
	struct instance *instances;
	unsigned n_instances;
	struct object *objects;
	struct side *sides;
	const char *ours; /* see watch_heard(), while what was quiet is heard */
	bool lost; /* it was said already that there were too many */
	unsigned quiet; /* depth of watch_quiet() */
	uint32_t unheard; /* events that are ours, not the guests' */
	struct object *ending; /* its last name is gone, and it with it */
	const struct loc
		*swapped[2]; /* the second half of an exchange, told when the first has moved */
	bool swapped_dir;
	struct {
		struct object *of; /* half of a rename that the host made; NULL: none waits */
		uint32_t cookie;
		bool is_dir;
		char name[NAME_MAX + 1];
	} half;
};

/* ---- watch.c: what happened.  All may be called without any watch, and cost nothing then ---- */
/* watch_look() of vfs.h: what was seen of the layers up to now is told. */
/* What we do in between to the layers is no event of the merged view: opening and reading, and at path, below it
 * and in the directories above (NULL: nowhere) also `heard` (IN_*).  Nests, and the outermost says what. */
void watch_quiet(struct vfs *v);
void watch_heard(struct vfs *v, const char *path, uint32_t heard);
/* A call has made something at l, or removed it, or read the directory. */
void watch_made(struct vfs *v, const struct loc *l, bool is_dir);
void watch_gone(struct vfs *v, const struct loc *l, bool is_dir);
/* The same of what a call did not remove: all below it goes too. */
void watch_dropped(struct vfs *v, const struct loc *l, bool is_dir);
void watch_listed(struct vfs *v, const struct loc *l);
/* A call has set mode or owner to what they are. */
void watch_touched(struct vfs *v, const struct loc *l, bool is_dir);
/* The directory at l gives way to one that is moved to its place: its part in the upper goes at once. */
void watch_cleared(struct vfs *v, const struct loc *l);
/* A call has moved `from` to the place of `to`; replaced: something went there.  Or both changed places. */
void watch_moved(struct vfs *v, const struct loc *from, bool from_dir, const struct loc *to,
                 bool replaced);
void watch_swapped(struct vfs *v, const struct loc *from, bool from_dir, const struct loc *to,
                   bool to_dir);
/* What is at l has got its part in the upper. */
void watch_copied(struct vfs *v, const struct loc *l);

/* o is known by this path (taken) from now on, and nothing else is. */
void watch_name(struct watching *g, struct object *o, char *path);
/* The object at this path, or NULL. */
struct object *watch_find(const struct watching *g, const char *path, size_t len);
/* Watches a side of o (known when something is watched by that inode already: *o is that then, or new).
 * fd: O_PATH of the side.  Its wd or -errno. */
int watch_side(struct watching *g, int fd, uint32_t mask, struct object **o);
/* Between the two it stays; after them it goes if nobody watches it. */
void watch_hold(struct object *o);
void watch_release(struct watching *g, struct object *o);

/* ---- watch_tell.c: the stand-ins ---- */
/* A stand-in for w->of, watched; w->wd.  0 or -errno. */
int stand_in_make(struct watching *g, struct watch *w);
/* w is over: it and its stand-in go; with `unwatch` the guest's watch too. */
void stand_in_free(struct watching *g, struct watch *w, bool unwatch);
/* What they have in common. */
void stand_in_spares_free(struct watching *g);
/* Every watch of o that asked for it gets the event: one IN_* bit, with IN_ISDIR when name is of a
 * directory, and IN_EXCL_UNLINK when it has no name any more (see inotify(7)).  name NULL: of o itself.
 * IN_DELETE_SELF ends the watches. */
void tell(struct watching *g, struct object *o, uint32_t event, const char *name);
/* A rename; either object may be NULL: nobody watches that directory. */
void tell_move(struct watching *g, struct object *from, const char *old, struct object *to,
               const char *new, bool is_dir);

/* ---- watch_call.c ---- */
/* A guest is gone, and with it may be its instances. */
void watch_left(struct vfs *v, pid_t pid);
void watch_free(struct vfs *v);
extern const struct bv_handler watch_handlers[];

#endif
