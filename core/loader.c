/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings the modules of [core] modules to life: load, options, order by needs, routes, init; and
 * back.  Whatever cannot work is found here, before a guest starts; a failure undoes what was done.
 */
#include "loader.h"

#include <cleanup.h>
#include <errno.h>
#include <stdlib.h>
#include <strbuf.h>
#include <string.h>

#include "config.h"
#include "router.h"

static struct module *module_of(struct bv_self *self)
{
	return (struct module *)self; /* self is its first member */
}

static const char *name_of(const struct bv_self *self)
{
	return self->desc->name;
}

static void forget(struct bv_self *self)
{
	option_free(self->options);
	free(self->conf);
	free((void *)(uintptr_t)self->where);
	module_close(module_of(self));
	free(module_of(self));
}

static int load_one(struct sandbox *box, const char *dir, const char *word, const char *where, struct bv_error *err)
{
	struct module *m = calloc(1, sizeof(*m));
	if (!m)
		return error_set(err, ENOMEM, "out of memory");
	m->fd = -1;
	m->self.box = box;
	m->self.index = (unsigned)box->n_modules;
	m->self.where = strdup(where);
	int r = m->self.where ? module_open(m, dir, word, where, err) : error_set(err, ENOMEM, "out of memory");
	if (r < 0) {
		forget(&m->self);
		return r;
	}
	for (size_t i = 0; i < box->n_modules; i++)
		if (!strcmp(name_of(box->module[i]), m->desc.name)) {
			r = error_set(err, EINVAL, "%s: module '%s' is listed twice", where, m->desc.name);
			forget(&m->self);
			return r;
		}
	m->self.conf = calloc(1, m->desc.conf_size ? m->desc.conf_size : 1);
	struct bv_self **grown = reallocarray(box->module, box->n_modules + 1, sizeof(*grown));
	if (grown)
		box->module = grown;
	if (!m->self.conf || !grown) {
		forget(&m->self);
		return error_set(err, ENOMEM, "out of memory");
	}
	box->module[box->n_modules++] = &m->self;
	return option_apply(&m->self.options, box->config, m->desc.name, m->desc.options, m->desc.n_options,
			    m->desc.option_size, m->self.conf, err);
}

static bool section_known(const struct sandbox *box, const char *dir, const char *section)
{
	if (!strcmp(section, "core"))
		return true;
	for (size_t i = 0; i < box->n_modules; i++)
		if (!strcmp(name_of(box->module[i]), section))
			return true;
	return module_exists(dir, section);
}

static int refuse_unknown_sections(const struct sandbox *box, const char *dir, struct bv_error *err)
{
	const char *section = NULL, *where = NULL;
	for (size_t i = 0; !section && i < config_count(box->config); i++) {
		const struct config_entry *e = config_at(box->config, i);
		if (!section_known(box, dir, e->section)) {
			section = e->section;
			where = e->where;
		}
	}
	for (size_t i = 0; !section && i < config_sections(box->config); i++) {
		const char *at, *name = config_section(box->config, i, &at);
		if (!section_known(box, dir, name)) {
			section = name;
			where = at;
		}
	}
	if (!section)
		return 0;
	bv_autostrbuf struct strbuf known = {0};
	for (size_t i = 0; i < box->n_modules; i++)
		strbuf_printf(&known, ", %s", name_of(box->module[i]));
	return error_set(err, EINVAL, "%s: unknown section [%s]; allowed: core%s, or the name of a module in %s", where,
			 section, known.data ? known.data : "", dir);
}

int loader_load(struct sandbox *box, struct bv_error *err)
{
	bv_autofree char *dir = module_directory(&box->conf);
	if (!dir)
		return error_set(err, ENOMEM, "out of memory");
	bv_autofree char *where = strdup(option_where(box->core_options, "modules"));
	if (!where)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t i = 0; i < box->conf.modules.n; i++) {
		int r = load_one(box, dir, box->conf.modules.item[i], where, err);
		if (r < 0)
			return r;
	}
	return refuse_unknown_sections(box, dir, err);
}

static struct bv_self *provider_of(const struct sandbox *box, const char *service)
{
	for (size_t i = 0; i < box->n_modules; i++) {
		const char *const *p = box->module[i]->desc->provides;
		for (; p && *p; p++)
			if (!strcmp(*p, service))
				return box->module[i];
	}
	return NULL;
}

static int check_needs(const struct sandbox *box, struct bv_error *err)
{
	for (size_t i = 0; i < box->n_modules; i++) {
		const struct bv_self *self = box->module[i];
		for (size_t k = 0; k < self->desc->n_needs; k++) {
			const struct bv_need *need = &self->desc->needs[k];
			if (!need->optional && !provider_of(box, need->service))
				return error_set(
					err, ENOENT,
					"%s: module '%s' needs the service '%s' %u.%u, which no listed module provides",
					self->where, name_of(self), need->service, need->major, need->minor);
		}
	}
	return 0;
}

static bool may_start(const struct sandbox *box, const struct bv_self *self, const bool *started, bool optional_too)
{
	for (size_t k = 0; k < self->desc->n_needs; k++) {
		const struct bv_need *need = &self->desc->needs[k];
		const struct bv_self *by = provider_of(box, need->service);
		if (by && by != self && !started[by->index] && (!need->optional || optional_too))
			return false;
	}
	return true;
}

/*
 * Providers before their users, the ini's order otherwise.  An optional need gives way when
 * modules need each other.
 */
