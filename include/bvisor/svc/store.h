/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_STORE_H
#define BVISOR_SVC_STORE_H
/*
 * Copy-on-write stores.  A store offers upper layers under a scheme name ("mirror" for `upper =
 * mirror:/dir`): its module provides the service "store.SCHEME", which is a struct bv_store_ops, and
 * stands before vfs-cow in the ini's `modules`.  `tmp` and `local` are vfs-cow's own.
 * docs/layer-format.md says what a layer holds, docs/module-author.md how to write a store.  Loop
 * thread, unless said otherwise.  Since 1.0.
 *
 * The supervisor can write at and below the directory that holds root, and make and remove directories
 * beside it; a store that writes elsewhere says so in open, by its own host->landlock_write.
 */
#include <bvisor/abi.h>

#define BV_STORE_SERVICE "vfs.cow" /* struct bv_store: all of them */
#define BV_STORE_PREFIX "store." /* and the scheme: one of them, struct bv_store_ops */

#define BV_LAYER_KEPT 1u     /* it may hold what an earlier sandbox wrote: it is read at the start */
#define BV_LAYER_EXISTING 2u /* given to open: one that is not there is not made, but -ENOENT */
#define BV_LAYER_READ 4u /* a snapshot: nothing is written to it */
/* With fetch: regular files that have the extended attribute BV_ABSENT_XATTR lack their bytes yet. */
#define BV_LAYER_LAZY 8u

/*
 * Marks a regular file of a lazy layer whose bytes have still to be fetched.  Its size (it is one hole),
 * owner, mode, times and other attributes are those that it shall have; the attribute's value, at most
 * BV_ABSENT_MAX bytes, is the store's own word for it, which goes with the file when it is renamed or
 * linked.  Guests neither see nor set it.
 */
#define BV_ABSENT_XATTR "user.bvisor.absent"
#define BV_ABSENT_MAX 4096

/*
 * An open upper layer.  root is the absolute host path of the mirrored tree, root_fd its O_PATH
 * descriptor (owned by the layer); state is the store's own.  The directory that holds root is the
 * layer's too: vfs-cow makes `x` and `synth` there, which mean nothing afterwards.
 */
struct bv_layer {
	struct bv_head head;
	char root[512];
	int root_fd;
	uint32_t flags; /* BV_LAYER_* */
	void *state;
	int meta_fd;    /* a directory for records about the layer, owned by it; -1: none are kept */
	int zero;
	char hide[512]; /* absolute host path that no guest may see, "" for none: the store's own files */
};

/* Two layers or snapshots become a new layer.  All borrowed. */
struct bv_merge {
	struct bv_head head;
	const char *ours, *theirs; /* "NAME" or "NAME@TAG" */
	const char *into; /* "NEW", which is not there yet */
	uint32_t prefer; /* of a conflict: 0 it is told, 1 ours is taken, 2 theirs */
	uint32_t zero;
	/* Both changed the path, and differ: what each has there, in words. */
	void (*conflict)(void *arg, const char *path, const char *ours, const char *theirs);
	void *arg;
};

/* What a store knows of one layer. */
struct bv_layer_info {
	struct bv_head head;
	const char *name; /* what stands behind "scheme:"; borrowed */
	const char *start; /* the host directory the first sandbox was started in, or "" */
	const char *parent; /* "NAME" or "NAME@TAG" that it was copied from, or "" */
	int64_t created;  /* seconds since the Epoch */
	int64_t changed;  /* when a sandbox last used it */
	int32_t pid;      /* of the supervisor that has it open; 0: nobody */
	uint32_t zero;
};

/* What a layer takes. */
struct bv_layer_usage {
	struct bv_head head;
	uint64_t bytes; /* of disk, a file of several names once */
	uint64_t files; /* of every type, directories too */
};

/* A file whose bytes are needed.  All borrowed. */
struct bv_fetch {
	struct bv_head head;
	const char *path; /* where it was met, inside; for messages */
	const void *mark; /* the value of BV_ABSENT_XATTR */
	size_t mark_len;
	uint64_t size; /* which it has and keeps */
	int fd; /* it, open for reading and writing */
	int zero;
};

