/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes: their policy, their life, their files, their review. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "link.h"

json_t *json_words(const char *const *words)
{
	json_t *all = json_array();

	for (; words && *words; words++)
		if (json_array_append_new(all, json_string(*words)) < 0) { /* no UTF-8 */
			json_decref(all);
			return NULL;
		}
	return all;
}

/* {"NAME": "VALUE"} of "NAME=VALUE". */
static json_t *pairs(const char *const *words)
{
	json_t *all = json_object();

	for (; words && *words; words++) {
		const char *equals = strchr(*words, '=');
		char *name = equals ? strndup(*words, (size_t)(equals - *words)) : NULL;
		int r = name ? json_object_set_new(all, name, json_string(equals + 1)) : -1;

		free(name);
		if (r < 0) {
			json_decref(all);
			return NULL;
		}
	}
	return all;
}

static int put(json_t *to, const char *key, json_t *value, struct bvisor_error *e)
{
	if (json_object_set_new(to, key, value) == 0)
		return 0;
	return fail(e, "invalid", EINVAL, "%s: is no UTF-8, or no NAME=VALUE", key);
}

static int policy_params(json_t *to, const struct bvisor_policy *p, struct bvisor_error *e)
{
	const struct {
		const char *key, *text;
		const char *const *words, *const *pairs;
	} rows[] = {
		{"name", p->name, NULL, NULL},     {"rw", NULL, p->rw, NULL},
		{"ro", NULL, p->ro, NULL},         {"hide", NULL, p->hide, NULL},
		{"bind", NULL, p->bind, NULL},     {"net", p->net, NULL, NULL},
		{"quota", p->quota, NULL, NULL},   {"env", NULL, NULL, p->env},
		{"config", p->config, NULL, NULL}, {"options", NULL, NULL, p->options},
		{"allow", NULL, p->allow, NULL},
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]) && r == 0; i++) {
		if (rows[i].text)
			r = put(to, rows[i].key, json_string(rows[i].text), e);
		else if (rows[i].words)
			r = put(to, rows[i].key, json_words(rows[i].words), e);
		else if (rows[i].pairs)
			r = put(to, rows[i].key, pairs(rows[i].pairs), e);
	}
	if (r == 0 && p->env_all)
		r = put(to, "env_all", json_true(), e);
	char here[4096];
	if (r == 0 && (!p->cwd || p->cwd[0] != '/')) {
		size_t n = getcwd(here, sizeof(here)) ? strlen(here) : 0;

		if (p->cwd && (!n || (size_t)snprintf(here + n, sizeof(here) - n, "/%s", p->cwd) >=
		                             sizeof(here) - n))
			return fail(e, "invalid", ENAMETOOLONG, "cwd: %s", p->cwd);
		return n ? put(to, "cwd", json_string(here), e) : 0;
	}
	return r == 0 ? put(to, "cwd", json_string(p->cwd), e) : r;
}

/* ---- life ---- */

int sandbox_ready(struct bvisor_sandbox *sb, struct bvisor_error *e)
{
	if (sb->ended)
		return fail(e, "sandbox", ESRCH, "the sandbox has ended: %s", sb->why);
	if (sb->id)
		return 0;
	json_t *params = json_copy(sb->params);
	if (sb->name && put(params, "name", json_string(sb->name), e) < 0) {
		json_decref(params);
		return -1;
	}
	json_t *result = link_call(sb->link, "sandbox.create", params, e);
	if (!result)
		return -1;
	const char *name = json_string_value(json_object_get(result, "name"));
	sb->id = (uint32_t)json_integer_value(json_object_get(result, "sandbox"));
	if (!sb->name && name)
		sb->name = strdup(name);
	json_decref(result);
	return sb->id && sb->name
	               ? 0
	               : fail(e, "protocol", EPROTO, "the broker's answer makes no sense");
}

struct bvisor_sandbox *bvisor_create(struct bvisor *b, const struct bvisor_policy *policy,
                                     struct bvisor_error *e)
{
	struct bvisor_policy p = {.size = sizeof(p)};
	struct bvisor_sandbox *sb = calloc(1, sizeof(*sb));

	if (policy) /* an older program's is shorter */
		memcpy(&p, policy, policy->size < sizeof(p) ? policy->size : sizeof(p));
	if (!sb || !(sb->params = json_object())) {
		free(sb);
		(void)fail(e, "memory", ENOMEM, "out of memory");
		return NULL;
	}
	sb->link = b;
	sb->temporary = !p.name;
	sb->denied = p.denied;
	sb->denied_arg = p.denied_arg;
	sb->next = b->sandboxes;
	b->sandboxes = sb;
	int r = policy_params(sb->params, &p, e);
	if (r == 0 && sb->temporary)
		r = put(sb->params, "temporary", json_true(), e);
	if (r == 0 && sb->denied)
		r = put(sb->params, "audit", json_true(), e);
	if (r == 0)
		r = sandbox_ready(sb, e);
	if (r == 0)
		return sb;
	sandbox_free(sb);
	return NULL;
}

