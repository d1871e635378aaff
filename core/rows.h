/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ROWS_H
#define CORE_ROWS_H
/* Tables whose rows may be shorter or longer than ours (the border's extensible-struct rule). */
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

/* Row i of a table with the given stride, zero-filled to size. */
static inline void row_copy(void *to, size_t size, const void *table, size_t i, size_t stride)
{
	size_t n = stride < size ? stride : size;
	memcpy(to, (const char *)table + i * stride, n);
	memset((char *)to + n, 0, size - n);
}

/* Whether all bytes are zero: what lets a longer struct pass. */
static inline bool bytes_are_zero(const void *p, size_t n)
{
	const unsigned char *b = p;
	for (size_t i = 0; i < n; i++)
		if (b[i])
			return false;
	return true;
}

#endif
