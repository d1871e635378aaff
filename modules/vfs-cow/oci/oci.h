/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_OCI_OCI_H
#define VFS_COW_OCI_OCI_H
/*
 * bvisor-oci: layers as OCI images in one tar file (image-spec v1: image layout), and back.  A
 * program of its own, started by `bvisor export` and `bvisor import`: what reads archives of unknown
 * origin, and the libraries it takes, stay out of bvisor.
 */
#include <archive.h>
#include <archive_entry.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <cleanup.h>
#include <progress.h>

#define MEDIA_INDEX "application/vnd.oci.image.index.v1+json"
#define MEDIA_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_CONFIG "application/vnd.oci.image.config.v1+json"
#define MEDIA_LAYER "application/vnd.oci.image.layer.v1.tar"
#define OPAQUE ".wh..wh..opq"

/* "sha256:" and 64 hexadecimal digits. */
#define DIGEST_MAX 72

/* Prints "bvisor CMD: TEXT" and returns -1. */
__attribute__((format(printf, 1, 2))) int oci_fail(const char *fmt, ...);
extern const char *oci_command; /* "export", "import" */

/* ---- digest.c ---- */
struct digest;
struct digest *digest_new(void); /* NULL: no memory */
void digest_add(struct digest *d, const void *bytes, size_t n);
/* The text of it; frees d. */
void digest_end(struct digest *d, char out[DIGEST_MAX]);
bool digest_valid(const char *text);
/* GOARCH's word for this machine, as images name it. */
const char *oci_architecture(void);

/* ---- export.c ---- */
/* The layer in the directory `tree` as an image on `to`. */
int oci_export(int tree, FILE *to, const char *name);

/* ---- import.c ---- */
/* The image in `file` into the empty directory `tree`. */
int oci_import(int tree, const char *file);

/* ---- layout.c: an image layout in a tar file ---- */
/* Calls each for the member `name`, positioned at its data; -1 when there is none. */
int layout_member(const char *file, const char *name,
                  int (*each)(void *arg, struct archive *a, struct archive_entry *e), void *arg);
/* The image's manifest for this machine; NULL after a message. */
json_t *layout_manifest(const char *file);
/* "blobs/sha256/HEX" of a digest. */
int layout_blob(const char *digest, char *out, size_t size);

/* ---- prune.c ---- */
/* After the last layer. */
int prune_whiteouts(int tree);

/* ---- unpack.c: one layer into the tree ---- */
int unpack_layer(int tree, const char *file, const char *digest);
/* A member's path without "./" and "//": false when it leads out, or nowhere. */
bool unpack_path(const char *text, char *out, size_t size);

#endif
