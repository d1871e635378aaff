/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A running sandbox learns that its changes, as a snapshot had them, are the host's now.  Its copies
 * in the upper stay, since guests have them open; what is new is what they lie over.
 */
#include <errno.h>
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

int noted_take(struct vfs *v, const char *records, size_t len)
{
	int r = len && records[len - 1] ? -EINVAL : 0;

	v->actor = 0; /* nobody inside did it */
	for (size_t at = 0; r == 0 && at < len; at += strlen(records + at) + 1)
		r = take(v, records + at);
	/* Guests wait: a record that a power failure takes back makes a commit ask. */
	int saved = origin_save(v, false);
	return r < 0 ? r : saved;
}
