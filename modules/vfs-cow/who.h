/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_WHO_H
#define VFS_COW_WHO_H
/*
 * Provenance: which command last changed a path, and when.  Of a file it is the last one that opened
 * it for writing; writes themselves are not seen.  What a guest calls itself is its own affair.
 */
#include <stdbool.h>
#include <stdint.h>

struct vfs;
struct whos;

struct who {
	int64_t time; /* seconds since the Epoch */
	const char *command; /* quoted as for a shell, shortened; borrowed */
};

/* Records in memory; NULL without memory. */
struct whos *whos_new(void);
void whos_free(struct whos *w);
/* Adds those of a layer's meta directory; 0, -errno (-EINVAL: the file is not ours). */
int whos_load(struct whos *w, int meta);
/* Appends what is noted from now on to the layer's file. */
int whos_log(struct whos *w, int meta);
/* Replaces the layer's file. */
int whos_save(const struct whos *w, int meta);
int whos_put(struct whos *w, const char *path, int64_t time, const char *command);
/* Of path, or of the nearest directory above it that was put in place as a whole. */
bool whos_find(const struct whos *w, const char *path, struct who *out);
/* Calls keep for each record and drops it when that says no. */
void whos_filter(struct whos *w, bool (*keep)(void *arg, const char *path), void *arg);
/* Stops at the first non-zero result and returns it. */
int whos_each(const struct whos *w, int (*fn)(void *arg, const char *path, const struct who *who),
              void *arg);

/* At the start, when the layer is open: 0 or -errno. */
int who_start(struct vfs *v);
/* The guest whose call is being served has changed what is at the virtual path. */
void who_note(struct vfs *v, const char *path);

#endif
