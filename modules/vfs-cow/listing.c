/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Directory listings.  Names are ordered by a keyed hash, and that hash is the position behind
 * the entry.  So a position needs no table: it stays right while entries come and go and while a
 * host directory becomes a merged one, and the key keeps guests from choosing who collides.  Host
 * directories are listed so from the start, because the first change made inside would otherwise
 * turn the positions of its readers into nonsense (rm -r reads and unlinks in turns).
 *
 * The cache only spares work: the next call would make the same listing again.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/statfs.h>

#include "listing.h"
#include "watch.h"

#define MAX_CACHED 8
#define BIG 4096 /* entries; such a listing is kept only while it is being read */

__extension__ typedef unsigned __int128 wide;

static uint64_t mix(uint64_t a, uint64_t b)
{
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* A keyed multiply-and-fold hash: fast, and unpredictable without the key. */
static uint64_t hash(const uint64_t key[2], const char *name, size_t len)
{
	uint64_t h = key[0] ^ len;

	for (; len >= 8; name += 8, len -= 8) {
		uint64_t word;

		memcpy(&word, name, 8);
		h = mix(h ^ word, key[1] | 1);
	}
	uint64_t word = 0;
	memcpy(&word, name, len);
	return mix(mix(h ^ word, key[1] | 1) ^ key[0], 0x9e3779b97f4a7c15u ^ key[1]);
}

static int add(struct listing *s, const char *name, size_t len, uint64_t ino, unsigned char type)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		struct item *grown = realloc(s->item, cap * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		s->item = grown;
		s->cap = cap;
	}
	if (s->names.len > UINT32_MAX - 256)
		return -EOVERFLOW;
	s->item[s->n++] = (struct item){0, ino, (uint32_t)s->names.len, (uint8_t)len, type};
	strbuf_add(&s->names, name, len);
	return s->names.failed ? -ENOMEM : 0;
}

/* ---- order ---- */

/*
 * Hashes are evenly spread, so one pass puts every item near its place and insertion does the
 * rest: linear, where qsort(3) would be the most costly part of a listing.
 */
static int sort(struct listing *s, uint64_t limit)
{
	uint32_t *start = calloc(s->n + 1, sizeof(*start));
	struct item *to = malloc((s->n ? s->n : 1) * sizeof(*to));
	uint64_t width = limit / (s->n ? s->n : 1) + 1;

	if (!start || !to) {
		free(start);
		free(to);
		return -ENOMEM;
	}
	for (size_t i = 0; i < s->n; i++)
		start[s->item[i].cookie / width + 1]++;
	for (size_t i = 1; i < s->n; i++)
		start[i] += start[i - 1];
	for (size_t i = 0; i < s->n; i++)
		to[start[s->item[i].cookie / width]++] = s->item[i];
	for (size_t i = 1; i < s->n; i++) {
		struct item x = to[i];
		size_t j = i;

		for (; j > 0 && to[j - 1].cookie > x.cookie; j--)
			to[j] = to[j - 1];
		to[j] = x;
	}
	for (size_t i = 1; i < s->n; i++)
		if (to[i].cookie <= to[i - 1].cookie)
			to[i].cookie = to[i - 1].cookie + 1;
	free(start);
	free(s->item);
	s->item = to;
	s->cap = s->n ? s->n : 1;
	return 0;
}

/*
 * How far a directory's position may go: 63 bits on the common disk file systems and tmpfs, but
 * procfs and sysfs refuse more than 31 (generic_file_llseek, s_maxbytes); so does whoever is not
 * known to take more.
 */
static unsigned cookie_bits(int fd)
{
	static const unsigned long big[] = {EXT4_SUPER_MAGIC,  TMPFS_MAGIC,      OVERLAYFS_SUPER_MAGIC,
	                                    XFS_SUPER_MAGIC,   BTRFS_SUPER_MAGIC, F2FS_SUPER_MAGIC,
	                                    RAMFS_MAGIC,       FUSE_SUPER_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs) < 0)
		return 31;
	for (size_t i = 0; i < BV_ROWS_OF(big); i++)
		if ((unsigned long)fs.f_type == big[i])
			return 62;
	return 31;
}

