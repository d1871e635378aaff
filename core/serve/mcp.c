/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bvisor mcp: a sandbox as a server of the Model Context Protocol (JSON-RPC 2.0, a message a line, on
 * standard input and output).  A session has one sandbox, whose files can be reviewed; nothing reaches the
 * host but by the tool commit, which asks the user.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "mcp_broker.h"

#define TIMEOUT 120 /* seconds of a command, unless it asks for others */
#define MAX_TIMEOUT 3600

struct mcp {
	struct link link;
	json_t *params; /* of sandbox.create */
	const char *name;
	int sandbox; /* 0: not running */
	bool keep, yes;
	bool elicits; /* the client can ask its user */
	int asked;
	json_t *later; /* requests that came while the user was asked */
};

struct tool {
	const char *name, *text, *schema;
	/* Adds what it has to say; false: it failed. */
	bool (*call)(struct mcp *m, json_t *args, struct strbuf *out);
};

static void say(json_t *message)
{
	bv_autofree char *text = json_dumps(message, JSON_COMPACT);

	if (text) {
		puts(text);
		fflush(stdout);
	}
	json_decref(message);
}

/* ---- the sandbox ---- */

static bool refuse(struct strbuf *out, json_t *why)
{
	const char *text = json_string_value(json_object_get(why, "message"));

	strbuf_puts(out, text ? text : "the sandbox's broker is gone");
	json_decref(why);
	return false;
}

static bool ready(struct mcp *m, struct strbuf *out)
{
	json_t *why;

	if (m->sandbox)
		return true;
	json_t *result = link_call(&m->link, "sandbox.create", json_incref(m->params), &why);
	if (!result)
		return refuse(out, why);
	m->sandbox = (int)json_integer_value(json_object_get(result, "sandbox"));
	json_decref(result);
	return true;
}

static void idle(struct mcp *m)
{
	json_t *why;

	if (m->sandbox)
		json_decref(link_call(&m->link, "sandbox.destroy",
		                      json_pack("{s:i}", "sandbox", m->sandbox), &why));
	m->sandbox = 0;
}

static bool has_processes(struct mcp *m)
{
	json_t *why, *now = link_call(&m->link, "sandbox.stats",
	                              json_pack("{s:i}", "sandbox", m->sandbox), &why);
	bool any = json_integer_value(json_object_get(now, "processes")) > 0;

	json_decref(now ? now : why);
	return any;
}

/* A command of bvisor's on the sandbox, which nobody uses meanwhile, or with `live` what runs in the background does: its
 * status, or -1. */
static int review(struct mcp *m, json_t *argv, bool live, struct strbuf *out)
{
	json_t *why;

	/* (It has to have been there once.) */
	if (!ready(m, out)) {
		json_decref(argv);
		return -1;
	}
	if (!live || !has_processes(m))
		idle(m);
	json_t *result = link_call(&m->link, "command", json_pack("{s:o}", "argv", argv), &why);
	if (!result)
		return refuse(out, why) ? 0 : -1;
	const char *text[] = {json_string_value(json_object_get(result, "stdout")),
	                      json_string_value(json_object_get(result, "stderr"))};
	for (size_t i = 0; i < BV_ROWS_OF(text); i++)
		if (text[i])
			strbuf_puts(out, text[i]);
	int status = (int)json_integer_value(json_object_get(result, "status"));
	json_decref(result);
	return status;
}

static bool run(struct mcp *m, json_t *params, const char *input, size_t n, struct outcome *o,
                struct strbuf *out)
{
	json_t *why;

	if (!ready(m, out)) {
		json_decref(params);
		return false;
	}
	json_object_set_new(params, "sandbox", json_integer(m->sandbox));
	if (!link_run(&m->link, params, input, n, o, &why))
		return refuse(out, why);
	if (o->code < 0) {
		m->sandbox = 0;
		strbuf_puts(out, "the sandbox has ended; the next command starts it anew");
		return false;
	}
	return true;
}

/* ---- tools ---- */

static const char *text_of(json_t *args, const char *key)
{
	const json_t *v = json_object_get(args, key);

	return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)
	               ? json_string_value(v)
	               : NULL;
}

