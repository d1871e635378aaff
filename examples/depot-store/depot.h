/* SPDX-License-Identifier: Apache-2.0 */
#ifndef DEPOT_H
#define DEPOT_H
/* What the parts of the store share: depot-store.c is the store, index.c reads a layer, checkpoint.c writes one. */
#include <limits.h>
#include <stdint.h>
#include <sys/stat.h>

#include <bvisor/module.h>
#include <bvisor/svc/store.h>

#define FIRST_LINE "bvisor depot 1"

/* A file that had object `id` when it was like this. */
struct known {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed;
	uint64_t id;
};

struct depot {
	const struct bv_host *host;
	struct bv_self *self;
	char why[PATH_MAX + 100];
	char dir[PATH_MAX]; /* the depot */
	char work[100]; /* our own directory, which holds "u", the layer */
	int dir_fd, objects, work_fd, tree;
	uint64_t next; /* object */
	struct known *known, *fresh; /* of the last checkpoint, sorted; of the one being made */
	size_t n_known, n_fresh;
};

/* index.c: the layer of the index is made in d->tree, without its bytes.  0; -EINVAL: it is none of ours. */
int index_read(struct depot *d);
/* checkpoint.c */
int index_write(struct depot *d);

/* All bytes, holes kept.  -EINTR when a signal came. */
int copy_bytes(int from, int to);
/* Everything below dir goes, but not dir. */
int clear_dir(int dir);
/* Closes *fd, if there is one; it is -1 then. */
void shut(int *fd);

#endif
