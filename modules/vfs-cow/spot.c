/* SPDX-License-Identifier: Apache-2.0 */
/* Stepping down the tree: which layer answers for a path.  Pure; touches no file. */
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

void spot_step(struct spot *s, const char *name, size_t len)
{
	struct node *child = s->node ? tree_child(s->node, name, len) : NULL;

	s->node = child;
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
