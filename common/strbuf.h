/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COMMON_STRBUF_H
#define COMMON_STRBUF_H
/* A growing, always NUL-terminated byte string.  Out of memory is sticky: `failed` is set, later
 * appends do nothing, and the caller checks once at the end. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct strbuf {
	char *data; /* NULL while empty */
	size_t len, cap;
	bool failed;
};

static inline bool strbuf_reserve(struct strbuf *b, size_t more)
{
	if (b->failed)
		return false;
	if (b->len + more + 1 <= b->cap)
		return true;
	size_t cap = b->cap ? b->cap : 64;
	while (cap < b->len + more + 1)
		cap *= 2;
	char *data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return false;
	}
	b->data = data;
	b->cap = cap;
	return true;
}
static inline void strbuf_add(struct strbuf *b, const void *bytes, size_t n)
{
	if (!strbuf_reserve(b, n))
		return;
	if (n)
		memcpy(b->data + b->len, bytes, n);
	b->len += n;
	b->data[b->len] = '\0';
}
static inline void strbuf_puts(struct strbuf *b, const char *s)
{
	strbuf_add(b, s, strlen(s));
}
__attribute__((format(printf, 2, 3))) static inline void strbuf_printf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0 || !strbuf_reserve(b, (size_t)n))
		return;
	va_start(ap, fmt);
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
}
static inline void strbuf_fini(struct strbuf *b)
{
	free(b->data);
	*b = (struct strbuf){0};
}
#define bv_autostrbuf __attribute__((cleanup(strbuf_fini)))

#endif
