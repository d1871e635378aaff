/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a layer holds.  Depth costs a descriptor and some memory a level, no stack.  What cannot be
 * looked at might hold anything, so it is an error.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "quota.h"

/* A file of several names, met once. */
struct met {
	struct {
		dev_t dev;
		ino_t ino;
	} key;
	UT_hash_handle hh;
};

/* A directory that is being walked. */
struct level {
	int fd;
	struct strbuf dirs; /* names of the directories in it */
	size_t at;
	int *held; /* the same, opened, where the directory is closed to its owner; else NULL */
	size_t n_held, cap_held;
};

struct walking {
	struct usage sum;
	struct met *met;
	struct level *level;
	size_t depth, cap;
};

static int count(struct walking *w, const struct stat *st)
{
	if (!S_ISDIR(st->st_mode) && st->st_nlink > 1) {
		struct met *m = calloc(1, sizeof(*m)), *old;

		if (!m)
			return -ENOMEM;
		m->key.dev = st->st_dev;
		m->key.ino = st->st_ino;
		HASH_FIND(hh, w->met, &m->key, sizeof(m->key), old);
		if (old) {
			free(m);
			return 0;
		}
		HASH_ADD(hh, w->met, key, sizeof(m->key), m);
	}
	w->sum.bytes += quota_counted(st);
	w->sum.disk += (uint64_t)st->st_blocks * 512;
	w->sum.files++;
	return 0;
}

static void pop(struct walking *w)
{
	struct level *l = &w->level[--w->depth];

	strbuf_fini(&l->dirs);
	while (l->n_held)
		close(l->held[--l->n_held]);
	free(l->held);
	close(l->fd);
}

static int open_dir(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	/* An unprivileged guest may have closed it to its owner, which we are. */
	if (fd < 0 && errno == EACCES)
		fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int hold(struct level *l, const char *name)
{
	int fd = open_dir(l->fd, name);

	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0; /* it went */
	if (fd < 0)
		return fd;
	if (l->n_held == l->cap_held) {
		size_t cap = l->cap_held ? 2 * l->cap_held : 16;
		int *grown = reallocarray(l->held, cap, sizeof(*grown));

		if (!grown) {
			close(fd);
			return -ENOMEM;
		}
		l->held = grown;
		l->cap_held = cap;
	}
	l->held[l->n_held++] = fd;
	return 0;
}

static int read_entries(struct walking *w, struct level *l, bool closed)
{
	int fd = openat(l->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	while (r == 0 && (e = readdir(d))) {
		struct stat st;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			r = errno == ENOENT ? 0 : -errno;
			continue;
		}
		r = count(w, &st);
		if (r < 0 || !S_ISDIR(st.st_mode))
			continue;
		if (closed)
			r = hold(l, e->d_name);
		else
			strbuf_add(&l->dirs, e->d_name, strlen(e->d_name) + 1);
	}
	closedir(d);
	return r < 0 ? r : l->dirs.failed ? -ENOMEM : 0;
}

/* Takes fd. */
static int push(struct walking *w, int fd)
{
	char path[FD_PATH_MAX];
	struct stat st;

	if (w->depth == w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 32;
		struct level *grown = reallocarray(w->level, cap, sizeof(*grown));

		if (!grown) {
			close(fd);
			return -ENOMEM;
		}
		w->level = grown;
		w->cap = cap;
	}
	struct level *l = &w->level[w->depth++];
	*l = (struct level){.fd = fd};
	if (fstat(fd, &st) < 0)
		return -errno;
	bool closed = geteuid() != 0 && (st.st_mode & 0500) != 0500;
	real_fd_path(path, fd);
	if (closed && chmod(path, (st.st_mode & 07777) | 0500) < 0)
		return -errno;
	int r = read_entries(w, l, closed);
	if (closed)
		(void)chmod(path, st.st_mode & 07777);
	return r;
}

/* The next directory below the last level; -ENOENT: none is left. */
static int next_dir(struct level *l)
{
	while (l->held && l->n_held)
		return l->held[--l->n_held];
	while (l->at < l->dirs.len) {
		const char *name = l->dirs.data + l->at;

		l->at += strlen(name) + 1;
		int fd = open_dir(l->fd, name);
		if (fd != -ENOENT && fd != -ENOTDIR && fd != -ELOOP)
			return fd;
	}
	return -ENOENT;
}

int quota_walk(int root, struct usage *out)
{
	struct walking w = {0};
	struct met *m, *next;
	int fd = real_openat(root, "", O_RDONLY | O_DIRECTORY, 0);
	int r = fd < 0 ? fd : push(&w, fd);

	while (r == 0 && w.depth) {
		fd = next_dir(&w.level[w.depth - 1]);
		if (fd >= 0)
			r = push(&w, fd);
		else if (fd == -ENOENT)
			pop(&w);
		else
			r = fd;
	}
	while (w.depth)
		pop(&w);
	free(w.level);
	HASH_ITER (hh, w.met, m, next) {
		HASH_DEL(w.met, m);
		free(m);
	}
	*out = w.sum;
	return r;
}
