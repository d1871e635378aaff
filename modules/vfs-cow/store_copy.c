/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Snapshots and forks of the `local` store: a layer is copied by cp(1), which knows reflinks, holes,
 * hard links and attributes, into a directory of a private name, and then renamed to its place.  So
 * it is there whole or not at all.  A layer that a guest is using is copied as it is met: what a
 * crash in these moments could have left.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <time.h>

#include "scrub.h"
#include "store_local.h"

extern char **environ;

#define TRIES 5 /* a guest at work may take files away while they are copied */

/* "NAME" or "NAME@TAG". */
struct layer_state {
	char name[NAME_LEN + 1], tag[NAME_LEN + 1]; /* tag: "" for the layer itself */
};

static int parse(struct store_why *t, const char *text, struct layer_state *out)
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

/* The directory of a state: a descriptor; -ENOENT with a sentence. */
static int state_open(struct store_why *t, int base, const struct layer_state *s)
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

/* cp -a of the directory `name` in from to the same in to: its exit status, or -errno. */
static int copy_dir(int from, int to, const char *name)
{
	char source[64], target[64];
	char *argv[] = {(char *)"cp", (char *)"-a", (char *)"--reflink=auto", (char *)"--", source, target, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status;

	/* Numbers of the child, where 3 and 4 are these; nothing is looked up by a path of ours. */
	snprintf(source, sizeof(source), "/dev/fd/3/%s", name);
	snprintf(target, sizeof(target), "/dev/fd/4/");
	bv_autofd int a = fcntl(from, F_DUPFD_CLOEXEC, 10), b = fcntl(to, F_DUPFD_CLOEXEC, 10);
	if (a < 0 || b < 0)
		return -errno;
	int r = posix_spawn_file_actions_init(&actions);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, a, 3);
	if (r == 0)
		r = posix_spawn_file_actions_adddup2(&actions, b, 4);
	if (r == 0)
		r = posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	if (r == 0)
		r = posix_spawnp(&pid, "cp", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (r)
		return -r;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

static int fill(struct store_why *t, int from, int to)
{
	static const char *const parts[] = {"upper", "meta"};

	for (size_t i = 0; i < BV_ROWS_OF(parts); i++) {
		int r = 1;

		for (int n = 0; r > 0 && n < TRIES; n++) {
			bv_autofd int old = openat(to, parts[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (old >= 0 && scrub(old, NULL) == 0)
				(void)unlinkat(to, parts[i], AT_REMOVEDIR);
			r = copy_dir(from, to, parts[i]);
		}
		if (r > 0) {
			snprintf(t->why, sizeof(t->why), "cp could not copy the layer (status %d)", r);
			return -EIO;
		}
		if (r < 0)
			return store_fail(t, -r, "cp");
	}
	return syncfs(to) < 0 ? store_fail(t, errno, "the copy") : 0;
}

static int write_manifest(struct store_why *t, int from, int to, const char *parent)
{
	struct manifest m;
	int r = manifest_load(from, &m, t->why, sizeof(t->why));

	if (r == -ENOENT)
		snprintf(t->why, sizeof(t->why), "the layer has no manifest");
	if (r < 0)
		return r;
	m.created = time(NULL);
	snprintf(m.parent, sizeof(m.parent), "%s", parent);
	r = manifest_save(to, &m);
	return r < 0 ? store_fail(t, -r, "the copy's manifest") : 0;
}

static void discard(int holder, const char *name)
{
	bv_autofd int fd = openat(holder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd >= 0 && scrub(fd, NULL) == 0)
		(void)unlinkat(holder, name, AT_REMOVEDIR);
}

/* What a copy that was killed left. */
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
		const char *dot = strrchr(e->d_name, '.');
		int pid = e->d_name[0] == '.' && dot > e->d_name ? atoi(dot + 1) : 0;

		if (pid > 0 && kill(pid, 0) < 0 && errno == ESRCH)
			discard(holder, e->d_name);
	}
	closedir(d);
}

int local_copy(void *ctx, const char *from, const char *to, const char **why)
{
	struct store_why *t = ctx;
	struct layer_state source, target;
	int r = parse(t, from, &source);

	*why = t->why;
	if (r == 0)
		r = parse(t, to, &target);
	if (r < 0)
		return r;
	bv_autofd int base = local_sandboxes(t, false, NULL, 0);
	if (base == -ENOENT)
		snprintf(t->why, sizeof(t->why), "there is no sandbox '%s'", source.name);
	if (base < 0)
		return base;
	bv_autofd int old = state_open(t, base, &source);
	if (old < 0)
		return old;
	bv_autofd int holder = holder_open(t, base, &target);
	if (holder < 0)
		return holder;
	const char *name = target.tag[0] ? target.tag : target.name;
	char temp[NAME_LEN + 16];
	/* No name of a sandbox begins with a dot. */
	sweep(holder);
	snprintf(temp, sizeof(temp), ".%s.%d", name, (int)getpid());
	if (faccessat(holder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return store_fail(t, EEXIST, "'%s'", to);
	if (mkdirat(holder, temp, geteuid() == 0 ? 0711 : 0700) < 0)
		return store_fail(t, errno, "'%s'", to);
	bv_autofd int fd = openat(holder, temp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = fd < 0 ? store_fail(t, errno, "'%s'", to) : fill(t, old, fd);
	if (r == 0)
		r = write_manifest(t, old, fd, from);
	if (r == 0 && renameat2(holder, temp, holder, name, RENAME_NOREPLACE) < 0)
		r = store_fail(t, errno, "'%s'", to);
	if (r < 0)
		discard(holder, temp);
	else
		(void)fsync(holder);
	return r;
}

int local_snapshots(void *ctx, const char *rest, int (*each)(void *arg, const struct bv_layer_info *info), void *arg,
                    const char **why)
{
	struct store_why *t = ctx;
	struct layer_state s;
	struct dirent **entry = NULL;
	int r = parse(t, rest, &s);

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
