/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "serve.h"

size_t queue_size(const struct queue *q)
{
	return q->len - q->at;
}

const char *queue_bytes(const struct queue *q)
{
	return q->data + q->at;
}

bool queue_add(struct queue *q, const void *bytes, size_t n)
{
	if (q->at && q->len + n > q->cap) {
		memmove(q->data, q->data + q->at, q->len - q->at);
		q->len -= q->at;
		q->at = 0;
	}
	if (q->len + n > q->cap) {
		size_t cap = q->cap ? q->cap : 4096;

		while (cap < q->len + n)
			cap *= 2;
		char *grown = realloc(q->data, cap);
		if (!grown)
			return false;
		q->data = grown;
		q->cap = cap;
	}
	if (n)
		memcpy(q->data + q->len, bytes, n);
	q->len += n;
	return true;
}

void queue_take(struct queue *q, size_t n)
{
	q->at += n;
	if (q->at < q->len)
		return;
	q->at = q->len = 0;
	/* What was needed once is not kept for good. */
	if (q->cap > 1u << 20)
		queue_fini(q);
}

void queue_fini(struct queue *q)
{
	free(q->data);
	*q = (struct queue){0};
}
