/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and forks of the `local` store: a layer is copied into a directory of a private name, and
 * then renamed to its place.  So it is there whole or not at all.  A layer that a guest is using is copied as it is met: what a
 * crash in these moments could have left.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>

#include "scrub.h"
#include "store_local.h"
#include "store_share.h"
#include "treecopy.h"

int state_parse(struct store_why *t, const char *text, struct layer_state *out)
{
	const char *at = strchrnul(text, '@');
	size_t len = (size_t)(at - text);

	*out = (struct layer_state){0};
	if (len > NAME_LEN || (*at && strlen(at + 1) > NAME_LEN)) {
		snprintf(t->why, sizeof(t->why), "'%.140s' is too long for a name", text);
		return -EINVAL;
	}
	memcpy(out->name, text, len);
	int r = local_check_name(t, out->name);
	if (r == 0 && *at) {
		strcpy(out->tag, at + 1);
		r = local_check_name(t, out->tag);
	}
	return r;
}

int state_open(struct store_why *t, int base, const struct layer_state *s)
{
	char path[2 * NAME_LEN + sizeof(SNAPSHOTS) + 4];

	snprintf(path, sizeof(path), s->tag[0] ? "%s/" SNAPSHOTS "/%s" : "%s", s->name, s->tag);
	int fd = real_openat(base, path, O_RDONLY | O_DIRECTORY, 0);
	if (fd >= 0)
		return fd;
	if (fd != -ENOENT)
		return store_fail(t, -fd, "%s", path);
	snprintf(t->why, sizeof(t->why), s->tag[0] ? "sandbox '%s' has no snapshot '%s'" : "there is no sandbox '%s'", s->name,
	         s->tag);
	return -ENOENT;
}

