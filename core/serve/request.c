/* SPDX-License-Identifier: Apache-2.0 */
#include "request.h"

#include <string.h>

static const char *const limit_name[AGENT_LIMITS] = {"cpu_seconds", "memory", "processes",
                                                     "open_files", "file_size"};

static bool add_word(struct strbuf *b, const json_t *word)
{
	const char *text = json_string_value(word);

	/* A NUL would make two words of it. */
	if (!text || strlen(text) != json_string_length(word))
		return false;
	strbuf_add(b, text, strlen(text) + 1);
	return true;
}

static const char *command(struct request *q, struct agent_exec *e, json_t *params,
                           const char *init)
{
	const json_t *argv = json_object_get(params, "argv"),
		     *shell = json_object_get(params, "shell");
	json_t *word;
	size_t i;

	if (!argv == !shell)
		return "either argv or shell has to be given";
	if (shell) {
		strbuf_add(&q->payload, "/bin/bash\0-c", 13);
		e->argc = 3;
		return add_word(&q->payload, shell) ? NULL : "shell is no string without NUL";
	}
	if (!json_is_array(argv) || !json_array_size(argv))
		return "argv is no array of strings";
	json_array_foreach (argv, i, word) {
		const char *text = json_string_value(word);

		if (i == 0 && text && strcmp(text, INIT_WORD) == 0)
			strbuf_add(&q->payload, init, strlen(init) + 1);
		else if (!add_word(&q->payload, word))
			return "argv is no array of strings without NUL";
	}
	e->argc = (uint32_t)json_array_size(argv);
	return NULL;
}

static const char *environment(struct request *q, struct agent_exec *e, json_t *env)
{
	const char *name;
	json_t *value;

	if (env && !json_is_object(env))
		return "env is no object";
	json_object_foreach (env, name, value) {
		if (!*name || strchr(name, '='))
			return "env: a name is empty or has a '='";
		strbuf_puts(&q->payload, name);
		if (json_is_null(value)) { /* removes it */
			strbuf_add(&q->payload, "", 1);
		} else {
			strbuf_puts(&q->payload, "=");
			if (!add_word(&q->payload, value))
				return "env: a value is no string without NUL";
		}
		e->envc++;
	}
	return NULL;
}

static const char *limits(struct request *q, struct agent_exec *e, const json_t *given)
{
	const char *name;
	json_t *value;

	for (size_t i = 0; i < AGENT_LIMITS; i++)
		e->limit[i] = AGENT_NO_LIMIT;
	if (given && !json_is_object(given))
		return "limits is no object";
	json_object_foreach ((json_t *)(uintptr_t)given, name, value) {
		size_t i = 0;

		while (i < AGENT_LIMITS && strcmp(limit_name[i], name) != 0)
			i++;
		if (i == AGENT_LIMITS)
			return "limits: allowed are cpu_seconds, memory, processes, open_files, "
			       "file_size";
		if (json_is_null(value))
			continue;
		if (!json_is_integer(value) || json_integer_value(value) < 0)
			return "limits: a value is no number of 0 or more";
		e->limit[i] = (uint64_t)json_integer_value(value);
		q->cpu_limit |= strcmp(name, "cpu_seconds") == 0;
		q->size_limit |= strcmp(name, "file_size") == 0;
	}
	return NULL;
}

static const char *terminal(struct request *q, struct agent_exec *e, const json_t *tty)
{
	if (!tty || json_is_null(tty) || json_is_false(tty))
		return NULL;
	int rows = 24, cols = 80;
	if (json_is_object(tty) &&
	    json_unpack((json_t *)(uintptr_t)tty, "{s?i, s?i}", "rows", &rows, "cols", &cols) < 0)
		return "tty: rows and cols are numbers";
	if ((!json_is_object(tty) && !json_is_true(tty)) || rows < 0 || rows > UINT16_MAX ||
	    cols < 0 || cols > UINT16_MAX)
		return "tty is neither true nor {\"rows\": N, \"cols\": N}";
	q->tty = true;
	e->flags |= AGENT_TTY;
	e->rows = (uint16_t)rows;
	e->cols = (uint16_t)cols;
	return NULL;
}

