/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The `local:` store: layers that stay, one directory each below $XDG_STATE_HOME/bvisor/sandboxes
 * (docs/layer-format.md).  `lock` is held with flock(2) by the one sandbox that uses the layer, and
 * holds its pid; `manifest` makes a directory a layer.  Directories are entered by descriptors, one
 * component at a time: what stands there was perhaps edited by hand, or by somebody else.
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
#include "store_share.h"

void local_free(struct local *l)
{
	if (!l)
		return;
	if (l->lock >= 0)
		close(l->lock);
	if (l->dir >= 0)
		close(l->dir);
	free(l);
}

bool store_name_valid(const char *name)
{
	size_t len = strlen(name);

	if (!len || len > NAME_LEN || !isalnum((unsigned char)name[0]))
		return false;
	for (const char *c = name; *c; c++)
		if (!isalnum((unsigned char)*c) && *c != '.' && *c != '-' && *c != '_')
			return false;
	return true;
}

int local_check_name(struct store_why *t, const char *name)
{
	if (store_name_valid(name))
		return 0;
	snprintf(t->why, sizeof(t->why),
	         "'%.80s' is no name for a sandbox: up to %d letters, digits, '.', '-' and '_', the first one a letter or digit",
	         name, NAME_LEN);
	return -EINVAL;
}

/* bvisor's state directory as a path (basedir-spec: $XDG_STATE_HOME, ~/.local/state). */
static int state_path(struct store_why *t, char *out, size_t size)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");
	int n;

	if (t->state && t->state[0])
		n = snprintf(out, size, "%s", t->state);
	else if (state && state[0] == '/')
		n = snprintf(out, size, "%s/bvisor", state);
	else if (home && home[0] == '/')
		n = snprintf(out, size, "%s/.local/state/bvisor", home);
	else
		return store_fail(t, ENOENT, "neither XDG_STATE_HOME nor HOME is an absolute path");
	return n < 0 || (size_t)n >= size ? store_fail(t, ENAMETOOLONG, "the state directory") : 0;
}