static bool bad(struct strbuf *out, const char *what)
{
	strbuf_puts(out, what);
	return false;
}

static void add_output(struct strbuf *out, const struct strbuf *part, uint64_t size)
{
	strbuf_add(out, part->data ? part->data : "", part->len);
	if (size > part->len)
		strbuf_printf(out, "\n[%llu more bytes]\n", (unsigned long long)(size - part->len));
}

static bool bash(struct mcp *m, json_t *args, struct strbuf *out)
{
	const char *command = text_of(args, "command"), *cwd = text_of(args, "cwd");
	const json_t *timeout = json_object_get(args, "timeout");
	struct outcome o;

	if (!command)
		return bad(out, "bash: command is no text");
	double seconds = json_is_number(timeout) ? json_number_value(timeout) : TIMEOUT;
	if (seconds <= 0 || seconds > MAX_TIMEOUT)
		return bad(out, "bash: timeout is not between 0 and 3600 seconds");
	json_t *params = json_pack("{s:s, s:f}", "shell", command, "timeout", seconds);
	if (cwd)
		json_object_set_new(params, "cwd", json_string(cwd));
	if (!run(m, params, NULL, 0, &o, out)) {
		outcome_fini(&o);
		return false;
	}
	add_output(out, &o.out, o.out_size);
	add_output(out, &o.err, o.err_size);
	if (o.timed_out)
		strbuf_printf(out, "\n[killed after %.0f seconds]", seconds);
	else if (o.code)
		strbuf_printf(out, "\n[exit code %d]", o.code);
	bool good = o.code == 0 && !o.timed_out;
	for (unsigned i = 0; !good && i < o.n_refused; i++)
		strbuf_printf(out, "\n[the sandbox refused %s]", o.refused[i].data);
	outcome_fini(&o);
	return good;
}

static bool file(struct mcp *m, json_t *args, const char *verb, const char *content,
                 struct strbuf *out)
{
	const char *path = text_of(args, "path");
	struct outcome o;

	if (!path)
		return bad(out, "path is no text");
	json_t *params = json_pack("{s:[s, s, s]}", "argv", "@bvisor-init", verb, path);
	if (content)
		json_array_append_new(json_object_get(params, "argv"), json_string("-"));
	bool good = run(m, params, content, content ? strlen(content) : 0, &o, out);
	if (good) {
		if (strcmp(verb, "list") != 0 || o.code)
			add_output(out, o.code ? &o.err : &o.out, o.code ? o.err_size : o.out_size);
		/* A record: "TYPE MODE UID GID SIZE MTIME NLINK INO NAME NUL TARGET NUL". */
		for (size_t at = 0; !o.code && strcmp(verb, "list") == 0 && at < o.out.len;) {
			const char *record = o.out.data + at, *name = record;

			for (int words = 0; words < 8 && name; words++)
				name = (name = strchr(name, ' ')) ? name + 1 : NULL;
			if (name)
				strbuf_printf(out, "%s%s\n", name,
				              *record == 'd'   ? "/"
				              : *record == 'l' ? "@"
				                               : "");
			at += strlen(record) + 1;
			at += strlen(o.out.data + at) + 1;
		}
		good = o.code == 0;
	}
	outcome_fini(&o);
	return good;
}

static bool read_file(struct mcp *m, json_t *args, struct strbuf *out)
{
	return file(m, args, "read", NULL, out);
}

static bool list_files(struct mcp *m, json_t *args, struct strbuf *out)
{
	if (!json_object_get(args, "path"))
		json_object_set_new(args, "path", json_string("."));
	return file(m, args, "list", NULL, out);
}

static bool write_file(struct mcp *m, json_t *args, struct strbuf *out)
{
	const char *content = text_of(args, "content");

	if (!content)
		return bad(out, "write_file: content is no text");
	bool good = file(m, args, "write", content, out);
	if (good)
		strbuf_puts(out, "written");
	return good;
}

