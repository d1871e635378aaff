/* SPDX-License-Identifier: Apache-2.0 */
/* One sandbox from its configuration to a compiled filter, ready to launch; and its end. */
#include "sandbox.h"

#include <errno.h>
#include <sanitized.h>
#include <stdlib.h>
#include <string.h>

#include "launch.h"
#include "loader.h"
#include "loop.h"
#include "router.h"

/* The [core] section as it is read: struct core_conf plus what needs a second look. */
struct core_section {
	struct core_conf conf;
	const char *unrouted;
};

#define CORE(member) (uint32_t) offsetof(struct core_section, member)
static const struct bv_option rows[] = {
	{"modules", BV_OPT_WORDS, CORE(conf.modules), "blocklist vfs-cow procns net sysinfo", NULL,
	 "Modules to load: names looked up in module_dir, or absolute paths; the order breaks ties."},
	{"module_dir", BV_OPT_STR, CORE(conf.module_dir), NULL, NULL,
	 "Where module names are looked up; default: $BVISOR_MODULE_DIR, else where bvisor was installed."},
	{"unrouted", BV_OPT_STR, CORE(unrouted), "ENOSYS", NULL,
	 "What a call gets that no module handles and the reviewed table does not let through: an errno, or allow."},
	{"log", BV_OPT_ENUM, CORE(conf.log), "warn", "error|warn|info|debug",
	 "The least important kind of log line that is printed."},
	{"workers", BV_OPT_INT, CORE(conf.workers), "4", NULL, "Threads for work that may block, at most; 1 to 64."},
};

const struct bv_option *core_options(size_t *n)
{
	*n = sizeof(rows) / sizeof(rows[0]);
	return rows;
}

static int core_bad(const struct sandbox *box, const char *key, const char *why, struct bv_error *err)
{
	return error_set(err, EINVAL, "%s: [core] %s: %s", option_where(box->core_options, key), key, why);
}

static int read_core(struct sandbox *box, struct bv_error *err)
{
	struct core_section s = {0};
	int r = option_apply(&box->core_options, box->config, "core", rows, sizeof(rows) / sizeof(rows[0]),
			     sizeof(rows[0]), &s, err);
	if (r < 0)
		return r;
	box->conf = s.conf;
	box->conf.unrouted = !strcmp(s.unrouted, "allow") ? 0 : names_errno_by(s.unrouted);
	if (box->conf.unrouted < 0)
		return core_bad(box, "unrouted", "expected allow or the name of an errno, such as ENOSYS", err);
	if (s.conf.workers < 1 || s.conf.workers > 64)
		return core_bad(box, "workers", "expected a number from 1 to 64", err);
	if (s.conf.module_dir && s.conf.module_dir[0] && s.conf.module_dir[0] != '/')
		return core_bad(box, "module_dir", "expected an absolute path", err);
	return 0;
}

static bool answered_errno(const struct bv_call *call)
{
	const struct ncall *nc = (const struct ncall *)call; /* the call is its first member */
	return nc->answer == ANSWER_VALUE && nc->value < 0;
}

static int build(struct sandbox *box, struct bv_error *err)
{
	int r = read_core(box, err);
	if (r < 0)
		return r;
	log_set_level(box->conf.log);
	r = router_new(&box->router, box->conf.unrouted);
	if (r < 0)
		return error_set(err, -r, "routes: %s", strerror(-r));
	router_set_probe(box->router, answered_errno);
	if (box->audit.fd >= 0)
		router_audit(box->router);
	r = loader_load(box, err);
	if (!r)
		r = loader_init(box, err);
	if (r < 0)
		return r;
	r = filter_compile(box->router, &box->filter);
	if (r == -E2BIG)
		return error_set(
			err, E2BIG,
			"the modules' rules make a filter of more than %d instructions, which the kernel does not take",
			BPF_MAXINSNS);
	return r < 0 ? error_set(err, -r, "filter: %s", strerror(-r)) : 0;
}

int sandbox_new(struct sandbox **out, struct config *config, struct bv_error *err)
{
	return sandbox_new_audited(out, config, -1, err);
}

int sandbox_new_audited(struct sandbox **out, struct config *config, int audit,
                        struct bv_error *err)
{
	struct sandbox *box = calloc(1, sizeof(*box));
	if (!box) {
		config_free(config);
		return error_set(err, ENOMEM, "out of memory");
	}
	box->config = config;
	box->join_fd = -1;
	audit_init(&box->audit, audit);
	int r = build(box, err);
	if (r < 0) {
		sandbox_free(box);
		return r;
	}
	*out = box;
	return 0;
}

void sandbox_preload(struct config *config)
{
	static struct sandbox *loaded; /* as long as the process */
	struct bv_error err;

	loaded = calloc(1, sizeof(*loaded));
	if (!loaded) {
		config_free(config);
		return;
	}
	loaded->config = config;
	if (read_core(loaded, &err) == 0)
		(void)loader_load(loaded, &err);
}

void sandbox_quit(struct sandbox *box)
{
	if (BV_SANITIZED)
		sandbox_free(box);
	else if (box)
		loader_stop(box);
}

void sandbox_free(struct sandbox *box)
{
	if (!box)
		return;
	launch_free(box->launch);
	loader_fini(box);
	router_free(box->router);
	free(box->core);
	free(box->filter.filter);
	for (size_t i = 0; i < box->n_landlock; i++)
		free(box->landlock_path[i]);
	free(box->landlock_path);
	for (size_t i = 0; i < box->n_own_writes; i++)
		free(box->own_write[i].path);
	free(box->own_write);
	option_free(box->core_options);
	config_free(box->config);
	free(box);
}