void sandbox_free(struct bvisor_sandbox *sb)
{
	for (struct bvisor_process *p = sb->link->processes, *next; p; p = next) {
		next = p->next;
		if (p->box == sb)
			bvisor_forget(p);
	}
	for (struct bvisor_sandbox **at = &sb->link->sandboxes; *at; at = &(*at)->next)
		if (*at == sb) {
			*at = sb->next;
			break;
		}
	json_decref(sb->params);
	free(sb->name);
	free(sb);
}

static int end(struct bvisor_sandbox *sb, struct bvisor_error *e)
{
	uint32_t id = sb->id;

	sb->id = 0;
	if (!id || sb->ended)
		return 0;
	json_t *result =
		link_call(sb->link, "sandbox.destroy", json_pack("{s:i}", "sandbox", (int)id), e);
	json_decref(result);
	return result ? 0 : -1;
}

void bvisor_destroy(struct bvisor_sandbox *sb)
{
	if (!sb)
		return;
	if (sb->temporary && sb->name && !sb->link->gone)
		json_decref(link_call(sb->link, "sandbox.remove",
		                      json_pack("{s:s}", "name", sb->name), NULL));
	else if (!sb->link->gone)
		(void)end(sb, NULL);
	sandbox_free(sb);
}

/* ---- files ---- */

/* "ENOENT PATH: text" of bvisor-init. */
static int file_failed(const char *path, const struct bvisor_result *r, struct bvisor_error *e)
{
	size_t n = strcspn(r->err ? r->err : "", " ");

	for (int i = 1; n && i < 256; i++) {
		const char *name = strerrorname_np(i);

		if (name && strlen(name) == n && memcmp(name, r->err, n) == 0)
			return fail(e, "io", i, "%s: %s", path, strerror(i));
	}
	return fail(e, "sandbox", EIO, "%s: %s", path,
	            r->err && *r->err ? r->err : "the sandbox has ended");
}

static int file(struct bvisor_sandbox *sb, const char *verb, const char *path, const char *more,
                const void *bytes, size_t n, struct bvisor_result *r, struct bvisor_error *e)
{
	const char *const argv[] = {"@bvisor-init", verb, path, more, NULL};
	const struct bvisor_command c = {
		.size = sizeof(c), .argv = argv, .input = bytes, .input_size = n};

	if (bvisor_run(sb, &c, r, e) < 0)
		return -1;
	int code = r->code ? file_failed(path, r, e) : 0;
	if (code < 0)
		bvisor_result_free(r);
	return code;
}

static int file_done(struct bvisor_sandbox *sb, const char *verb, const char *path,
                     const char *more, const void *bytes, size_t n, struct bvisor_error *e)
{
	struct bvisor_result r;
	int code = file(sb, verb, path, more, bytes, n, &r, e);

	if (code == 0)
		bvisor_result_free(&r);
	return code;
}

char *bvisor_read_file(struct bvisor_sandbox *sb, const char *path, size_t *n,
                       struct bvisor_error *e)
{
	struct bvisor_result r;

	if (file(sb, "read", path, NULL, NULL, 0, &r, e) < 0)
		return NULL;
	char *bytes = r.out;
	r.out = NULL;
	if (n)
		*n = r.out_size;
	bvisor_result_free(&r);
	return bytes;
}

int bvisor_write_file(struct bvisor_sandbox *sb, const char *path, const void *bytes, size_t n,
                      int mode, struct bvisor_error *e)
{
	char text[16] = "-";

	if (mode >= 0)
		snprintf(text, sizeof(text), "%o", (unsigned)mode);
	return file_done(sb, "write", path, text, n ? bytes : "", n, e);
}

int bvisor_make_dir(struct bvisor_sandbox *sb, const char *path, int mode, int parents,
                    struct bvisor_error *e)
{
	char text[16];

	snprintf(text, sizeof(text), "%o", (unsigned)mode);
	return file_done(sb, parents ? "mkdirs" : "mkdir", path, text, NULL, 0, e);
}

int bvisor_rename(struct bvisor_sandbox *sb, const char *from, const char *to,
                  struct bvisor_error *e)
{
	return file_done(sb, "move", from, to, NULL, 0, e);
}

int bvisor_remove(struct bvisor_sandbox *sb, const char *path, int recursive,
                  struct bvisor_error *e)
{
	return file_done(sb, recursive ? "remove-all" : "remove", path, NULL, NULL, 0, e);
}

/* ---- review ---- */

static int command_failed(const json_t *result, struct bvisor_error *e)
{
	json_int_t status = json_integer_value(json_object_get(result, "status"));
	const char *text = json_string_value(json_object_get(result, "stderr"));

	if (status == 0)
		return 0;
	return fail(e, status == 3 ? "conflict" : "sandbox", status == 3 ? ESTALE : 0, "%s",
	            text ? text : "it failed");
}

