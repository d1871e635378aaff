/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_VFS_H
#define VFS_COW_VFS_H
/*
 * vfs-cow's inner border.  The virtual tree is answered by one data structure, the *tree* of
 * what is dirty or ruled (tree.c): a path without a node is clean and the host's own.  Resolution
 * (walk.c) turns a guest's path into a `struct loc`; everything else acts on locs.
 *
 * Upper layer: mirrors virtual paths below upper.fd.  A whiteout is an empty file `.wh.name`
 * beside the place of `name` (OCI image layer convention); an upper object that replaces a lower
 * one of directory type keeps its `.wh.name` sibling, which makes it opaque ("whiteouts apply only
 * to lower layers").  Only merged directories are interpreted so: below an upper-only directory
 * the upper is plain.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <bvisor/module.h>
#include <bvisor/svc/review.h>
#include <bvisor/svc/store.h>
#include <bvisor/svc/vfs.h>

#include <uthash.h>

#include "cleanup.h"
#include "strbuf.h"

/* Where an object lives. */
enum view {
	V_NONE,   /* does not exist: a whiteout, or below one */
	V_LOWER,  /* the host's (through a base when bound): clean, copy-up before any change */
	V_MERGED, /* a directory in both: represented by its lower descriptor */
	V_UPPER,  /* in the upper layer only (or hiding a lower one): may be changed in place */
	V_RW,     /* a host directory passed through for writing */
	V_RO,     /* the same, read-only: EROFS */
	V_SYNTH,  /* a module's synthetic tree */
	V_HIDE,   /* ENOENT by policy */
	V_ANON,   /* no place in the tree: pipe, socket, memfd, deleted file; only `fd` names it */
};

enum rule { R_NONE, R_COW, R_RO, R_RW, R_HIDE, R_TMP, R_BIND, R_SYNTH };

/* One mount table entry.  Lives as long as the module. */
struct mount {
	enum rule rule;
	char *at;     /* virtual path */
	char *source; /* host path the lower is taken from (equals `at` unless bound) */
	int fd;       /* O_PATH of source; -1 when it does not exist */
	const struct bv_vfs_ops *ops; /* R_SYNTH */
	void *ctx;
	bool made; /* R_TMP: its directory is in the upper */
	bool hidden; /* R_TMP: of a hidden place in which rules show something; nothing else is */
	bool elsewhere; /* source is not `at` */
	int8_t there; /* R_HIDE: the host has something at source: 1, 0; -1: not looked yet (wall.c) */
	const struct bv_strings *only; /* the host's names shown directly below; NULL: all */
	struct mount *next, *next_bind;
};

enum state {
	N_PASS,     /* nothing of ours here; holds nodes below */
	N_MERGED,   /* directory in upper and lower */
	N_UPPER,    /* in the upper; hides any lower */
	N_WHITEOUT, /* deleted */
};

struct node {
	struct node *parent, *children; /* children: uthash by name */
	struct mount *mount;            /* an entry of the table starts here, or NULL */
	enum state state;
	bool meta;      /* N_MERGED: mode/owner were changed: the upper directory's are the truth */
	bool had_lower; /* N_UPPER: a whiteout stands beside it in the upper */
	bool copied;    /* N_UPPER: the lower's own object, copied up at this place */
	uint32_t gen;   /* bumped when an entry directly below appears or goes */
	UT_hash_handle hh;
	char name[];
};

