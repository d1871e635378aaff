/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A host file that is hard-linked inside is copied up, and the copy is another inode; who looked
 * at the file, linked it and looks again ("hardlink different from source", git clone) must find
 * the same.  So stat answers for such a copy with the number the file had before.  Only linked
 * files are remembered; a record is known by inode and time of birth, so a number that the upper
 * filesystem gives out again means nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "vfs.h"

struct identity {
	struct {
		dev_t dev;
		ino_t ino;
	} key; /* the copy */
	struct statx_timestamp birth;
	dev_t dev; /* the host's file */
	ino_t ino;
	UT_hash_handle hh;
};

static bool birth_of(int fd, struct statx_timestamp *birth)
{
	struct statx x;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BTIME, &x) < 0 || !(x.stx_mask & STATX_BTIME))
		return false;
	*birth = x.stx_btime;
	return true;
}

void identity_note(struct vfs *v, int fd, const struct stat *lower)
{
	struct identity *i = calloc(1, sizeof(*i));
	struct stat st;

	/* Without memory or times of birth the copy has its own number, as any other copy. */
	if (!i || fstat(fd, &st) < 0 || !birth_of(fd, &i->birth)) {
		free(i);
		return;
	}
	i->key.dev = st.st_dev;
	i->key.ino = st.st_ino;
	i->dev = lower->st_dev;
	i->ino = lower->st_ino;
	struct identity *old;
	HASH_FIND(hh, v->identities, &i->key, sizeof(i->key), old);
	if (old) {
		HASH_DEL(v->identities, old);
		free(old);
	}
	HASH_ADD(hh, v->identities, key, sizeof(i->key), i);
}

void identity_apply(struct vfs *v, int fd, struct stat *st)
{
	struct identity probe = {.key = {st->st_dev, st->st_ino}}, *i;
	struct statx_timestamp birth;

	if (!v->identities || fd < 0)
		return;
	HASH_FIND(hh, v->identities, &probe.key, sizeof(probe.key), i);
	if (!i)
		return;
	if (birth_of(fd, &birth) && birth.tv_sec == i->birth.tv_sec && birth.tv_nsec == i->birth.tv_nsec) {
		st->st_dev = i->dev;
		st->st_ino = i->ino;
		return;
	}
	HASH_DEL(v->identities, i);
	free(i);
}

void identity_free(struct vfs *v)
{
	struct identity *i, *next;

	HASH_ITER(hh, v->identities, i, next) {
		HASH_DEL(v->identities, i);
		free(i);
	}
}