static bool diff(struct mcp *m, json_t *args, struct strbuf *out)
{
	(void)args;
	int status = review(m, json_pack("[s, s, s]", "diff", m->name, "--patch"), true, out);

	if (status == 0 && !out->len)
		strbuf_puts(out, "nothing has changed");
	return status == 0;
}

/* Asks the user, by way of the client: 1 yes, 0 no, -1: nobody could be asked. */
static int ask(struct mcp *m, const char *question)
{
	bv_autofree char *line = NULL;
	size_t cap = 0;

	if (m->yes)
		return 1;
	if (!m->elicits)
		return -1;
	char id[32]; /* of its own: a late answer to another question is none to this one */
	snprintf(id, sizeof(id), "commit-%d", ++m->asked);
	say(json_pack("{s:s, s:s, s:s, s:{s:s, s:{s:s, s:{s:{s:s, s:s}}, s:[s]}}}", "jsonrpc",
	              "2.0", "id", id, "method", "elicitation/create", "params", "message",
	              question, "requestedSchema", "type", "object", "properties", "commit", "type",
	              "boolean", "description", "Write these changes to this machine", "required",
	              "commit"));
	while (getline(&line, &cap, stdin) > 0) {
		json_t *message = json_loads(line, 0, NULL),
		       *result = json_object_get(message, "result");
		const char *to = json_string_value(json_object_get(message, "id"));
		bool mine = !json_object_get(message, "method") && to && strcmp(to, id) == 0;
		const char *action = json_string_value(json_object_get(result, "action"));
		int answer =
			action && strcmp(action, "accept") == 0 &&
			json_is_true(json_object_get(json_object_get(result, "content"), "commit"));

		json_decref(message);
		if (mine)
			return answer;
		json_array_append_new(m->later, json_string_nocheck(line));
	}
	return 0;
}

/* What is named, or all that has changed. */
static json_t *named_paths(json_t *args)
{
	json_t *paths = json_object_get(args, "paths"), *path;
	size_t i;

	if (!paths)
		return json_array();
	if (!json_is_array(paths) || json_array_size(paths) == 0)
		return NULL;
	json_array_foreach (paths, i, path)
		if (!json_is_string(path) || !*json_string_value(path))
			return NULL;
	return json_incref(paths);
}

static bool commit(struct mcp *m, json_t *args, struct strbuf *out)
{
	json_t *paths = named_paths(args);
	bv_autostrbuf struct strbuf what = {0};

	if (!paths)
		return bad(out, "commit: paths is no list of paths");
	/* (No path is an option.) */
	json_t *plan = json_pack("[s, s, s, s]", "commit", "--dry-run", m->name, "--"),
	       *real = json_pack("[s, s, s]", "commit", m->name, "--");
	json_array_extend(plan, paths);
	json_array_extend(real, paths);
	json_decref(paths);
	if (review(m, plan, true, &what) != 0) {
		json_decref(real);
		strbuf_puts(out, what.data ? what.data : "");
		return false;
	}
	int answer = ask(m, what.data ? what.data : "");
	if (answer > 0)
		return review(m, real, true, out) == 0;
	json_decref(real);
	if (answer == 0)
		return bad(out, "the user does not want that");
	strbuf_printf(out, "%s\nYour client cannot ask its user. They may run: bvisor commit %s",
	              what.data ? what.data : "", m->name);
	return false;
}

static bool reset(struct mcp *m, json_t *args, struct strbuf *out)
{
	(void)args;
	if (review(m, json_pack("[s, s]", "rollback", m->name), false, out) != 0)
		return false;
	strbuf_puts(out, "everything is as on the host again");
	return true;
}

#define PATH_SCHEMA(more, required)                                                           \
	"{\"type\":\"object\",\"properties\":{\"path\":{\"type\":\"string\",\"description\":" \
	"\"absolute, or below the "                                                           \
	"working directory\"}" more "},\"required\":[" required "]}"