/* Where a new state goes: the directory that will hold it (snapshots are made when first needed). */
static int holder_open(struct store_why *t, int base, const struct layer_state *s)
{
	const struct layer_state layer = {.tag = ""};
	struct layer_state owner = layer;

	if (!s->tag[0])
		return fcntl(base, F_DUPFD_CLOEXEC, 3);
	strcpy(owner.name, s->name);
	bv_autofd int dir = state_open(t, base, &owner);
	if (dir < 0)
		return dir;
	if (mkdirat(dir, SNAPSHOTS, 0700) < 0 && errno != EEXIST)
		return store_fail(t, errno, "sandbox '%s': " SNAPSHOTS, s->name);
	int fd = openat(dir, SNAPSHOTS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? store_fail(t, errno, "sandbox '%s': " SNAPSHOTS, s->name) : fd;
}

int layer_copy(int a, int to, const char *name)
{
	if (mkdirat(to, name, 0700) < 0)
		return -errno;
	bv_autofd int b = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (b < 0)
		return -errno;
	struct treecopy c = {.from = a, .to = b};
	int r = treecopy_entry(&c, "");
	treecopy_fini(&c);
	return r;
}

static int fill(struct store_why *t, int base, int from, int to)
{
	bv_autofd int upper = state_part(base, from, "upper"), meta = state_part(base, from, "meta");
	int r = upper < 0 ? upper : meta < 0 ? meta : layer_copy(upper, to, "upper");

	if (r == 0)
		r = layer_copy(meta, to, "meta");
	return r < 0 ? store_fail(t, -r, "the layer cannot be copied") : 0;
}

/* The name a state has in the directory that holds it. */
static const char *entry_of(const struct layer_state *s)
{
	return s->tag[0] ? s->tag : s->name;
}

static void discard(int holder, const char *name)
{
	bv_autofd int fd = openat(holder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && scrub(fd, NULL) == 0)
		(void)unlinkat(holder, name, AT_REMOVEDIR);
}

/* What a copy that was killed left: its maker held a lock on it.  With the lock of the holder. */
static void sweep(int holder)
{
	int fd = openat(holder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while ((e = readdir(d))) {
		if (e->d_name[0] != '.' || !isalnum((unsigned char)e->d_name[1]))
			continue;
		bv_autofd int left =
			openat(holder, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (left >= 0 && flock(left, LOCK_EX | LOCK_NB) == 0)
			discard(holder, e->d_name);
	}
	closedir(d);
}

static int stage_make(struct store_why *t, const char *to, struct stage *out)
{
	sweep(out->holder);
	if (faccessat(out->holder, entry_of(&out->state), F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return store_fail(t, EEXIST, "'%s'", to);
	/* No name of a sandbox begins with a dot. */
	snprintf(out->temp, sizeof(out->temp), ".%s.%d", entry_of(&out->state), (int)getpid());
	if (mkdirat(out->holder, out->temp, geteuid() == 0 ? 0711 : 0700) < 0) {
		out->temp[0] = '\0';
		return store_fail(t, errno, "'%s'", to);
	}
	out->fd = openat(out->holder, out->temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return out->fd < 0 || flock(out->fd, LOCK_EX | LOCK_NB) < 0 ? store_fail(t, errno, "'%s'", to) : 0;
}

int stage_open(struct store_why *t, int base, const char *to, struct stage *out)
{
	*out = (struct stage){.holder = -1, .fd = -1};
	int r = state_parse(t, to, &out->state);
	if (r < 0)
		return r;
	out->holder = holder_open(t, base, &out->state);
	if (out->holder < 0)
		return out->holder;
	/* Nobody may find it before it is locked. */
	if (flock(out->holder, LOCK_EX) < 0)
		return store_fail(t, errno, "'%s'", to);
	r = stage_make(t, to, out);
	(void)flock(out->holder, LOCK_UN);
	return r;
}

/* Gives it its name, and makes that durable. */
static int stage_name(struct store_why *t, struct stage *s)
{
	if (renameat2(s->holder, s->temp, s->holder, entry_of(&s->state), RENAME_NOREPLACE) < 0)
		return store_fail(t, errno, "'%s'", entry_of(&s->state));
	s->temp[0] = '\0';
	if (!t->fleeting)
		(void)fsync(s->holder);
	return 0;
}

/* A sibling of the source: both have its tree.  0; -EBUSY: somebody uses the source; -errno. */
static int stage_share(struct store_why *t, int base, const char *from, struct stage *s, struct manifest *m)
{
	struct layer_state source;
	struct stat st;
	int r = state_parse(t, from, &source);

	if (r < 0)
		return r;
	bv_autofd int old = state_open(t, base, &source);
	if (old < 0)
		return old;
	/* Who uses it has locked it, or will wait for our lock next (store_local.c). */
	bv_autofd int lock = openat(old, "lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) < 0)
		return -EBUSY;
	r = manifest_load(old, m, t->why, sizeof(t->why));
	if (r == -ENOENT)
		snprintf(t->why, sizeof(t->why), "the layer has no manifest");
	if (r == 0)
		r = share_state(t, base, old, m);
	if (r < 0)
		return r;
	m->created = time(NULL);
	snprintf(m->parent, sizeof(m->parent), "%s", from);
	m->parent_used = lock >= 0 && fstat(lock, &st) == 0 ? st.st_mtim : (struct timespec){0};
	r = manifest_save(s->fd, m, !t->fleeting);
	if (r < 0)
		return store_fail(t, -r, "the new layer's manifest");
	return stage_name(t, s);
}

int stage_place(struct store_why *t, struct stage *s, const struct manifest *m)
{
	int r = manifest_save(s->fd, m, !t->fleeting);

	if (r < 0)
		return store_fail(t, -r, "the new layer's manifest");
	if (!t->fleeting && syncfs(s->fd) < 0)
		return store_fail(t, errno, "the new layer");
	return stage_name(t, s);
}

void stage_fini(struct stage *s)
{
	if (s->fd >= 0)
		close(s->fd);
	if (s->temp[0])
		discard(s->holder, s->temp);
	if (s->holder >= 0)
		close(s->holder);
}

int stage_copy(struct store_why *t, int base, const char *from, struct stage *s, struct manifest *m)
{
	struct layer_state source;
	struct stat st;
	int r = state_parse(t, from, &source);

	if (r < 0)
		return r;
	bv_autofd int old = state_open(t, base, &source);
	if (old < 0)
		return old;
	r = manifest_load(old, m, t->why, sizeof(t->why));
	if (r == -ENOENT)
		snprintf(t->why, sizeof(t->why), "the layer has no manifest");
	if (r < 0)
		return r;
	m->created = time(NULL);
	snprintf(m->parent, sizeof(m->parent), "%s", from);
	/* Before the copy: whatever is done to it from now on counts as done since. */
	m->parent_used = fstatat(old, "lock", &st, AT_SYMLINK_NOFOLLOW) == 0 ? st.st_mtim
	                                                                     : (struct timespec){0};
	m->tree[0] = '\0';
	return fill(t, base, old, s->fd);
}

int local_copy(void *ctx, const char *from, const char *to, const char **why)
{
	struct store_why *t = ctx;
	struct layer_state source;
	bv_autofree struct manifest *m = malloc(sizeof(*m));
	struct stage s = {.holder = -1, .fd = -1};
	int r = m ? state_parse(t, from, &source) : -ENOMEM;

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int base = local_sandboxes(t, false, NULL, 0);
	if (base == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", source.name);
	if (base < 0)
		return base;
	r = stage_open(t, base, to, &s);
	if (r == 0) {
		bv_autofd int lock = share_lock(t, base);

		r = lock < 0 ? lock : stage_share(t, base, from, &s, m);
	}
	if (r == -EBUSY) {
		r = stage_copy(t, base, from, &s, m);
		if (r == 0)
			r = stage_place(t, &s, m);
	}
	stage_fini(&s);
	return r;
}

int local_snapshots(void *ctx, const char *rest, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
                    const char **why)
{
	struct store_why *t = ctx;
	struct layer_state s;
	struct dirent **entry = NULL;
	int r = state_parse(t, rest, &s);

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int base = local_sandboxes(t, false, NULL, 0);
	if (base == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", s.name);
	bv_autofd int dir = base < 0 ? base : state_open(t, base, &s);
	if (dir < 0)
		return dir;
	bv_autofd int at = openat(dir, SNAPSHOTS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (at < 0)
		return errno == ENOENT ? 0 : store_fail(t, errno, "sandbox '%s': " SNAPSHOTS, s.name);
	int n = scandirat(at, ".", &entry, NULL, alphasort);
	if (n < 0)
		return store_fail(t, errno, "sandbox '%s': " SNAPSHOTS, s.name);
	for (int i = 0; i < n; i++) {
		char name[NAME_LEN + 2 + NAME_MAX + 1];

		if (r == 0 && store_name_valid(entry[i]->d_name)) {
			snprintf(name, sizeof(name), "%s@%s", s.name, entry[i]->d_name);
			r = local_list_one(t, at, entry[i]->d_name, name, each, arg);
		}
		free(entry[i]);
	}
	free(entry);
	return r;
}
