/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A layer becomes an image of one layer.  bvisor's whiteouts are OCI's but for two: a directory that
 * replaces the host's is marked inside (`.wh..wh..opq`) and not beside, and the whiteout of a long
 * name is spelled out.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <whiteout.h>

#include "oci.h"

/* The layer's tar on its way into a file. */
struct blob {
	int fd;
	struct digest *digest;
	int64_t size;
};

static la_ssize_t blob_write(struct archive *a, void *arg, const void *bytes, size_t n)
{
	struct blob *b = arg;
	ssize_t done = write(b->fd, bytes, n);

	if (done < 0) {
		archive_set_error(a, errno, "%s", strerror(errno));
		return -1;
	}
	digest_add(b->digest, bytes, (size_t)done);
	b->size += done;
	return done;
}

struct packing {
	int tree;
	struct archive *disk, *tar;
	struct archive_entry_linkresolver *links;
	struct progress progress;
	size_t files;
	uint64_t bytes;
};

static int tar_fail(struct archive *a, const char *path)
{
	return oci_fail("%s: %s", path,
	                archive_error_string(a) ? archive_error_string(a) : strerror(errno));
}

static int write_data(struct packing *p, const char *path)
{
	const void *block;
	size_t size;
	la_int64_t at, written = 0;
	static const char zeros[65536];
	int r;

	/* Holes are written as zeros: not every reader of images knows sparse members. */
	while ((r = archive_read_data_block(p->disk, &block, &size, &at)) == ARCHIVE_OK) {
		while (written < at) {
			size_t n = at - written < (la_int64_t)sizeof(zeros) ? (size_t)(at - written)
			                                                    : sizeof(zeros);

			if (archive_write_data(p->tar, zeros, n) < 0)
				return tar_fail(p->tar, path);
			written += (la_int64_t)n;
		}
		if (size && archive_write_data(p->tar, block, size) < 0)
			return tar_fail(p->tar, path);
		written += (la_int64_t)size;
		p->bytes += size;
		progress_show(&p->progress, p->files, p->bytes, 0);
	}
	return r == ARCHIVE_EOF ? 0 : tar_fail(p->disk, path);
}

/* An empty file of that name, as whiteouts are. */
static int write_mark(struct packing *p, const char *path)
{
	struct archive_entry *e = archive_entry_new();

	if (!e)
		return oci_fail("out of memory");
	archive_entry_copy_pathname(e, path);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, 0);
	int r = archive_write_header(p->tar, e) < ARCHIVE_WARN ? tar_fail(p->tar, path) : 0;
	archive_entry_free(e);
	return r;
}

/* What stands at a path of the tree: its type, 0 for nothing. */
static mode_t type_at(int dir, const char *name)
{
	struct stat st;

	return fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mode & S_IFMT : 0;
}

/* A whiteout's own file: what OCI has for it. */
static int write_whiteout(struct packing *p, const char *dir, const char *path, int dir_fd,
                          const char *hidden)
{
	bv_autofree char *mark = NULL;
	mode_t type = type_at(dir_fd, hidden);

	if (type && !S_ISDIR(type))
		return 0; /* the file is right, and hides the host's by itself */
	if (asprintf(&mark, type ? "%s%s/" OPAQUE : "%s" WHITEOUT "%s", dir, hidden) < 0) {
		mark = NULL;
		return oci_fail("%s: out of memory", path);
	}
	return write_mark(p, mark);
}