static int has_processes(struct bvisor_sandbox *sb)
{
	json_t *now = sb->id ? link_call(sb->link, "sandbox.stats",
	                                 json_pack("{s:i}", "sandbox", (int)sb->id), NULL)
	                     : NULL;
	int n = (int)json_integer_value(json_object_get(now, "processes"));

	json_decref(now);
	return n;
}

/* A command of bvisor's on a sandbox that nothing uses meanwhile, or with `live` does: its answer, the caller's.
 * Takes argv. */
static json_t *review(struct bvisor_sandbox *sb, json_t *argv, int live, struct bvisor_error *e)
{
	if (argv && live && sandbox_ready(sb, e) == 0 && has_processes(sb))
		goto ask;
	for (const struct bvisor_process *p = sb->link->processes; p; p = p->next)
		if (p->box == sb && !p->over) {
			(void)fail(e, "busy", EBUSY, "a command is running in it");
			json_decref(argv);
			return NULL;
		}
	if (!argv || sandbox_ready(sb, e) < 0 || end(sb, e) < 0) {
		if (!argv)
			(void)fail(e, "invalid", EINVAL, "a path is no UTF-8");
		json_decref(argv);
		return NULL;
	}
	json_t *result;
ask:
	result = link_call(sb->link, "command",
	                   json_pack("{s:o, s:b}", "argv", argv, "temporary", sb->temporary), e);
	if (result && command_failed(result, e) < 0) {
		json_decref(result);
		return NULL;
	}
	return result;
}

int bvisor_allow(struct bvisor_sandbox *sb, const char *const *where, struct bvisor_error *e)
{
	if (sandbox_ready(sb, e) < 0)
		return -1;
	if (!where || !*where)
		return 0;
	json_t *argv = json_pack("[s, s, s]", "allow", "--", sb->name), *words = json_words(where);
	json_t *known = json_object_get(sb->params, "allow");
	if (!words || json_array_extend(argv, words) < 0) {
		json_decref(words);
		json_decref(argv);
		return fail(e, "invalid", EINVAL, "a place is no UTF-8");
	}
	json_t *result =
		link_call(sb->link, "command",
	                  json_pack("{s:o, s:b}", "argv", argv, "temporary", sb->temporary), e);
	int r = result ? command_failed(result, e) : -1;
	/* And when it is opened again. */
	if (r == 0 && known)
		json_array_extend(known, words);
	else if (r == 0)
		json_object_set(sb->params, "allow", words);
	json_decref(words);
	json_decref(result);
	return r;
}

char *bvisor_diff(struct bvisor_sandbox *sb, const char *format, struct bvisor_error *e)
{
	if (format && strcmp(format, "json") != 0 && strcmp(format, "patch") != 0) {
		(void)fail(e, "invalid", EINVAL, "format '%s' is neither json nor patch", format);
		return NULL;
	}
	json_t *argv = json_pack("[s, s]", "diff", sb->name);
	if (format)
		json_array_append_new(argv, json_sprintf("--%s", format));
	json_t *result = review(sb, argv, 1, e);
	if (!result)
		return NULL;
	const char *text = json_string_value(json_object_get(result, "stdout")),
		   *hex = json_string_value(json_object_get(result, "stdout_hex"));
	char *out = text ? strdup(text) : calloc(1, hex ? strlen(hex) / 2 + 1 : 1);
	for (size_t i = 0; out && !text && hex && hex[2 * i] && hex[2 * i + 1]; i++) {
		const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};

		out[i] = (char)strtoul(digits, NULL, 16);
	}
	json_decref(result);
	if (!out)
		(void)fail(e, "memory", ENOMEM, "out of memory");
	return out;
}

static int change(struct bvisor_sandbox *sb, const char *verb, const char *const *paths,
                  unsigned flags, struct bvisor_error *e)
{
	json_t *argv = json_pack("[s]", verb), *words = json_words(paths);

	if (flags & BVISOR_FORCE)
		json_array_append_new(argv, json_string("--force"));
	if (flags & BVISOR_DRY_RUN)
		json_array_append_new(argv, json_string("--dry-run"));
	json_array_append_new(argv, json_string(sb->name));
	for (const char *const *p = paths; p && *p; p++)
		if (**p != '/') {
			json_decref(words);
			json_decref(argv);
			return fail(e, "invalid", EINVAL, "'%s' is no absolute path", *p);
		}
	if (!words || json_array_extend(argv, words) < 0) {
		json_decref(argv);
		argv = NULL;
	}
	json_decref(words);
	json_t *result = review(sb, argv, 1, e);
	json_decref(result);
	return result ? 0 : -1;
}

int bvisor_commit(struct bvisor_sandbox *sb, const char *const *paths, unsigned flags,
                  struct bvisor_error *e)
{
	return change(sb, "commit", paths, flags, e);
}

int bvisor_rollback(struct bvisor_sandbox *sb, const char *const *paths, struct bvisor_error *e)
{
	return change(sb, "rollback", paths, 0, e);
}
