/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The request of who joins a running sandbox: its numbers and its file of strings are any bytes.  What
 * is taken for words is what stands in the file, one behind the other, and exactly as many as asked for.
 *
 * Input: argc and envc, four bytes each, then the file.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "join_words.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
	if (!holds)
		abort();
}

/* The next string of the file is this word: where the one behind it begins. */
static const uint8_t *expect(const uint8_t *at, const uint8_t *end, const char *word)
{
	size_t len = strnlen((const char *)at, (size_t)(end - at));

	check(at + len < end && strlen(word) == len && memcmp(at, word, len) == 0);
	return at + len + 1;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct join_request q = {.magic = JOIN_MAGIC};
	struct join_words w;
	size_t strings = 0;

	if (size < 8)
		return 0;
	memcpy(&q.argc, data, 4);
	memcpy(&q.envc, data + 4, 4);
	const uint8_t *at = data + 8, *end = data + size;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	check(fd >= 0 && write(fd, at, (size_t)(end - at)) == end - at);
	for (const uint8_t *c = at; c < end; c++)
		strings += !*c;
	int r = join_words_read(fd, &q, &w);
	/* The directory, the words, the variables: all are there, or it is refused. */
	check(r == (q.argc && strings >= (uint64_t)1 + q.argc + q.envc ? 0 : -EPROTO));
	if (r == 0) {
		at = expect(at, end, w.cwd);
		for (uint32_t i = 0; i < q.argc; i++)
			at = expect(at, end, w.argv[i]);
		for (uint32_t i = 0; i < q.envc; i++)
			at = expect(at, end, w.envp[i]);
		check(!w.argv[q.argc] && !w.envp[q.envc]);
	}
	join_words_free(&w);
	close(fd);
	return 0;
}
