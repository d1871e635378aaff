/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Temporary sandboxes: kept ones in a state directory of the broker's own,
 * TMPDIR/.bvisor-serve-UID/RANDOM, held with flock(2).  One that nobody holds was left by a broker
 * that was killed, and is removed by the next one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "review_jobs.h"
#include "temp.h"

#define OPTION "vfs-cow.state="
#define FLEETING "fleeting" /* docs/layer-format.md */

struct temp {
	struct temp *next;
	struct client *client; /* NULL: to be removed */
	pid_t pid; /* who uses it; 0 */
	char name[];
};

/* ---- the directory ---- */

/* The names in it as words behind those of `head`: the count, 0 when there is none; owned. */
static char **sandboxes_in(int dir, const char *const *head, size_t *n)
{
	int fd = openat(dir, "sandboxes", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	char **word = calloc(8, sizeof(*word));
	size_t first = 0;

	if (fd >= 0 && !d)
		close(fd);
	for (*n = 0; word && head[*n]; ++*n)
		word[*n] = strdup(head[*n]);
	first = *n;
	while (d && word && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		char **grown = reallocarray(word, *n + 2, sizeof(*word));
		if (!grown)
			break;
		word = grown;
		word[(*n)++] = strdup(e->d_name);
		word[*n] = NULL;
	}
	if (d)
		closedir(d);
	*n = word ? *n - first : 0;
	return word;
}

/* Removes a state directory that we hold; what cannot be removed now is found by the next broker. */
static void dir_remove(int base, const char *name, const char *path)
{
	bv_autofd int dir = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bv_autofree char *option = NULL;
	size_t n;

	if (dir < 0 || asprintf(&option, OPTION "%s/%s", path, name) < 0)
		return;
	const char *const head[] = {"bvisor", "rm", "-o", option, NULL};
	char **word = sandboxes_in(dir, head, &n);
	pid_t pid = n ? review_spawn(word, (int)n + 4) : -1;
	if (pid > 0)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			continue;
	for (char **w = word; w && *w; w++)
		free(*w);
	free(word);
	(void)unlinkat(dir, "sandboxes", AT_REMOVEDIR);
	(void)unlinkat(dir, "trees", AT_REMOVEDIR);
	(void)unlinkat(dir, FLEETING, 0);
	(void)unlinkat(base, name, AT_REMOVEDIR);
}

static bool hold(int base, const char *name, int *held)
{
	bv_autofd int fd = openat(base, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return false;
	*held = bv_take_fd(&fd);
	return true;
}

/* Those of brokers that are no more. */
static void dirs_collect(int base, const char *path)
{
	int fd = openat(base, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), held;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;

	if (fd >= 0 && !d)
		close(fd);
	while (d && (e = readdir(d)))
		if (e->d_name[0] != '.' && hold(base, e->d_name, &held)) {
			dir_remove(base, e->d_name, path);
			close(held);
		}
	if (d)
		closedir(d);
}

/* The directory of all brokers of this user: ours, and writable by nobody else. */
static int base_open(char *path, size_t size)
{
	const char *tmp = getenv("TMPDIR");
	bv_autofree char *real = realpath(tmp && tmp[0] == '/' ? tmp : "/tmp", NULL);
	struct stat st;

	if (!real || (size_t)snprintf(path, size, "%s/.bvisor-serve-%u", real, geteuid()) >= size ||
	    (mkdir(path, 0700) < 0 && errno != EEXIST))
		return -1;
	bv_autofd int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0 || st.st_uid != geteuid() || (st.st_mode & 077))
		return -1;
	return bv_take_fd(&fd);
}

const char *temp_state(struct broker *b)
{
	char path[4096], own[4096 + 16];

	if (b->temp_state)
		return b->temp_state;
	bv_autofd int base = base_open(path, sizeof(path));
	if (base < 0 || flock(base, LOCK_EX) < 0)
		return NULL;
	dirs_collect(base, path);
	snprintf(own, sizeof(own), "%s/XXXXXX", path);
	/* Nobody collects it before we hold it: that happens under the base's lock. */
	if (!mkdtemp(own) || !hold(base, strrchr(own, '/') + 1, &b->temp_dir))
		return NULL;
	/* The store need not wait for the disk: nobody comes back to these after a power loss. */
	close(openat(b->temp_dir, FLEETING, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
	if (asprintf(&b->temp_state, OPTION "%s", own) < 0)
		b->temp_state = NULL;
	return b->temp_state;
}

/* ---- the sandboxes ---- */

static struct temp *find(const struct client *c, const char *name)
{
	struct temp *t = c->broker->temps;

	while (t && (t->client != c || strcmp(t->name, name) != 0))
		t = t->next;
	return t;
}

bool temp_has(const struct client *c, const char *name)
{
	return find(c, name) != NULL;
}

bool temp_others(const struct client *c, const char *name)
{
	const struct temp *t = c->broker->temps;

	while (t && (t->client == c || strcmp(t->name, name) != 0))
		t = t->next;
	return t != NULL;
}

int temp_used(struct client *c, const char *name, pid_t pid)
{
	struct temp *t = find(c, name);
	size_t len = strlen(name);

	if (!t) {
		t = calloc(1, sizeof(*t) + len + 1);
		if (!t)
			return -ENOMEM;
		memcpy(t->name, name, len + 1);
		t->client = c;
		t->next = c->broker->temps;
		c->broker->temps = t;
	}
	t->pid = pid;
	return 0;
}

/* Starts the removal of those that nobody wants or uses. */
static void sweep(struct broker *b)
{
	for (struct temp **at = &b->temps, *t; (t = *at);) {
		if (t->client || t->pid) {
			at = &t->next;
			continue;
		}
		*at = t->next;
		const char *const word[] = {"bvisor", "rm", "-o", b->temp_state, t->name, NULL};
		review_job(b, (char **)(uintptr_t)word, 5);
		free(t);
	}
}

void temp_remove(struct client *c, const char *name)
{
	struct temp *t = find(c, name);

	if (t)
		t->client = NULL;
	sweep(c->broker);
}

void temp_forget(struct client *c)
{
	for (struct temp *t = c->broker->temps; t; t = t->next)
		if (t->client == c)
			t->client = NULL;
	if (!c->broker->stop)
		sweep(c->broker);
}

void temp_reaped(struct broker *b, pid_t pid)
{
	for (struct temp *t = b->temps; t; t = t->next)
		if (t->pid == pid)
			t->pid = 0;
	sweep(b);
}

void temp_fini(struct broker *b)
{
	while (b->temps) {
		struct temp *t = b->temps;

		b->temps = t->next;
		free(t);
	}
	if (!b->temp_state)
		return;
	char *path = b->temp_state + strlen(OPTION), *name = strrchr(path, '/') + 1;
	name[-1] = '\0';
	bv_autofd int base = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (base >= 0)
		dir_remove(base, name, path);
	close(b->temp_dir);
	free(b->temp_state);
}
