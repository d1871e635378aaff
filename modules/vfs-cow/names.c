/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>

int names_read(int fd, struct strbuf *out)
{
	const struct dirent *e;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);

	if (!d) {
		int err = fd < 0 ? -fd : errno;

		if (fd >= 0)
			close(fd);
		return -err;
	}
	while ((e = readdir(d)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			strbuf_add(out, e->d_name, strlen(e->d_name) + 1);
	closedir(d);
	return out->failed ? -ENOMEM : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

int names_sort(struct strbuf *names)
{
	struct strbuf sorted = {0};
	size_t n = 0, i = 0;

	if (names->failed)
		return -ENOMEM;
	for (const char *s = names_first(names); s; s = names_next(names, s))
		n++;
	bv_autofree const char **at = calloc(n + 1, sizeof(*at));
	if (!at)
		return -ENOMEM;
	for (const char *s = names_first(names); s; s = names_next(names, s))
		at[i++] = s;
	qsort(at, n, sizeof(*at), by_name);
	for (i = 0; i < n; i++)
		if (i == 0 || strcmp(at[i], at[i - 1]) != 0)
			strbuf_add(&sorted, at[i], strlen(at[i]) + 1);
	if (sorted.failed) {
		strbuf_fini(&sorted);
		return -ENOMEM;
	}
	strbuf_fini(names);
	*names = sorted;
	return 0;
}

const char *names_first(const struct strbuf *names)
{
	return names->len ? names->data : NULL;
}

const char *names_next(const struct strbuf *names, const char *name)
{
	name += strlen(name) + 1;
	return name < names->data + names->len ? name : NULL;
}
