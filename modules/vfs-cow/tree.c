/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of what is dirty or ruled.  It answers "is this path clean?": a path whose walk runs
 * out of nodes is wholly the business of the last node's layer.  It grows with the places where
 * upper and lower meet, not with the number of files below an upper-only directory.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vfs.h"

struct node *tree_child(const struct node *n, const char *name, size_t len)
{
	struct node *found = NULL;

	if (n && n->children)
		HASH_FIND(hh, n->children, name, len, found);
	return found;
}

struct node *tree_add(struct node *parent, const char *name, size_t len)
{
	struct node *n = tree_child(parent, name, len);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return NULL;
	memcpy(n->name, name, len);
	n->parent = parent;
	if (parent)
		HASH_ADD_KEYPTR(hh, parent->children, n->name, len, n);
	return n;
}

static void free_below(struct node *n)
{
	struct node *child, *next;

	HASH_ITER(hh, n->children, child, next) {
		HASH_DELETE(hh, n->children, child);
		free_below(child);
		free(child);
	}
}

void tree_drop(struct node *n)
{
	if (!n)
		return;
	if (n->parent)
		HASH_DELETE(hh, n->parent->children, n);
	free_below(n);
	free(n);
}

void tree_prune(struct node *n)
{
	while (n && n->parent && n->state == N_PASS && !n->mount && !n->children) {
		struct node *parent = n->parent;

		tree_drop(n);
		n = parent;
	}
}

/* One component of an absolute normalized path: its start, *len, and the rest through *next. */
static const char *component(const char *path, size_t *len, const char **next)
{
	while (*path == '/')
		path++;
	const char *end = strchrnul(path, '/');
	*len = (size_t)(end - path);
	*next = end;
	return path;
}

struct node *tree_find(struct node *root, const char *path)
{
	struct node *n = root;
	size_t len;

	for (const char *c = component(path, &len, &path); n && len; c = component(path, &len, &path))
		n = tree_child(n, c, len);
	return n;
}

struct node *tree_make(struct node *root, const char *path)
{
	struct node *n = root;
	size_t len;

	for (const char *c = component(path, &len, &path); n && len; c = component(path, &len, &path))
		n = tree_add(n, c, len);
	return n;
}

/* A node's name is its hash key and lives in the node, so a move makes a new node. */
void tree_move(struct node *n, struct node *to, const char *name)
{
	struct node *old = tree_child(to, name, strlen(name));

	if (old == n)
		return;
	tree_drop(old);
	struct node *moved = tree_add(to, name, strlen(name));
	if (!moved)
		abort(); /* the upper has changed already: a tree that lies about it must not live */
	moved->state = n->state;
	moved->meta = n->meta;
	moved->had_lower = n->had_lower;
	moved->gen = n->gen + 1;
	moved->children = n->children;
	n->children = NULL;
	for (struct node *child = moved->children; child; child = child->hh.next)
		child->parent = moved;
	tree_drop(n);
}

bool tree_has_rules(const struct node *n)
{
	for (const struct node *c = n ? n->children : NULL; c; c = c->hh.next)
		if (c->mount)
			return true;
	return false;
}

bool tree_has_mount(const struct node *n)
{
	if (!n)
		return false;
	if (n->mount)
		return true;
	for (const struct node *child = n->children; child; child = child->hh.next)
		if (tree_has_mount(child))
			return true;
	return false;
}

void tree_each(struct node *n, void (*fn)(void *arg, struct node *child), void *arg)
{
	struct node *child, *next;

	if (n)
		HASH_ITER(hh, n->children, child, next)
			fn(arg, child);
}

void tree_path(const struct node *n, char out[PATH_MAX])
{
	char buf[PATH_MAX];
	size_t at = sizeof(buf) - 1;

	buf[at] = '\0';
	for (; n && n->parent; n = n->parent) {
		size_t len = strlen(n->name);

		if (len + 1 > at)
			break;
		at -= len;
		memcpy(buf + at, n->name, len);
		buf[--at] = '/';
	}
	if (buf[at] == '\0')
		buf[--at] = '/';
	memcpy(out, buf + at, sizeof(buf) - at);
}
