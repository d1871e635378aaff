/* SPDX-License-Identifier: Apache-2.0 */
/* Ranges of numbers from the ini.  Pure functions. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "range.h"

/* strtoull takes signs and blanks, which have no business in a command number. */
static int number(const char *s, const char **end, uint32_t *out)
{
	unsigned long long v;
	char *stop;

	if (!isdigit((unsigned char)*s))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &stop, 0);
	if (errno || stop == s || v > UINT32_MAX)
		return -EINVAL;
	*end = stop;
	*out = (uint32_t)v;
	return 0;
}

int range_parse(const char *word, struct range *out)
{
	struct range r;
	const char *p;

	if (number(word, &p, &r.first) < 0)
		return -EINVAL;
	r.last = r.first;
	if (*p == '-' && number(p + 1, &p, &r.last) < 0)
		return -EINVAL;
	if (*p || r.last < r.first)
		return -EINVAL;
	*out = r;
	return 0;
}

static int by_first(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

size_t range_merge(struct range *r, size_t n)
{
	size_t kept = 0;

	qsort(r, n, sizeof(*r), by_first);
	for (size_t i = 0; i < n; i++) {
		struct range *prev = kept ? &r[kept - 1] : NULL;

		if (prev && (prev->last == UINT32_MAX || r[i].first <= prev->last + 1)) {
			if (r[i].last > prev->last)
				prev->last = r[i].last;
		} else {
			r[kept++] = r[i];
		}
	}
	return kept;
}
