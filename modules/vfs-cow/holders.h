/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_HOLDERS_H
#define VFS_COW_HOLDERS_H
/*
 * Who has an open file?  What belongs to an open file ends with its last descriptor, and nobody tells us
 * of that; so whoever keeps a duplicate asks now and then (kcmp(2)).
 */
#include "vfs.h"

/* Are the two descriptors, ours, of one open file?  1, 0; -1: the kernel does not say. */
int holders_same(int a, int b);
struct holder {
	int fd; /* ours, of the open file */
	pid_t pid; /* a guest that had it: asked first; then one that has it */
	bool held; /* out: some guest has it.  Who cannot be asked may */
};
/* All of them are of one file, or of one kind of nameless file. */
void holders_find(struct vfs *v, struct holder *h, size_t n);
bool holders_have(struct vfs *v, pid_t pid, int fd);

#endif