/* Whether the entry was a whiteout, or is none of the layer's: 1; 0; -1. */
static int special(struct packing *p, const char *path)
{
	char hidden[NAME_MAX + 1];
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	size_t len = (size_t)(name - path);
	bv_autofree char *dir = strndup(path, len);

	if (strncmp(name, WHITEOUT, sizeof(WHITEOUT) - 1) != 0)
		return 0;
	bv_autofd int fd = dir ? openat(p->tree, len ? dir : ".",
	                                O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
	                       : -1;
	if (fd < 0)
		return oci_fail("%s: %s", path, strerror(errno));
	enum whiteout_kind kind = whiteout_read(fd, name, hidden);
	if (kind == WHITEOUT_TEMP)
		return 1;
	if (kind == WHITEOUT_OF && whiteout_looks_real(fd, name))
		return write_whiteout(p, dir, path, fd, hidden) < 0 ? -1 : 1;
	return oci_fail("%s: images cannot have names that begin with " WHITEOUT, path);
}

static int write_entry(struct packing *p, struct archive_entry *e)
{
	const char *path = archive_entry_pathname(e);

	if (archive_entry_filetype(e) == AE_IFSOCK)
		return 0; /* tar has no sockets */
	archive_entry_set_ctime(e, 0, 0);
	archive_entry_unset_ctime(e);
	archive_entry_unset_atime(e);
	archive_entry_sparse_clear(e);
	progress_show(&p->progress, p->files++, p->bytes, 0);
	if (archive_write_header(p->tar, e) < ARCHIVE_WARN)
		return tar_fail(p->tar, path);
	if (archive_entry_filetype(e) == AE_IFREG && !archive_entry_hardlink(e) &&
	    archive_entry_size(e) > 0)
		return write_data(p, path);
	return 0;
}

static int pack_one(struct packing *p, struct archive_entry *e)
{
	bv_autofree char *path = strdup(archive_entry_pathname(e) ? archive_entry_pathname(e) : "");
	struct archive_entry *later = NULL;

	if (!path)
		return oci_fail("out of memory");
	if (archive_read_disk_can_descend(p->disk))
		archive_read_disk_descend(p->disk);
	const char *rel = strncmp(path, "./", 2) == 0 ? path + 2 : path;
	if (strcmp(path, ".") == 0 || !*rel)
		return 0;
	archive_entry_copy_pathname(e, rel);
	int r = special(p, rel);
	if (r)
		return r < 0 ? -1 : 0;
	archive_entry_linkify(p->links, &e, &later);
	return e ? write_entry(p, e) : 0;
}

static int pack(int tree, struct archive *tar)
{
	struct packing p = {.tree = tree,
	                    .disk = archive_read_disk_new(),
	                    .tar = tar,
	                    .links = archive_entry_linkresolver_new()};
	progress_begin(&p.progress, "export", "files");
	int r = p.disk && p.links && fchdir(tree) == 0 ? 0
	                                               : oci_fail("the layer: %s", strerror(errno));

	if (r == 0) {
		archive_entry_linkresolver_set_strategy(p.links, ARCHIVE_FORMAT_TAR_PAX_RESTRICTED);
		archive_read_disk_set_symlink_physical(p.disk);
		archive_read_disk_set_behavior(p.disk, ARCHIVE_READDISK_NO_TRAVERSE_MOUNTS |
		                                               ARCHIVE_READDISK_NO_FFLAGS);
		if (archive_read_disk_open(p.disk, ".") != ARCHIVE_OK)
			r = tar_fail(p.disk, "the layer");
	}
	while (r == 0) {
		struct archive_entry *e = archive_entry_new();
		int got = e ? archive_read_next_header2(p.disk, e) : ARCHIVE_FATAL;

		if (got == ARCHIVE_EOF) {
			archive_entry_free(e);
			break;
		}
		/* A warning means that something of it could not be read: then the image would lack it. */
		r = got == ARCHIVE_OK ? pack_one(&p, e)
		                      : tar_fail(p.disk, archive_entry_pathname(e));
		archive_entry_free(e);
	}
	progress_end(&p.progress);
	archive_read_free(p.disk);
	archive_entry_linkresolver_free(p.links);
	return r;
}

static struct archive *tar_new(void)
{
	struct archive *tar = archive_write_new();

	if (tar) {
		/* Not the restricted one, which writes times in whole seconds. */
		archive_write_set_format_pax(tar);
		archive_write_set_bytes_in_last_block(tar, 1);
	}
	return tar;
}

/* ---- the image around it ---- */

struct image {
	struct archive *tar;
	time_t now;
};

static int put_header(struct image *i, const char *path, int64_t size)
{
	struct archive_entry *e = archive_entry_new();

	if (!e)
		return oci_fail("out of memory");
	archive_entry_copy_pathname(e, path);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, size);
	archive_entry_set_mtime(e, i->now, 0);
	int r = archive_write_header(i->tar, e) == ARCHIVE_OK ? 0 : tar_fail(i->tar, path);
	archive_entry_free(e);
	return r;
}

static int put(struct image *i, const char *path, const void *bytes, size_t n)
{
	if (put_header(i, path, (int64_t)n) < 0)
		return -1;
	return archive_write_data(i->tar, bytes, n) == (la_ssize_t)n ? 0 : tar_fail(i->tar, path);
}

static int put_blob(struct image *i, const struct blob *b, const char *digest)
{
	char path[96], buf[65536];
	int64_t left = b->size;

	if (layout_blob(digest, path, sizeof(path)) < 0 || put_header(i, path, b->size) < 0)
		return -1;
	if (lseek(b->fd, 0, SEEK_SET) < 0)
		return oci_fail("the layer's blob: %s", strerror(errno));
	while (left > 0) {
		ssize_t n = read(b->fd, buf, sizeof(buf));

		if (n <= 0 || archive_write_data(i->tar, buf, (size_t)n) != n)
			return n <= 0 ? oci_fail("the layer's blob: %s", strerror(n ? errno : EIO))
			              : tar_fail(i->tar, path);
		left -= n;
	}
	return 0;
}

