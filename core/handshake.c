/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a module's descriptor before anything of it is used.  The version rule is that of
 * abi.h; every refusal names the file and, where versions differ, both.
 */
#include "handshake.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rows.h"

/* What every module of major 1 has: all up to and including init. */
#define SIZE_MIN offsetof(struct bv_module, fini)
#define SIZE_LIMIT 65536u
#define ROWS_LIMIT 4096u
#define STRIDE_LIMIT 4096u

static bool table_plausible(const void *table, uint32_t n, uint32_t stride, size_t at_least)
{
	if (!n)
		return true;
	return table && n <= ROWS_LIMIT && stride >= at_least && stride <= STRIDE_LIMIT && stride % sizeof(void *) == 0;
}

int handshake_check(const void *desc, size_t readable, struct bv_module *out, const char *file, struct bv_error *err)
{
	struct bv_head head;
	if (readable < sizeof(head))
		return error_set(err, ENOEXEC, "%s: bad size: bvisor_module has %zu bytes, less than its head", file,
				 readable);
	memcpy(&head, desc, sizeof(head));
	if (head.magic != BV_MAGIC_MODULE)
		return error_set(err, ENOEXEC, "%s: bvisor_module is no module descriptor (magic 0x%08x)", file,
				 head.magic);
	if (head.major != BV_ABI_MAJOR)
		return error_set(err, ENOEXEC, "%s: made for module ABI %u.%u, this bvisor offers %u.%u: rebuild it",
				 file, head.major, head.minor, BV_ABI_MAJOR, BV_ABI_MINOR);
	if (head.minor > BV_ABI_MINOR)
		return error_set(err, ENOEXEC, "%s: too new: needs module ABI %u.%u, this bvisor offers %u.%u", file,
				 head.major, head.minor, BV_ABI_MAJOR, BV_ABI_MINOR);
	if (head.size < SIZE_MIN || head.size > SIZE_LIMIT || head.size > readable)
		return error_set(err, ENOEXEC,
				 "%s: bad size: the head says %u bytes, the symbol has %zu, at least %zu are needed",
				 file, head.size, readable, SIZE_MIN);
	if (head.size > sizeof(*out) && !bytes_are_zero((const char *)desc + sizeof(*out), head.size - sizeof(*out)))
		return error_set(err, ENOEXEC, "%s: uses fields this bvisor (module ABI %u.%u) does not know", file,
				 BV_ABI_MAJOR, BV_ABI_MINOR);
	struct bv_module m;
	row_copy(&m, sizeof(m), desc, 0, head.size);
	if (m.head.zero || m.zero)
		return error_set(err, ENOEXEC, "%s: a reserved field is not zero", file);
	if (!m.name || !m.version || !m.init)
		return error_set(err, ENOEXEC, "%s: the descriptor lacks its %s", file,
				 !m.name      ? "name"
				 : !m.version ? "version"
					      : "init function");
	static const char bad[] = "%s: bad size: the table of %s has %u rows of %u bytes";
	if (!table_plausible(m.needs, m.n_needs, m.need_size, sizeof(struct bv_need)))
		return error_set(err, ENOEXEC, bad, file, "needs", m.n_needs, m.need_size);
	if (!table_plausible(m.options, m.n_options, m.option_size, sizeof(struct bv_option)))
		return error_set(err, ENOEXEC, bad, file, "options", m.n_options, m.option_size);
	if (!table_plausible(m.handlers, m.n_handlers, m.handler_size, sizeof(struct bv_handler)))
		return error_set(err, ENOEXEC, bad, file, "handlers", m.n_handlers, m.handler_size);
	if (!table_plausible(m.rules, m.n_rules, m.rule_size, sizeof(struct bv_rule)))
		return error_set(err, ENOEXEC, bad, file, "rules", m.n_rules, m.rule_size);
	if (m.conf_size > SIZE_LIMIT * 16)
		return error_set(err, ENOEXEC, "%s: bad size: a conf struct of %u bytes", file, m.conf_size);
	*out = m;
	return 0;
}

static size_t option_bytes(uint32_t type, size_t *align)
{
	switch (type) {
	case BV_OPT_BOOL:
	case BV_OPT_ENUM:
	case BV_OPT_ERRNO:
		*align = _Alignof(int);
		return sizeof(int);
	case BV_OPT_INT:
	case BV_OPT_SIZE:
		*align = _Alignof(int64_t);
		return sizeof(int64_t);
	case BV_OPT_STR:
		*align = _Alignof(char *);
		return sizeof(char *);
	case BV_OPT_WORDS:
	case BV_OPT_LINES:
		*align = _Alignof(struct bv_strings);
		return sizeof(struct bv_strings);
	}
	return 0;
}