/* A resolved place. */
struct loc {
	char path[PATH_MAX]; /* virtual, absolute, normalized; "/" for the root, else no trailing slash */
	size_t len;
	enum view view;      /* of the object; V_NONE: it surely does not exist */
	enum view dir_view;  /* of its parent directory */
	struct node *node;   /* its own node, or NULL */
	struct mount *mount; /* the table entry that governs it (never NULL) */
	bool must_dir;       /* a trailing slash or final "." or "..": ENOTDIR unless a directory */
	bool dotted;         /* the last component was "." or ".." or the path was "/" */
	bool native;         /* the host kernel would resolve the same string to the same object */
	bool magic;          /* reached through a magic link: `fd` is the object */
	bool probed;         /* st is filled: the object exists */
	bool fd_writable;    /* magic: the descriptor behind the link is open for writing */
	bool stale;          /* fd is not the guest's, which is of the lower, but of the copy made since */
	bool gone; /* W_PARENT: in a removed directory; there is no path */
	bool ours;           /* V_ANON: not a host file, so it may be changed through fd */
	int path_fd;         /* owned O_PATH descriptor left by the probe, or -1 */
	int fd;              /* magic or AT_EMPTY_PATH: owned descriptor of the object; else -1 */
	struct stat st;
	struct bv_vfs_node *syn; /* V_SYNTH: owned; what the tree's lookup said */
};

#define W_NOFOLLOW 1u /* do not follow a final symlink */
#define W_PROBE 2u    /* fill st; -ENOENT when it does not exist */
#define W_EMPTY 4u    /* "" names dirfd itself (AT_EMPTY_PATH) */
#define W_CREATE 8u   /* the last component may be missing (else -ENOENT), its parent may not.
                         Without W_PROBE existence is decided too: view V_NONE when missing */

enum { PROVENANCE_KEPT, PROVENANCE_ALL, PROVENANCE_NO };

struct conf {
	const char *upper;
	const char *state; /* where `local:` layers are; NULL or "": the user's default place */
	int create;                /* a kept upper that is not there is made */
	struct bv_strings mount;   /* lines: "rw DIR", "ro DIR", "hide PATH", "tmp DIR", "bind SRC DST [ro|rw]" */
	struct bv_strings tmp, ro; /* words */
	struct bv_strings hide;    /* words */
	struct bv_strings dev;     /* words: allowed names below /dev */
	int show_cwd;
	int kernel_opens;
	int provenance; /* PROVENANCE_* */
	uint64_t quota, quota_files; /* 0: none */
	uint64_t copyup_inline;    /* bigger copy-ups go to a worker */
};

struct vfs {
	struct bv_self *self;
	const struct bv_host *host;
	const struct conf *conf;
	struct node *root;
	struct mount *mounts;       /* all, newest first */
	struct mount *binds; /* those of them that show a place elsewhere */
	struct mount *base;         /* the table's "cow /" entry */
	struct bv_layer upper;      /* .root (real path), .root_fd */
	size_t upper_len;           /* strlen(upper.root) */
	const struct bv_store_ops *store;
	void *store_ctx;
	struct store_reg *stores;   /* registered schemes */
	struct identity *identities; /* copies of hard-linked host files */
	struct wall *wall;          /* paths open to the kernel */
	struct shortcut *shortcuts; /* where the host's symlinks lead */
	uint32_t met[1024];         /* hashes of paths walked lately */
	struct moved *moved;        /* lower directories renamed inside */
	unsigned char pts[4096 / 8]; /* /dev/pts numbers made or inherited by this sandbox */
	char *exec_dir;             /* private directory for exec aliases; inside the run directory */
	struct listing *listings;   /* getdents cache */
	uint64_t list_key[2];       /* of the hash that orders listings; zero until first needed */
	struct exec_cache *exec;    /* exec.c: aliases and patched programs */
	bool landlock;
	char *named; /* PATH_MAX: the path that was walked last; NULL: nobody audits */
	struct bv_vfs svc;
	struct instead *instead; /* instead.c */
	struct quota *quota; /* quota.c; NULL: none */
	const struct handler_table *tables; /* what may be routed; ends with an empty one */
	struct flocks *flocks; /* flock.c */
	struct whos *who; /* who.c; NULL: not recorded */
	pid_t actor; /* the thread whose call named a path last; 0: none did */
	struct origin *origins; /* origin.c */
	int origin_fd;          /* their file, when keeps_origins */
	bool keeps_origins;
	bool leases; /* a guest has asked for one, fcntl(2): then an open may have to wait */
	struct scrubber *scrubbers; /* undone.c */
	unsigned last_trash;
	unsigned copies; /* workers are at them (copyup.c) */
	struct watching *watching; /* watch.h; NULL: nobody watches what may have two parts */
	struct bv_store svc_store;
	struct bv_review svc_review;
};