static int order(struct vfs *v, struct listing *s, unsigned bits)
{
	/* The last ones are left free for those that collide there. */
	uint64_t limit = ((uint64_t)1 << bits) - COOKIE_FIRST - ((uint64_t)1 << (bits - 8));

	if (!v->list_key[0] && getrandom(v->list_key, sizeof(v->list_key), 0) != (ssize_t)sizeof(v->list_key))
		return -EIO;
	for (size_t i = 0; i < s->n; i++) {
		struct item *x = &s->item[i];
		uint64_t h = hash(v->list_key, s->names.data + x->name, x->len);

		x->cookie = (uint64_t)((wide)h * limit >> 64) + COOKIE_FIRST;
	}
	return sort(s, limit + COOKIE_FIRST);
}

/* ---- sources ---- */

struct source {
	struct listing *s;
	const struct node *node; /* of the directory, or NULL */
	bool upper;
};

static int take(const struct source *from, const struct dirent64 *e)
{
	size_t len = strlen(e->d_name);
	struct listing *s = from->s;

	if (e->d_name[0] == '.' && len == 1) {
		if (!from->upper || !s->dot_ino)
			s->dot_ino = e->d_ino;
		return 0;
	}
	if (e->d_name[0] == '.' && e->d_name[1] == '.' && len == 2) {
		if (!from->upper || !s->dotdot_ino)
			s->dotdot_ino = e->d_ino;
		return 0;
	}
	if (!from->upper && !spot_shows(from->node, e->d_name, len) && !tree_child(from->node, e->d_name, len))
		return 0;
	if (from->node && from->node->children) {
		const struct node *child = tree_child(from->node, e->d_name, len);

		if (child && child->mount)
			return 0; /* comes with the mounts */
		if (from->upper ? !child || child->state != N_UPPER
		                : child && (child->state == N_WHITEOUT || child->state == N_UPPER))
			return 0;
	} else if (from->upper) {
		return 0; /* the upper of a merged directory: only what the tree knows is shown */
	}
	return add(s, e->d_name, len, e->d_ino, e->d_type);
}

/* Every entry of fd, a directory of ours at its start. */
static int read_all(const struct source *from, int fd)
{
	enum { SIZE = 65536 };
	bv_autofree char *buf = malloc(SIZE);

	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = getdents64(fd, buf, SIZE);

		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (ssize_t at = 0; at < n;) {
			const struct dirent64 *e = (const void *)(buf + at);
			int r = take(from, e);

			if (r < 0)
				return r;
			at += e->d_reclen;
		}
	}
}

static int read_view(struct vfs *v, struct loc *l, enum view view, const struct source *from)
{
	bv_autofd int fd = real_open(v, l, view, O_RDONLY | O_DIRECTORY, 0);

	return fd < 0 ? fd : read_all(from, fd);
}

static int emit(void *arg, const char *name, uint64_t ino, unsigned char type)
{
	const struct source *from = arg;
	size_t len = strlen(name);

	if (!len || len > NAME_MAX || strchr(name, '/'))
		return 0; /* a module's mistake is no reason to lose the others */
	if (from->node) {
		const struct node *child = tree_child(from->node, name, len);

		if (child && child->mount)
			return 0;
	}
	return add(from->s, name, len, ino ? ino : hash((const uint64_t[2]){1, 3}, name, len) >> 33 | 1, type);
}

