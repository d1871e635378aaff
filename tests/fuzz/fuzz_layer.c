/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kept layer holds besides guests' files, edited by anybody: its manifest, the names and
 * contents of whiteouts, the records of origins and of who changed what.  The first byte chooses.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest.h"
#include "origin.h"
#include "whiteout.h"
#include "who.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char top[] = "/tmp/bvisor-fuzz-layer-XXXXXX";
static int dir = -1;

static void leave(void)
{
	(void)rmdir(top);
}

static void put(const char *name, const uint8_t *data, size_t size)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	close(fd);
}

/* What was taken is written as it is read. */
static void try_manifest(const uint8_t *data, size_t size)
{
	struct manifest m, again;
	char why[300] = "";

	put(MANIFEST, data, size);
	int r = manifest_load(dir, &m, why, sizeof(why));
	if (r < 0 ? !why[0] : m.version != MANIFEST_VERSION || (m.start[0] && m.start[0] != '/'))
		abort();
	if (r == 0 &&
	    (manifest_save(dir, &m, false) < 0 ||
	     manifest_load(dir, &again, why, sizeof(why)) < 0 || again.created != m.created ||
	     again.parent_used.tv_sec != m.parent_used.tv_sec ||
	     strcmp(again.start, m.start) != 0 || strcmp(again.parent, m.parent) != 0))
		abort();
	(void)unlinkat(dir, MANIFEST, 0);
}

/* The name up to a NUL, the content behind it.  What a whiteout hides has that very whiteout. */
static void try_whiteout(const uint8_t *data, size_t size)
{
	char file[NAME_MAX + 1], name[NAME_MAX + 1], again[NAME_MAX + 1];
	size_t len = strnlen((const char *)data, size);

	if (!len || len > NAME_MAX || memchr(data, '/', len) || !strcmp((const char *)memcpy(file, data, len), "."))
		return;
	file[len] = '\0';
	if (!strcmp(file, ".") || !strcmp(file, ".."))
		return;
	put(file, data + len, size - len);
	enum whiteout_kind kind = whiteout_read(dir, file, name);
	(void)unlinkat(dir, file, 0);
	if (kind != WHITEOUT_OF)
		return;
	if (!name[0] || strchr(name, '/') || !strcmp(name, ".") || !strcmp(name, "..") || whiteout_make(dir, name) < 0 ||
	    whiteout_read(dir, file, again) != WHITEOUT_OF || strcmp(name, again) != 0)
		abort();
	whiteout_drop(dir, name);
	if (faccessat(dir, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		abort();
}

static void try_origins(const uint8_t *data, size_t size)
{
	static struct vfs v;
	struct origin *o, *next;
	size_t n = 0;

	memset(&v, 0, sizeof(v));
	v.upper.meta_fd = dir;
	put("origins", data, size);
	if (origin_load(&v) == 0) {
		HASH_ITER(hh, v.origins, o, next) {
			if (o->path[0] != '/' || strlen(o->path) >= PATH_MAX)
				abort();
			n++;
		}
		if (origin_save(&v, true) < 0)
			abort();
		origin_free(&v);
		if (origin_load(&v) < 0 || HASH_COUNT(v.origins) != n)
			abort();
	}
	origin_free(&v);
	(void)unlinkat(dir, "origins", 0);
}

static int count(void *arg, const char *path, const struct who *who)
{
	if (path[0] != '/' || !who->command[0])
		abort();
	++*(size_t *)arg;
	return 0;
}

static void try_who(const uint8_t *data, size_t size)
{
	struct whos *w = whos_new(), *again = whos_new();
	size_t n = 0, m = 0;

	if (!w || !again)
		abort();
	put("who", data, size);
	if (whos_load(w, dir) == 0) {
		whos_each(w, count, &n);
		if (whos_save(w, dir) < 0 || whos_load(again, dir) < 0)
			abort();
		whos_each(again, count, &m);
		if (n != m)
			abort();
	}
	whos_free(w);
	whos_free(again);
	(void)unlinkat(dir, "who", 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (dir < 0) {
		if (!mkdtemp(top) || (dir = open(top, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
			abort();
		atexit(leave);
	}
	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		try_manifest(data + 1, size - 1);
		break;
	case 1:
		try_whiteout(data + 1, size - 1);
		break;
	case 2:
		try_origins(data + 1, size - 1);
		break;
	default:
		try_who(data + 1, size - 1);
	}
	return 0;
}
