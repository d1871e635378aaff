/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BVISOR_H
#define BVISOR_H
/*
 * libbvisor: sandboxes for a C program.  A connection is a `bvisor serve` of its own, a child of the
 * program that ends with it; it speaks the protocol of docs/protocol.md.
 *
 *	struct bvisor_error e;
 *	struct bvisor *b = bvisor_open(NULL, &e);
 *	struct bvisor_sandbox *sb = b ? bvisor_create(b, NULL, &e) : NULL;
 *	struct bvisor_command c = {.size = sizeof(c), .shell = "echo hello"};
 *	struct bvisor_result r;
 *	if (sb && bvisor_run(sb, &c, &r, &e) == 0)
 *		printf("%s", r.out);
 *
 * Threads: one at a time may use a connection and what was made of it; different connections are
 * independent.  No signal handlers are installed, and SIGPIPE is not raised.  After fork(2) the child
 * must not use a connection of its parent's, not even close it.
 *
 * Errors: functions return -1, or NULL, and fill *e, which may be NULL.  Strings and arrays that are
 * given are borrowed for the call; arrays of strings end with NULL.  Since 0.1.
 */
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BVISOR_API __attribute__((visibility("default")))

struct bvisor; /* a connection */
struct bvisor_sandbox;
struct bvisor_process;

struct bvisor_error {
	/* "invalid", "exec", "not_found", "busy", "sandbox", "conflict", "host" (no broker can be had here),
	 * "protocol", "memory", "io" */
	char code[16];
	int err; /* an errno(3), or 0 */
	char message[512];
};

/* ---- connections ---- */

/* program: the bvisor to run; NULL: $BVISOR_BIN, else "bvisor" in $PATH. */
BVISOR_API struct bvisor *bvisor_open(const char *program, struct bvisor_error *e);
/* Ends all its sandboxes and waits for that.  Frees what was made of it, but results.  NULL is fine. */
BVISOR_API void bvisor_close(struct bvisor *b);
/* The version of the program that was found. */
BVISOR_API const char *bvisor_version(const struct bvisor *b);

/* ---- sandboxes ---- */

/* Something that policy refused to a command.  The strings last as long as the function that gets it. */
struct bvisor_denial {
	const char *kind; /* "denied"; "limit": it met a limit (a quota) */
	const char *by, *call; /* the module that refused, the system call */
	const char *error; /* the name of its errno: "ENETUNREACH" */
	const char *
		what; /* the path, "ADDRESS:PORT" or "process N" it was about; NULL: nothing of that kind */
	const char *command; /* who asked: the thread's name, and its process */
	int pid;
	double time; /* seconds since the Epoch */
	uint64_t lost; /* how many came before it too fast to be told */
};

/* All optional: zero is the default.  As the options of bvisor-run, see bvisor(1). */
struct bvisor_policy {
	size_t size; /* of this struct: what a later version adds is then zero */
	const char *name; /* of a kept sandbox; NULL: its files go with it */
	const char *const *rw, *const *ro, *const *hide,
						   *const *bind; /* paths; "SRC:DST[:ro|:rw]" */
	const char *net; /* "none" or "host" */
	const char *quota; /* "2G" */
	const char *const *env; /* "NAME=VALUE", of every command */
	int env_all; /* pass this program's environment */
	const char *cwd; /* where commands start; NULL: this program's directory */
	const char *config; /* a bvisor.ini */
	const char *const *options; /* "section.key=value" */
	const char *const
		*allow; /* what it reaches all the same: "registry.npmjs.org:443", "10.0.0.0/8" */
	/* Called with each thing that is refused, while the library waits for or takes in something, and for
	 * a command's before its end is known; it must not use the connection. */
	void (*denied)(void *arg, const struct bvisor_denial *denial);
	void *denied_arg;
};

/* policy: NULL: all defaults. */
BVISOR_API struct bvisor_sandbox *
bvisor_create(struct bvisor *b, const struct bvisor_policy *policy, struct bvisor_error *e);
/* Ends it and all that runs in it, and frees it and its processes.  NULL is fine. */
BVISOR_API void bvisor_destroy(struct bvisor_sandbox *sb);

/* ---- commands ---- */

struct bvisor_limits { /* 0: none */
	uint64_t cpu_seconds, memory, processes, open_files, file_size;
};

struct bvisor_command {
	size_t size; /* of this struct */
	const char *shell; /* a command line for bash, or */
	const char *const *argv; /* words */
	const char *cwd; /* NULL: the sandbox's */
	const char *const *env; /* "NAME=VALUE"; "NAME" removes one */
	double timeout; /* seconds until it is killed; 0: never */
	struct bvisor_limits limits;
	int as_user; /* if this program is root: uid and gid are meant */
	uint32_t uid, gid;
	int tty; /* it has a terminal of this size (0: 24 by 80); its output is all in stream 1 */
	uint16_t rows, cols;

	/* Standard input: these bytes, or *in_fd, or what bvisor_write() gives (write_input), or nothing. */
	const void *input;
	size_t input_size;
	const int *in_fd;
	int write_input;
	/* Output: each piece goes to output (stream 1 or 2), which must not use the connection, or to these
	 * descriptors, or, with neither, into the result.  A slow receiver stops the command.  The command
	 * has the descriptors itself; with a terminal they are read and written while it is waited for. */
	void (*output)(void *arg, int stream, const void *bytes, size_t n);
	void *arg;
	const int *out_fd, *err_fd;
};