/* What begins in this directory by rule.  Rules win over what the layers have there. */
static int add_mounts(struct vfs *v, struct bv_call *call, struct listing *s, const struct node *node)
{
	for (const struct node *c = node ? node->children : NULL; c; c = c->hh.next) {
		const struct mount *m = c->mount;
		struct stat st = {.st_mode = S_IFDIR};

		if (!m || m->rule == R_HIDE)
			continue;
		if (m->rule == R_TMP) {
			if (!m->made && mount_private(v, c->mount) < 0)
				continue;
			bv_autofd int fd = real_openat(v->upper.root_fd, m->at + 1, O_PATH, 0);

			if (fd < 0 || fstat(fd, &st) < 0)
				continue;
		} else if (m->rule == R_SYNTH) {
			bv_autofree struct bv_vfs_node *n = NULL;
			static const mode_t types[] = {S_IFREG, S_IFDIR, S_IFLNK, S_IFREG, S_IFLNK};

			if (synth_lookup(v, call, c->mount, "", &n) < 0)
				continue;
			st.st_mode = n->kind < BV_ROWS_OF(types) ? types[n->kind] : S_IFREG;
			st.st_ino = n->ino;
			if (n->kind == BV_VFS_HOST && lstat(n->target, &st) < 0)
				continue;
		} else if (m->fd < 0 || fstat(m->fd, &st) < 0) {
			continue;
		}
		int r = add(s, c->name, strlen(c->name), st.st_ino ? st.st_ino : 1, IFTODT(st.st_mode));
		if (r < 0)
			return r;
	}
	return 0;
}

static int fill(struct vfs *v, struct bv_call *call, struct loc *l, struct listing *s)
{
	struct source from = {s, l->node, false};
	const char *rel;
	int r;

	switch (l->view) {
	case V_MERGED:
		r = read_view(v, l, V_LOWER, &from);
		if (r < 0)
			return r;
		from.upper = true;
		r = read_view(v, l, V_UPPER, &from);
		break;
	case V_SYNTH:
		if (!l->syn)
			return -EIO;
		rel = l->path + (l->mount->at[1] ? strlen(l->mount->at) : 0);
		if (l->syn->kind == BV_VFS_HOST) {
			bv_autofd int fd = real_openat(AT_FDCWD, l->syn->target, O_RDONLY | O_DIRECTORY, 0);

			r = fd < 0 ? fd : read_all(&from, fd);
		} else {
			s->dot_ino = l->st.st_ino;
			r = l->mount->ops->list ? l->mount->ops->list(l->mount->ctx, call, *rel == '/' ? rel + 1 : rel,
			                                              emit, &from)
			                        : 0;
		}
		break;
	default:
		r = read_view(v, l, l->view, &from);
		break;
	}
	return r < 0 ? r : add_mounts(v, call, s, l->node);
}

/* ---- cache ---- */

static void listing_free(struct listing *s)
{
	if (!s)
		return;
	free(s->item);
	free(s->path);
	strbuf_fini(&s->names);
	free(s);
}

void listing_free_all(struct vfs *v)
{
	while (v->listings) {
		struct listing *s = v->listings;

		v->listings = s->next;
		listing_free(s);
	}
}

static void unlink_from(struct vfs *v, const struct listing *s)
{
	for (struct listing **p = &v->listings; *p; p = &(*p)->next)
		if (*p == s) {
			*p = s->next;
			return;
		}
}

void listing_done(struct vfs *v, const struct listing *s)
{
	if (s->n <= BIG)
		return;
	unlink_from(v, s);
	listing_free((struct listing *)(uintptr_t)s);
}

static void trim(struct vfs *v)
{
	struct listing **p = &v->listings;

	for (unsigned i = 0; *p; i++) {
		if (i < MAX_CACHED) {
			p = &(*p)->next;
			continue;
		}
		struct listing *s = *p;
		*p = s->next;
		listing_free(s);
	}
}

static bool same_time(struct timespec a, struct timespec b)
{
	return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino && same_time(a->st_mtim, b->st_mtim) &&
	       same_time(a->st_ctim, b->st_ctim);
}