static int order_by_needs(const struct sandbox *box, struct bv_self **order, struct bv_error *err)
{
	bv_autofree bool *started = calloc(box->n_modules + 1, sizeof(*started));
	if (!started)
		return error_set(err, ENOMEM, "out of memory");
	for (size_t n = 0; n < box->n_modules; n++) {
		struct bv_self *next = NULL, *stuck = NULL;
		for (int optional_too = 1; !next && optional_too >= 0; optional_too--)
			for (size_t i = 0; !next && i < box->n_modules; i++) {
				if (started[i])
					continue;
				stuck = stuck ? stuck : box->module[i];
				if (may_start(box, box->module[i], started, optional_too))
					next = box->module[i];
			}
		if (!next)
			return error_set(err, ELOOP, "%s: module '%s' and another need each other's services",
					 stuck->where, name_of(stuck));
		started[next->index] = true;
		order[n] = next;
	}
	return 0;
}

/* The versions its services really have, known only now that their providers are up. */
static int check_versions(const struct sandbox *box, const struct bv_self *self, struct bv_error *err)
{
	for (size_t k = 0; k < self->desc->n_needs; k++) {
		const struct bv_need *need = &self->desc->needs[k];
		const struct bv_head *ops = loader_service((struct sandbox *)(uintptr_t)box, need->service);
		if (!ops && need->optional)
			continue;
		if (!ops)
			return error_set(
				err, ENOENT,
				"%s: module '%s' needs the service '%s' %u.%u, but module '%s' did not provide it",
				self->where, name_of(self), need->service, need->major, need->minor,
				name_of(provider_of(box, need->service)));
		/* One that is there but does not fit is refused even if optional: never a silent half. */
		if (ops->magic != BV_MAGIC_SERVICE || ops->zero || ops->size < sizeof(*ops) ||
		    ops->major != need->major || ops->minor < need->minor)
			return error_set(err, ENOEXEC, "%s: module '%s' needs the service '%s' %u.%u, loaded is %u.%u",
					 self->where, name_of(self), need->service, need->major, need->minor,
					 ops->major, ops->minor);
	}
	return 0;
}

static int add_routes(struct sandbox *box, struct bv_self *self, struct bv_error *err)
{
	const struct bv_module *m = self->desc;
	for (size_t i = 0; i < m->n_handlers; i++) {
		const struct bv_handler *row = &m->handlers[i];
		int r = router_add(box->router, self, row);
		if (r == -EINVAL && row->syscall && row->fn && row->phase <= BV_FALLBACK)
			return error_set(err, EINVAL, "%s: module '%s': handler row %zu: unknown syscall '%s'",
					 self->where, m->name, i, row->syscall);
		if (r < 0)
			return error_set(err, -r, "%s: module '%s': handler row %zu (%s) is malformed: %s", self->where,
					 m->name, i, row->syscall ? row->syscall : "no name", strerror(-r));
	}
	for (size_t i = 0; i < m->n_rules; i++) {
		const struct bv_rule *row = &m->rules[i];
		int r = router_rule(box->router, self, row);
		if (r == -EINVAL && row->syscall && names_nr(row->syscall) == -EINVAL)
			return error_set(err, EINVAL, "%s: module '%s': rule row %zu: unknown syscall '%s'",
					 self->where, m->name, i, row->syscall);
		if (r < 0)
			return error_set(err, -r, "%s: module '%s': rule row %zu (%s) is malformed: %s", self->where,
					 m->name, i, row->syscall ? row->syscall : "no name", strerror(-r));
	}
	return 0;
}

static int init_one(struct sandbox *box, struct bv_self *self, struct bv_error *err)
{
	int r = check_versions(box, self, err);
	if (!r)
		r = add_routes(box, self, err);
	if (r < 0)
		return r;
	r = self->desc->init(self, &host_table, self->conf, &self->state);
	if (r < 0)
		return error_set(err, -r, "%s: module '%s' did not start: %s", self->where, self->desc->name,
				 self->fail[0] ? self->fail : strerror(-r));
	self->ready = true;
	return 0;
}

void loader_stop(struct sandbox *box)
{
	bv_autofree struct bv_self **order = calloc(box->n_modules + 1, sizeof(*order));
	/* The same order as at the start, since nothing it depends on changes; without memory to
	 * find it, the reverse of the ini's must do. */
	bool sorted = order && order_by_needs(box, order, NULL) == 0;
	for (size_t i = box->n_modules; i-- > 0;) {
		struct bv_self *self = sorted ? order[i] : box->module[i];
		if (self->ready && self->desc->fini)
			self->desc->fini(self->state);
		self->ready = false;
	}
}

int loader_init(struct sandbox *box, struct bv_error *err)
{
	int r = check_needs(box, err);
	if (r < 0)
		return r;
	bv_autofree struct bv_self **order = calloc(box->n_modules + 1, sizeof(*order));
	if (!order)
		return error_set(err, ENOMEM, "out of memory");
	r = order_by_needs(box, order, err);
	for (size_t i = 0; !r && i < box->n_modules; i++)
		r = init_one(box, order[i], err);
	if (!r) {
		r = creds_routes(box);
		if (!r)
			r = router_freeze(box->router);
		if (r < 0)
			error_set(err, -r, "routes: %s", strerror(-r));
	}
	if (r < 0) {
		loader_stop(box);
		return r;
	}
	box->frozen = true;
	return 0;
}

void loader_fini(struct sandbox *box)
{
	loader_stop(box);
	/* Routes and services point into the modules. */
	free(box->service);
	box->service = NULL;
	box->n_services = 0;
	for (size_t i = box->n_modules; i-- > 0;)
		forget(box->module[i]);
	free(box->module);
	box->module = NULL;
	box->n_modules = 0;
}

const struct bv_head *loader_service(struct sandbox *box, const char *name)
{
	for (size_t i = 0; i < box->n_services; i++)
		if (!strcmp(box->service[i].name, name))
			return box->service[i].ops;
	return NULL;
}