struct bvisor_result {
	int code; /* exit status; 128 + signal; -1: the sandbox ended before */
	int signal; /* that killed it, or 0 */
	int timed_out;
	double duration; /* seconds */
	char *out, *err; /* NUL-terminated (there may be more NULs); bvisor_result_free() */
	size_t out_size, err_size;
};

/* Runs a command to its end. */
BVISOR_API int bvisor_run(struct bvisor_sandbox *sb, const struct bvisor_command *command,
                          struct bvisor_result *result, struct bvisor_error *e);
BVISOR_API void bvisor_result_free(struct bvisor_result *result);

/* Starts a command.  What it writes waits until bvisor_wait() or bvisor_pump() takes it. */
BVISOR_API struct bvisor_process *bvisor_start(struct bvisor_sandbox *sb,
                                               const struct bvisor_command *command,
                                               struct bvisor_error *e);
/* Its process id, as the sandbox sees it. */
BVISOR_API int bvisor_pid(const struct bvisor_process *p);
/* Waits for its end, with what it wrote meanwhile going where the command says.  Frees it, on an error
 * too. */
BVISOR_API int bvisor_wait(struct bvisor_process *p, struct bvisor_result *result,
                           struct bvisor_error *e);
/* Forgets it; it goes on if it still runs, and what it writes is thrown away. */
BVISOR_API void bvisor_forget(struct bvisor_process *p);
/* Whether it has ended. */
BVISOR_API int bvisor_ended(const struct bvisor_process *p);
/* Bytes for its standard input; waits until it has read enough.  EPIPE when it has ended. */
BVISOR_API int bvisor_write(struct bvisor_process *p, const void *bytes, size_t n,
                            struct bvisor_error *e);
BVISOR_API int bvisor_end_input(struct bvisor_process *p, struct bvisor_error *e);
/* To the process and, with group, its process group. */
BVISOR_API int bvisor_signal(struct bvisor_process *p, int signal, int group,
                             struct bvisor_error *e);
BVISOR_API int bvisor_resize(struct bvisor_process *p, unsigned rows, unsigned cols,
                             struct bvisor_error *e);

/* For programs with a loop of their own: readable when bvisor_pump() has something to do. */
BVISOR_API int bvisor_fd(const struct bvisor *b);
/* Takes in what has come, for all processes, without waiting. */
BVISOR_API int bvisor_pump(struct bvisor *b, struct bvisor_error *e);

/* ---- files, as commands inside see them ---- */

/* All of a file: malloc'd, with a NUL behind its *n bytes. */
BVISOR_API char *bvisor_read_file(struct bvisor_sandbox *sb, const char *path, size_t *n,
                                  struct bvisor_error *e);
/* Makes the file's content these bytes.  mode: its permission bits; -1: as they are, else 0644 or less. */
BVISOR_API int bvisor_write_file(struct bvisor_sandbox *sb, const char *path, const void *bytes,
                                 size_t n, int mode, struct bvisor_error *e);
BVISOR_API int bvisor_make_dir(struct bvisor_sandbox *sb, const char *path, int mode, int parents,
                               struct bvisor_error *e);
BVISOR_API int bvisor_rename(struct bvisor_sandbox *sb, const char *from, const char *to,
                             struct bvisor_error *e);
BVISOR_API int bvisor_remove(struct bvisor_sandbox *sb, const char *path, int recursive,
                             struct bvisor_error *e);

/* ---- network ---- */

/* Lets it reach more, from now on: "HOST", "HOST:PORT", "ADDRESS/BITS", "ADDRESS:LOW-HIGH", "[IPV6]:PORT".  Hosts are
 * looked up now, outside, and found inside through /etc/hosts.  where: ends with NULL. */
BVISOR_API int bvisor_allow(struct bvisor_sandbox *sb, const char *const *where,
                            struct bvisor_error *e);

/* ---- review ---- */

#define BVISOR_FORCE \
	1u /* conflicts, and paths outside of the directory it was created in, do not matter */
#define BVISOR_DRY_RUN 2u

/* What it has changed, also while something runs in it: malloc'd text.  format: "json", "patch", or NULL for a list. */
BVISOR_API char *bvisor_diff(struct bvisor_sandbox *sb, const char *format, struct bvisor_error *e);
/* Brings its changes, or those at and below absolute paths (NULL: all), to the host.  What runs in it goes on: what
 * is there at the beginning is committed, as a crash would leave it.  "conflict": nothing was written, and the message
 * says why. */
BVISOR_API int bvisor_commit(struct bvisor_sandbox *sb, const char *const *paths, unsigned flags,
                             struct bvisor_error *e);
/* Forgets them.  What runs in it goes on: it has what it has open, and sees the host's files in place of those that
 * went. */
BVISOR_API int bvisor_rollback(struct bvisor_sandbox *sb, const char *const *paths,
                               struct bvisor_error *e);

#ifdef __cplusplus
}
#endif
#endif
