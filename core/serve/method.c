/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may ask for (docs/protocol.md). */
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "review_jobs.h"
#include "temp.h"

struct method {
	const char *name;
	void (*call)(struct client *c, json_t *id, json_t *params); /* takes id */
};

static struct box *box_of(struct client *c, json_t *id, json_t *params, bool ready)
{
	const json_t *n = json_object_get(params, "sandbox");
	struct box *b = json_is_integer(n) ? box_find(c, (uint32_t)json_integer_value(n)) : NULL;

	if (!b || (ready && b->state != BOX_READY)) {
		client_error(c, id, "not_found", ESRCH,
		             b ? "the sandbox is not running" : "there is no such sandbox");
		return NULL;
	}
	return b;
}

static struct process *proc_of(struct client *c, json_t *id, json_t *params)
{
	const json_t *n = json_object_get(params, "process");
	struct process *p =
		json_is_integer(n) ? process_find(c, (uint32_t)json_integer_value(n)) : NULL;

	if (!p || p->exited)
		client_error(c, id, "not_found", ESRCH, "there is no such process");
	return p && !p->exited ? p : NULL;
}

static void create(struct client *c, json_t *id, json_t *params)
{
	box_create(c, id, params);
}

static void destroy(struct client *c, json_t *id, json_t *params)
{
	struct box *b = box_of(c, id, params, false);

	if (b)
		box_end(b, id);
}

/* Of a temporary one: whether it runs or not, it is no more. */
static void remove_temp(struct client *c, json_t *id, json_t *params)
{
	const char *name = json_string_value(json_object_get(params, "name"));
	struct box *b = name ? box_temporary(c, name) : NULL;

	if (!name || !temp_has(c, name)) {
		client_error(c, id, "not_found", ENOENT, "there is no such temporary sandbox");
		return;
	}
	if (b)
		box_end(b, id);
	temp_remove(c, name);
	if (!b)
		client_result(c, id, NULL);
}

static void stats(struct client *c, json_t *id, json_t *params)
{
	const struct box *b = box_of(c, id, params, true);

	if (b)
		box_stats(b, id);
}

static void list(struct client *c, json_t *id, json_t *params)
{
	json_t *all = json_array();

	(void)params;
	for (const struct box *b = c->boxes; b; b = b->next) {
		if (b == c->spare)
			continue;
		json_t *one = json_pack("{s:i, s:s}", "sandbox", (int)b->id, "state",
		                        b->state == BOX_STARTING ? "starting"
		                        : b->state == BOX_READY  ? "ready"
		                                                 : "ending");
		json_t *procs = json_array();

		if (b->name)
			json_object_set_new(one, "name", json_string(b->name));
		for (const struct process *p = b->procs; p; p = p->next)
			if (p->started && !p->exited)
				json_array_append_new(procs, json_integer(p->id));
		json_object_set_new(one, "processes", procs);
		json_array_append_new(all, one);
	}
	client_result(c, id, json_pack("{s:o}", "sandboxes", all));
}

static void start(struct client *c, json_t *id, json_t *params)
{
	struct box *b = box_of(c, id, params, true);

	if (b)
		process_start(b, id, params);
}

static void send_signal(struct client *c, json_t *id, json_t *params)
{
	struct process *p = proc_of(c, id, params);
	int sig = SIGTERM, group = 1;

	if (!p)
		return;
	if (json_unpack(params, "{s?i, s?b}", "signal", &sig, "group", &group) < 0 || sig < 1 ||
	    sig > SIGRTMAX) {
		client_error(c, id, "invalid", EINVAL,
		             "process.signal: signal is a number of 1 to %d, group true or false",
		             SIGRTMAX);
		return;
	}
	process_signal(p, sig, group);
	client_result(c, id, NULL);
}

static void resize(struct client *c, json_t *id, json_t *params)
{
	struct process *p = proc_of(c, id, params);
	int rows = -1, cols = -1;

	if (!p)
		return;
	int r = json_unpack(params, "{s:i, s:i}", "rows", &rows, "cols", &cols) < 0 || rows < 0 ||
	                        rows > UINT16_MAX || cols < 0 || cols > UINT16_MAX
	                ? -EINVAL
	                : process_resize(p, (unsigned)rows, (unsigned)cols);
	if (r < 0)
		client_error(c, id, "invalid", -r, "process.resize: %s", strerror(-r));
	else
		client_result(c, id, NULL);
}

static void command(struct client *c, json_t *id, json_t *params)
{
	review_call(c, id, json_object_get(params, "argv"),
	            json_is_true(json_object_get(params, "temporary")));
}

static void cancel(struct client *c, json_t *id, json_t *params)
{
	const json_t *request = json_object_get(params, "request");
	json_int_t n = json_integer_value(request);

	if (json_is_integer(request) &&
	    (box_cancel(c, n) || process_cancel(c, n) || review_cancel(c, n)))
		client_result(c, id, NULL);
	else
		client_error(c, id, "not_found", ESRCH,
		             "there is no such request, or it cannot be cancelled");
}

static const struct method methods[] = {
	{"sandbox.create", create},
	{"sandbox.destroy", destroy},
	{"sandbox.remove", remove_temp},
	{"sandbox.list", list},
	{"sandbox.stats", stats},
	{"process.start", start},
	{"process.signal", send_signal},
	{"process.resize", resize},
	{"command", command},
	{"cancel", cancel},
};

void method_call(struct client *c, json_t *request)
{
	json_t *id = json_object_get(request, "id"), *params = json_object_get(request, "params");
	const char *name = json_string_value(json_object_get(request, "method"));
	json_t *none = params ? NULL : json_object();

	json_incref(id);
	if (!json_is_integer(id) || !name || (params && !json_is_object(params))) {
		client_error(c, id, "protocol", EINVAL,
		             "a request is {\"id\": N, \"method\": TEXT, \"params\": {}}");
		json_decref(none);
		return;
	}
	for (size_t i = 0; i < BV_ROWS_OF(methods); i++)
		if (strcmp(methods[i].name, name) == 0) {
			methods[i].call(c, id, params ? params : none);
			json_decref(none);
			return;
		}
	client_error(c, id, "no_method", ENOSYS, "there is no method '%s'", name);
	json_decref(none);
}
