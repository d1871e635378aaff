/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What files are to exec: scripts, programs with their interpreters.  Of the host's files it is
 * remembered, for as long as nothing about them changes: a shell runs the same few programs again
 * and again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "exec.h"

#define MAX_PROGRAMS 256
#define SETTLED 2 /* seconds: a file changed so lately may change once more without its time telling */

struct program_key {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec changed, modified;
};

struct program {
	UT_hash_handle hh;
	struct program_key key;
	enum program_kind kind;
	char interp[SCRIPT_SIZE], arg[SCRIPT_SIZE];
};

static struct program_key key_of(const struct stat *st)
{
	struct program_key k;

	memset(&k, 0, sizeof(k)); /* the hash sees the padding too */
	k.dev = st->st_dev;
	k.ino = st->st_ino;
	k.size = st->st_size;
	k.changed = st->st_ctim;
	k.modified = st->st_mtim;
	return k;
}

static bool settled(const struct stat *st)
{
	struct timespec now;

	return clock_gettime(CLOCK_REALTIME, &now) == 0 && st->st_ctim.tv_sec + SETTLED < now.tv_sec;
}

static bool recall(struct vfs *v, const struct stat *st, struct program_info *out)
{
	struct program_key key = key_of(st);
	const struct program *p;

	HASH_FIND(hh, v->exec->program, &key, sizeof(key), p);
	if (!p)
		return false;
	out->kind = p->kind;
	if (p->kind == PROGRAM_SCRIPT) {
		strcpy(out->script.interp, p->interp);
		strcpy(out->script.arg, p->arg);
	}
	strcpy(out->interp, p->kind == PROGRAM_ELF ? p->interp : "");
	return true;
}

static void remember(struct vfs *v, const struct stat *st, const struct program_info *info)
{
	const char *interp = info->kind == PROGRAM_SCRIPT ? info->script.interp : info->interp;
	struct program *p;

	if (strlen(interp) >= sizeof(p->interp) || !settled(st))
		return;
	if (HASH_COUNT(v->exec->program) >= MAX_PROGRAMS) {
		p = v->exec->program; /* the oldest: uthash keeps the order of insertion */
		HASH_DEL(v->exec->program, p);
	} else {
		p = malloc(sizeof(*p));
	}
	if (!p)
		return;
	p->key = key_of(st);
	p->kind = info->kind;
	strcpy(p->interp, interp);
	strcpy(p->arg, info->kind == PROGRAM_SCRIPT ? info->script.arg : "");
	HASH_ADD(hh, v->exec->program, key, sizeof(p->key), p);
}

void program_forget(struct vfs *v)
{
	struct program *p, *next;

	HASH_ITER(hh, v->exec->program, p, next) {
		HASH_DEL(v->exec->program, p);
		free(p);
	}
}

int program_open(struct vfs *v, struct loc *l)
{
	char path[FD_PATH_MAX];
	bv_autofd int fd = loc_open_path(v, l);

	if (fd < 0)
		return fd;
	real_fd_path(path, fd);
	int file = open(path, O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
	return file < 0 ? -errno : file;
}

int program_look(struct vfs *v, struct loc *l, struct program_info *out)
{
	struct header h;
	struct stat st;

	out->kind = PROGRAM_OTHER;
	out->interp[0] = '\0';
	if (l->view == V_LOWER && l->probed && recall(v, &l->st, out))
		return 0;
	bv_autofd int file = program_open(v, l);
	/* Unreadable for us, but the kernel may still run it: as a binary, for a script's interpreter
	 * could not read it either. */
	if (file < 0 || header_read(file, &h) < 0 || !h.len)
		return 0;
	if (header_script(&h, &out->script)) {
		out->kind = PROGRAM_SCRIPT;
	} else {
		int r = header_interp(&h, file, out->interp);

		if (r < 0)
			return r;
		if (r == 0)
			out->interp[0] = '\0';
		else
			out->kind = PROGRAM_ELF;
	}
	if (l->view == V_LOWER && fstat(file, &st) == 0)
		remember(v, &st, out);
	return 0;
}
