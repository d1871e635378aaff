/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Renames are found as git(1) finds exact ones: a deleted and an added file of the same size, not
 * empty, with the same bytes.  Each deleted file is taken once.
 */
#include "renames.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cleanup.h>

struct file {
	char *path;
	uint64_t size;
	bool taken;
};

struct files {
	struct file *at;
	size_t n;
};

struct found {
	struct files gone, added;
};

static int note(struct files *f, const char *path, uint64_t size)
{
	struct file *grown = reallocarray(f->at, f->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	f->at = grown;
	grown[f->n] = (struct file){strdup(path), size, false};
	return grown[f->n++].path ? 0 : -ENOMEM;
}

static int each(void *arg, const struct bv_change *c)
{
	struct found *f = arg;

	if (c->type != 'f')
		return 0;
	if (c->kind == 'D' && c->old_size)
		return note(&f->gone, c->path, c->old_size);
	return c->kind == 'A' && c->size ? note(&f->added, c->path, c->size) : 0;
}

static ssize_t read_full(int fd, char *buf, size_t size)
{
	size_t done = 0;
	ssize_t n = 1;

	while (done < size && (n = read(fd, buf + done, size - done)) > 0)
		done += (size_t)n;
	return n < 0 ? -1 : (ssize_t)done;
}

static bool same(const struct bv_review *review, const char *from, const char *to)
{
	enum { SIZE = 65536 };
	bv_autofd int a = review->open(review, from, BV_OLD), b = review->open(review, to, BV_NEW);
	bv_autofree char *buf = malloc(2 * SIZE);
	ssize_t n;

	if (a < 0 || b < 0 || !buf)
		return false;
	do {
		n = read_full(a, buf, SIZE);
		if (n < 0 || read_full(b, buf + SIZE, SIZE) != n || memcmp(buf, buf + SIZE, (size_t)n) != 0)
			return false;
	} while (n == SIZE);
	return true;
}

static int by_size(const void *a, const void *b)
{
	const struct file *x = a, *y = b;

	return x->size != y->size ? (x->size < y->size ? -1 : 1) : strcmp(x->path, y->path);
}

/* The first deleted file of that size. */
static size_t first_of(const struct files *f, uint64_t size)
{
	size_t from = 0, to = f->n;

	while (from < to) {
		size_t mid = from + (to - from) / 2;

		if (f->at[mid].size < size)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

static int match(const struct bv_review *review, struct found *f, struct renames *out)
{
	out->at = calloc(f->added.n + 1, sizeof(*out->at));
	if (!out->at)
		return -ENOMEM;
	if (f->gone.n)
		qsort(f->gone.at, f->gone.n, sizeof(f->gone.at[0]), by_size);
	/* The added ones come in order of their paths, and stay in it. */
	for (size_t i = 0; i < f->added.n; i++) {
		struct file *to = &f->added.at[i];

		for (size_t k = first_of(&f->gone, to->size); k < f->gone.n && f->gone.at[k].size == to->size; k++) {
			struct file *from = &f->gone.at[k];

			if (from->taken || !same(review, from->path, to->path))
				continue;
			from->taken = true;
			out->at[out->n++] = (struct rename_pair){bv_take(from->path), bv_take(to->path)};
			from->path = strdup("");
			to->path = NULL;
			if (!from->path)
				return -ENOMEM;
			break;
		}
	}
	return 0;
}

static void files_fini(struct files *f)
{
	for (size_t i = 0; i < f->n; i++)
		free(f->at[i].path);
	free(f->at);
}

int renames_find(const struct bv_review *review, struct renames *out)
{
	struct found f = {0};

	*out = (struct renames){0};
	int r = review->changes(review, each, &f);
	if (r == 0 && BV_HAS(struct bv_review, review, open))
		r = match(review, &f, out);
	files_fini(&f.gone);
	files_fini(&f.added);
	if (r < 0)
		renames_fini(out);
	return r;
}

void renames_fini(struct renames *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->at[i].from);
		free(r->at[i].to);
	}
	free(r->at);
	*r = (struct renames){0};
}

const char *renames_from(const struct renames *r, const char *to)
{
	size_t from = 0, end = r->n;

	while (from < end) {
		size_t mid = from + (end - from) / 2;
		int order = strcmp(r->at[mid].to, to);

		if (order == 0)
			return r->at[mid].from;
		if (order < 0)
			from = mid + 1;
		else
			end = mid;
	}
	return NULL;
}

bool renames_gone(const struct renames *r, const char *from)
{
	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->at[i].from, from) == 0)
			return true;
	return false;
}