static const struct tool tools[] = {
	{"bash",
         "Runs a command line with bash in the sandbox. It sees this machine's files and tools; "
         "what it changes stays in the sandbox, "
         "and lasts. No network unless the server was started with it.",
         "{\"type\":\"object\",\"properties\":{\"command\":{\"type\":\"string\"},\"timeout\":{"
         "\"type\":\"number\",\"description\":"
         "\"seconds, 120 by default\"},\"cwd\":{\"type\":\"string\"}},\"required\":[\"command\"]}",
         bash},
	{"read_file", "Reads a file as the sandbox sees it.", PATH_SCHEMA("", "\"path\""),
         read_file},
	{"write_file", "Writes a file in the sandbox, whole.",
         PATH_SCHEMA(",\"content\":{\"type\":\"string\"}", "\"path\",\"content\""), write_file},
	{"list_files", "Lists a directory; directories end with a slash, symlinks with @.",
         PATH_SCHEMA("", ""), list_files},
	{"diff", "Shows all that was changed in the sandbox, as a patch.",
         "{\"type\":\"object\",\"properties\":{}}", diff},
	{"commit",
         "Brings the sandbox's changes, or those of some paths, to the real files. The user is "
         "asked.",
         "{\"type\":\"object\",\"properties\":{\"paths\":{\"type\":\"array\",\"items\":{\"type\":"
         "\"string\"}}}}",
         commit},
	{"reset", "Forgets all that was changed in the sandbox.",
         "{\"type\":\"object\",\"properties\":{}}", reset},
};

/* ---- JSON-RPC ---- */

static void answer(json_t *id, json_t *result)
{
	say(json_pack("{s:s, s:O, s:o}", "jsonrpc", "2.0", "id", id, "result", result));
}

static void error(json_t *id, int code, const char *text)
{
	say(json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id ? id : json_null(),
	              "error", "code", code, "message", text));
}

static void initialize(struct mcp *m, json_t *id, json_t *params)
{
	static const char *const known[] = {"2025-06-18", "2025-03-26", "2024-11-05"};
	const char *want = json_string_value(json_object_get(params, "protocolVersion"));
	const char *version = known[0];

	for (size_t i = 0; want && i < BV_ROWS_OF(known); i++)
		if (strcmp(known[i], want) == 0)
			version = known[i];
	m->elicits = json_object_get(json_object_get(params, "capabilities"), "elicitation");
	answer(id, json_pack("{s:s, s:{s:{}}, s:{s:s, s:s}, s:s}", "protocolVersion", version,
	                     "capabilities", "tools", "serverInfo", "name", "bvisor", "version",
	                     BVISOR_VERSION, "instructions",
	                     "Commands run in a sandbox over this machine's files: changes stay "
	                     "inside until commit."));
}

static void list_tools(json_t *id)
{
	json_t *all = json_array();

	for (size_t i = 0; i < BV_ROWS_OF(tools); i++)
		json_array_append_new(all, json_pack("{s:s, s:s, s:o}", "name", tools[i].name,
		                                     "description", tools[i].text, "inputSchema",
		                                     json_loads(tools[i].schema, 0, NULL)));
	answer(id, json_pack("{s:o}", "tools", all));
}

static void call_tool(struct mcp *m, json_t *id, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	json_t *args = json_object_get(params, "arguments");
	bv_autostrbuf struct strbuf out = {0};

	for (size_t i = 0; name && i < BV_ROWS_OF(tools); i++) {
		if (strcmp(tools[i].name, name) != 0)
			continue;
		args = json_is_object(args) ? json_incref(args) : json_object();
		bool good = tools[i].call(m, args, &out);
		json_decref(args);
		json_t *text = json_stringn(out.data ? out.data : "", out.len);
		for (size_t at = 0; !text && at < out.len;
		     at++) /* what is no UTF-8 is shown as such */
			if ((unsigned char)out.data[at] >= 0x80)
				out.data[at] = '?';
		if (!text)
			text = json_stringn(out.data, out.len);
		answer(id, json_pack("{s:[{s:s, s:o}], s:b}", "content", "type", "text", "text",
		                     text ? text : json_string(""), "isError", !good));
		return;
	}
	error(id, -32602, "there is no such tool");
}