/* Which of its streams are descriptors that came with the message. */
static const char *streams(struct request *q, const json_t *fds, const json_t *errors)
{
	static const char *const name[] = {"stdin", "stdout", "stderr"};
	const json_t *given;
	unsigned had = 0;
	size_t i;

	if (errors && !json_is_null(errors)) {
		if (strcmp(json_is_string(errors) ? json_string_value(errors) : "", "stdout") != 0)
			return "stderr is not \"stdout\"";
		q->merged = true;
	}
	if (!fds || json_is_null(fds))
		return NULL;
	if (!json_is_array(fds) || json_array_size(fds) > BV_ROWS_OF(q->handed))
		return "fds is no array of stdin, stdout, stderr";
	json_array_foreach (fds, i, given) {
		uint8_t which = 0;

		while (which < BV_ROWS_OF(name) &&
		       strcmp(json_is_string(given) ? json_string_value(given) : "", name[which]) !=
		               0)
			which++;
		if (which == BV_ROWS_OF(name) || (had & 1u << which))
			return "fds: allowed are stdin, stdout, stderr, once each";
		had |= 1u << which;
		q->handed[q->n_handed++] = which;
	}
	if (q->merged && (had & 4))
		return "fds: stderr goes where stdout does";
	return NULL;
}

static const char *rest(struct request *q, struct agent_exec *e, json_t *params)
{
	const json_t *input = json_object_get(params, "stdin"),
		     *timeout = json_object_get(params, "timeout"),
		     *user = json_object_get(params, "user");
	int uid, gid;

	if (input && strcmp(json_is_string(input) ? json_string_value(input) : "", "null") != 0 &&
	    strcmp(json_is_string(input) ? json_string_value(input) : "", "pipe") != 0)
		return "stdin is neither \"pipe\" nor \"null\"";
	q->no_input = input && strcmp(json_string_value(input), "null") == 0;
	if (timeout && !json_is_null(timeout)) {
		if (!json_is_number(timeout) || json_number_value(timeout) <= 0 ||
		    json_number_value(timeout) > 1e9)
			return "timeout is no number of seconds above 0";
		q->timeout = json_number_value(timeout);
	}
	if (user && !json_is_null(user)) {
		if (json_unpack((json_t *)(uintptr_t)user, "{s:i, s:i}", "uid", &uid, "gid", &gid) <
		            0 ||
		    uid < 0 || gid < 0)
			return "user is no {\"uid\": N, \"gid\": N}";
		e->flags |= AGENT_USER;
		e->uid = (uint32_t)uid;
		e->gid = (uint32_t)gid;
	}
	return NULL;
}

static const char *unknown(json_t *params)
{
	static const char *const known[] = {"sandbox", "argv",   "shell",   "cwd",
	                                    "env",     "limits", "tty",     "stdin",
	                                    "stderr",  "fds",    "timeout", "user"};
	const char *key;
	json_t *value;

	json_object_foreach (params, key, value) {
		size_t i = 0;

		while (i < BV_ROWS_OF(known) && strcmp(known[i], key) != 0)
			i++;
		if (i == BV_ROWS_OF(known))
			return "allowed are sandbox, argv, shell, cwd, env, limits, tty, stdin, "
			       "stderr, fds, timeout, user";
	}
	return NULL;
}

const char *request_parse(struct request *q, json_t *params, const char *init)
{
	struct agent_exec e = {0};
	json_t *cwd = json_object_get(params, "cwd");
	const char *why = unknown(params);

	strbuf_add(&q->payload, &e, sizeof(e));
	if (!cwd || json_is_null(cwd))
		strbuf_add(&q->payload, "", 1);
	else if (!why && !add_word(&q->payload, cwd))
		why = "cwd is no string without NUL";
	if (!why)
		why = command(q, &e, params, init);
	if (!why)
		why = environment(q, &e, json_object_get(params, "env"));
	if (!why)
		why = limits(q, &e, json_object_get(params, "limits"));
	if (!why)
		why = terminal(q, &e, json_object_get(params, "tty"));
	if (!why)
		why = rest(q, &e, params);
	if (!why)
		why = streams(q, json_object_get(params, "fds"), json_object_get(params, "stderr"));
	if (!why && q->tty && (q->n_handed || q->merged))
		why = "a terminal is all of its streams: neither fds nor stderr goes with tty";
	if (!why && q->payload.len > AGENT_MAX)
		why = "the command and its environment are too long";
	if (!why && !q->payload.failed)
		memcpy(q->payload.data, &e, sizeof(e));
	return why;
}
