/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VFS_COW_EXEC_H
#define VFS_COW_EXEC_H
/* What exec.c is made of: program headers (exec_image.c) and the private files that let the host
 * kernel run something under another name or another ELF interpreter (exec_made.c). */
#include "vfs.h"

#define HEADER_SIZE 4096
#define SCRIPT_SIZE 256 /* BINPRM_BUF_SIZE, linux/binfmts.h (Linux 5.1) */

/* The beginning of a program, read once. */
struct header {
	unsigned char data[HEADER_SIZE];
	size_t len;
};

struct script {
	char interp[SCRIPT_SIZE], arg[SCRIPT_SIZE]; /* arg: "" when none */
};

/* Of a file open for reading. */
int header_read(int file, struct header *h);
/* Whether it is a #! script that the kernel would run; fills s. */
bool header_script(const struct header *h, struct script *s);
/* The PT_INTERP path of a native ELF program: 1 and path; 0 when it has none or is something else. */
int header_interp(const struct header *h, int file, char path[PATH_MAX]);

/* Copies `from` into the empty file `to`, with PT_INTERP naming interp unless that is "".  May block;
 * any thread. */
int image_copy(int from, int to, const char *interp);

/* What the sandbox's execs remember. */
struct exec_cache {
	int dir; /* O_PATH of exec_dir */
	unsigned long serial;
	struct made *made;       /* exec_made.c */
	struct program *program; /* exec_program.c */
};

/* ---- exec_program.c ---- */
enum program_kind { PROGRAM_OTHER, PROGRAM_SCRIPT, PROGRAM_ELF };
/* What the kernel would make of a file. */
struct program_info {
	enum program_kind kind;
	struct script script;  /* PROGRAM_SCRIPT */
	char interp[PATH_MAX]; /* PROGRAM_ELF: its interpreter; "" without one */
};
/* Of the object at l, whose st is filled.  0; -errno. */
int program_look(struct vfs *v, struct loc *l, struct program_info *out);
/* A descriptor of the object at l for reading, or -errno. */
int program_open(struct vfs *v, struct loc *l);
void program_forget(struct vfs *v);

/* ---- exec_made.c ---- */
/* A symlink named `name` to the real path target: its path.  0 or -errno. */
int made_alias(struct vfs *v, const char *target, const char *name, char out[PATH_MAX]);
/*
 * The copy of a program (file: for reading; st its; path its virtual path) that names interp, if not
 * "", as its ELF interpreter: 0, its path, and *st the copy's.  MADE_LATER: made_defer() has to make it.
 */
#define MADE_LATER 1
int made_copy(struct vfs *v, int file, struct stat *st, const char *path, const char *interp, char out[PATH_MAX]);
/* Makes the copy on a worker, then runs handler again from its start. */
enum bv_verdict made_defer(struct vfs *v, struct bv_call *call, int file, const struct stat *st, const char *path,
                           const char *interp, bv_handler_fn *handler);

#endif