/* ---- tree.c ---- */
struct node *tree_child(const struct node *n, const char *name, size_t len); /* NULL: none */
struct node *tree_add(struct node *parent, const char *name, size_t len);    /* existing or new; NULL: no memory */
void tree_drop(struct node *n);                /* with everything below; frees */
void tree_prune(struct node *n);               /* drops n if it is N_PASS, without mount and children; then its parents */
struct node *tree_find(struct node *root, const char *path);          /* exact, or NULL */
struct node *tree_make(struct node *root, const char *path);          /* creating N_PASS nodes */
void tree_move(struct node *n, struct node *to, const char *name);    /* rename; n may not hold mounts */
bool tree_has_mount(const struct node *n);     /* at n or below */
bool tree_has_rules(const struct node *n); /* directly below; n may be NULL */
void tree_each(struct node *n, void (*fn)(void *arg, struct node *child), void *arg);
void tree_path(const struct node *n, char out[PATH_MAX]);

/* ---- mount.c ---- */
int mount_setup(struct vfs *v);                /* from conf; 0 or -errno after host->fail */
/* Makes a private directory, when it is first looked at: three fewer for a program that never does. */
int mount_private(struct vfs *v, struct mount *m);
struct mount *mount_add(struct vfs *v, enum rule rule, const char *source, const char *at);
/* The host's directory is shown copy-on-write even if it lies in a private one (conf: show_cwd). */
int mount_show(struct vfs *v, const char *dir);

/* ---- real.c: descriptors of real objects; the only place that opens by path ---- */
/* openat2 below the right base (upper, lower, bound) with RESOLVE_NO_SYMLINKS; flags as open(2). */
int real_open(struct vfs *v, const struct loc *l, enum view view, int flags, mode_t mode);
/* The same for the directory that holds l's last component; *name is that component. */
int real_parent(struct vfs *v, const struct loc *l, enum view view, int flags, const char **name);
/* openat2(base, rel ("" = base itself), flags|O_CLOEXEC) never following any symlink. */
int real_openat(int base, const char *rel, int flags, mode_t mode);
/* True when the lower has something at l's path (not looking at whiteouts). *st may be NULL. */
bool real_lower_has(struct vfs *v, const struct loc *l, struct stat *st);
/* "/proc/self/fd/N" of ours, for calls that have no descriptor form. */
#define FD_PATH_MAX 32
void real_fd_path(char out[FD_PATH_MAX], int fd);
/* Where a host path of the lower stands in the tree, whatever is there now: its length. */
ssize_t real_place(struct vfs *v, const char *real, char out[PATH_MAX]);
/* Text of a real path (readlink of /proc/.../fd/N) -> virtual path; view says which side it was.
 * -ENOENT: not visible (hidden, deleted, or shadowed by something else now). */
ssize_t real_shown(struct vfs *v, const char *real, char out[PATH_MAX], enum view *view);

/* openat2(2) RESOLVE_*: each walks slowly and ends in -ELOOP or -EXDEV as there. */
#define W_NO_SYMLINKS 16u
#define W_NO_MAGIC 32u
#define W_BENEATH 64u
#define W_IN_ROOT 128u
#define W_NO_XDEV 256u
/* With W_PROBE: -ENOENT only when the parent is missing; without the object V_NONE, not probed.  A parent
 * that has been removed is there (gone). */
#define W_PARENT 512u
/* -EISDIR for a slash behind the last component, once its directory is found (O_CREAT). */
#define W_NO_DIR 1024u
#define W_RESOLVE (W_NO_SYMLINKS | W_NO_MAGIC | W_BENEATH | W_IN_ROOT | W_NO_XDEV)