static void take(struct mcp *m, const char *line)
{
	json_t *message = json_loads(line, JSON_ALLOW_NUL, NULL),
	       *id = json_object_get(message, "id");
	const char *method = json_string_value(json_object_get(message, "method"));
	json_t *params = json_object_get(message, "params");

	if (!message)
		error(NULL, -32700, "no JSON");
	else if (!method && !json_object_get(message, "result") &&
	         !json_object_get(message, "error"))
		error(id, -32600, "no request");
	else if (!id || !method)
		; /* a notification, or an answer that comes too late */
	else if (strcmp(method, "initialize") == 0)
		initialize(m, id, params);
	else if (strcmp(method, "ping") == 0)
		answer(id, json_object());
	else if (strcmp(method, "tools/list") == 0)
		list_tools(id);
	else if (strcmp(method, "tools/call") == 0)
		call_tool(m, id, params);
	else
		error(id, -32601, "there is no such method");
	json_decref(message);
}

/* ---- its start ---- */

static void append(json_t *params, const char *key, const char *value)
{
	json_t *list = json_object_get(params, key);

	if (!list) {
		list = json_array();
		json_object_set_new(params, key, list);
	}
	json_array_append_new(list, json_string(value));
}

int mcp_command(int argc, char **argv)
{
	static const struct option options[] = {
		{"name", required_argument, NULL, 'n'},   {"net", required_argument, NULL, 'N'},
		{"allow", required_argument, NULL, 'A'},  {"hide", required_argument, NULL, 'H'},
		{"quota", required_argument, NULL, 'q'},  {"env-all", no_argument, NULL, 'e'},
		{"config", required_argument, NULL, 'c'}, {"yes", no_argument, NULL, 'y'},
		{"help", no_argument, NULL, 'h'},         {0}};
	struct mcp m = {.params = json_pack("{s:b}", "audit", 1), .later = json_array()};
	char temp[64], cwd[4096];
	bv_autofree char *line = NULL;
	size_t cap = 0;
	int c;

	while ((c = getopt_long(argc, argv, ":c:h", options, NULL)) != -1)
		switch (c) {
		case 'n':
			m.name = optarg;
			m.keep = true;
			break;
		case 'N':
			json_object_set_new(m.params, "net", json_string(optarg));
			break;
		case 'A':
			append(m.params, "allow", optarg);
			break;
		case 'H':
			append(m.params, "hide", optarg);
			break;
		case 'q':
			json_object_set_new(m.params, "quota", json_string(optarg));
			break;
		case 'e':
			json_object_set_new(m.params, "env_all", json_true());
			break;
		case 'c':
			json_object_set_new(m.params, "config", json_string(optarg));
			break;
		case 'y':
			m.yes = true;
			break;
		case 'h':
			return cli_help("mcp");
		default:
			return cli_bad_option("mcp", argv, c);
		}
	if (optind < argc)
		return cli_misuse("mcp", "no further words are taken");
	if (!m.name) {
		/* Not the name of one that was killed. */
		snprintf(temp, sizeof(temp), "mcp-%d-%lld", (int)getpid(), (long long)time(NULL));
		m.name = temp;
	}
	json_object_set_new(m.params, "name", json_string(m.name));
	if (getcwd(cwd, sizeof(cwd)))
		json_object_set_new(m.params, "cwd", json_string(cwd));
	optind = 0;
	int r = link_open(&m.link);
	if (r < 0)
		return cli_fail("mcp", "the broker: %s", strerror(-r));
	while (getline(&line, &cap, stdin) > 0) {
		take(&m, line);
		for (; json_array_size(m.later) > 0; json_array_remove(m.later, 0)) {
			bv_autofree char *was =
				strdup(json_string_value(json_array_get(m.later, 0)));

			if (was)
				take(&m, was);
		}
	}
	idle(&m);
	if (!m.keep) {
		bv_autostrbuf struct strbuf out = {0};
		json_t *why;

		json_decref(link_call(&m.link, "command",
		                      json_pack("{s:[s, s]}", "argv", "rm", m.name), &why));
		json_decref(why);
	}
	link_close(&m.link);
	json_decref(m.params);
	json_decref(m.later);
	return 0;
}
