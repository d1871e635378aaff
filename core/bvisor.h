/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_BVISOR_H
#define CORE_BVISOR_H
/*
 * The core's inner border: one sandbox instance and what each file of core offers the others.
 * No file of core has globals except the front process's signal state.
 */
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include <bvisor/module.h>

#include "audit.h"

struct config;
struct router;
struct loader;
struct loop;

/* A load or configuration failure: a chain of text, with file and line when known. */
struct bv_error {
	char text[1024];
};
/* Formats into err (ignored when NULL); returns -code. */
int error_set(struct bv_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- log.c ---- */
void log_set_level(int level);
int log_level(void);
void log_line(int level, const char *topic, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* ---- config.c: ini text -> (section, key, value, where) entries; knows no module ---- */
struct config_entry {
	const char *section, *key, *value, *where; /* where: "bvisor.ini:12" or "--rw" */
	bool append; /* adds to what the file says, or to the default when it says nothing */
};
/* Finds the file as documented in bvisor.ini(5): explicit, $BVISOR_CONFIG, XDG, installed default.
 * Never the current directory.  *path is malloc'd; -ENOENT when there is none. */
int config_find(const char *explicit_path, char **path, struct bv_error *err);
int config_load(struct config **out, const char *path, struct bv_error *err);
int config_parse(struct config **out, const char *text, size_t len, const char *name, struct bv_error *err);
/* Appends an entry from the command line; a key set here replaces the file's unless append. */
int config_set(struct config *c, const char *section, const char *key, const char *value, const char *where,
               bool append, struct bv_error *err);
size_t config_count(const struct config *c);
const struct config_entry *config_at(const struct config *c, size_t i);
void config_free(struct config *c);

/* ---- option.c: rows + entries -> conf struct ---- */
struct option_set; /* owns the strings */
int option_apply(struct option_set **out, const struct config *c, const char *section, const struct bv_option *rows,
                 size_t n, size_t stride, void *conf, struct bv_error *err);
const char *option_where(const struct option_set *s, const char *key);
void option_free(struct option_set *s);

/* ---- names.c: syscall names (libseccomp's, plus newer unified numbers) ---- */
int names_nr(const char *name);  /* native number; -ENOSYS: not on this architecture; -EINVAL: unknown */
const char *names_name(int nr);  /* NULL: unknown */
int names_max(void);             /* highest native number known */
const char *names_errno(int err);            /* "EPERM" */
int names_errno_by(const char *name);        /* 1 or -EINVAL */

/* ---- router.c ---- */
enum disposition { DISP_VIRTUAL, DISP_PASS, DISP_BLOCKED, DISP_UNKNOWN };
struct route {
	bv_handler_fn *fn;
	void *self;         /* filled at freeze from *self_of */
	struct bv_self *owner;
	uint16_t phase, order;
};
int router_new(struct router **out, int unrouted_errno /* 0: allow */);
int router_add(struct router *r, struct bv_self *owner, const struct bv_handler *row);
int router_rule(struct router *r, struct bv_self *owner, const struct bv_rule *row);
int router_deny(struct router *r, struct bv_self *owner, const char *syscall, int err);
int router_freeze(struct router *r);
/* The verdict after the whole chain; an all-PASS chain replies ENOSYS and warns once. */
enum bv_verdict router_dispatch(struct router *r, int nr, struct bv_call *call,
                                enum bv_verdict (*reply)(struct bv_call *, int64_t));
enum disposition router_disposition(const struct router *r, int nr, const char **owner, int *err);
size_t router_chain(const struct router *r, int nr, const struct route **chain);
/* The errno by which the filter refuses this call, and on whose account; 0: it does not. */
int router_refused(const struct router *r, int nr, const uint64_t arg[6], const char **owner);
size_t router_rules(const struct router *r, int nr, const struct bv_rule **rules /* array */, size_t cap);
void router_free(struct router *r);

/* ---- passthrough.c: calls reviewed as harmless natively, with the reason class ---- */
const char *passthrough_reason(const char *name); /* NULL: not in the table */

/* ---- filter.c: routes -> balanced cBPF ---- */
int filter_compile(const struct router *r, struct sock_fprog *out); /* free(out->filter) */

/* ---- loader.c ---- */
struct bv_self {
	struct sandbox *box;
	const struct bv_module *desc; /* host's zero-filled copy */
	void *dl, *conf, *state;      /* state: what init stored */
	struct option_set *options;
	char *path;
	const char *where; /* the ini line that named it */
	unsigned index;    /* slot number and order */
	bool ready;
	char fail[512];
};
/* Reads [core] modules, opens each file (names are looked up in module_dir, absolute paths as
 * given), checks the handshake, parses options. */
int loader_load(struct sandbox *box, struct bv_error *err);
int loader_init(struct sandbox *box, struct bv_error *err); /* sorted by needs; then freezes routes */
void loader_fini(struct sandbox *box);                      /* reverse order, dlclose */
const struct bv_head *loader_service(struct sandbox *box, const char *name);
/* The handshake alone, on untrusted bytes (fuzzed): copies into *out, zero-filling. */
int handshake_check(const void *desc, size_t readable, struct bv_module *out, const char *file, struct bv_error *err);

/* ---- host.c: the table given to modules ---- */
extern const struct bv_host host_table;
extern const struct bv_module core_module; /* what box->core describes itself by */

/* ---- creds.c: core's own routes, to be added before router_freeze ---- */
int creds_routes(struct sandbox *box);

/* ---- one sandbox ---- */
struct core_conf { /* the [core] section */
	struct bv_strings modules;
	const char *module_dir; /* NULL: compiled-in MODULE_DIR, or $BVISOR_MODULE_DIR when uninstalled */
	int unrouted;           /* errno; 0 allow */
	int log;                /* enum bv_log_level */
	int64_t workers;
};
struct sandbox {
	struct config *config;
	struct core_conf conf;
	struct option_set *core_options;
	struct router *router;
	struct bv_self **module;
	size_t n_modules;
	struct service { const char *name; const struct bv_head *ops; struct bv_self *owner; } *service;
	size_t n_services;
	char **landlock_path;
	size_t n_landlock;
	struct own_write { char *path; unsigned what; } *own_write; /* what the supervisor may write */
	size_t n_own_writes;
	struct sock_fprog filter;
	struct audit audit;
	struct loop *loop;  /* NULL unless the guest runs */
	struct launch_state *launch; /* launch.c's, NULL before; sandbox_free calls launch_free */
	struct bv_self *core; /* owner of core's own routes (creds.c), NULL: none; free() it */
	pid_t first_pid;
	int join_fd; /* where others ask to join it (join.h), listening; -1: nowhere; the caller's */
	bool frozen, confined; /* launch.c: the supervisor can write no more than it must */
};
int sandbox_new(struct sandbox **out, struct config *config /* taken */, struct bv_error *err); /* load+init+compile */
/* The same; what is refused is told on audit, the caller's, which must not block. */
int sandbox_new_audited(struct sandbox **out, struct config *config, int audit,
                        struct bv_error *err);
void sandbox_free(struct sandbox *box);
/* Maps the modules that config (taken) names, for sandboxes that are forked from here. */
void sandbox_preload(struct config *config);
/* As sandbox_free, before _exit(2): modules clean up outside of the process, the kernel does the rest. */
void sandbox_quit(struct sandbox *box);

/* ---- launch.c: the guest's first process ---- */
struct launch {
	char *const *argv, *const *envp;
	const char *cwd;       /* virtual path to start in */
	int stdio[3];          /* descriptors to become 0, 1, 2; -1: inherit the same number */
	int tty;               /* slave to make the controlling terminal, or -1 */
	int program; /* what is executed, a binary, in the place of argv[0]: a descriptor above 2; 0: none */
	pid_t pgid;            /* process group to join; 0: a new one */
	uint64_t caps_keep;    /* capability bits kept when root */
	bool session; /* a session of its own, even without a terminal */
	uint64_t ignore;       /* bit N-1: the guest starts with signal N ignored, as after nohup(1) */
};
/* Spawns: the child installs the filter, then waits for launch_listener().  The exec itself is the
 * guest's first trapped call.  argv and envp must stay until loop_run has returned.  Returns pid;
 * -errno with err.  The descriptors of l may be closed at once. */
int launch_spawn(struct sandbox *box, const struct launch *l, struct bv_error *err);

/* ---- loop.c: RECV thread, deferred answers, tasks, reaping ---- */
struct run_result {
	int status;  /* wait status of the first process, when started */
	int exec_errno; /* != 0: the command could not be executed */
	int stops; /* how often the first process was stopped */
};
/* Takes over the spawned child and runs until the first process ended (all: until every guest
 * ended), then kills what is left.  0; -errno with err.
 * `control` (-1: none, see control.h): its end kills the guest; a byte read from it is the number
 * of a signal to send to the first process; its start and its stops are reported on it. */
int loop_run(struct sandbox *box, pid_t first, int control /* front's socket: HUP = die */, bool wait_all,
             struct run_result *out, struct bv_error *err);

/* ---- features.c: what this kernel offers (bvisor check) ---- */
struct features {
	bool notify, wait_killable, sync_wake_up, addfd_send, pidfd_getfd, process_vm, ptrace;
	int landlock_abi; /* 0: none */
	int yama;         /* ptrace_scope, -1: not built in */
	char kernel[128];
};
void features_probe(struct features *f);

#endif
