/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_WHITEOUT_H
#define VFS_COW_WHITEOUT_H
/* Whiteouts: files of the upper that say that a name of the lower is gone (docs/layer-format.md). */
#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#define WHITEOUT ".wh."
#define WHITEOUT_TEMP_PREFIX ".wh..wh.temp." /* copies on their way */

/* In the directory dir, of the entry `name`.  0 or -errno. */
int whiteout_make(int dir, const char *name);
void whiteout_drop(int dir, const char *name);
bool whiteout_there(int dir, const char *name);
/* For who does not know whether the directory is merged: below one that is the upper's alone a guest may
 * give such names to files of its own.  A whiteout's file is its supervisor's alone, and empty unless
 * it holds a long name. */
bool whiteout_looks_real(int dir, const char *file);

enum whiteout_kind {
	WHITEOUT_NONE, /* an entry as any other */
	WHITEOUT_OF,   /* a whiteout: out is the name it hides */
	WHITEOUT_TEMP, /* left in the middle of something */
	WHITEOUT_BAD,  /* of the layer's own names, but not one that it gives */
};
enum whiteout_kind whiteout_read(int dir, const char *file, char out[NAME_MAX + 1]);

#endif
