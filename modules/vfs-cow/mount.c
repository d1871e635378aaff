/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount table: ini lines become rules at nodes of the tree.  It decides what is shown and
 * what may be written; it never mounts anything in the host's sense.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>

#include "quota.h"

static int fail(struct vfs *v, const char *key, const char *value, const char *why)
{
	char text[480];

	snprintf(text, sizeof(text), "%s: %s = %.200s: %s", v->host->option_where(v->self, key), key, value, why);
	v->host->fail(v->self, text);
	return -EINVAL;
}

/*
 * "~" is the home directory; "." and ".." are refused, since a rule must name one place.  *out is
 * malloc'd, without trailing slash.
 */
static int expand(const char *word, char **out)
{
	bv_autostrbuf struct strbuf b = {0};

	if (word[0] == '~' && (word[1] == '/' || !word[1])) {
		const char *home = getenv("HOME");

		if (!home || home[0] != '/')
			return -ENOENT;
		strbuf_puts(&b, home);
		word++;
	}
	if (!b.len && word[0] != '/')
		return -EINVAL;
	while (*word) {
		size_t len;

		while (*word == '/')
			word++;
		len = strcspn(word, "/");
		if ((len == 1 && word[0] == '.') || (len == 2 && word[0] == '.' && word[1] == '.'))
			return -EINVAL;
		if (len) {
			while (b.len && b.data[b.len - 1] == '/')
				b.data[--b.len] = '\0';
			strbuf_puts(&b, "/");
			strbuf_add(&b, word, len);
		}
		word += len;
	}
	if (!b.len)
		strbuf_puts(&b, "/");
	if (b.failed)
		return -ENOMEM;
	*out = b.data;
	b.data = NULL;
	return 0;
}

