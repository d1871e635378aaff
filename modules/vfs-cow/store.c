/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register of copy-on-write stores: `upper = SCHEME:REST` is opened by the store of that
 * scheme, the built-in `tmp` and `local` or one that a module adds.
 */
#include <errno.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>

#include "fetch.h"
#include "origin.h"
#include "store.h"
#include "vfs.h"
#include "who.h"

int store_fail(struct store_why *t, int err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int n = vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < sizeof(t->why))
		snprintf(t->why + n, sizeof(t->why) - (size_t)n, ": %s", strerror(err));
	return -err;
}

static struct vfs *vfs_of(const struct bv_store *store)
{
	return (struct vfs *)(uintptr_t)((const char *)store - offsetof(struct vfs, svc_store));
}

static struct store_reg *known(const struct vfs *v, const char *scheme)
{
	for (struct store_reg *r = v->stores; r; r = r->next)
		if (strcmp(r->ops->scheme, scheme) == 0)
			return r;
	return NULL;
}

static int reg_add(struct vfs *v, const struct bv_store_ops *ops, void *ctx)
{
	struct store_reg *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->ops = ops;
	r->ctx = ctx;
	r->next = v->stores;
	v->stores = r;
	return 0;
}

static bool sound(const struct bv_store_ops *ops, const char *scheme)
{
	return ops->head.magic == BV_MAGIC_SERVICE && ops->head.major == BV_ABI_MAJOR &&
	       BV_HAS(struct bv_store_ops, ops, open) && BV_HAS(struct bv_store_ops, ops, close) &&
	       ops->scheme && strcmp(ops->scheme, scheme) == 0;
}

/* A built-in store, or one that another module provides. */
static const struct store_reg *find(struct vfs *v, const char *scheme)
{
	char service[64];
	const struct store_reg *r = known(v, scheme);
	const struct bv_store_ops *ops;

	if (r || (size_t)snprintf(service, sizeof(service), BV_STORE_PREFIX "%s", scheme) >=
	                 sizeof(service))
		return r;
	/* Every service begins with its head. */
	ops = (const struct bv_store_ops *)v->host->service(v->self, service);
	if (!ops || !sound(ops, scheme) ||
	    reg_add(v, ops, BV_HAS(struct bv_store_ops, ops, ctx) ? ops->ctx : NULL) < 0)
		return NULL;
	return v->stores;
}

static const struct bv_store_ops *svc_find(const struct bv_store *store, const char *scheme, void **ctx)
{
	const struct store_reg *r = find(vfs_of(store), scheme);

	if (r)
		*ctx = r->ctx;
	return r ? r->ops : NULL;
}

const struct bv_store store_service = {
	.head = BV_HEAD(SERVICE, struct bv_store),
	.find = svc_find,
};

