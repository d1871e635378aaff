/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One layer of an image into the tree, over those before it.  Twice: whiteouts apply to the layers
 * below only, wherever in the archive they stand, so they are brought first and the files after.
 * A whiteout hides the host's as well, so it stays; and what is replaced by a directory stays
 * hidden, or the host's would shine through it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <scrub.h>
#include <vfs.h>
#include <whiteout.h>

#include "oci.h"

struct unpack {
	int tree;
	const char *file, *digest;
	bool files; /* the second time */
	struct archive *disk;
	struct progress progress;
	size_t made;
	uint64_t bytes;
	struct strbuf times; /* of directories: a struct timespec each, and a path with its NUL */
};

bool unpack_path(const char *text, char *out, size_t size)
{
	size_t n = 0;

	while (*text) {
		size_t len = strcspn(text, "/");

		if (len && !(len == 1 && text[0] == '.')) {
			if ((len == 2 && text[0] == '.' && text[1] == '.') || len > NAME_MAX + 4 ||
			    n + len + 2 > size)
				return false;
			if (n)
				out[n++] = '/';
			memcpy(out + n, text, len);
			n += len;
		}
		text += len + (text[len] == '/');
	}
	out[n] = '\0';
	return true;
}

/* ---- directories ---- */

static int open_dir(int tree, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	                       .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
	                                  RESOLVE_BENEATH};

	return (int)syscall(SYS_openat2, tree, *path ? path : ".", &how, sizeof(how));
}