/* The state of the directory's layers: `key` of a listing. */
static int identify(struct vfs *v, struct loc *l, struct stat *low, struct stat *up)
{
	*low = l->st;
	memset(up, 0, sizeof(*up));
	if (l->view != V_MERGED)
		return 0;
	bv_autofd int fd = real_open(v, l, V_UPPER, O_PATH | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	return fstat(fd, up) < 0 ? -errno : 0;
}

static struct listing *find(struct vfs *v, const struct loc *l, const struct stat *low, const struct stat *up)
{
	uint32_t gen = l->node ? l->node->gen : 0;

	for (struct listing *s = v->listings; s; s = s->next)
		if (s->gen == gen && s->view == l->view && s->mount == l->mount && same(&s->low, low) &&
		    same(&s->up, up) && strcmp(s->path, l->path) == 0)
			return s;
	return NULL;
}

static int make(struct vfs *v, struct bv_call *call, struct loc *l, const struct stat *low, const struct stat *up,
                struct listing **out)
{
	struct listing *s = calloc(1, sizeof(*s));
	int r = s ? fill(v, call, l, s) : -ENOMEM;

	if (r == 0) {
		bv_autofd int fd = l->fd < 0 ? loc_open_path(v, l) : -1;

		r = order(v, s, cookie_bits(fd >= 0 ? fd : l->fd));
	}
	if (r == 0 && !(s->path = strdup(l->path)))
		r = -ENOMEM;
	if (r < 0) {
		listing_free(s);
		return r;
	}
	s->view = l->view;
	s->mount = l->mount;
	s->gen = l->node ? l->node->gen : 0;
	s->low = *low;
	s->up = *up;
	if (!s->dot_ino)
		s->dot_ino = l->st.st_ino;
	if (!s->dotdot_ino)
		s->dotdot_ino = s->dot_ino;
	s->next = v->listings;
	v->listings = s;
	trim(v);
	*out = s;
	return 0;
}

int listing_get(struct vfs *v, struct bv_call *call, struct loc *l, struct listing **out)
{
	struct stat low, up;
	int r = identify(v, l, &low, &up);

	if (r < 0)
		return r;
	struct listing *s = find(v, l, &low, &up);
	if (s) {
		/* A module's tree tells no times: what it lists has to be asked for again. */
		unlink_from(v, s);
		if (l->view == V_SYNTH) {
			listing_free(s);
		} else {
			s->next = v->listings;
			v->listings = s;
			*out = s;
			return 0;
		}
	}
	watch_quiet(v);
	r = make(v, call, l, &low, &up, out);
	watch_heard(v, NULL, 0);
	return r;
}

bool listing_recall(struct vfs *v, struct loc *l)
{
	for (const struct listing *s = v->listings; s; s = s->next) {
		struct spot at;

		/* A bound directory may be seen at several places: only its path tells which. */
		if (s->low.st_dev != l->st.st_dev || s->low.st_ino != l->st.st_ino || s->mount != v->base ||
		    (s->view != V_LOWER && s->view != V_MERGED))
			continue;
		spot_at(v, s->path, &at);
		if (at.view != s->view || at.mount != s->mount)
			return false;
		l->len = strlen(s->path);
		memcpy(l->path, s->path, l->len + 1);
		l->view = at.view;
		l->node = at.node;
		l->mount = at.mount;
		l->probed = true;
		return true;
	}
	return false;
}

bool listing_needed(const struct loc *l)
{
	if (l->stale)
		return true;
	switch (l->view) {
	case V_LOWER:
	case V_MERGED:
		return true;
	case V_SYNTH:
		return l->syn && (l->syn->kind == BV_VFS_DIR || tree_has_rules(l->node));
	default:
		return tree_has_rules(l->node);
	}
}

int listing_is_empty(struct vfs *v, struct bv_call *call, struct loc *l)
{
	struct listing *s;

	if (!l->probed) {
		int r = loc_stat(v, call, l, &l->st);

		if (r < 0)
			return r;
	}
	int r = listing_get(v, call, l, &s);
	return r < 0 ? r : s->n == 0;
}
