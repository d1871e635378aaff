/* SPDX-License-Identifier: Apache-2.0 */
/*
 * As in OCI image layers, `.wh.NAME` beside the place of NAME.  The whiteout of a name that leaves
 * no room for the prefix is kept under a hash, with the name as its content.  FNV-1a only has to be
 * stable, not strong: the tree is the authority.
 */
#include "whiteout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cleanup.h>

#define OWN WHITEOUT WHITEOUT
#define LONG OWN "long."

static void file_name(const char *name, char out[NAME_MAX + 1])
{
	uint64_t h = 0xcbf29ce484222325u;

	if (strlen(name) + sizeof(WHITEOUT) - 1 <= NAME_MAX) {
		snprintf(out, NAME_MAX + 1, WHITEOUT "%s", name);
		return;
	}
	for (const unsigned char *c = (const unsigned char *)name; *c; c++)
		h = (h ^ *c) * 0x100000001b3u;
	snprintf(out, NAME_MAX + 1, LONG "%016llx", (unsigned long long)h);
}

int whiteout_make(int dir, const char *name)
{
	char file[NAME_MAX + 1];

	file_name(name, file);
	bv_autofd int fd = openat(dir, file, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	if (strlen(name) + sizeof(WHITEOUT) - 1 > NAME_MAX && write(fd, name, strlen(name)) < 0)
		return -errno;
	return 0;
}

void whiteout_drop(int dir, const char *name)
{
	char file[NAME_MAX + 1];

	file_name(name, file);
	(void)unlinkat(dir, file, 0);
}

bool whiteout_looks_real(int dir, const char *file)
{
	struct stat st;

	return fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && !(st.st_mode & 07177) &&
	       (st.st_size == 0 || strncmp(file, LONG, sizeof(LONG) - 1) == 0);
}

bool whiteout_there(int dir, const char *name)
{
	char file[NAME_MAX + 1];

	file_name(name, file);
	return whiteout_looks_real(dir, file);
}

static bool is_name(const char *name)
{
	return name[0] && strcmp(name, ".") != 0 && strcmp(name, "..") != 0 && !strchr(name, '/');
}

/* The name within the file; it must be one that belongs there. */
static enum whiteout_kind read_long(int dir, const char *file, char out[NAME_MAX + 1])
{
	char again[NAME_MAX + 1];
	bv_autofd int fd = openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, NAME_MAX + 1);

	if (n == 0)
		return WHITEOUT_TEMP; /* made, and nothing written into it yet */
	if (n < 0 || n > NAME_MAX || memchr(out, '\0', (size_t)n))
		return WHITEOUT_BAD;
	out[n] = '\0';
	file_name(out, again);
	return is_name(out) && strcmp(again, file) == 0 ? WHITEOUT_OF : WHITEOUT_BAD;
}

enum whiteout_kind whiteout_read(int dir, const char *file, char out[NAME_MAX + 1])
{
	if (strncmp(file, WHITEOUT, sizeof(WHITEOUT) - 1) != 0)
		return WHITEOUT_NONE;
	if (strncmp(file, WHITEOUT_TEMP_PREFIX, sizeof(WHITEOUT_TEMP_PREFIX) - 1) == 0)
		return WHITEOUT_TEMP;
	if (strncmp(file, LONG, sizeof(LONG) - 1) == 0)
		return read_long(dir, file, out);
	if (strncmp(file, OWN, sizeof(OWN) - 1) == 0)
		return WHITEOUT_BAD;
	strcpy(out, file + sizeof(WHITEOUT) - 1);
	return is_name(out) ? WHITEOUT_OF : WHITEOUT_BAD;
}