void store_spread(int dir)
{
	struct statfs fs;
	int flags;

	/* What cannot be had is done without. */
	if (fstatfs(dir, &fs) == 0 && fs.f_type == EXT4_SUPER_MAGIC &&
	    ioctl(dir, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
		flags |= FS_TOPDIR_FL;
		(void)ioctl(dir, FS_IOC_SETFLAGS, &flags);
	}
}

static int fail(struct vfs *v, int err, const char *why)
{
	char text[1000];

	snprintf(text, sizeof(text), "%s: upper = %.200s: %s", v->host->option_where(v->self, "upper"), v->conf->upper,
	         why);
	v->host->fail(v->self, text);
	return err;
}

static int fail_scheme(struct vfs *v)
{
	bv_autostrbuf struct strbuf b = {0};

	strbuf_puts(&b, "no such store; known:");
	for (const struct store_reg *r = v->stores; r; r = r->next)
		strbuf_printf(&b, " %s:", r->ops->scheme);
	strbuf_puts(&b, "; the module of another one stands before vfs-cow in `modules`");
	return b.failed ? -ENOMEM : fail(v, -EINVAL, b.data);
}

static const struct bv_store_ops *const built_in[] = {&store_tmp_ops, &store_local_ops};

static int add_built_in(struct vfs *v)
{
	if (v->conf->state && v->conf->state[0] && v->conf->state[0] != '/') {
		char text[700];

		snprintf(text, sizeof(text), "%s: state = %.400s: is no absolute path",
		         v->host->option_where(v->self, "state"), v->conf->state);
		v->host->fail(v->self, text);
		return -EINVAL;
	}
	for (size_t i = 0; i < BV_ROWS_OF(built_in); i++) {
		struct store_why *t = calloc(1, sizeof(*t));
		if (t)
			t->state = v->conf->state;
		int r = t ? reg_add(v, built_in[i], t) : -ENOMEM;

		if (r < 0) {
			free(t);
			return r;
		}
	}
	return 0;
}

/* What the layer holds already. */
static int take_kept(struct vfs *v)
{
	int r = 0;

	if (v->upper.meta_fd >= 0 && (r = origin_load(v)) < 0)
		return fail(v, r, r == -EINVAL ? "the layer's meta/origins is not as bvisor writes it" : strerror(-r));
	r = who_start(v);
	if (r < 0)
		return fail(v, r,
		            r == -EINVAL ? "the layer's meta/who is not as bvisor writes it"
		                         : strerror(-r));
	if (v->upper.flags & BV_LAYER_KEPT)
		r = scan_layer(v);
	if (r == -EUCLEAN)
		return fail(v, r, "the layer holds names (.wh.*) that bvisor does not give");
	return r < 0 ? fail(v, r, strerror(-r)) : 0;
}

static int hide(struct vfs *v, const char *path)
{
	struct node *n = tree_find(v->root, path);

	if (n && n->mount && n->mount->rule == R_HIDE)
		return 0;
	return mount_add(v, R_HIDE, path, path) ? 0 : -ENOMEM;
}

/*
 * The stores' own files are nothing for guests, this layer's or others': who could write there would
 * choose what somebody else commits.
 */
static int hide_real(struct vfs *v, const char *path)
{
	bv_autofree char *real = realpath(path, NULL);

	return real ? hide(v, real) : 0;
}

/* Where the host's files are not shown there is nothing to hide, and a guest may have that name itself. */
static int hide_shown(struct vfs *v, const char *path)
{
	struct spot s;

	spot_at(v, path, &s);
	return s.mount->rule == R_TMP || s.mount->rule == R_HIDE ? 0 : hide(v, path);
}

/* The open layer, and what else its store wants hidden; when all that is shown is known. */
static int hide_layer(struct vfs *v)
{
	const char *root = v->upper.root;
	bv_autofree char *dir = strndup(root, (size_t)(strrchr(root, '/') - root));
	bv_autofree char *real = dir && *dir ? realpath(dir, NULL) : NULL;
	int r = v->upper.hide[0] ? hide_shown(v, v->upper.hide) : 0;

	return r == 0 && real ? hide_shown(v, real) : r;
}

static int hide_stores(struct vfs *v)
{
	const char *state = getenv("XDG_STATE_HOME");
	char kept[PATH_MAX];
	int r = 0;

	/* Also one that is not there yet: another sandbox may make it while guests of this one run. */
	if (v->conf->state && v->conf->state[0] && (r = hide(v, v->conf->state)) == 0)
		r = hide_real(v, v->conf->state);
	/* Its default place is in the list of hidden ones (bvisor.ini). */
	if (r < 0 || !state || state[0] != '/' ||
	    (size_t)snprintf(kept, sizeof(kept), "%s/bvisor", state) >= sizeof(kept))
		return r;
	return hide_real(v, kept);
}

/*
 * Who starts a command in a directory means that directory, also when it lies in one that is private: a
 * build below /tmp, an application's temporary project.  A kept layer has changes of the one that it
 * was first used in.
 */
static int show_start(struct vfs *v)
{
	struct bv_layer_info info = {.head = BV_HEAD(SERVICE, struct bv_layer_info)};
	char here[PATH_MAX];
	int r = 0;

	if (BV_HAS(struct bv_store_ops, v->store, info) && v->store->info &&
	    v->store->info(v->store_ctx, &v->upper, &info) == 0 && info.start)
		r = mount_show(v, info.start);
	return r == 0 && getcwd(here, sizeof(here)) ? mount_show(v, here) : r;
}

int store_open(struct vfs *v)
{
	int r = add_built_in(v);
	const char *why = NULL, *colon = strchr(v->conf->upper, ':');
	char scheme[32];

	if (r < 0)
		return r;
	if (!colon)
		return fail(v, -EINVAL, "is not SCHEME:REST");
	int len = (int)(colon - v->conf->upper);
	if (len >= (int)sizeof(scheme))
		return fail_scheme(v);
	snprintf(scheme, sizeof(scheme), "%.*s", len, v->conf->upper);
	const struct store_reg *reg = find(v, scheme);
	if (!reg)
		return fail_scheme(v);
	struct bv_layer layer = {.head = BV_HEAD(SERVICE, struct bv_layer), .root_fd = -1, .meta_fd = -1};
	if (!v->conf->create)
		layer.flags = BV_LAYER_EXISTING;
	r = reg->ops->open(reg->ctx, colon + 1, &layer, &why);
	if (r < 0)
		return fail(v, r, why ? why : strerror(-r));
	v->store = reg->ops;
	v->store_ctx = reg->ctx;
	v->upper = layer;
	r = hide_stores(v);
	if (r == 0)
		r = show_start(v);
	if (r == 0)
		r = hide_layer(v);
	if (r == 0)
		r = fetch_start(v);
	return r < 0 ? r : take_kept(v);
}

void store_close(struct vfs *v)
{
	if (v->store)
		v->store->close(v->store_ctx, &v->upper);
	v->store = NULL;
	origin_free(v);
	whos_free(v->who);
	while (v->stores) {
		struct store_reg *r = v->stores;

		v->stores = r->next;
		for (size_t i = 0; i < BV_ROWS_OF(built_in); i++)
			if (r->ops == built_in[i])
				free(r->ctx);
		free(r);
	}
}