/* ---- instead.c: files of the host that are shown with other bytes ---- */
#define INSTEAD_NAME "bv-instead:"
/* As the service's instead(): 0 or -errno. */
int instead_add(struct vfs *v, const char *path, const void *bytes, size_t n);
int instead_append(struct vfs *v, const char *path, const void *bytes, size_t n);
/* What takes the place of the host's file at this virtual path: a descriptor, borrowed; -1: nothing. */
int instead_fd(const struct vfs *v, const char *path, size_t len);
void instead_free(struct vfs *v);

/* ---- spot.c: the tree's answer for one normalized path, without touching any file ---- */
struct spot {
	struct node *node;   /* exact, or NULL */
	struct mount *mount;
	enum view view;
};
void spot_root(struct vfs *v, struct spot *s);
void spot_step(struct spot *s, const char *name, size_t len);
void spot_at(struct vfs *v, const char *path, struct spot *s);
/* Does the directory at dir (or NULL) show this name of the host's, for which it has no node? */
bool spot_shows(const struct node *dir, const char *name, size_t len);
/* What fd (ours) refers to: path and view, or V_ANON. l->fd must be set; fills l. */
int loc_from_fd(struct vfs *v, struct loc *l);

/* ---- walk.c ---- */
/* Drops the descriptor that a probe left: an object without a name lives as long as that. */
void loc_let_go(struct loc *l); /* loc.c */
/* Resolves `path` (our copy).  On success the caller calls loc_fini. 0 or -errno. */
int vfs_walk(struct vfs *v, struct bv_call *call, int dirfd, const char *path, unsigned flags, struct loc *l);
void loc_fini(struct loc *l);
/* Absolute, without empty, "." or ".." components, and short enough. */
bool path_is_normal(const char *path); /* loc.c */
void loc_init(struct loc *l); /* loc.c: an empty place, as vfs_walk begins with */
/* Copies the path from guest memory, then walks. */
int vfs_walk_guest(struct vfs *v, struct bv_call *call, int dirfd, uint64_t ptr, unsigned flags, struct loc *l);
/* A guest's descriptor: fills l (fd owned, st probed, path when it has one; view by where it lives). */
int vfs_loc_fd(struct vfs *v, struct bv_call *call, int guest_fd, struct loc *l);
/* st of the object as the guest shall see it (merged directories: lower identity, upper metadata). */
int loc_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st);
/* An owned descriptor of the object usable for reading metadata: O_PATH, of the representing side. */
int loc_open_path(struct vfs *v, struct loc *l);

/* ---- shortcut.c: absolute paths that lead through the host's symlinks to the host's object ---- */
#define SHORTCUT_HOPS 6
/* The symlinks that a walk followed. */
struct trail {
	unsigned n, len, at[SHORTCUT_HOPS];
	bool lost; /* one was not the host's, or there were too many */
	char text[512];
};
void trail_add(struct trail *t, const char *path, size_t len);
/* Remembers how a walk of path came to l, if it is worth it. */
void shortcut_add(struct vfs *v, const char *path, const struct trail *t, const struct loc *l);
/* Walks path by memory: true when l is filled (probed, without descriptor).  As the caller. */
bool shortcut_walk(struct vfs *v, const char *path, bool nofollow, struct loc *l);
/* Where the host kernel, given this absolute path, would by itself find the right object, if that is
 * known; else NULL.  The tree's until its next change. */
const char *shortcut_end(struct vfs *v, const char *path);
void shortcut_free(struct vfs *v);

/* ---- perm.c: permission of the calling guest where the kernel does not check for us ---- */
int perm_access(struct vfs *v, struct bv_call *call, struct loc *l, int mode); /* R_OK|W_OK|X_OK; -EACCES, -EROFS */
int perm_create(struct vfs *v, struct bv_call *call, struct loc *l);  /* may an entry be made in l's parent? */
int perm_delete(struct vfs *v, struct bv_call *call, struct loc *l);  /* sticky rule too */
int perm_owner(struct vfs *v, struct bv_call *call, const struct stat *st); /* owner or CAP_FOWNER: 0 or -EPERM */
int perm_chown(struct vfs *v, struct bv_call *call, const struct stat *st, uid_t uid, gid_t gid); /* chown(2) */

