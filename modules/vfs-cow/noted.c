/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running sandbox learns that its changes, as a snapshot had them, are the host's now.  Its copies
 * in the upper stay, since guests have them open; what is new is what they lie over.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "origin.h"
#include "review.h"

/* Guests gave the name up while it was being committed: to them it stays away. */
static int cover(struct vfs *v, const char *path, size_t len)
{
	bv_autofree struct loc *l = calloc(1, sizeof(*l));
	char place[PATH_MAX];

	if (!l)
		return -ENOMEM;
	memcpy(place, path, len);
	place[len] = '\0';
	place_at(v, place, l);
	l->view = V_LOWER;
	l->dir_view = V_MERGED;
	return real_lower_has(v, l, NULL) ? upper_removed(v, l) : 0;
}

/* From the root on down to the path: where upper and lower have come to meet. */
static int meet(struct vfs *v, const char *path)
{
	struct spot s;

	spot_root(v, &s);
	for (const char *p = path; *p;) {
		enum view dir_view = s.view;

		while (*p == '/')
			p++;
		size_t len = strcspn(p, "/");
		if (!len)
			break;
		spot_step(&s, p, len);
		p += len;
		if (s.mount->rule != R_COW && s.mount->rule != R_BIND)
			return 0;
		if (s.view == V_LOWER && dir_view == V_MERGED)
			return cover(v, path, (size_t)(p - path));
		if (s.view == V_UPPER && s.node && s.node->state == N_UPPER && !s.node->had_lower) {
			int r = scan_again(v, s.node, s.mount);

			if (r < 0)
				return r;
			s.view = s.node->state == N_MERGED ? V_MERGED : V_UPPER;
		}
		if (s.view != V_MERGED)
			return 0;
	}
	return 0;
}

/* "PATH" alone, which the host does not have any more, or what origin_text() made. */
static int take(struct vfs *v, const char *record)
{
	const char *path = origin_path(record);

	if (path[0] != '/' || strlen(path) >= PATH_MAX)
		return -EINVAL;
	if (path == record) {
		origin_forget(v, path);
		return 0;
	}
	return origin_take(v, record) ? meet(v, path) : -EINVAL;
}

/*
 * Who was committing is gone and has told nothing: every directory of guests' own may have come to lie
 * over one of the host's.
 */
static int meet_all(struct vfs *v, struct node *n, struct mount *mount, struct loc *l)
{
	struct node *c, *next;
	struct stat low;
	int r = 0;

	HASH_ITER (hh, n->children, c, next) {
		struct mount *m = c->mount ? c->mount : mount;

		if (m->rule == R_COW || m->rule == R_BIND) {
			tree_path(c, l->path);
			l->len = strlen(l->path);
			l->mount = m;
			if (c->state == N_UPPER && !c->had_lower && real_lower_has(v, l, &low) &&
			    S_ISDIR(low.st_mode))
				r = scan_again(v, c, m);
		}
		if (r == 0)
			r = meet_all(v, c, m, l);
		if (r < 0)
			return r;
	}
	return 0;
}

static void complain(struct vfs *v, const char *record, int r)
{
	char text[256];

	snprintf(text, sizeof(text), "a commit's record '%.150s': %s", record, strerror(-r));
	v->host->log(v->self, BV_LOG_WARN, text);
}

int noted_take(struct vfs *v, const char *records, size_t len)
{
	int r = 0;

	if (!len) {
		bv_autofree struct loc *l = calloc(1, sizeof(*l));

		if (!l)
			return -ENOMEM;
		l->fd = l->path_fd = -1;
		return meet_all(v, v->root, v->base, l);
	}
	if (records[len - 1])
		return -EINVAL;
	v->actor = 0; /* nobody inside did it */
	for (size_t at = 0; at < len; at += strlen(records + at) + 1) {
		int got = take(v, records + at);

		if (got < 0)
			complain(v, records + at, got);
		r = r < 0 ? r : got;
	}
	/* Guests wait: a record that a power failure takes back makes a commit ask. */
	int saved = origin_save(v, false);
	return r < 0 ? r : saved;
}
