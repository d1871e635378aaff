/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns a section's entries into a module's conf struct, by its option rows.  Every failure names
 * where the value stands, the key, the value and what is allowed.  It refuses keys no row has.
 */
#include <cleanup.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <strbuf.h>
#include <string.h>

#include "bvisor.h"
#include "config.h"
#include "rows.h"

struct option_set {
	void **owned; /* strings and item arrays the conf struct points to */
	size_t n_owned, cap_owned;
	struct set_at {
		char *key, *where;
	} * at;
	size_t n_at;
};

/* One key's value on its way into the conf struct. */
struct value {
	const struct bv_option *row;
	const char *section, *where;
	struct bv_error *err;
};

static void *own(struct option_set *s, void *p)
{
	if (!p)
		return NULL;
	if (s->n_owned == s->cap_owned) {
		size_t cap = s->cap_owned ? 2 * s->cap_owned : 16;
		void **grown = reallocarray(s->owned, cap, sizeof(*grown));
		if (!grown) {
			free(p);
			return NULL;
		}
		s->owned = grown;
		s->cap_owned = cap;
	}
	return s->owned[s->n_owned++] = p;
}

static int bad(const struct value *v, const char *text, const char *allowed)
{
	return error_set(v->err, EINVAL, "%s: [%s] %s = %s: %s", v->where, v->section, v->row->key, text, allowed);
}

static int out_of_memory(struct bv_error *err)
{
	return error_set(err, ENOMEM, "out of memory");
}

/* Index of word in "a|b|c", or -1. */
static int choice(const char *choices, const char *word)
{
	size_t len = strlen(word);
	int i = 0;
	for (const char *p = choices; p; i++) {
		const char *bar = strchr(p, '|');
		size_t n = bar ? (size_t)(bar - p) : strlen(p);
		if (n == len && !memcmp(p, word, n))
			return i;
		p = bar ? bar + 1 : NULL;
	}
	return -1;
}

static int parse_int(const struct value *v, const char *text, int64_t *out)
{
	char *end;
	errno = 0;
	long long n = strtoll(text, &end, 10);
	if (end == text || *end || errno || isspace((unsigned char)*text))
		return bad(v, text, "expected a whole number");
	*out = n;
	return 0;
}

static int parse_size(const struct value *v, const char *text, uint64_t *out)
{
	static const char expected[] = "expected a size: a whole number, with K, M, G or T for powers of 1024";
	if (!isdigit((unsigned char)*text))
		return bad(v, text, expected);
	char *end;
	errno = 0;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = 0;
	switch (*end) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	case 't':
	case 'T':
		shift = 40;
		break;
	}
	if (shift)
		end++;
	if (errno || *end || (shift && n > UINT64_MAX >> shift))
		return bad(v, text, expected);
	*out = (uint64_t)n << shift;
	return 0;
}

static int set_scalar(struct option_set *s, const struct value *v, const char *text, void *at)
{
	int r = 0, index;
	switch (v->row->type) {
	case BV_OPT_BOOL:
		index = choice("no|yes|false|true|off|on|0|1", text);
		if (index < 0)
			return bad(v, text, "expected yes or no (true, false, on, off, 1, 0)");
		*(int *)at = index & 1;
		return 0;
	case BV_OPT_INT:
		return parse_int(v, text, at);
	case BV_OPT_SIZE:
		return parse_size(v, text, at);
	case BV_OPT_ENUM:
		index = choice(v->row->choices, text);
		if (index < 0) {
			char allowed[512];
			snprintf(allowed, sizeof(allowed), "expected one of %s", v->row->choices);
			return bad(v, text, allowed);
		}
		*(int *)at = index;
		return 0;
	case BV_OPT_ERRNO:
		r = names_errno_by(text);
		if (r < 0)
			return bad(v, text, "expected the name of an errno, such as EPERM or ENOSYS");
		*(int *)at = r;
		return 0;
	case BV_OPT_STR: {
		char *copy = own(s, strdup(text));
		if (!copy)
			return out_of_memory(v->err);
		*(const char **)at = copy;
		return 0;
	}
	}
	return error_set(v->err, EINVAL, "[%s] %s: unknown option type %u", v->section, v->row->key, v->row->type);
}

/* Appends an item to a bv_strings under construction; text need not be terminated. */
static int add_item(struct option_set *s, struct bv_strings *list, const char *text, size_t len)
{
	char *copy = own(s, strndup(text, len));
	const char **grown = copy ? reallocarray((void *)(uintptr_t)list->item, list->n + 1, sizeof(*grown)) : NULL;
	if (!grown)
		return -ENOMEM;
	grown[list->n] = copy;
	*list = (struct bv_strings){list->n + 1, grown};
	return 0;
}