static bool word_valid(const char *s)
{
	size_t n = strlen(s);
	for (const char *p = s; *p; p++)
		if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_' && *p != '.')
			return false;
	return n > 0 && n <= 48 && isalnum((unsigned char)s[0]);
}

static int check_options(const struct bv_module *m, const char *file, struct bv_error *err)
{
	for (size_t i = 0; i < m->n_options; i++) {
		const struct bv_option *row = &m->options[i];
		if (!row->key || !word_valid(row->key))
			return error_set(err, EINVAL, "%s: option row %zu: '%s' is no valid key", file, i,
					 row->key ? row->key : "");
		size_t align = 1, bytes = option_bytes(row->type, &align);
		if (!bytes)
			return error_set(err, EINVAL, "%s: option '%s': unknown option type %u", file, row->key,
					 row->type);
		if (row->offset % align || row->offset > m->conf_size || m->conf_size - row->offset < bytes)
			return error_set(err, EINVAL,
					 "%s: option '%s': offset %u lies outside of the conf struct of %u", file,
					 row->key, row->offset, m->conf_size);
		if ((row->type == BV_OPT_ENUM) != (row->choices != NULL))
			return error_set(err, EINVAL, "%s: option '%s': choices go with an enum, and only there", file,
					 row->key);
		for (size_t k = 0; k < i; k++)
			if (!strcmp(m->options[k].key, row->key))
				return error_set(err, EINVAL, "%s: option '%s' has two rows", file, row->key);
	}
	return 0;
}

/* A copy of one table, in our stride; NULL when it is empty. */
static int table_copy(void **out, const void *from, uint32_t n, uint32_t stride, size_t size, const char *what,
		      const char *file, struct bv_error *err)
{
	if (!n)
		return 0;
	char *copy = calloc(n, size);
	if (!copy)
		return error_set(err, ENOMEM, "out of memory");
	*out = copy;
	for (size_t i = 0; i < n; i++) {
		if (stride > size && !bytes_are_zero((const char *)from + i * stride + size, stride - size))
			return error_set(err, ENOEXEC, "%s: %s row %zu uses fields this bvisor does not know", file,
					 what, i);
		row_copy(copy + i * size, size, from, i, stride);
	}
	return 0;
}

int handshake_tables(struct bv_module *m, const char *file, struct bv_error *err)
{
	void *needs = NULL, *options = NULL, *handlers = NULL, *rules = NULL;
	int r = table_copy(&needs, m->needs, m->n_needs, m->need_size, sizeof(*m->needs), "need", file, err);
	if (!r)
		r = table_copy(&options, m->options, m->n_options, m->option_size, sizeof(*m->options), "option", file,
			       err);
	if (!r)
		r = table_copy(&handlers, m->handlers, m->n_handlers, m->handler_size, sizeof(*m->handlers), "handler",
			       file, err);
	if (!r)
		r = table_copy(&rules, m->rules, m->n_rules, m->rule_size, sizeof(*m->rules), "rule", file, err);
	m->needs = needs;
	m->options = options;
	m->handlers = handlers;
	m->rules = rules;
	m->need_size = sizeof(*m->needs);
	m->option_size = sizeof(*m->options);
	m->handler_size = sizeof(*m->handlers);
	m->rule_size = sizeof(*m->rules);
	if (!r && !word_valid(m->name))
		r = error_set(err, EINVAL, "%s: '%s' is no valid module name", file, m->name);
	for (size_t i = 0; !r && i < m->n_needs; i++)
		if (!m->needs[i].service || m->needs[i].zero)
			r = error_set(err, EINVAL, "%s: need row %zu is malformed", file, i);
	if (!r)
		r = check_options(m, file, err);
	if (r < 0)
		handshake_tables_free(m);
	return r;
}

void handshake_tables_free(struct bv_module *m)
{
	free((void *)(uintptr_t)m->needs);
	free((void *)(uintptr_t)m->options);
	free((void *)(uintptr_t)m->handlers);
	free((void *)(uintptr_t)m->rules);
	m->needs = NULL;
	m->options = NULL;
	m->handlers = NULL;
	m->rules = NULL;
	m->n_needs = m->n_options = m->n_handlers = m->n_rules = 0;
}
