/* SPDX-License-Identifier: Apache-2.0 */
/* Stepping down the tree: which layer answers for a path.  Pure; touches no file. */
#include <string.h>

#include "vfs.h"

static enum view view_of_rule(const struct mount *m, const struct node *n)
{
	switch (m->rule) {
	case R_RO:
		return V_RO;
	case R_RW:
		return V_RW;
	case R_HIDE:
		return V_HIDE;
	case R_SYNTH:
		return V_SYNTH;
	case R_TMP:
		return V_UPPER;
	default:
		break;
	}
	switch (n->state) {
	case N_MERGED:
		return V_MERGED;
	case N_UPPER:
		return V_UPPER;
	case N_WHITEOUT:
		return V_NONE;
	default:
		return V_LOWER;
	}
}

void spot_root(struct vfs *v, struct spot *s)
{
	s->node = v->root;
	s->mount = v->base;
	s->view = view_of_rule(v->base, v->root);
}

bool spot_shows(const struct node *dir, const char *name, size_t len)
{
	const struct bv_strings *only = dir && dir->mount ? dir->mount->only : NULL;

	for (size_t i = 0; only && i < only->n; i++)
		if (strncmp(only->item[i], name, len) == 0 && !only->item[i][len])
			return true;
	return !only;
}

void spot_step(struct spot *s, const char *name, size_t len)
{
	struct node *dir = s->node, *child = dir ? tree_child(dir, name, len) : NULL;

	s->node = child;
	if (!child && !spot_shows(dir, name, len)) {
		/* In a copy-on-write directory guests may have something of their own there. */
		s->view = s->view == V_LOWER || s->view == V_MERGED ? V_NONE : V_HIDE;
		return;
	}
	if (child && child->mount) {
		s->mount = child->mount;
		s->view = view_of_rule(child->mount, child);
		return;
	}
	if (child && child->state == N_MERGED)
		s->view = V_MERGED;
	else if (child && child->state == N_UPPER)
		s->view = V_UPPER;
	else if (child && child->state == N_WHITEOUT)
		s->view = V_NONE;
	else if (s->view == V_MERGED)
		s->view = V_LOWER;
}

void spot_at(struct vfs *v, const char *path, struct spot *s)
{
	spot_root(v, s);
	while (*path) {
		while (*path == '/')
			path++;
		size_t len = strcspn(path, "/");
		if (len)
			spot_step(s, path, len);
		path += len;
	}
}