static int add_items(struct option_set *s, struct bv_strings *list, uint32_t type, const char *text)
{
	const char *separators = type == BV_OPT_WORDS ? " \t\r\n\v\f" : "\n";
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, separators);
		const char *from = p, *to = p + len;
		p = *to ? to + 1 : to;
		while (from < to && isspace((unsigned char)*from))
			from++;
		while (to > from && isspace((unsigned char)to[-1]))
			to--;
		if (to > from && add_item(s, list, from, (size_t)(to - from)) < 0)
			return -ENOMEM;
	}
	return 0;
}

static bool names_row(const struct config_entry *e, const char *section, const struct bv_option *row)
{
	return !strcmp(e->key, row->key) && !strcmp(e->section, section);
}

static int note_where(struct option_set *s, const char *key, const char *where)
{
	struct set_at *grown = reallocarray(s->at, s->n_at + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	s->at = grown;
	struct set_at at = {strdup(key), strdup(where)};
	if (!at.key || !at.where) {
		free(at.key);
		free(at.where);
		return -ENOMEM;
	}
	s->at[s->n_at++] = at;
	return 0;
}

static int apply_row(struct option_set *s, const struct config *c, struct value *v, void *conf)
{
	const struct bv_option *row = v->row;
	bool list = row->type == BV_OPT_WORDS || row->type == BV_OPT_LINES;
	const struct config_entry *first = NULL, *last = NULL;
	for (size_t i = 0; i < config_count(c); i++) {
		const struct config_entry *e = config_at(c, i);
		if (!names_row(e, v->section, row))
			continue;
		if (!e->append && first && !list)
			return error_set(v->err, EINVAL, "%s: [%s] %s is set twice, first at %s", e->where, v->section,
					 row->key, first->where);
		if (!e->append && !first)
			first = e;
		last = e;
	}
	v->where = first ? first->where : last ? last->where : "default";
	if (note_where(s, row->key, v->where) < 0)
		return out_of_memory(v->err);
	void *at = (char *)conf + row->offset;
	if (!list) {
		const char *text = last ? last->value : row->def;
		return text ? set_scalar(s, v, text, at) : 0;
	}
	struct bv_strings items = {0, NULL};
	int r = 0;
	if (!first && row->def)
		r = add_items(s, &items, row->type, row->def);
	for (size_t i = 0; !r && i < config_count(c); i++)
		if (names_row(config_at(c, i), v->section, row))
			r = add_items(s, &items, row->type, config_at(c, i)->value);
	if (r < 0 || (items.item && !own(s, (void *)(uintptr_t)items.item)))
		return out_of_memory(v->err);
	*(struct bv_strings *)at = items;
	return 0;
}

static bool has_key(const char *key, const struct bv_option *rows, size_t n, size_t stride)
{
	struct bv_option row;
	for (size_t i = 0; i < n; i++) {
		row_copy(&row, sizeof(row), rows, i, stride);
		if (!strcmp(row.key, key))
			return true;
	}
	return false;
}

static int refuse_unknown(const struct config *c, const char *section, const struct bv_option *rows, size_t n,
			  size_t stride, struct bv_error *err)
{
	const struct config_entry *e = NULL;
	for (size_t i = 0; !e && i < config_count(c); i++)
		if (!strcmp(config_at(c, i)->section, section) &&
		    !has_key(config_at(c, i)->key, rows, n, stride))
			e = config_at(c, i);
	if (!e)
		return 0;
	bv_autostrbuf struct strbuf known = {0};
	for (size_t i = 0; i < n; i++) {
		struct bv_option row;
		row_copy(&row, sizeof(row), rows, i, stride);
		strbuf_printf(&known, "%s%s", i ? ", " : "", row.key);
	}
	return error_set(err, EINVAL, "%s: [%s] has no key '%s'; allowed: %s", e->where, section,
	                 e->key, known.data ? known.data : "none");
}

int option_apply(struct option_set **out, const struct config *c, const char *section, const struct bv_option *rows,
		 size_t n, size_t stride, void *conf, struct bv_error *err)
{
	int r = refuse_unknown(c, section, rows, n, stride, err);
	if (r < 0)
		return r;
	struct option_set *s = calloc(1, sizeof(*s));
	if (!s)
		return out_of_memory(err);
	for (size_t i = 0; i < n; i++) {
		struct bv_option row;
		row_copy(&row, sizeof(row), rows, i, stride);
		struct value v = {.row = &row, .section = section, .err = err};
		r = apply_row(s, c, &v, conf);
		if (r < 0) {
			option_free(s);
			return r;
		}
	}
	*out = s;
	return 0;
}

const char *option_where(const struct option_set *s, const char *key)
{
	for (size_t i = 0; s && i < s->n_at; i++)
		if (!strcmp(s->at[i].key, key))
			return s->at[i].where;
	return "default";
}

void option_free(struct option_set *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->n_owned; i++)
		free(s->owned[i]);
	for (size_t i = 0; i < s->n_at; i++) {
		free(s->at[i].key);
		free(s->at[i].where);
	}
	free(s->owned);
	free(s->at);
	free(s);
}
