/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_FETCH_H
#define VFS_COW_FETCH_H
/*
 * Lazy layers: files whose bytes the store brings when somebody first needs them (svc/store.h), and
 * what a store does when a guest asks for all that was written to be made safe.
 */
#include "vfs.h"

int fetch_start(struct vfs *v); /* the layer is open: 0, -errno after host->fail */

/* Does the file at l lack its bytes?  They are needed now: see fetch_defer. */
bool fetch_needed(struct vfs *v, struct loc *l);
/* Has them brought by a worker, then runs handler(v, call) again from its start. */
enum bv_verdict fetch_defer(struct vfs *v, struct bv_call *call, struct loc *l,
                            bv_handler_fn *handler);
/* The same at once: blocks.  fd: of the file, whichever kind; 0 when it has all.  Any thread. */
int fetch_now(struct vfs *v, const char *path, int fd);

/* Is this attribute the store's mark, which is nothing for guests? */
bool fetch_mark(const struct vfs *v, const char *name);

extern const struct bv_handler checkpoint_handlers[]; /* routed only for stores that have it */
bool checkpoint_wanted(const struct vfs *v);

#endif
