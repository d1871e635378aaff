/* SPDX-License-Identifier: Apache-2.0 */
/* An image layout in a tar file, compressed or not: its members are looked for by name. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "oci.h"

#define JSON_MAX (4u << 20) /* image-spec asks readers for 4 MiB */
#define NESTING 4 /* of indexes */

int layout_blob(const char *digest, char *out, size_t size)
{
	if (!digest_valid(digest))
		return oci_fail("'%s' is no sha256 digest", digest);
	snprintf(out, size, "blobs/sha256/%s", digest + 7);
	return 0;
}

static bool is_member(const char *path, const char *name)
{
	while (path && strncmp(path, "./", 2) == 0)
		path += 2;
	return path && strcmp(path, name) == 0;
}

int layout_member(const char *file, const char *name,
                  int (*each)(void *arg, struct archive *a, struct archive_entry *e), void *arg)
{
	bv_autofd int fd = open(file, O_RDONLY | O_CLOEXEC);
	struct archive *a = fd < 0 ? NULL : archive_read_new();
	struct archive_entry *e;
	int r;

	if (!a)
		return oci_fail("%s: %s", file, strerror(errno));
	archive_read_support_filter_all(a);
	archive_read_support_format_tar(a);
	if (archive_read_open_fd(a, fd, 65536) != ARCHIVE_OK) {
		r = oci_fail("%s: %s", file, archive_error_string(a));
		archive_read_free(a);
		return r;
	}
	while ((r = archive_read_next_header(a, &e)) == ARCHIVE_OK || r == ARCHIVE_WARN) {
		if (!is_member(archive_entry_pathname(e), name) ||
		    archive_entry_filetype(e) != AE_IFREG)
			continue;
		r = each(arg, a, e);
		archive_read_free(a);
		return r;
	}
	r = r == ARCHIVE_EOF ? oci_fail("%s: no OCI image: it has no %s", file, name)
	                     : oci_fail("%s: %s", file, archive_error_string(a));
	archive_read_free(a);
	return r;
}

struct document {
	const char *file, *name, *digest; /* digest: what it must be, or NULL */
	json_t *json;
};

static int read_json(void *arg, struct archive *a, struct archive_entry *e)
{
	struct document *d = arg;
	char got[DIGEST_MAX];
	json_error_t err;
	bv_autofree char *text = malloc(JSON_MAX + 1);
	size_t len = 0;
	la_ssize_t n;

	if (!text)
		return oci_fail("out of memory");
	while (len <= JSON_MAX && (n = archive_read_data(a, text + len, JSON_MAX + 1 - len)) != 0) {
		if (n < 0)
			return oci_fail("%s: %s: %s", d->file, d->name, archive_error_string(a));
		len += (size_t)n;
	}
	if (len > JSON_MAX)
		return oci_fail("%s: %s: larger than %u bytes", d->file, d->name, JSON_MAX);
	if (d->digest) {
		struct digest *sum = digest_new();

		if (!sum)
			return oci_fail("out of memory");
		digest_add(sum, text, len);
		digest_end(sum, got);
		if (strcmp(got, d->digest) != 0)
			return oci_fail("%s: %s is not what its digest says", d->file, d->name);
	}
	d->json = json_loadb(text, len, JSON_REJECT_DUPLICATES, &err);
	if (!json_is_object(d->json)) {
		json_decref(d->json);
		d->json = NULL;
		return oci_fail("%s: %s: %s", d->file, d->name,
		                *err.text ? err.text : "not an object");
	}
	return 0;
}

static json_t *load(const char *file, const char *name, const char *digest)
{
	struct document d = {file, name, digest, NULL};

	return layout_member(file, name, read_json, &d) < 0 ? NULL : d.json;
}

static bool fits(const json_t *descriptor)
{
	const json_t *platform = json_object_get(descriptor, "platform");
	const char *os = json_string_value(json_object_get(platform, "os"));
	const char *arch = json_string_value(json_object_get(platform, "architecture"));

	return !platform ||
	       (os && arch && strcmp(os, "linux") == 0 && strcmp(arch, oci_architecture()) == 0);
}

/* The descriptor of this machine's image, or of an index that may have it. */
static const json_t *choose(const char *file, const json_t *index)
{
	const json_t *all = json_object_get(index, "manifests"), *one, *found = NULL;
	size_t i;

	json_array_foreach(all, i, one)
	{
		if (!fits(one))
			continue;
		if (found) {
			oci_fail("%s: holds more than one image for linux/%s", file,
			         oci_architecture());
			return NULL;
		}
		found = one;
	}
	if (!found)
		oci_fail("%s: holds no image for linux/%s", file, oci_architecture());
	return found;
}

json_t *layout_manifest(const char *file)
{
	json_t *doc = load(file, "index.json", NULL);

	for (int depth = 0; doc && depth < NESTING; depth++) {
		char path[96];

		if (json_is_array(json_object_get(doc, "layers")))
			return doc;
		const json_t *next = choose(file, doc);
		const char *digest = json_string_value(json_object_get(next, "digest"));
		json_t *below = NULL;
		if (next && layout_blob(digest ? digest : "", path, sizeof(path)) == 0)
			below = load(file, path, digest);
		json_decref(doc);
		doc = below;
		if (!doc)
			return NULL;
	}
	if (doc)
		oci_fail("%s: indexes without a manifest", file);
	json_decref(doc);
	return NULL;
}