struct bv_store_ops {
	struct bv_head head;
	const char *scheme;
	/* Opens (creating) the layer named by the text after "scheme:"; with BV_LAYER_EXISTING also a
	 * snapshot, "NAME@TAG", which is only read then.  0 or -errno; on failure *why
	 * may point at a static sentence.  -EBUSY: another sandbox has it open.  May block: it runs
	 * before the guest. */
	int (*open)(void *ctx, const char *rest, struct bv_layer *out, const char **why);
	/* Closes it; an ephemeral store removes its files here. */
	void (*close)(void *ctx, struct bv_layer *layer);

	/* Of stores that keep layers; NULL for others.  May block. */
	/* Calls each(arg, info) in byte order of names; stops at its first non-zero result and returns
	 * it; 0; -errno, *why as above. */
	int (*list)(void *ctx, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
	            const char **why);
	/* Removes a layer and all that is in it, or a snapshot of it, "NAME@TAG".  -EBUSY while it is open,
	 * -ENOENT. */
	int (*remove)(void *ctx, const char *rest, const char **why);
	/* What the open layer says of itself; borrowed until it is closed. */
	int (*info)(void *ctx, const struct bv_layer *layer, struct bv_layer_info *out);
	/* Copies a layer, "NAME", or its state at a snapshot, "NAME@TAG", to what is not there yet: "NEW",
	 * or a snapshot of it, "NAME@NEWTAG".  A layer that is open is copied as a crash would leave it.
	 * Costs what has changed at most; may put off copying until either is opened.  -EEXIST,
	 * -ENOENT.  May block. */
	int (*copy)(void *ctx, const char *from, const char *to, const char **why);
	/* As list, of the snapshots of the layer `rest`: info->name is "NAME@TAG". */
	int (*snapshots)(void *ctx, const char *rest, int (*each)(void *arg, const struct bv_layer_info *info),
	                 void *arg, const char **why);
	/* Makes what->into of what both have changed since they had a state in common, if that is still
	 * there, or since the host's.  -ESTALE: there were conflicts, and nothing is made.  May block. */
	int (*merge)(void *ctx, const struct bv_merge *what, const char **why);
	/* The mirrored tree of "NAME" or "NAME@TAG", for reading: a descriptor, the caller's; -ENOENT.  It
	 * may be in use. */
	int (*view)(void *ctx, const char *name, const char **why);
	/* Makes the layer `to`, which is not there yet, of what fill puts into its tree (an empty
	 * directory, open for reading).  A non-zero result of fill is returned, and nothing is made.  May
	 * block. */
	int (*receive)(void *ctx, const char *to, int (*fill)(void *arg, int tree), void *arg,
	               const char **why);
	/* The directory of the layer `rest` itself, which no guest sees, for what a supervisor keeps beside
	 * the tree: a descriptor, the caller's; -ENOENT. */
	int (*place)(void *ctx, const char *rest, const char **why);
	/* What the tree of "NAME" or "NAME@TAG" takes, without snapshots of it; of one that is in use, about.
	 * Where states share a tree, each counts it.  -ENOENT.  May block. */
	int (*usage)(void *ctx, const char *name, struct bv_layer_usage *out, const char **why);

	/* Of stores whose layers are not (only) local files; NULL for others.  On worker threads. */
	/* Writes the bytes of what->fd, and nothing else about it: vfs-cow takes the mark away afterwards, makes
	 * them durable and puts the times back.  Before a guest may use the bytes, it waits for this; after
	 * a failure, or a crash, the file is fetched again, from the start.  Several at once, of different
	 * files.  May block, and shall end soon with -EINTR when a system call in it does: nobody waits any
	 * more.  0; -errno, which the guest gets. */
	int (*fetch)(void *ctx, struct bv_layer *layer, const struct bv_fetch *what);
	/* What has been written until now shall outlive the machine, as far as the store's layers do:
	 * a guest has called sync(2), or syncfs(2) of a directory of the layer, and waits.  Others go on
	 * writing meanwhile.  One at a time.  May block.  0; -errno, which syncfs gives. */
	int (*checkpoint)(void *ctx, struct bv_layer *layer);
	void *ctx; /* what the functions get */
};

struct bv_store {
	struct bv_head head;
	/* The store of that scheme, and its context; NULL when there is none. */
	const struct bv_store_ops *(*find)(const struct bv_store *store, const char *scheme, void **ctx);
};

#endif
