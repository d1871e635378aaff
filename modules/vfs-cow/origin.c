/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the host had at a place when the sandbox first changed something there: for kept layers
 * only, so that a commit can tell whether the host went on meanwhile.  An append-only file
 * `origins` of the layer's meta directory; the first record of a path counts.  A record lost in a
 * crash makes a commit ask, not overwrite.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "names.h"
#include "origin.h"

#define FILE_NAME "origins"
#define TEMP_NAME "origins.new"

static struct origin *find(const struct vfs *v, const char *path)
{
	struct origin *o;

	HASH_FIND_STR(v->origins, path, o);
	return o;
}

const struct origin *origin_find(const struct vfs *v, const char *path)
{
	return find(v, path);
}

static struct origin *add(struct vfs *v, const char *path)
{
	size_t len = strlen(path);
	struct origin *o = calloc(1, sizeof(*o) + len + 1);

	if (!o)
		return NULL;
	memcpy(o->path, path, len + 1);
	HASH_ADD_KEYPTR(hh, v->origins, o->path, len, o);
	return o;
}

static void set(struct origin *o, const struct stat *st)
{
	o->ino = st->st_ino;
	o->size = st->st_size;
	o->mode = st->st_mode;
	o->uid = st->st_uid;
	o->gid = st->st_gid;
	o->modified = st->st_mtim;
	o->changed = st->st_ctim;
	clock_gettime(CLOCK_REALTIME, &o->noted);
}

static void format(struct strbuf *b, const struct origin *o, const char *path)
{
	strbuf_printf(b, "%" PRIu64 " %" PRId64 " %o %u %u %" PRId64 ".%09ld %" PRId64 ".%09ld %" PRId64 ".%09ld ", o->ino,
	              o->size, o->mode, o->uid, o->gid, (int64_t)o->modified.tv_sec, o->modified.tv_nsec,
	              (int64_t)o->changed.tv_sec, o->changed.tv_nsec, (int64_t)o->noted.tv_sec, o->noted.tv_nsec);
	strbuf_add(b, path, strlen(path) + 1);
}

static bool parse_time(const char **at, struct timespec *t)
{
	char *end;

	t->tv_sec = (time_t)strtoll(*at, &end, 10);
	if (end == *at || *end != '.')
		return false;
	const char *ns = end + 1;
	t->tv_nsec = strtol(ns, &end, 10);
	if (end - ns != 9 || *end != ' ' || t->tv_nsec < 0)
		return false;
	*at = end + 1;
	return true;
}

/* One record; false: it is none. */
static bool parse(struct vfs *v, const char *text)
{
	struct origin x = {0};
	int n = 0;

	if (sscanf(text, "%" SCNu64 " %" SCNd64 " %o %u %u %n", &x.ino, &x.size, &x.mode, &x.uid, &x.gid, &n) != 5 || !n)
		return false;
	text += n;
	if (!parse_time(&text, &x.modified) || !parse_time(&text, &x.changed) || !parse_time(&text, &x.noted) ||
	    text[0] != '/' || strlen(text) >= PATH_MAX)
		return false;
	if (find(v, text))
		return true;
	struct origin *o = add(v, text);
	if (!o)
		return false;
	o->ino = x.ino;
	o->size = x.size;
	o->mode = x.mode;
	o->uid = x.uid;
	o->gid = x.gid;
	o->modified = x.modified;
	o->changed = x.changed;
	o->noted = x.noted;
	return true;
}

/* All whole records: what has no end was being written when the supervisor or the machine died. */
static int read_records(int fd, struct strbuf *out)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > INT32_MAX)
		return -EINVAL;
	if (!strbuf_reserve(out, (size_t)st.st_size))
		return -ENOMEM;
	ssize_t len = pread(fd, out->data, (size_t)st.st_size, 0);
	if (len < 0)
		return -errno;
	while (len > 0 && out->data[len - 1] != '\0')
		len--;
	out->len = (size_t)len;
	out->data[len] = '\0';
	return 0;
}

int origin_read(int meta, struct strbuf *out)
{
	bv_autofd int fd = openat(meta, FILE_NAME, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	return read_records(fd, out);
}

const char *origin_path(const char *record)
{
	const char *slash = strchr(record, '/');

	return slash ? slash : "";
}

int origin_load(struct vfs *v)
{
	bv_autostrbuf struct strbuf text = {0};
	bv_autofd int fd = openat(v->upper.meta_fd, FILE_NAME,
	                          O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : read_records(fd, &text);

	if (r < 0)
		return r;
	if (ftruncate(fd, (off_t)text.len) < 0)
		return -errno;
	for (const char *s = names_first(&text); s; s = names_next(&text, s))
		if (!parse(v, s))
			return -EINVAL;
	v->origin_fd = bv_take_fd(&fd);
	v->keeps_origins = true;
	return 0;
}

void origin_note(struct vfs *v, const char *path, const struct stat *st)
{
	bv_autostrbuf struct strbuf b = {0};

	if (!v->keeps_origins || find(v, path))
		return;
	struct origin *o = add(v, path);
	if (!o)
		return; /* a commit will ask */
	set(o, st);
	format(&b, o, path);
	if (b.failed || write(v->origin_fd, b.data, b.len) < 0)
		return;
}

void origin_forget(struct vfs *v, const char *path)
{
	struct origin *o = find(v, path);

	if (!o)
		return;
	HASH_DEL(v->origins, o);
	free(o);
}

void origin_text(const char *path, const struct stat *st, struct strbuf *out)
{
	struct origin o;

	set(&o, st);
	format(out, &o, path);
}

bool origin_take(struct vfs *v, const char *record)
{
	origin_forget(v, origin_path(record));
	return parse(v, record);
}

int origin_write(int meta, const struct strbuf *records, bool durable)
{
	bv_autofd int fd =
		openat(meta, TEMP_NAME,
	               O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (size_t at = 0; at < records->len;) {
		ssize_t n = write(fd, records->data + at, records->len - at);

		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		at += (size_t)n;
	}
	if ((durable && fsync(fd) < 0) || renameat(meta, TEMP_NAME, meta, FILE_NAME) < 0 ||
	    (durable && fsync(meta) < 0))
		return -errno;
	return bv_take_fd(&fd);
}

int origin_save(struct vfs *v, bool durable)
{
	bv_autostrbuf struct strbuf b = {0};
	struct origin *o, *next;

	if (!v->keeps_origins)
		return 0;
	HASH_ITER (hh, v->origins, o, next)
		format(&b, o, o->path);
	int fd = b.failed ? -ENOMEM : origin_write(v->upper.meta_fd, &b, durable);
	if (fd < 0)
		return fd;
	close(v->origin_fd);
	v->origin_fd = fd;
	return 0;
}

void origin_free(struct vfs *v)
{
	struct origin *o, *next;

	HASH_ITER(hh, v->origins, o, next) {
		HASH_DEL(v->origins, o);
		free(o);
	}
	if (v->keeps_origins)
		close(v->origin_fd);
	v->keeps_origins = false;
}