/* A JSON document as a blob: its descriptor; NULL after a message.  Takes doc. */
static json_t *put_json(struct image *i, json_t *doc, const char *media)
{
	char digest[DIGEST_MAX], path[96];
	bv_autofree char *text = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
	struct digest *d = text ? digest_new() : NULL;

	json_decref(doc);
	if (!d) {
		oci_fail("out of memory");
		return NULL;
	}
	digest_add(d, text, strlen(text));
	digest_end(d, digest);
	if (layout_blob(digest, path, sizeof(path)) < 0 || put(i, path, text, strlen(text)) < 0)
		return NULL;
	return json_pack("{s:s, s:s, s:I}", "mediaType", media, "digest", digest, "size",
	                 (json_int_t)strlen(text));
}

static int describe(struct image *i, const char *name, const char *digest, int64_t size)
{
	char when[32], by[160];
	struct tm tm;

	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&i->now, &tm));
	snprintf(by, sizeof(by), "bvisor export %s", name);
	json_t *config =
		put_json(i,
	                 json_pack("{s:s, s:s, s:s, s:{}, s:{s:s, s:[s]}, s:[{s:s, s:s}]}",
	                           "created", when, "architecture", oci_architecture(), "os",
	                           "linux", "config", "rootfs", "type", "layers", "diff_ids",
	                           digest, "history", "created", when, "created_by", by),
	                 MEDIA_CONFIG);
	if (!config)
		return -1;
	json_t *manifest = put_json(i,
	                            json_pack("{s:i, s:s, s:o, s:[{s:s, s:s, s:I}]}",
	                                      "schemaVersion", 2, "mediaType", MEDIA_MANIFEST,
	                                      "config", config, "layers", "mediaType", MEDIA_LAYER,
	                                      "digest", digest, "size", (json_int_t)size),
	                            MEDIA_MANIFEST);
	if (!manifest ||
	    json_object_set_new(manifest, "annotations",
	                        json_pack("{s:s}", "org.opencontainers.image.ref.name", name)) < 0)
		return -1;
	json_t *index = json_pack("{s:i, s:s, s:[o]}", "schemaVersion", 2, "mediaType", MEDIA_INDEX,
	                          "manifests", manifest);
	bv_autofree char *text = index ? json_dumps(index, JSON_COMPACT) : NULL;
	json_decref(index);
	return text ? put(i, "index.json", text, strlen(text)) : oci_fail("out of memory");
}

static int write_image(FILE *to, const char *name, const struct blob *b, const char *digest)
{
	static const char layout[] = "{\"imageLayoutVersion\":\"1.0.0\"}";
	struct image i = {tar_new(), time(NULL)};
	int r = i.tar ? 0 : oci_fail("out of memory");

	if (r == 0 && archive_write_open_FILE(i.tar, to) != ARCHIVE_OK)
		r = tar_fail(i.tar, "the image");
	if (r == 0)
		r = put(&i, "oci-layout", layout, sizeof(layout) - 1);
	if (r == 0)
		r = put_blob(&i, b, digest);
	if (r == 0)
		r = describe(&i, name, digest, b->size);
	if (r == 0 && (archive_write_close(i.tar) != ARCHIVE_OK || fflush(to) != 0))
		r = tar_fail(i.tar, "the image");
	archive_write_free(i.tar);
	return r;
}

int oci_export(int tree, FILE *to, const char *name)
{
	const char *tmp = getenv("TMPDIR");
	char digest[DIGEST_MAX];
	bv_autofd int fd = open(tmp && *tmp ? tmp : "/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct blob b = {.fd = fd, .digest = digest_new()};
	struct archive *tar = tar_new();
	int r = 0;

	if (fd < 0 || !b.digest || !tar)
		r = oci_fail("a temporary file: %s", strerror(errno));
	else if (archive_write_open(tar, &b, NULL, blob_write, NULL) != ARCHIVE_OK)
		r = tar_fail(tar, "the layer");
	if (r == 0)
		r = pack(tree, tar);
	if (r == 0 && archive_write_close(tar) != ARCHIVE_OK)
		r = tar_fail(tar, "the layer");
	archive_write_free(tar);
	if (b.digest)
		digest_end(b.digest, digest);
	return r == 0 ? write_image(to, name, &b, digest) : r;
}
