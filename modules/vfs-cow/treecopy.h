/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_TREECOPY_H
#define VFS_COW_TREECOPY_H
/*
 * Copies of layers' trees, by path from a root, so that depth costs no descriptors: data (reflinks
 * and holes kept), owner, mode, extended attributes, times, hard links among what is copied.
 * Symlinks are never followed.  What vanishes while it is being copied is left out.
 */
#include <stddef.h>
#include <sys/types.h>

#include <progress.h>

struct treecopy_link;

struct treecopy {
	int from, to; /* the roots, borrowed */
	struct treecopy_link *links; /* what more than one name leads to */
	/* Shown on a terminal while it takes long, until treecopy_fini(). */
	struct progress progress;
	size_t files;
	uint64_t bytes;
};

/* The object at path ("" for the root itself, else relative), with all below it.  In `to` its
 * parent is there and itself is not (the root is).  0 or -errno. */
int treecopy_entry(struct treecopy *c, const char *path);
void treecopy_fini(struct treecopy *c);

/* Opens an object of a tree for reading.  A guest of an unprivileged supervisor may have closed it to
 * its owner, which we are: then it is opened for a moment. */
int treecopy_open(int root, const char *path, int flags);
/* The same for as long as it takes, as for a directory that is descended into: the mode to put back, or 0 for
 * none. */
mode_t treecopy_open_up(int root, const char *path);
void treecopy_close_again(int root, const char *path, mode_t mode);
/* "DIR/NAME", or NAME where dir is "".  0 or -ENAMETOOLONG. */
int treecopy_join(char *out, size_t size, const char *dir, const char *name);

#endif
