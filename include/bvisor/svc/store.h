/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_STORE_H
#define BVISOR_SVC_STORE_H
/*
 * Service "vfs.cow": vfs-cow's register of copy-on-write stores.  A store offers upper layers
 * under a scheme name ("tmp" for `upper = tmp:/dir`).  Loop thread.  Since 1.0.
 */
#include <bvisor/abi.h>

#define BV_STORE_SERVICE "vfs.cow"

/* An open upper layer.  root is the absolute host path of the mirrored tree, root_fd its O_PATH
 * descriptor (owned by the layer); state is the store's own. */
struct bv_layer {
	struct bv_head head;
	char root[512];
	int root_fd;
	int zero;
	void *state;
};

struct bv_store_ops {
	struct bv_head head;
	const char *scheme;
	/* Opens (creating) the layer named by the text after "scheme:".  0 or -errno; on failure *why
	 * may point at a static sentence.  May block: it runs before the guest. */
	int (*open)(void *ctx, const char *rest, struct bv_layer *out, const char **why);
	/* Closes it; an ephemeral store removes its files here. */
	void (*close)(void *ctx, struct bv_layer *layer);
};

struct bv_store {
	struct bv_head head;
	int (*add)(const struct bv_store *store, struct bv_self *self, const struct bv_store_ops *ops,
	           void *ctx);
};

#endif