/* Where the symlinks of the host path end: its length, which may not fit; -errno. */
static ssize_t real_end(const char *path, char real[PATH_MAX])
{
	char link[FD_PATH_MAX];
	bv_autofd int fd = open(path, O_PATH | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	real_fd_path(link, fd);
	ssize_t n = readlink(link, real, PATH_MAX - 1);
	if (n < 0)
		return -errno;
	real[n] = '\0';
	return n > 0 && real[0] == '/' ? n : -ENOENT;
}

/* The directory of the last path looked at.  Rules come in families, /etc/this and /etc/that. */
struct family {
	char dir[PATH_MAX];
	size_t len;
	int fd; /* O_PATH; -errno: -ENOENT when it does not exist, -ELOOP when a symlink leads to it */
};

static void family_leave(struct family *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -EBADF;
}

static void family_enter(struct family *f, const char *path, size_t len)
{
	if (f->fd != -EBADF && f->len == len && memcmp(f->dir, path, len) == 0)
		return;
	family_leave(f);
	f->fd = -ENAMETOOLONG;
	if (len >= sizeof(f->dir))
		return;
	memcpy(f->dir, path, len);
	f->dir[len] = '\0';
	f->len = len;
	f->fd = real_openat(AT_FDCWD, len ? f->dir : "/", O_PATH | O_DIRECTORY | O_NOFOLLOW, 0);
}

/*
 * A rule is for a real place: when its path leads through host symlinks (/var/run -> /run, a
 * linked home), it is put where they end, because that is where a walk will arrive.  *there: whether
 * the host has something at the path; -1 when it was not looked at.
 */
static char *canonical(struct family *f, char *path, int8_t *there)
{
	const char *name = strrchr(path, '/') + 1;
	char real[PATH_MAX];
	struct stat st;

	family_enter(f, path, (size_t)(name - 1 - path));
	*there = -1;
	if (f->fd == -ENOENT) {
		*there = 0;
		return path;
	}
	if (f->fd >= 0) {
		bool found = fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;

		if (found || errno == ENOENT)
			*there = found;
		if (!found || !S_ISLNK(st.st_mode))
			return path;
	}
	char *copy = real_end(path, real) > 0 && strcmp(real, path) != 0 ? strdup(real) : NULL;
	if (!copy)
		return path;
	*there = -1;
	free(path);
	return copy;
}

struct mount *mount_add(struct vfs *v, enum rule rule, const char *source, const char *at)
{
	struct node *n = tree_make(v->root, at);
	struct mount *m = calloc(1, sizeof(*m));

	if (!n || !m) {
		free(m);
		return NULL;
	}
	m->rule = rule;
	m->at = strdup(at);
	m->source = strdup(source);
	m->fd = m->there = -1;
	if (!m->at || !m->source) {
		free(m->at);
		free(m->source);
		free(m);
		return NULL;
	}
	if (rule != R_HIDE && rule != R_SYNTH && rule != R_TMP)
		m->fd = open(source, O_PATH | O_CLOEXEC);
	n->mount = m;
	if (rule == R_TMP)
		n->state = N_UPPER;
	m->next = v->mounts;
	v->mounts = m;
	m->elsewhere = strcmp(m->source, m->at) != 0;
	if (m->elsewhere && rule != R_HIDE && rule != R_SYNTH) {
		m->next_bind = v->binds;
		v->binds = m;
	}
	return m;
}

static const struct {
	const char *word;
	enum rule rule;
	int args;
} kinds[] = {
	{"cow", R_COW, 1}, {"ro", R_RO, 1}, {"rw", R_RW, 1}, {"hide", R_HIDE, 1}, {"tmp", R_TMP, 1}, {"bind", R_BIND, 2},
};

/* The next word at *at, in place: as it is, or in double quotes with \", \\ and \n.  1; 0 at the end of
 * the line; -EINVAL. */
static int next_word(char **at, char **out)
{
	char *from = *at + strspn(*at, " \t"), *to = from;

	if (!*from)
		return 0;
	*out = to;
	if (*from != '"') {
		from += strcspn(from, " \t");
		*at = from + (*from != '\0');
		*from = '\0';
		return 1;
	}
	for (from++; *from != '"'; from++) {
		if (*from == '\\' && strchr("\"\\n", from[1]) && from[1])
			*to++ = *++from == 'n' ? '\n' : *from;
		else if (*from && *from != '\\')
			*to++ = *from;
		else
			return -EINVAL;
	}
	from++;
	if (*from && *from != ' ' && *from != '\t')
		return -EINVAL;
	*at = from + (*from != '\0');
	*to = '\0';
	return 1;
}

static int parse_line(struct vfs *v, struct family *f, const char *line)
{
	bv_autofree char *copy = strdup(line);
	bv_autofree char *a = NULL, *b = NULL;
	char *word[5], *at = copy;
	int n = 0, got;

	if (!copy)
		return -ENOMEM;
	while ((got = next_word(&at, &word[n])) > 0)
		if (++n == 5)
			return fail(v, "mount", line, "too many words");
	if (got < 0)
		return fail(v, "mount", line,
		            "in double quotes may stand \\\", \\\\ and \\n, and behind them white "
		            "space");
	for (size_t i = 0; n && i < BV_ROWS_OF(kinds); i++) {
		enum rule rule = kinds[i].rule;

		if (strcmp(word[0], kinds[i].word) != 0)
			continue;
		if (rule == R_BIND && n == 4) {
			if (strcmp(word[3], "ro") == 0)
				rule = R_RO;
			else if (strcmp(word[3], "rw") == 0)
				rule = R_RW;
			else
				return fail(v, "mount", line, "after bind SRC DST may stand ro or rw");
		} else if (n != kinds[i].args + 1) {
			return fail(v, "mount", line,
			            kinds[i].args == 2 ? "needs SRC DST" : "needs one absolute path");
		}
		int r = expand(word[1], &a);
		if (r == 0)
			r = expand(word[kinds[i].args], &b);
		if (r < 0)
			return fail(v, "mount", line, "paths are absolute (or begin with ~/), without . and ..");
		int8_t there;
		a = canonical(f, a, &there);
		b = canonical(f, b, &there);
		if (rule == R_HIDE && strcmp(b, "/") == 0)
			return fail(v, "mount", line, "the root cannot be hidden");
		struct mount *m = mount_add(v, rule, a, b);
		if (!m)
			return -ENOMEM;
		m->there = rule == R_HIDE ? there : -1;
		if ((rule == R_BIND || rule == R_RW || rule == R_RO) && m->fd < 0)
			return fail(v, "mount", line, strerror(errno));
		return 0;
	}
	return fail(v, "mount", line, "begins with none of cow, ro, rw, hide, tmp, bind");
}

/*
 * Of the host's /dev only the names of the allowlist are shown, whatever appears there later.  A
 * rule of the user's for one of them or for /dev itself comes before it.
 */
static int hide_devices(struct vfs *v)
{
	const struct node *dev = tree_find(v->root, "/dev");
	struct mount *m = dev ? dev->mount : NULL;
	struct stat st;

	if (!m && (lstat("/dev", &st) < 0 || !S_ISDIR(st.st_mode)))
		return 0;
	if (!m)
		m = mount_add(v, R_COW, "/dev", "/dev");
	if (!m)
		return -ENOMEM;
	m->only = &v->conf->dev;
	return 0;
}

static int hide_paths(struct vfs *v, struct family *f)
{
	for (size_t i = 0; i < v->conf->hide.n; i++) {
		bv_autofree char *path = NULL;
		int8_t there;
		int r = expand(v->conf->hide.item[i], &path);

		if (r == -ENOENT)
			continue; /* no home, so nothing below it to hide */
		if (r < 0 || strcmp(path, "/") == 0)
			return fail(v, "hide", v->conf->hide.item[i],
			            "is no absolute path below / (or below ~/), without . and ..");
		path = canonical(f, path, &there);
		struct mount *m = mount_add(v, R_HIDE, path, path);
		if (!m)
			return -ENOMEM;
		m->there = there;
	}
	return 0;
}

static bool shows_below(const struct node *n)
{
	for (const struct node *c = n->children; c; c = c->hh.next)
		if ((c->mount && c->mount->rule != R_HIDE) || shows_below(c))
			return true;
	return false;
}

/* Where nothing of the host's is shown nothing has to be hidden, and guests may have a ~/.ssh of their own. */
static void forget_hidden(struct node *n)
{
	for (struct node *c = n->children; c; c = c->hh.next) {
		if (c->mount && c->mount->rule == R_HIDE)
			c->mount = NULL;
		if (!c->mount)
			forget_hidden(c);
	}
}

/* A hidden place below which a rule shows something has to be there: it is private, and empty but for that. */
static void uncover(struct vfs *v)
{
	for (struct mount *m = v->mounts; m; m = m->next) {
		struct node *n = m->rule == R_HIDE ? tree_find(v->root, m->at) : NULL;

		if (!n || n->mount != m || !shows_below(n))
			continue;
		m->rule = R_TMP;
		m->hidden = true;
		n->state = N_UPPER;
		forget_hidden(n);
	}
}

static int mount_rules(struct vfs *v, struct family *f)
{
	v->root = tree_add(NULL, "", 0);
	if (!v->root)
		return -ENOMEM;
	v->base = mount_add(v, R_COW, "/", "/");
	if (!v->base || v->base->fd < 0)
		return -EIO;
	/* Without a module that shows guests a /proc of their own there is none. */
	if (!mount_add(v, R_HIDE, "/proc", "/proc"))
		return -ENOMEM;
	int r = hide_paths(v, f);
	if (r < 0)
		return r;
	static const char *const words[] = {"tmp", "ro"};
	const struct bv_strings *lists[] = {&v->conf->tmp, &v->conf->ro};
	for (size_t k = 0; k < BV_ROWS_OF(words); k++)
		for (size_t i = 0; i < lists[k]->n; i++) {
			bv_autofree char *path = NULL;
			int8_t there;

			if (expand(lists[k]->item[i], &path) < 0)
				return fail(v, words[k], lists[k]->item[i], "is no absolute path without . and ..");
			path = canonical(f, path, &there);
			if (!mount_add(v, k ? R_RO : R_TMP, path, path))
				return -ENOMEM;
		}
	/* The user's own lines come last, so they win over the defaults at the same place. */
	for (size_t i = 0; i < v->conf->mount.n; i++) {
		r = parse_line(v, f, v->conf->mount.item[i]);
		if (r < 0)
			return r;
	}
	uncover(v);
	return hide_devices(v);
}

int mount_setup(struct vfs *v)
{
	struct family f = {.fd = -EBADF};
	int r = mount_rules(v, &f);

	family_leave(&f);
	return r;
}

int mount_show(struct vfs *v, const char *dir)
{
	const struct node *n = v->root;
	const struct mount *m = NULL;
	size_t len;

	if (!v->conf->show_cwd || dir[0] != '/' || !dir[1])
		return 0;
	for (const char *at = dir + 1; n; at += len + (at[len] == '/')) {
		if (n->mount)
			m = n->mount;
		len = strcspn(at, "/");
		if (!len)
			break;
		n = tree_child(n, at, len);
	}
	if (!m || m->rule != R_TMP || m->hidden || strcmp(m->at, dir) == 0)
		return 0;
	return mount_add(v, R_COW, dir, dir) ? 0 : -ENOMEM;
}

static int make_dir(struct vfs *v, const char *path)
{
	if (mkdirat(v->upper.root_fd, path + 1, 0755) < 0)
		return errno == EEXIST ? 0 : -errno;
	quota_note(v, QUOTA_BLOCK, 1);
	return 0;
}

/* The directories that lead from a private one to what further rules show inside it. */
static int make_nested(struct vfs *v, const struct node *n)
{
	char path[PATH_MAX];
	int r = 0;

	for (const struct node *c = n ? n->children : NULL; c && r == 0; c = c->hh.next) {
		if (c->mount || !shows_below(c))
			continue;
		tree_path(c, path);
		r = make_dir(v, path);
		if (r == 0)
			r = make_nested(v, c);
	}
	return r;
}

static int make_private(struct vfs *v, struct mount *m)
{
	struct stat st;
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s", m->at);
	for (char *p = strchr(path + 1, '/');; p = strchr(p + 1, '/')) {
		if (p)
			*p = '\0';
		int r = make_dir(v, path);
		if (r < 0)
			return r;
		if (!p)
			break;
		*p = '/';
	}
	/* As open to others as the host's own. */
	mode_t mode = stat(m->at, &st) == 0 ? st.st_mode & 07777 : 01777;
	if (fchmodat(v->upper.root_fd, m->at + 1, mode, 0) < 0)
		return -errno;
	m->made = true;
	return make_nested(v, tree_find(v->root, m->at));
}

int mount_private(struct vfs *v, struct mount *m)
{
	/*
	 * It may be looked at first while this thread acts as a guest of another user, who may not
	 * write in the upper: be the supervisor for this, and then that guest again.  A change of the
	 * filesystem user to or from 0 takes the file capabilities along (capabilities(7)).
	 */
	bool root = geteuid() == 0;
	int uid = root ? setfsuid(0) : 0, gid = root ? setfsgid(0) : 0;
	mode_t mask = umask(0);
	int r = make_private(v, m);

	umask(mask);
	if (root) {
		setfsgid((gid_t)gid);
		setfsuid((uid_t)uid);
	}
	return r;
}
