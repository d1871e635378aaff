/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_ORIGIN_H
#define VFS_COW_ORIGIN_H
/* Records of what the host had where a kept layer changed it. */
#include "vfs.h"

struct origin {
	UT_hash_handle hh;
	uint64_t ino;
	int64_t size;
	uint32_t mode, uid, gid;
	struct timespec modified, changed; /* the object's */
	struct timespec noted;             /* when this was written */
	char path[];
};

/* Reads the records of the open layer; 0, -errno (-EINVAL: the file is not ours). */
int origin_load(struct vfs *v);
/* The host's object at the virtual path was so when it was first changed inside.  Does nothing for
 * layers without records, or when there is one. */
void origin_note(struct vfs *v, const char *path, const struct stat *st);
const struct origin *origin_find(const struct vfs *v, const char *path);
/* In memory; origin_save() makes it last. */
void origin_forget(struct vfs *v, const char *path);
/* durable: on the disk when it returns.  A record that is lost makes a commit ask. */
int origin_save(struct vfs *v, bool durable);
/* As text, with its NUL, of what the host has at path now; and what that says put in the place of what is known, in memory: false
 * if it says nothing. */
void origin_text(const char *path, const struct stat *st, struct strbuf *out);
bool origin_take(struct vfs *v, const char *record);
void origin_free(struct vfs *v);

/* The records of a layer that need not be open, each ended by NUL: 0 or -errno. */
int origin_read(int meta, struct strbuf *out);
/* Replaces them: a descriptor of the new file, for appending, or -errno. */
int origin_write(int meta, const struct strbuf *records, bool durable);
/* The path a record is about. */
const char *origin_path(const char *record);

#endif
