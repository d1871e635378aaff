/* SPDX-License-Identifier: Apache-2.0 */
#include "join_words.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* The next of the strings, or NULL when there is none. */
static char *next_string(char **at, const char *end)
{
	char *text = *at, *nul = text < end ? memchr(text, '\0', (size_t)(end - text)) : NULL;

	if (nul)
		*at = nul + 1;
	return nul ? text : NULL;
}

static int take(char ***to, uint32_t n, char **at, const char *end)
{
	if (n > (size_t)(end - *at)) /* each has a byte at least */
		return -EPROTO;
	char **word = calloc((size_t)n + 1, sizeof(*word));
	if (!word)
		return -ENOMEM;
	*to = word;
	for (uint32_t i = 0; i < n; i++)
		if (!(word[i] = next_string(at, end)))
			return -EPROTO;
	return 0;
}

int join_words_read(int fd, const struct join_request *q, struct join_words *out)
{
	struct stat st;

	*out = (struct join_words){0};
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return -EPROTO;
	if (st.st_size > JOIN_STRINGS_MAX)
		return -E2BIG;
	out->strings = malloc((size_t)st.st_size);
	if (!out->strings)
		return -ENOMEM;
	ssize_t n = pread(fd, out->strings, (size_t)st.st_size, 0);
	if (n != st.st_size)
		return -EPROTO;
	char *at = out->strings;
	const char *end = out->strings + n;
	out->cwd = next_string(&at, end);
	if (!out->cwd || !q->argc)
		return -EPROTO;
	int r = take(&out->argv, q->argc, &at, end);
	return r < 0 ? r : take(&out->envp, q->envc, &at, end);
}

void join_words_free(struct join_words *w)
{
	free(w->strings);
	free(w->argv);
	free(w->envp);
	*w = (struct join_words){0};
}
