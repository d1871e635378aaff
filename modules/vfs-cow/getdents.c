/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading directories.  Where the host's listing is the whole truth it is passed on, else ours is
 * given (listing.c).  Either way the position is the open file's own, shared with the guest, so
 * lseek(2), dup(2) and fork(2) need no help.  Never left to the host kernel: by the time it looked
 * at the descriptor number again, another thread could have put another directory there.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"
#include "watch.h"

#define MAX_BUFFER 65536

/* getdents(2).  Both layouts take the same space: the old one has the type in its last byte. */
#define NAME_AT64 19
#define NAME_AT_OLD 18

struct out {
	unsigned char *buf;
	size_t size, len;
	bool old;
};

static bool put(struct out *o, uint64_t ino, uint64_t off, unsigned char type, const char *name, size_t name_len)
{
	size_t reclen = (NAME_AT64 + name_len + 1 + 7) & ~(size_t)7;
	unsigned char *e = o->buf + o->len;
	uint16_t reclen16 = (uint16_t)reclen;

	if (reclen > o->size - o->len)
		return false;
	memset(e, 0, reclen);
	memcpy(e, &ino, 8);
	memcpy(e + 8, &off, 8);
	memcpy(e + 16, &reclen16, 2);
	if (o->old)
		e[reclen - 1] = type;
	else
		e[18] = type;
	memcpy(e + (o->old ? NAME_AT_OLD : NAME_AT64), name, name_len);
	o->len += reclen;
	return true;
}

/* The first item behind position pos. */
static size_t seek(const struct listing *s, uint64_t pos)
{
	size_t low = 0, high = s->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->item[mid].cookie > pos)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Fills o from position *pos on, which it moves behind the last entry given. */
static void give(const struct listing *s, struct out *o, uint64_t *pos)
{
	if (*pos < COOKIE_DOT) {
		if (!put(o, s->dot_ino, COOKIE_DOT, DT_DIR, ".", 1))
			return;
		*pos = COOKIE_DOT;
	}
	if (*pos < COOKIE_DOTDOT) {
		if (!put(o, s->dotdot_ino, COOKIE_DOTDOT, DT_DIR, "..", 2))
			return;
		*pos = COOKIE_DOTDOT;
	}
	for (size_t i = seek(s, *pos); i < s->n; i++) {
		const struct item *x = &s->item[i];

		if (!put(o, x->ino, x->cookie, x->type, s->names.data + x->name, x->len))
			return;
		*pos = x->cookie;
	}
}

/* fd is the guest's, whose position counts. */
static int read_ours(struct vfs *v, struct bv_call *call, struct loc *l, int fd, off_t pos, struct out *o)
{
	struct listing *s;
	int r = listing_get(v, call, l, &s);
	if (r < 0)
		return r;
	uint64_t at = (uint64_t)pos;
	give(s, o, &at);
	if (!o->len && (at < COOKIE_DOTDOT || seek(s, at) < s->n))
		return -EINVAL; /* the buffer is too small for the next entry */
	if (!o->len)
		listing_done(v, s);
	else if (lseek(fd, (off_t)at, SEEK_SET) < 0)
		return -errno;
	return 0;
}

static void to_old(struct out *o)
{
	for (size_t at = 0; at < o->len;) {
		unsigned char *e = o->buf + at;
		uint16_t reclen;
		unsigned char type = e[18];

		memcpy(&reclen, e + 16, 2);
		memmove(e + NAME_AT_OLD, e + NAME_AT64, reclen - (size_t)NAME_AT64);
		e[reclen - 1] = type;
		at += reclen;
	}
}

static int read_host(const struct loc *l, struct out *o)
{
	ssize_t n = getdents64(l->fd, o->buf, o->size);

	if (n < 0)
		return -errno;
	o->len = (size_t)n;
	if (o->old)
		to_old(o);
	return 0;
}

/* What the walk would have said of a synthetic directory. */
static int ask_synth(struct vfs *v, struct bv_call *call, struct loc *l)
{
	const char *rel = l->path + (l->mount->at[1] ? strlen(l->mount->at) : 0);

	if (l->view != V_SYNTH || l->syn)
		return 0;
	return synth_lookup(v, call, l->mount, *rel == '/' ? rel + 1 : rel, &l->syn);
}

/* The guest's descriptor as a place in the tree.  On success the caller calls loc_fini. */
static int find_dir(struct vfs *v, struct bv_call *call, int guest_fd, struct loc *l)
{
	memset(l, 0, sizeof(*l));
	l->path_fd = -1;
	l->fd = v->host->get_fd(call, guest_fd);
	if (l->fd < 0)
		return l->fd;
	if (v->listings && fstat(l->fd, &l->st) == 0 && S_ISDIR(l->st.st_mode) && l->st.st_nlink &&
	    listing_recall(v, l))
		return 0;
	int r = loc_from_fd(v, l);
	if (r < 0)
		loc_fini(l);
	return r;
}

static enum bv_verdict do_getdents(struct vfs *v, struct bv_call *call, bool old)
{
	unsigned count = (unsigned)call->arg[2];
	struct out o = {.size = count < MAX_BUFFER ? count : MAX_BUFFER, .old = old};
	struct loc l;
	int r = find_dir(v, call, (int)call->arg[0], &l);

	if (r < 0)
		return REPLY(v, call, r);
	bv_autofree unsigned char *buf = malloc(o.size ? o.size : 1);
	o.buf = buf;
	if (!S_ISDIR(l.st.st_mode))
		r = -ENOTDIR;
	else if (!buf)
		r = -ENOMEM;
	else if (l.view == V_NONE || l.view == V_HIDE || (l.view == V_ANON && !l.ours))
		r = -ENOENT; /* deleted here, though the host still has it */
	else
		r = ask_synth(v, call, &l);
	/* Where l is the copy of a directory that moved, the guest's descriptor is still of the old one. */
	bv_autofd int own = l.stale ? v->host->get_fd(call, (int)call->arg[0]) : -1;
	int fd = l.stale ? own : l.fd;
	off_t before = r == 0 ? lseek(fd, 0, SEEK_CUR) : 0;
	if (before < 0)
		r = -errno;
	if (r == 0)
		r = listing_needed(&l) ? read_ours(v, call, &l, fd, before, &o) : read_host(&l, &o);
	if (r == 0 && listing_needed(&l))
		watch_listed(v, &l);
	if (r == 0 && o.len) {
		r = v->host->mem_write(call, call->arg[1], o.buf, o.len);
		if (r < 0)
			(void)lseek(fd, before, SEEK_SET); /* nothing was given: nothing was read */
	}
	loc_fini(&l);
	return REPLY(v, call, r < 0 ? r : (int64_t)o.len);
}

BV_SYSCALL(getdents64)
{
	return do_getdents(self, call, false);
}

BV_SYSCALL(getdents)
{
	return do_getdents(self, call, true);
}

const struct bv_handler getdents_handlers[] = {
    BV_ON(getdents64, BV_SERVE),
    BV_ON(getdents, BV_SERVE),
    {0},
};