/* Every directory of path that is missing, for its user alone. */
static int make_path(const char *path)
{
	char part[512];

	for (const char *slash = path; slash;) {
		slash = strchr(slash + 1, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);

		if (len >= sizeof(part))
			return -ENAMETOOLONG;
		memcpy(part, path, len);
		part[len] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* "sandboxes" below the state directory: a descriptor, and its real path. */
int local_sandboxes(struct store_why *t, bool create, char *path, size_t size)
{
	char state[512], link[FD_PATH_MAX];
	struct stat st;
	int r = state_path(t, state, sizeof(state));

	if (r < 0)
		return r;
	if (create && (r = make_path(state)) < 0)
		return store_fail(t, -r, "%s", state);
	bv_autofd int base = open(state, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (base < 0)
		return store_fail(t, errno, "%s", state);
	if (fstat(base, &st) < 0)
		return store_fail(t, errno, "%s", state);
	if (st.st_uid != geteuid() || (st.st_mode & 022))
		return store_fail(t, EPERM, "%s belongs to somebody else or can be written by others", state);
	t->fleeting = faccessat(base, FLEETING, F_OK, 0) == 0;
	if (create && mkdirat(base, "sandboxes", 0700) < 0 && errno != EEXIST)
		return store_fail(t, errno, "%s/sandboxes", state);
	bv_autofd int fd = openat(base, "sandboxes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return store_fail(t, errno, "%s/sandboxes", state);
	if (create)
		store_spread(fd);
	/* Guests' descriptors show real paths: the layer's has to be one, to be told from the host's. */
	real_fd_path(link, fd);
	ssize_t n = path ? readlink(link, path, size - 1) : 0;
	if (n < 0 || (path && (size_t)n >= size - 1))
		return store_fail(t, n < 0 ? errno : ENAMETOOLONG, "%s/sandboxes", state);
	if (path)
		path[n] = '\0';
	return bv_take_fd(&fd);
}

/* Who holds the lock, by what stands in it; 0: unknown. */
static int holder(int lock)
{
	char text[16] = "";

	return pread(lock, text, sizeof(text) - 1, 0) > 0 ? atoi(text) : 0;
}

/* Takes the layer for us alone; a snapshot together with others that look at it. */
static int take_lock(struct store_why *t, struct local *l)
{
	struct stat st;
	char text[16];

	l->lock = openat(l->dir, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (l->lock < 0 || fstat(l->lock, &st) < 0 || !S_ISREG(st.st_mode))
		return store_fail(t, l->lock < 0 ? errno : EINVAL, "sandbox '%s': lock", l->name);
	if (flock(l->lock, (l->snapshot ? LOCK_SH : LOCK_EX) | LOCK_NB) < 0) {
		int pid = holder(l->lock);

		if (errno != EWOULDBLOCK)
			return store_fail(t, errno, "sandbox '%s': lock", l->name);
		if (pid > 0)
			snprintf(t->why, sizeof(t->why), "sandbox '%s' is in use by process %d", l->name, pid);
		else
			snprintf(t->why, sizeof(t->why), "sandbox '%s' is in use", l->name);
		return -EBUSY;
	}
	/* Removed between our opening it and having it? */
	if (fstat(l->lock, &st) < 0 || st.st_nlink == 0)
		return store_fail(t, ENOENT, "sandbox '%s'", l->name);
	if (l->snapshot)
		return 0;
	int n = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	/* On a full disk it must be possible to remove a sandbox: then nobody is told who holds it. */
	if (ftruncate(l->lock, 0) < 0 ||
	    (pwrite(l->lock, text, (size_t)n, 0) != n && errno != ENOSPC && errno != EDQUOT))
		return store_fail(t, errno, "sandbox '%s': lock", l->name);
	return 0;
}

int local_enter(struct store_why *t, struct local *l, int base, const char *name, bool create)
{
	memcpy(l->name, name, strlen(name) + 1);
	if (create && mkdirat(base, name, geteuid() == 0 ? 0711 : 0700) < 0 && errno != EEXIST)
		return store_fail(t, errno, "sandbox '%s'", name);
	l->dir = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (l->dir < 0 && errno == ENOENT) {
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", name);
		return -ENOENT;
	}
	return l->dir < 0 ? store_fail(t, errno, "sandbox '%s'", name) : 0;
}

/* What an earlier supervisor left that means nothing any more. */
static void sweep(int dir)
{
	static const char *const scratch[] = {"x", "synth", "watch", "trash"};

	for (size_t i = 0; i < BV_ROWS_OF(scratch); i++) {
		bv_autofd int fd = openat(dir, scratch[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

		if (fd >= 0 && scrub(fd, NULL) == 0)
			(void)unlinkat(dir, scratch[i], AT_REMOVEDIR);
	}
}

static int own_dir(int dir, const char *name, mode_t mode, int flags)
{
	if (mkdirat(dir, name, mode) == 0 ? fchmodat(dir, name, mode, 0) < 0 : errno != EEXIST)
		return -errno;
	int fd = openat(dir, name, flags | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* The directory it is made in, as far as there is one. */
static void note_start(struct manifest *m)
{
	if (!getcwd(m->start, sizeof(m->start)))
		m->start[0] = '\0';
}

static int fill(struct store_why *t, struct local *l, int at, const char *base, struct bv_layer *out)
{
	/* Before the manifest is read: whoever shares trees may not have seen that we have the layer. */
	bv_autofd int lock = share_lock(t, at);
	int r = lock < 0 ? lock : manifest_load(l->dir, &l->manifest, t->why, sizeof(t->why));

	if (r == -ENOENT) {
		l->manifest = (struct manifest){.version = MANIFEST_VERSION, .created = time(NULL)};
		note_start(&l->manifest);
		r = manifest_save(l->dir, &l->manifest, !t->fleeting);
		if (r < 0)
			return store_fail(t, -r, "sandbox '%s': manifest", l->name);
	}
	if (r == 0)
		r = share_end(t, at, l->dir, &l->manifest, &lock);
	if (r < 0)
		return r;
	out->root_fd = own_dir(l->dir, "upper", 0755, O_PATH);
	if (out->root_fd < 0)
		return store_fail(t, -out->root_fd, "sandbox '%s': upper", l->name);
	out->meta_fd = own_dir(l->dir, "meta", 0700, O_RDONLY);
	if (out->meta_fd < 0)
		return store_fail(t, -out->meta_fd, "sandbox '%s': meta", l->name);
	if ((size_t)snprintf(out->root, sizeof(out->root), "%s/%s/upper", base, l->name) >= sizeof(out->root))
		return store_fail(t, ENAMETOOLONG, "sandbox '%s'", l->name);
	return 0;
}

/* A snapshot, which may share its tree with others: for looking at, where it is. */
static int fill_snapshot(struct store_why *t, struct local *l, int at, struct bv_layer *out)
{
	char link[FD_PATH_MAX];
	bv_autofd int lock = share_lock(t, at);
	int r = lock < 0 ? lock : manifest_load(l->dir, &l->manifest, t->why, sizeof(t->why));

	if (r < 0)
		return r;
	out->root_fd = state_part(at, l->dir, "upper");
	out->meta_fd = state_part(at, l->dir, "meta");
	if (out->root_fd < 0 || out->meta_fd < 0)
		return store_fail(t, out->root_fd < 0 ? -out->root_fd : -out->meta_fd,
		                  "sandbox '%s'", l->name);
	real_fd_path(link, out->root_fd);
	ssize_t n = readlink(link, out->root, sizeof(out->root) - 1);
	if (n < 0 || (size_t)n >= sizeof(out->root) - 1)
		return store_fail(t, n < 0 ? errno : ENAMETOOLONG, "sandbox '%s'", l->name);
	out->root[n] = '\0';
	return 0;
}

static int open_snapshot(struct store_why *t, struct local *l, int at, const char *rest,
                         struct bv_layer *out)
{
	struct layer_state s;
	int r = state_parse(t, rest, &s);

	if (r < 0)
		return r;
	if (!(out->flags & BV_LAYER_EXISTING)) {
		snprintf(t->why, sizeof(t->why),
		         "'%.140s' is a snapshot: fork it to go on from there", rest);
		return -EINVAL;
	}
	l->snapshot = true;
	snprintf(l->name, sizeof(l->name), "%s", rest);
	l->dir = state_open(t, at, &s);
	r = l->dir < 0 ? l->dir : take_lock(t, l);
	return r < 0 ? r : fill_snapshot(t, l, at, out);
}

static int open_layer(struct store_why *t, struct local *l, int at, const char *rest,
                      const char *base, struct bv_layer *out)
{
	int r = local_enter(t, l, at, rest, !(out->flags & BV_LAYER_EXISTING));

	if (r == 0)
		r = take_lock(t, l);
	return r < 0 ? r : fill(t, l, at, base, out);
}

int local_view(void *ctx, const char *name, const char **why)
{
	struct store_why *t = ctx;
	struct layer_state s;
	int r = state_parse(t, name, &s);

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int base = local_sandboxes(t, false, NULL, 0);
	if (base == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", s.name);
	bv_autofd int dir = base < 0 ? base : state_open(t, base, &s);
	if (dir < 0)
		return dir;
	int fd = state_part(base, dir, "upper");
	return fd < 0 ? store_fail(t, -fd, "sandbox '%s': upper", s.name) : fd;
}

static int local_receive(void *ctx, const char *to, int (*take)(void *arg, int tree), void *arg,
                         const char **why)
{
	struct store_why *t = ctx;
	struct stage s = {.holder = -1, .fd = -1};
	bv_autofree struct manifest *m = calloc(1, sizeof(*m));
	int r = m ? local_check_name(t, to) : -ENOMEM;

	*why = t->why;
	if (r < 0)
		return r;
	m->version = MANIFEST_VERSION;
	m->created = time(NULL);
	note_start(m);
	bv_autofd int base = local_sandboxes(t, true, NULL, 0);
	if (base < 0)
		return base;
	r = stage_open(t, base, to, &s);
	bv_autofd int tree = r < 0 ? r : own_dir(s.fd, "upper", 0755, O_RDONLY);
	bv_autofd int meta = r < 0 ? r : own_dir(s.fd, "meta", 0700, O_RDONLY);
	if (r == 0 && (tree < 0 || meta < 0))
		r = store_fail(t, tree < 0 ? -tree : -meta, "sandbox '%s'", to);
	if (r == 0)
		r = take(arg, tree);
	if (r == 0)
		r = stage_place(t, &s, m);
	stage_fini(&s);
	return r;
}

static int local_place(void *ctx, const char *rest, const char **why)
{
	struct store_why *t = ctx;
	int r = local_check_name(t, rest);

	*why = t->why;
	bv_autofd int base = r < 0 ? r : local_sandboxes(t, false, NULL, 0);
	if (base < 0 && base != -ENOENT)
		return base;
	int fd =
		base < 0 ? -1 : openat(base, rest, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", rest);
	return -ENOENT;
}

static int local_open(void *ctx, const char *rest, struct bv_layer *out, const char **why)
{
	struct store_why *t = ctx;
	char base[sizeof(out->hide)];
	bool create = !(out->flags & BV_LAYER_EXISTING), snapshot = strchr(rest, '@') != NULL;
	int r = snapshot ? 0 : local_check_name(t, rest);

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int at = local_sandboxes(t, create, base, sizeof(base));
	if (at < 0) {
		if (at == -ENOENT && !create)
			snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", rest);
		return at;
	}
	struct local *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->dir = l->lock = -1;
	r = snapshot ? open_snapshot(t, l, at, rest, out) : open_layer(t, l, at, rest, base, out);
	if (r < 0) {
		if (out->root_fd >= 0)
			close(out->root_fd);
		if (out->meta_fd >= 0)
			close(out->meta_fd);
		out->root_fd = out->meta_fd = -1;
		local_free(l);
		return r;
	}
	if (!snapshot)
		sweep(l->dir);
	*strrchr(base, '/') = '\0'; /* the state directory, with everything in it */
	memcpy(out->hide, base, strlen(base) + 1);
	out->flags = BV_LAYER_KEPT | (snapshot ? BV_LAYER_READ : 0);
	out->state = l;
	return 0;
}

static void local_close(void *ctx, struct bv_layer *layer)
{
	struct local *l = layer->state;

	if (!l)
		return;
	if (layer->root_fd >= 0)
		close(layer->root_fd);
	if (layer->meta_fd >= 0)
		close(layer->meta_fd);
	layer->root_fd = layer->meta_fd = -1;
	if (!l->snapshot) {
		sweep(l->dir);
		(void)futimens(l->lock, NULL); /* when it was last used */
		(void)ftruncate(l->lock, 0);
	}
	local_free(l);
	layer->state = NULL;
}

static void tell(const struct local *l, struct bv_layer_info *out)
{
	out->name = l->name;
	out->start = l->manifest.start;
	out->parent = l->manifest.parent;
	out->created = l->manifest.created;
}

static int local_info(void *ctx, const struct bv_layer *layer, struct bv_layer_info *out)
{
	if (!layer->state)
		return -ENOENT;
	*out = (struct bv_layer_info){.head = BV_HEAD(SERVICE, struct bv_layer_info), .pid = (int32_t)getpid()};
	tell(layer->state, out);
	return 0;
}

int local_list_one(struct store_why *t, int base, const char *entry, const char *name,
                   int (*each)(void *arg, const struct bv_layer_info *info), void *arg)
{
	struct bv_layer_info info = {.head = BV_HEAD(SERVICE, struct bv_layer_info)};
	struct local *l = calloc(1, sizeof(*l));
	struct stat st;

	if (!l)
		return -ENOMEM;
	l->dir = l->lock = -1;
	int r = local_enter(t, l, base, entry, false);
	if (r == 0)
		r = manifest_load(l->dir, &l->manifest, t->why, sizeof(t->why));
	if (r == 0) {
		snprintf(l->name, sizeof(l->name), "%s", name);
		tell(l, &info);
		l->lock = openat(l->dir, "lock", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (l->lock >= 0 && fstat(l->lock, &st) == 0)
			info.changed = st.st_mtim.tv_sec;
		if (l->lock >= 0 && flock(l->lock, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK)
			info.pid = holder(l->lock);
		r = each(arg, &info);
	}
	local_free(l);
	return r == -ENOENT ? 0 : r; /* just being made, or just removed */
}

static int local_list(void *ctx, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
                      const char **why)
{
	struct store_why *t = ctx;
	struct dirent **name = NULL;
	bv_autofd int at = local_sandboxes(t, false, NULL, 0);
	int r = 0;

	*why = t->why;
	if (at < 0)
		return at == -ENOENT ? 0 : at;
	int n = scandirat(at, ".", &name, NULL, alphasort);
	if (n < 0)
		return store_fail(t, errno, "the sandboxes");
	for (int i = 0; i < n; i++) {
		if (r == 0 && store_name_valid(name[i]->d_name))
			r = local_list_one(t, at, name[i]->d_name, name[i]->d_name, each, arg);
		free(name[i]);
	}
	free(name);
	return r;
}

/* The directory that has the state's own in it: a descriptor. */
static int holder_of(struct store_why *t, int at, const struct layer_state *s)
{
	struct layer_state owner = *s;

	if (!s->tag[0])
		return fcntl(at, F_DUPFD_CLOEXEC, 3);
	owner.tag[0] = '\0';
	bv_autofd int dir = state_open(t, at, &owner);
	if (dir < 0)
		return dir;
	int fd = openat(dir, SNAPSHOTS, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return fd;
	snprintf(t->why, sizeof(t->why), "sandbox '%s' has no snapshot '%s'", s->name, s->tag);
	return -errno;
}

static int local_remove(void *ctx, const char *rest, const char **why)
{
	struct store_why *t = ctx;
	struct layer_state s;
	int r = state_parse(t, rest, &s);
	const char *entry = s.tag[0] ? s.tag : s.name;

	*why = t->why;
	if (r < 0)
		return r;
	bv_autofd int at = local_sandboxes(t, false, NULL, 0);
	if (at == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", rest);
	if (at < 0)
		return at;
	struct local *l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->dir = l->lock = -1;
	bv_autofd int in = holder_of(t, at, &s);
	r = in < 0 ? in : local_enter(t, l, in, entry, false);
	if (r == -ENOENT && s.tag[0])
		snprintf(t->why, sizeof(t->why), "sandbox '%s' has no snapshot '%s'", s.name,
		         s.tag);
	if (r == 0)
		r = take_lock(t, l);
	/* The manifest goes first: half removed it is no sandbox any more, and can be removed again. */
	if (r == 0 && unlinkat(l->dir, MANIFEST, 0) < 0 && errno != ENOENT)
		r = store_fail(t, errno, "sandbox '%s': manifest", rest);
	if (r == 0 && (r = scrub(l->dir, NULL)) < 0)
		store_fail(t, -r, "sandbox '%s'", rest);
	if (r == 0 && unlinkat(in, entry, AT_REMOVEDIR) < 0)
		r = store_fail(t, errno, "sandbox '%s'", rest);
	local_free(l);
	bv_autofd int lock = r < 0 ? -1 : share_lock(t, at);
	if (lock >= 0)
		share_collect(at);
	return r;
}

const struct bv_store_ops store_local_ops = {
	.head = BV_HEAD(SERVICE, struct bv_store_ops),
	.scheme = "local",
	.open = local_open,
	.close = local_close,
	.list = local_list,
	.remove = local_remove,
	.info = local_info,
	.copy = local_copy,
	.snapshots = local_snapshots,
	.merge = local_merge,
	.view = local_view,
	.usage = local_usage,
	.place = local_place,
	.receive = local_receive,
};
