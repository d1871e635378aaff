/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_VFS_H
#define BVISOR_SVC_VFS_H
/*
 * Service "vfs" (provided by vfs-cow): the virtual tree as other modules see it.  They mount
 * synthetic trees in it and ask where a guest's path really is.  Loop thread only.  Since 1.0.
 */
#include <bvisor/abi.h>
#include <bvisor/call.h>

#define BV_VFS_SERVICE "vfs"

enum bv_vfs_kind {
	BV_VFS_TEXT = 0, /* a file whose bytes ops->text() makes at open; size 0 in stat, as in /proc */
	BV_VFS_DIR = 1,  /* a directory listed by ops->list() (plus mounts below it) */
	BV_VFS_LINK = 2, /* a symlink; `target` is its text, resolved in the virtual tree */
	BV_VFS_HOST = 3, /* the host's own object at `target` (absolute host path), opened as it is;
	                    symlinks in it are never followed; a directory is listed as the host lists it */
	BV_VFS_MAGIC = 4, /* a magic link: `target` is the host path of one (/proc/12/exe); vfs shows
	                     its text as a virtual path and follows it by descriptor */
};

struct bv_vfs_node {
	uint32_t kind, mode; /* mode: permission bits for TEXT, DIR, LINK */
	uint32_t writable;   /* HOST: may be opened for writing */
	uint32_t below;      /* HOST directory: 1 = children are HOST too, without asking lookup again */
	uint64_t ino;        /* TEXT, DIR, LINK: inode number; 0: derived from the path */
	uint32_t uid, gid;   /* TEXT, DIR, LINK: owner that stat shows; zeroed: root */
	uint64_t reserved;
	char target[4096];
};

/* Adds one name to a listing; type is a DT_* of getdents64.  Returns 0, or <0 to stop. */
typedef int bv_vfs_emit_fn(void *arg, const char *name, uint64_t ino, unsigned char type);

/*
 * A synthetic tree.  `rel` is the path below the mount point without leading slash ("" is the
 * mount point itself), normalized, without "." and "..".  `call` is the guest's call.
 */
struct bv_vfs_ops {
	struct bv_head head; /* BV_HEAD(SERVICE, struct bv_vfs_ops) */
	/* 0 and *out filled; -ENOENT, -EACCES...  -EXDEV: not mine, look at the tree below (host) instead. */
	int (*lookup)(void *ctx, struct bv_call *call, const char *rel, struct bv_vfs_node *out);
	/* Names of a DIR.  NULL when the tree has none. */
	int (*list)(void *ctx, struct bv_call *call, const char *rel, bv_vfs_emit_fn *emit, void *arg);
	/* Writes a TEXT's bytes to fd (a fresh memory file); 0 or -errno.  NULL when the tree has none. */
	int (*text)(void *ctx, struct bv_call *call, const char *rel, int fd);
};

/* Where a path is.  dir is an owned O_PATH descriptor of the real parent directory, name the last
 * component inside it ("" when the path names dir itself), which is no symlink to follow. */
struct bv_vfs_where {
	int dir;
	char name[256];
	int exists;   /* 1 when name exists in the virtual tree */
	int is_upper; /* 1 when dir is in the upper layer or an rw mount: may be written */
	uint32_t mode; /* st_mode when it exists */
	char path[4096]; /* the resolved virtual path */
};

#define BV_VFS_NOFOLLOW 1u /* do not follow a final symlink */
#define BV_VFS_CREATE 2u   /* prepare to create: parent directories are copied up, name must not exist
                              (-EADDRINUSE is the caller's business: look at exists) */

struct bv_vfs {
	struct bv_head head;
	/* Mounts a tree at an absolute virtual path; only during init.  ops and ctx outlive the guest. */
	int (*mount)(const struct bv_vfs *vfs, struct bv_self *self, const char *path,
	             const struct bv_vfs_ops *ops, void *ctx);
	/* Resolves path (a copy, not guest memory) for the calling guest.  0 or -errno; on success the
	 * caller closes out->dir. */
	int (*where)(const struct bv_vfs *vfs, struct bv_call *call, int dirfd, const char *path,
	             unsigned flags, struct bv_vfs_where *out);
	/* Host path -> virtual path (the upper's prefix stripped), at most size bytes: its length,
	 * or -ENOENT when the guest may not see it. */
	ssize_t (*shown)(const struct bv_vfs *vfs, const char *host_path, char *out, size_t size);
	/* Opens a virtual path for reading as the sandbox sees it (no guest call): fd or -errno. */
	int (*open_read)(const struct bv_vfs *vfs, const char *path);
	/* Marks path as newly created by the caller in the real parent (after bind(2)). */
	int (*created)(const struct bv_vfs *vfs, const struct bv_vfs_where *where);
	/* Shows these bytes in place of the host's regular file at path, of which the guest sees owner and
	 * mode: as the host's it can be changed, replaced and removed inside.  Only during init.  0;
	 * -ENOENT: the host has no regular file there, and nothing is shown. */
	int (*instead)(const struct bv_vfs *vfs, struct bv_self *self, const char *path,
	               const void *bytes, size_t n);
	/* Shows these bytes behind those of instead(), or behind the host's own; what was appended there
	 * before goes.  At any time: who has opened the file keeps what it was.  As instead(). */
	int (*append)(const struct bv_vfs *vfs, struct bv_self *self, const char *path,
	              const void *bytes, size_t n);
};

#endif
