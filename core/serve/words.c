/* SPDX-License-Identifier: Apache-2.0 */
/* The parameters of sandbox.create as the command line of a run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "serve.h"
#include "words.h"

#define TEXT_OF(n) #n
#define PATH_OF(n) "/dev/fd/" TEXT_OF(n)
#define AUDIT_PATH PATH_OF(AUDIT_FD)

static void add(struct words *w, const char *word)
{
	if (w->n + 1 >= w->cap) {
		size_t cap = w->cap ? 2 * w->cap : 32;
		const char **grown = reallocarray(w->word, cap, sizeof(*grown));

		if (!grown) {
			w->failed = true;
			return;
		}
		w->word = grown;
		w->cap = cap;
	}
	w->word[w->n++] = word;
	w->word[w->n] = NULL;
}

/* The strings made here live as long as the process that runs the command does. */
static void add_pair(struct words *w, const char *option, const char *a, const char *between,
                     const char *b)
{
	char *text;

	if (asprintf(&text, "%s%s%s", a, between, b) < 0) {
		w->failed = true;
		return;
	}
	add(w, option);
	add(w, text);
}

struct rule {
	const char *key, *option;
	enum {
		TEXT,
		TEXTS,
		PAIRS,
		FLAG,
		AUDIT,
		NAME,
		TEMPORARY
	} kind; /* the last two: box.c looks at them */
};

static const struct rule rules[] = {
	{"name", "", NAME},         {"config", "-c", TEXT},       {"options", "-o", PAIRS},
	{"rw", "--rw", TEXTS},      {"ro", "--ro", TEXTS},        {"hide", "--hide", TEXTS},
	{"bind", "--bind", TEXTS},  {"net", "--net", TEXT},       {"allow", "--allow", TEXTS},
	{"quota", "--quota", TEXT}, {"env", "-e", PAIRS},         {"env_all", "--env-all", FLAG},
	{"cwd", "-C", TEXT},        {"temporary", "", TEMPORARY}, {"audit", "--audit", AUDIT},
};

bool words_text(const json_t *value)
{
	return json_is_string(value) &&
	       strlen(json_string_value(value)) == json_string_length(value);
}

/* One parameter: NULL, or what is wrong with it. */
static const char *take(struct words *w, const struct rule *r, const json_t *value)
{
	const char *key;
	json_t *item;
	size_t i;

	switch (r->kind) {
	case FLAG:
		if (!json_is_boolean(value))
			return "is neither true nor false";
		if (json_is_true(value))
			add(w, r->option);
		return NULL;
	case AUDIT:
		if (!json_is_boolean(value))
			return "is neither true nor false";
		if (json_is_true(value)) {
			add(w, r->option);
			add(w, AUDIT_PATH);
		}
		return NULL;
	case NAME:
		return words_text(value) ? NULL : "is no string without NUL";
	case TEMPORARY:
		return json_is_boolean(value) ? NULL : "is neither true nor false";
	case TEXT:
		if (!words_text(value))
			return "is no string without NUL";
		add(w, r->option);
		add(w, json_string_value(value));
		return NULL;
	case TEXTS:
		if (!json_is_array(value))
			return "is no array of strings";
		json_array_foreach (value, i, item) {
			if (!words_text(item))
				return "is no array of strings";
			add(w, r->option);
			add(w, json_string_value(item));
		}
		return NULL;
	default:
		if (!json_is_object(value))
			return "is no object of strings";
		json_object_foreach ((json_t *)(uintptr_t)value, key, item) {
			if (!words_text(item))
				return "is no object of strings";
			add_pair(w, r->option, key, "=", json_string_value(item));
		}
		return NULL;
	}
}

const char *words_of_box(struct words *w, json_t *params, const char *state, const char *name,
                         const char *init, const char **bad)
{
	const char *key;
	json_t *value;

	add(w, "run");
	if (name) {
		add(w, "--name");
		add(w, name);
	}
	if (state) { /* first, so that the client's options win */
		add_pair(w, "-o", state, "", "");
		add_pair(w, "-o", "vfs-cow.provenance=no", "", "");
	}
	json_object_foreach (params, key, value) {
		const struct rule *r = NULL;

		for (size_t i = 0; i < BV_ROWS_OF(rules); i++)
			if (strcmp(rules[i].key, key) == 0)
				r = &rules[i];
		*bad = key;
		if (json_is_null(value))
			continue;
		const char *why = r ? take(w, r, value) : "is no parameter of create";
		if (why)
			return why;
	}
	add(w, "--");
	add(w, init);
	return NULL;
}

void words_fini(struct words *w)
{
	for (size_t i = 0; i + 1 < w->n; i++)
		if (strcmp(w->word[i], "-e") == 0 || strcmp(w->word[i], "-o") == 0)
			free((char *)(uintptr_t)w->word[++i]);
	free(w->word);
}
