/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_SVC_REVIEW_H
#define BVISOR_SVC_REVIEW_H
/* Service "review" (provided by vfs-cow): what a sandbox changed, and what becomes of it.  Loop
 * thread, after or between calls; commit and rollback of a layer only without a guest.  Since 1.0. */
#include <sys/types.h>

#include <bvisor/abi.h>

#define BV_REVIEW_SERVICE "review"

/* What differs, of an object that is there before and after. */
#define BV_CHANGED_DATA 1u  /* bytes, or the target of a symlink */
#define BV_CHANGED_MODE 2u
#define BV_CHANGED_OWNER 4u
#define BV_CHANGED_XATTR 8u
#define BV_CHANGED_TIME 16u /* of modification, where the bytes are the same */

struct bv_change {
	char kind;        /* 'A' added, 'M' modified, 'D' deleted, 'T' type changed */
	char type;        /* 'f' file, 'd' directory, 'l' symlink, 'p' fifo, 's' socket, 'c', 'b'; of the new, or
	                     for D of the old object */
	const char *path; /* virtual path, any bytes but NUL; borrowed until the callback returns */
	uint64_t size;    /* bytes of the new file; 0 for others */
	uint32_t what;    /* M: BV_CHANGED_* */
	uint32_t mode, old_mode; /* st_mode; 0 where there is no such object */
	uint32_t uid, gid, old_uid, old_gid;
	uint64_t old_size;
};

/* Which command last changed a path. */
struct bv_who {
	int64_t time; /* seconds since the Epoch */
	const char *
		command; /* words quoted as for a shell, shortened; any bytes; borrowed until the next
	                        call or change */
};

enum bv_side { BV_OLD = 0, BV_NEW = 1 };

enum bv_commit_event {
	BV_COMMIT_CONFLICT, /* text: what the host did there meanwhile, or else speaks against it */
	BV_COMMIT_OUTSIDE,  /* not below the directories that may be committed to without force */
	BV_COMMIT_DONE,     /* this change has been (dry run: would be) made */
	BV_COMMIT_SKIPPED,  /* text: why this cannot be brought to the host */
	BV_COMMIT_FAILED,   /* text: why */
};

#define BV_COMMIT_FORCE 1u   /* conflicts and paths outside do not matter */
#define BV_COMMIT_DRY_RUN 2u /* nothing is done */

/* Which changes, and whom to tell.  All borrowed. */
struct bv_selection {
	struct bv_head head;
	const char *const *path; /* virtual paths: these and all below; none: everything */
	size_t n_paths;
	const char *const *exclude; /* fnmatch(3) patterns, for the path or its last part */
	size_t n_excludes;
	const char *const *allowed; /* directories that may be committed to without BV_COMMIT_FORCE */
	size_t n_allowed;
	uint32_t flags, zero;
	/* done and total count changes and bytes; change may be NULL in FAILED.  Its result is ignored. */
	void (*tell)(void *arg, enum bv_commit_event event, const struct bv_change *change, const char *text,
	             uint64_t done, uint64_t total);
	void *arg;
	/* commit and rollback of a snapshot: a record for note() or undo() of each change that was made or is to be
	 * undone, borrowed, of any bytes. */
	void (*made)(void *arg, const char *record, size_t len);
};

struct bv_review {
	struct bv_head head;
	/* Calls each(arg, change) in byte order of paths; stops at its first non-zero result and
	 * returns it; 0; -errno. */
	int (*changes)(const struct bv_review *review, int (*each)(void *arg, const struct bv_change *change),
	               void *arg);
	/* A descriptor (the caller's) of the file at a virtual path before or after; -errno. */
	int (*open)(const struct bv_review *review, const char *path, enum bv_side side);
	/* The text of a symlink, NUL-terminated: its length, -errno. */
	ssize_t (*link)(const struct bv_review *review, const char *path, enum bv_side side, char *out, size_t size);
	/*
	 * Makes the selected changes on the host; what is made leaves the layer.  First all are
	 * judged: with a conflict or a path outside nothing is done and -ESTALE returned.  Each file
	 * is replaced at once; a commit that was killed is finished by the next one.  0; -ESTALE;
	 * -EIO after BV_COMMIT_FAILED; -errno.
	 *
	 * Of a snapshot (a layer open for reading) nothing leaves the layer, and what is killed is not
	 * finished: made again, it does what is left.  So the changes of a sandbox are committed while it runs.
	 */
	int (*commit)(const struct bv_review *review, const struct bv_selection *what);
	/* Drops the selected changes from the layer.  0; -ENOTEMPTY: one lies in a directory that was
	 * replaced as a whole and can only be dropped with it (told as BV_COMMIT_FAILED); -errno.
	 * Of a snapshot nothing is dropped: made gets the records for undo(). */
	int (*rollback)(const struct bv_review *review, const struct bv_selection *what);
	/* Who last changed the path, as far as that is known (bvisor.ini: provenance): 1, 0.  Of a file it
	 * is who last opened it for writing. */
	int (*who)(const struct bv_review *review, const char *path, struct bv_who *out);
	/*
	 * In the supervisor of a sandbox: a snapshot of its layer has been committed, and these, one after
	 * the other, are the records that bv_selection.made got.  What the host has there is from now on
	 * what later changes are judged by; what guests removed meanwhile stays removed inside.  len 0: a commit
	 * may have made a part, and was killed.  0; -EINVAL: these are none; -errno.
	 */
	int (*note)(const struct bv_review *review, const char *records, size_t len);
	/*
	 * In the supervisor of a sandbox: the places go back to what the host has, as rollback of a snapshot
	 * has chosen them: these, one after the other, are the records that bv_selection.made got.  What
	 * guests did there meanwhile goes too; what they have open they keep.  0; -EBUSY: a place of the mount table
	 * is below one, which stays; -EINVAL: these are none; -errno, the first; it goes on after one.
	 */
	int (*undo)(const struct bv_review *review, const char *records, size_t len);
};

#endif
