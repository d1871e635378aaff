/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's environment: little of the host's unless asked for, since secrets live there. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const let_in[] = {"PATH", "HOME", "USER", "LANG", "TERM", "TMPDIR"};

static char **find(const struct env *e, const char *name, size_t len)
{
	for (size_t i = 0; i < e->n; i++)
		if (strncmp(e->var[i], name, len) == 0 && e->var[i][len] == '=')
			return &e->var[i];
	return NULL;
}

/* Takes var. */
static int put(struct env *e, char *var)
{
	if (!var)
		return -ENOMEM;
	char **old = find(e, var, strcspn(var, "="));
	if (old) {
		free(*old);
		*old = var;
		return 0;
	}
	char **grown = reallocarray(e->var, e->n + 2, sizeof(*grown));
	if (!grown) {
		free(var);
		return -ENOMEM;
	}
	e->var = grown;
	e->var[e->n++] = var;
	e->var[e->n] = NULL;
	return 0;
}

int env_set(struct env *e, const char *name, const char *value)
{
	char *var = NULL;

	return put(e, asprintf(&var, "%s=%s", name, value) < 0 ? NULL : var);
}

int env_init(struct env *e, bool all)
{
	int r = 0;

	*e = (struct env){.var = calloc(1, sizeof(char *))};
	if (!e->var)
		return -ENOMEM;
	for (char **v = environ; all && *v && r == 0; v++)
		if (strchr(*v, '=') && (*v)[0] != '=')
			r = put(e, strdup(*v));
	for (size_t i = 0; !all && i < sizeof(let_in) / sizeof(let_in[0]) && r == 0; i++) {
		const char *value = getenv(let_in[i]);

		if (value)
			r = env_set(e, let_in[i], value);
	}
	if (r == 0 && !env_get(e, "PATH"))
		r = env_set(e, "PATH", DEFAULT_PATH);
	return r;
}

int env_add(struct env *e, const char *text)
{
	size_t len = strcspn(text, "=");

	if (len == 0)
		return -EINVAL;
	if (text[len] == '=')
		return put(e, strdup(text));
	const char *value = getenv(text);
	return value ? env_set(e, text, value) : 0;
}

const char *env_get(const struct env *e, const char *name)
{
	size_t len = strlen(name);
	char **var = find(e, name, len);

	return var ? *var + len + 1 : NULL;
}

void env_fini(struct env *e)
{
	for (size_t i = 0; i < e->n; i++)
		free(e->var[i]);
	free(e->var);
	*e = (struct env){0};
}
