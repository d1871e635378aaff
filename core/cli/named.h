/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CLI_NAMED_H
#define CORE_CLI_NAMED_H
/* Commands on sandboxes that are kept by name (`bvisor run --name`), without a guest. */
#include <bvisor/svc/review.h>
#include <bvisor/svc/store.h>

#include "cli.h"

/* Opens an existing sandbox for review.  0, or an exit code after a message.  Free with
 * sandbox_free(). */
int named_open(const char *cmd, struct settings *s, const char *name, struct sandbox **box,
               const struct bv_review **review);
/* The host directory it was first started in; malloc'd, NULL when unknown. */
char *named_start(struct sandbox *box, const char *name);

/* A path of the command line as an absolute virtual one without ".", ".." and double slashes;
 * malloc'd, NULL without memory or current directory. */
char *named_path(const char *word);

/* Of a message about a sandbox that could not be opened, what the user needs to read. */
const char *named_error(const char *text);

/* The store of kept sandboxes, with what it needs to be called; NULL when there is none. */
const struct bv_store_ops *named_store(struct sandbox *box, void **ctx);
/* Whether somebody has it open. */
bool named_in_use(const struct bv_store_ops *ops, void *ctx, const char *name);
/* A sandbox object as the configuration makes it, to ask its modules: 0, or an exit code. */
int named_box(const char *cmd, const struct settings *s, struct sandbox **box);
/* Options that all commands on names have: -1 to go on, or an exit code.  json may be NULL. */
int named_options(const char *cmd, int argc, char **argv, struct settings *s, bool *json);

/* ---- reach.c: a sandbox that runs (join.h) ---- */
struct join_request;
/* Connected to its supervisor, or -1 after a message. */
int named_reach(const char *cmd, const struct settings *s, const char *name);
/* The same, or -errno: *why may be a sentence. */
int named_connect(const struct bv_store_ops *ops, void *ctx, const char *name, const char **why);
/* Sends the request with n descriptors, at most 4: 0, -errno. */
int named_ask(int sock, const struct join_request *q, const int *fd, size_t n);
/* The same with the text as the one descriptor; waits until it is done: 0, -errno. */
int named_tell(int sock, const struct join_request *q, const char *text, size_t len);

/* ---- look.c: a sandbox that may run, as a crash would leave it ---- */
struct look {
	struct sandbox *box;
	const struct bv_store_ops *ops;
	void *ctx;
	char *name; /* a snapshot that goes at the end; NULL: the sandbox itself can be opened */
	int running; /* connected to its supervisor, or -1 */
};
/* reach: only who has a supervisor is in use; otherwise, whom anybody has open.  0, or an exit code after a
 * message.  End with look_end(). */
int look_begin(const char *cmd, const struct settings *s, const char *name, bool reach,
               struct look *out);
void look_end(struct look *l);

/* ---- patch.c ---- */
/* The changes as a patch in git's format, which `patch -p1` and `git apply` take.  0, -errno. */
int patch_print(const struct bv_review *review, FILE *to);
/* A line a file with what was inserted and deleted.  0, -errno. */
int patch_stat(const struct bv_review *review, FILE *to);

#endif