/* A directory that the image does not speak of is as the host's, if that has one there. */
static void like_host(int up, const char *name, const char *path)
{
	struct open_how how = {.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
	                       .resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
	                                  RESOLVE_BENEATH};
	bv_autofd int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	bv_autofd int host = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
	bv_autofd int own = openat(up, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;

	if (host < 0 || own < 0 || fstat(host, &st) < 0)
		return;
	/* We must be able to write in it. */
	if (geteuid() != 0)
		st.st_mode |= 0700;
	upper_copy_meta(host, own, &st);
}

/* Splits path: the directory it is in, made with all above if `make`; *name is the last part. */
static int parent(int tree, const char *path, bool make, const char **name)
{
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');
	size_t len = slash ? (size_t)(slash - path) : 0;

	*name = slash ? slash + 1 : path;
	memcpy(dir, path, len);
	dir[len] = '\0';
	int fd = open_dir(tree, dir);
	if (fd >= 0 || errno != ENOENT || !make)
		return fd;
	for (size_t i = 1; i <= len; i++) {
		if (dir[i] && dir[i] != '/')
			continue;
		dir[i] = '\0';
		const char *last;
		bv_autofd int up = parent(tree, dir, false, &last);
		if (up < 0 || (mkdirat(up, last, 0755) < 0 && errno != EEXIST))
			return -1;
		like_host(up, last, dir);
		if (i < len)
			dir[i] = '/';
	}
	return open_dir(tree, dir);
}

/* Removes what earlier layers put there: 0, -1 with errno. */
static int clear(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -1;
	if (!S_ISDIR(st.st_mode))
		return unlinkat(dir, name, 0);
	bv_autofd int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	int r = fd < 0 ? -errno : scrub(fd, NULL);
	if (r < 0) {
		errno = -r;
		return -1;
	}
	return unlinkat(dir, name, AT_REMOVEDIR);
}

/* ---- whiteouts ---- */

static int opaque(struct unpack *u, const char *path)
{
	const char *name;
	char dir[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (!slash) /* of the whole tree: nothing of the host is to be seen, which a layer cannot say */
		return oci_fail("%s: the image's root directory is marked as replaced (" OPAQUE
		                "), which is not supported",
		                u->file);
	memcpy(dir, path, (size_t)(slash - path));
	dir[slash - path] = '\0';
	bv_autofd int fd = parent(u->tree, dir, true, &name);
	int r = fd < 0 ? -errno : 0;
	if (r == 0 && (clear(fd, name) < 0 || mkdirat(fd, name, 0755) < 0))
		r = -errno;
	if (r == 0)
		r = whiteout_make(fd, name);
	return r < 0 ? oci_fail("%s: %s", path, strerror(-r)) : 0;
}

static int whiteout(struct unpack *u, const char *path, const char *hidden)
{
	const char *name;
	bv_autofd int fd = parent(u->tree, path, true, &name);
	int r = fd < 0 || clear(fd, hidden) < 0 ? -errno : 0;

	if (r == 0)
		r = whiteout_make(fd, hidden);
	return r < 0 ? oci_fail("%s: %s", path, strerror(-r)) : 0;
}

/* A whiteout of the archive: 1; 0 for another entry; -1. */
static int special(struct unpack *u, const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (strncmp(name, WHITEOUT, sizeof(WHITEOUT) - 1) != 0)
		return 0;
	if (u->files)
		return 1;
	if (strcmp(name, OPAQUE) == 0)
		return opaque(u, path) < 0 ? -1 : 1;
	const char *hidden = name + sizeof(WHITEOUT) - 1;
	if (strncmp(hidden, WHITEOUT, sizeof(WHITEOUT) - 1) == 0)
		return 1; /* aufs's own, which mean nothing elsewhere */
	if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0 ||
	    strlen(hidden) > NAME_MAX)
		return oci_fail("%s: a whiteout of nothing", path);
	return whiteout(u, path, hidden) < 0 ? -1 : 1;
}

/* ---- files ---- */

/* What stands at the place of an entry that is about to be made. */
static int make_room(struct unpack *u, const char *path, bool is_dir)
{
	const char *name;
	struct stat st;
	bv_autofd int fd = parent(u->tree, path, true, &name);

	if (fd < 0)
		return oci_fail("%s: %s", path, strerror(errno));
	bool there = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	int r = 0;
	if (there && (!is_dir || !S_ISDIR(st.st_mode)) && clear(fd, name) < 0)
		r = -errno;
	if (r == 0 && is_dir && there && !S_ISDIR(st.st_mode))
		r = whiteout_make(fd, name);
	else if (!is_dir)
		whiteout_drop(fd, name);
	return r < 0 ? oci_fail("%s: %s", path, strerror(-r)) : 0;
}

/* libarchive sets a directory's times late if it made it, and the first pass made some. */
static void note_times(struct unpack *u, struct archive_entry *e, const char *path)
{
	const struct timespec t = {archive_entry_mtime(e), archive_entry_mtime_nsec(e)};

	if (!archive_entry_mtime_is_set(e))
		return;
	strbuf_add(&u->times, &t, sizeof(t));
	strbuf_add(&u->times, path, strlen(path) + 1);
}

static int set_times(struct unpack *u)
{
	struct timespec t[2] = {{.tv_nsec = UTIME_OMIT}};

	for (size_t at = 0; !u->times.failed && at < u->times.len;) {
		const char *name, *path = u->times.data + at + sizeof(t[1]);

		memcpy(&t[1], u->times.data + at, sizeof(t[1]));
		at += sizeof(t[1]) + strlen(path) + 1;
		bv_autofd int fd = parent(u->tree, path, false, &name);
		/* A later entry may have put something else there. */
		if (fd >= 0 && utimensat(fd, name, t, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT)
			return oci_fail("%s: %s", path, strerror(errno));
	}
	return u->times.failed ? oci_fail("out of memory") : 0;
}

static int extract(struct unpack *u, struct archive *a, struct archive_entry *e, const char *path)
{
	char target[PATH_MAX];
	mode_t type = archive_entry_filetype(e);
	const char *link = archive_entry_hardlink(e);

	if (!*path)
		return 0; /* the root: it is the host's */
	if (!link && (type == AE_IFCHR || type == AE_IFBLK)) {
		fprintf(stderr, "bvisor import: left out: a device\n");
		return 0;
	}
	if (link) {
		if (!unpack_path(link, target, sizeof(target)) || !*target)
			return oci_fail("%s: its link leads out of the image", path);
		archive_entry_copy_hardlink(e, target);
	}
	if (make_room(u, path, type == AE_IFDIR && !link) < 0)
		return -1;
	if (type == AE_IFDIR && !link)
		note_times(u, e, path);
	archive_entry_copy_pathname(e, path);
	if (archive_write_header(u->disk, e) != ARCHIVE_OK)
		return oci_fail("%s: %s", path, archive_error_string(u->disk));
	const void *block;
	size_t size;
	la_int64_t at;
	int r;
	progress_show(&u->progress, u->made++, u->bytes, 0);
	while ((r = archive_read_data_block(a, &block, &size, &at)) == ARCHIVE_OK) {
		if (archive_write_data_block(u->disk, block, size, at) < ARCHIVE_OK)
			return oci_fail("%s: %s", path, archive_error_string(u->disk));
		u->bytes += size;
		progress_show(&u->progress, u->made, u->bytes, 0);
	}
	if (r != ARCHIVE_EOF)
		return oci_fail("%s: %s", path, archive_error_string(a));
	/* Ownership cannot be given away by an ordinary user: a warning. */
	if (archive_write_finish_entry(u->disk) < ARCHIVE_WARN)
		return oci_fail("%s: %s", path, archive_error_string(u->disk));
	return 0;
}

static int take(struct unpack *u, struct archive *a, struct archive_entry *e)
{
	char path[PATH_MAX];
	const char *text = archive_entry_pathname(e);

	if (!text || !unpack_path(text, path, sizeof(path)))
		return oci_fail("%s: a path leads out of the image, or is too long: %.200s",
		                u->file, text ? text : "?");
	int r = special(u, path);
	if (r)
		return r < 0 ? -1 : 0;
	return u->files ? extract(u, a, e, path) : 0;
}

/* ---- the archive within the archive ---- */

struct inner {
	struct archive *outer;
	struct digest *digest;
	char buf[65536];
};

static la_ssize_t inner_read(struct archive *a, void *arg, const void **out)
{
	struct inner *i = arg;
	la_ssize_t n = archive_read_data(i->outer, i->buf, sizeof(i->buf));

	if (n < 0) {
		archive_set_error(a, EIO, "%s", archive_error_string(i->outer));
		return -1;
	}
	digest_add(i->digest, i->buf, (size_t)n);
	*out = i->buf;
	return n;
}

static int walk(struct unpack *u, struct archive *a)
{
	struct archive_entry *e;
	int r, got;

	while ((got = archive_read_next_header(a, &e)) == ARCHIVE_OK || got == ARCHIVE_WARN) {
		r = take(u, a, e);
		if (r < 0)
			return r;
	}
	return got == ARCHIVE_EOF
	               ? 0
	               : oci_fail("%s: %s: %s", u->file, u->digest, archive_error_string(a));
}

static int one_pass(void *arg, struct archive *outer, struct archive_entry *entry)
{
	struct unpack *u = arg;
	bv_autofree struct inner *i = malloc(sizeof(*i));
	struct archive *a = archive_read_new();
	char got[DIGEST_MAX] = "";
	const void *rest;
	la_ssize_t n;
	int r = 0;

	if (!i || !a || !(i->digest = digest_new())) {
		archive_read_free(a);
		return oci_fail("out of memory");
	}
	i->outer = outer;
	archive_read_support_filter_all(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_empty(a);
	if (archive_read_open(a, i, NULL, inner_read, NULL) != ARCHIVE_OK)
		r = oci_fail("%s: %s: %s", u->file, u->digest, archive_error_string(a));
	if (r == 0)
		r = walk(u, a);
	while (r == 0 && (n = inner_read(a, i, &rest)) != 0)
		if (n < 0)
			r = oci_fail("%s: %s", u->file, archive_error_string(outer));
	archive_read_free(a);
	digest_end(i->digest, got);
	if (r == 0 && strcmp(got, u->digest) != 0)
		r = oci_fail("%s: %s is not what its digest says", u->file, u->digest);
	return r;
}

int unpack_layer(int tree, const char *file, const char *digest)
{
	struct unpack u = {.tree = tree, .file = file, .digest = digest};
	char name[96];
	int flags = ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR |
	            ARCHIVE_EXTRACT_ACL | ARCHIVE_EXTRACT_SECURE_SYMLINKS |
	            ARCHIVE_EXTRACT_SECURE_NODOTDOT | ARCHIVE_EXTRACT_SECURE_NOABSOLUTEPATHS;
	bv_autofree char *full = realpath(file, NULL); /* the current directory becomes the tree */
	int r = layout_blob(digest, name, sizeof(name));

	progress_begin(&u.progress, "import", "files");
	if (r == 0 && !full)
		r = oci_fail("%s: %s", file, strerror(errno));
	if (r == 0)
		r = layout_member(full, name, one_pass, &u);
	if (r < 0)
		return r;
	if (geteuid() == 0)
		flags |= ARCHIVE_EXTRACT_OWNER;
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	u.files = true;
	u.disk = archive_write_disk_new();
	if (!u.disk || here < 0 || fchdir(tree) < 0)
		r = oci_fail("the layer: %s", strerror(errno));
	if (r == 0) {
		archive_write_disk_set_options(u.disk, flags);
		r = layout_member(full, name, one_pass, &u);
	}
	/* The directories' times and modes come last. */
	if (r == 0 && archive_write_close(u.disk) < ARCHIVE_WARN)
		r = oci_fail("%s", archive_error_string(u.disk));
	archive_write_free(u.disk);
	if (r == 0)
		r = set_times(&u);
	progress_end(&u.progress);
	strbuf_fini(&u.times);
	if (here >= 0) {
		(void)!fchdir(here);
		close(here);
	}
	return r;
}