/* ---- upper.c: changes to the upper tree; all run as the supervisor ---- */
/* Makes l's parent directory exist in the upper (mirroring lower directories).  V_RW: nothing to do. */
int upper_parents(struct vfs *v, struct loc *l);
/* Makes the directory at l itself exist in the upper (V_LOWER directory becomes V_MERGED). */
int upper_dir(struct vfs *v, struct loc *l);
/* An owned O_PATH descriptor of the writable parent directory (upper, or rw host), parents made;
 * *name is the last component. -EROFS for V_RO; -EINVAL for a `.wh.` name in a merged directory. */
int upper_parent_fd(struct vfs *v, struct loc *l, const char **name);
/* Bookkeeping after a new object was made at l in upper_parent_fd's directory: node, view, gen; a
 * new directory over a whiteout stays opaque.  Nothing to do for V_RW. */
int upper_created(struct vfs *v, struct loc *l, bool is_dir);
/* Bookkeeping after the upper object at l (if any) was removed: whiteout when the lower has one. */
int upper_removed(struct vfs *v, struct loc *l);
/* Gives a new object the calling guest's owner, setgid-directory group; call after creating. */
/* Owner (where allowed), mode, xattrs and times of src to dst; both are our descriptors. */
void upper_copy_meta(int src, int dst, const struct stat *st);
int upper_own(struct vfs *v, struct bv_call *call, int dirfd, const char *name);

/*
 * A guest of an unprivileged supervisor may have closed a directory to its owner, which we are too.
 * Opens the upper's directory at l; the mode that upper_close_again() puts back, or 0 for none.
 */
mode_t upper_open_up(struct vfs *v, const struct loc *l);
/* Of one that is open already, for making and removing entries in it: the host's too. */
mode_t dir_open_up(int dir);
void dir_close_again(int dir, mode_t mode);
void upper_close_again(struct vfs *v, const struct loc *l, mode_t mode);

/* ---- copyup.c ---- */
#define COPYUP_NODATA 1u /* the data will be truncated at once */
/* Brings a V_LOWER object (file, symlink, fifo, socket as such; directory: upper_dir) up: l becomes
 * V_UPPER (V_MERGED for directories).  0, -errno, or COPYUP_LATER: too big for the loop. */
#define COPYUP_LATER 1
int copyup(struct vfs *v, struct bv_call *call, struct loc *l, unsigned flags);
/* After COPYUP_LATER: copies on a worker, then runs handler(v, call) again from its start. */
enum bv_verdict copyup_defer(struct vfs *v, struct bv_call *call, struct loc *l, bv_handler_fn *handler);

/* All bytes of a file, holes kept; may block; any thread. */
int file_copy(int from, int to, off_t size);
/* Makes dir/name of the symlink, FIFO, socket or device behind src (any descriptor), which is as *st
 * says.  0 or -errno. */
int special_copy(int src, const struct stat *st, int dir, const char *name);

/* ---- synth.c ---- */
int synth_lookup(struct vfs *v, struct bv_call *call, struct mount *m, const char *rel, struct bv_vfs_node **out);
int synth_stat(struct vfs *v, struct bv_call *call, struct loc *l, struct stat *st);
int synth_open(struct vfs *v, struct bv_call *call, struct loc *l, int flags); /* fd or -errno */
/* A synthetic directory is represented by a real, empty directory mirroring its path: O_RDONLY fd. */
int synth_dir_fd(struct vfs *v, struct loc *l, int flags);
extern const struct bv_vfs vfs_service;

/* ---- store_tmp.c, store_local.c, store.c, scan.c, review.c ---- */
int store_open(struct vfs *v);   /* conf->upper -> v->upper */
void store_close(struct vfs *v);
/* What the open layer holds becomes the tree; 0, -errno (-EUCLEAN: no layer of ours). */
int scan_layer(struct vfs *v);
/* The same of n, the upper's alone until now: the lower has come to have something there. */
int scan_again(struct vfs *v, struct node *n, struct mount *mount);
extern const struct bv_store_ops store_tmp_ops, store_local_ops;
extern const struct bv_store store_service;
extern const struct bv_review review_service;

/* ---- moved.c: lower directories renamed inside, and who still stands in them ---- */
/* The lower's directory at path is all in the upper from now on, so it can move.  0, -ENOMEM */
int moved_copied(struct vfs *v, const char *path);
/* What was at and below `from` is at and below `to` now; exchange: and the other way round. */
void moved_to(struct vfs *v, const char *from, const char *to, bool exchange);
void moved_gone(struct vfs *v, const char *path); /* what was at and below path was removed */
void moved_back(struct vfs *v, const char *path); /* the lower's own is shown there again */
/* Where the lower's `path`, on the host `real`, went: length; -1: it did not move, or is gone. */
ssize_t moved_find(struct vfs *v, const char *path, const char *real, char out[PATH_MAX]);
/* Where the lower's directory `path` was last, also if it is gone; NULL: where it is from. */
const char *moved_last(const struct vfs *v, const char *path);
void moved_free(struct vfs *v);

/* ---- gone.c: removed working directories ---- */
/* Does the text of a link into the upper only say where a removed directory was?  l->path is set. */
bool gone_dir(struct vfs *v, struct loc *l, const char *real);
/* Where it was, as a virtual path: its length; -ENOENT. */
ssize_t gone_path(struct vfs *v, const char *real, char out[PATH_MAX]);

/* ---- identity.c: hard-linked host files keep their inode number ---- */
void identity_note(struct vfs *v, int fd /* the copy */, const struct stat *lower);
void identity_apply(struct vfs *v, int fd, struct stat *st); /* st is of fd: what guests shall see */
void identity_free(struct vfs *v);

/* ---- wall.c: what the kernel may read and execute for guests (Landlock) ---- */
int wall_build(struct vfs *v);
bool wall_allows(const struct vfs *v, const char *path); /* host path: does a rule cover it? */
void wall_free(struct vfs *v);

/* ---- exec.c ---- */
int exec_init(struct vfs *v);  /* after the upper is open: makes exec_dir */
void exec_fini(struct vfs *v);
/* A file in exec_dir (a patched program, an alias) -> the virtual path of the program; -ENOENT. */
ssize_t exec_shown(struct vfs *v, const char *real, char out[PATH_MAX]);

/* ---- getdents.c ---- */
void listing_free_all(struct vfs *v);
/* Is the directory at l empty in the virtual tree?  1, 0, -errno. */
int listing_is_empty(struct vfs *v, struct bv_call *call, struct loc *l);

/* Handler tables of each file, gathered in module.c. */
struct handler_table {
	const struct bv_handler *rows; /* ends with an all-zero row */
};
extern const struct bv_handler open_handlers[], stat_handlers[], dir_handlers[], rename_handlers[],
	link_handlers[], meta_handlers[], xattr_handlers[], getdents_handlers[], exec_handlers[],
	cwd_handlers[], misc_handlers[], fileattr_handlers[], lock_handlers[], flock_handlers[],
	watch_handlers[];
int lock_rules(struct vfs *v); /* locks.c */
void flock_free(struct vfs *v); /* flock.c */

#define REPLY(v, call, r) vfs_reply((v), (call), (r))
enum bv_verdict quota_reply(struct vfs *v, struct bv_call *call); /* quota.c */
/* Policy refused what l names, or, without l, what was walked last: told, if somebody audits. */
void vfs_refused(struct vfs *v, struct bv_call *call, int err,
                 const struct loc *l); /* walk_start.c */
void watch_look(struct vfs *v); /* watch.h */
static inline enum bv_verdict vfs_reply(struct vfs *v, struct bv_call *call, int64_t r)
{
	/* Who watches files has the events of a call before its caller goes on. */
	if (v->watching)
		watch_look(v);
	if (r == -EROFS && v->named)
		vfs_refused(v, call, EROFS, NULL);
	return r == -ENOSPC && v->quota ? quota_reply(v, call) : v->host->reply(call, r);
}

#endif
