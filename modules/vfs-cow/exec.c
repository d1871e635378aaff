/* SPDX-License-Identifier: Apache-2.0 */
/*
 * execve and execveat.  What the host kernel would find by itself, interpreters included, it runs
 * unchanged; everything else it runs by a path of ours (host->redirect), which is verified at the
 * exec event.  Limits of argv and environment, ETXTBSY, ENOEXEC, noexec mounts and binfmt_misc
 * are the kernel's to judge in both cases.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "exec.h"
#include "fetch.h"

#define MAX_DEPTH 5 /* exec_binprm(): so many interpreters may be scripts themselves */
#define EXECVE_CHECK 0x10000 /* AT_EXECVE_CHECK, execveat(2), Linux 6.14 */

struct exec {
	struct vfs *v;
	struct bv_call *call;
	bv_handler_fn *handler;
	int dirfd, flags;
	char path[PATH_MAX];          /* as the guest gave it */
	char filename[PATH_MAX + 32]; /* bprm->filename: what AT_EXECFN and a script's argument read */
	bool closing;                 /* filename names a descriptor that exec closes */
	bool by_fd;                   /* the path is empty: dirfd itself */
	/* #! scripts met: argv from `first` on replaces the guest's argv[0]. */
	struct script script[MAX_DEPTH + 1];
	const char *argv[2 * (MAX_DEPTH + 1) + 1];
	size_t first;
	bool native; /* so far the host kernel would do the same */
	bool lax;    /* of what is native leave the permission to the kernel */
	bool fetching; /* a file's bytes are still to come: the call begins again then, and has this verdict */
	enum bv_verdict verdict;
};

#define ARGV_END BV_ROWS_OF(((struct exec *)0)->argv)

static int executable(struct exec *x, struct loc *l)
{
	if (S_ISLNK(l->st.st_mode))
		return -ELOOP;
	if (!S_ISREG(l->st.st_mode) || l->view == V_SYNTH)
		return -EACCES;
	if (l->view == V_ANON)
		return l->st.st_mode & 0111 ? 0 : -EACCES; /* the kernel looks closer */
	if (x->lax && l->native && wall_allows(x->v, l->path))
		return 0;
	return perm_access(x->v, x->call, l, X_OK);
}

/* On success the caller calls loc_fini. */
static int resolve(struct exec *x, int dirfd, const char *path, unsigned w, struct loc *l)
{
	int r = vfs_walk(x->v, x->call, dirfd, path, w | W_PROBE, l);
	if (r < 0)
		return r;
	r = executable(x, l);
	if (r == 0 && !(x->flags & EXECVE_CHECK) && fetch_needed(x->v, l)) {
		x->fetching = true;
		x->verdict = fetch_defer(x->v, x->call, l, x->handler);
		r = -EAGAIN;
	}
	if (r < 0)
		loc_fini(l);
	return r;
}

static bool is_object(const struct exec *x, const char *link, const struct stat *st)
{
	struct stat there;

	return fstatat(x->v->host->proc_fd(x->call), link, &there, 0) == 0 && there.st_dev == st->st_dev &&
	       there.st_ino == st->st_ino;
}

/* Something without a name (memfd_create(2), an unlinked file) is run through the guest's own
 * descriptor, or as the program it is running already. */
static int nameless(const struct exec *x, const struct stat *st, char out[PATH_MAX])
{
	const char *last = strrchr(x->path, '/');
	char link[32], *end;
	long fd = x->dirfd;

	if (x->path[0]) {
		last = last ? last + 1 : x->path;
		fd = strtol(last, &end, 10);
		if (end == last || *end || fd < 0 || fd > INT_MAX)
			fd = -1;
	}
	snprintf(link, sizeof(link), "fd/%ld", fd);
	if (fd < 0 || !is_object(x, link, st)) {
		strcpy(link, "exe");
		if (!is_object(x, link, st))
			return -EACCES;
	}
	snprintf(out, PATH_MAX, "/proc/thread-self/%s", link);
	return 0;
}

/* The host path of the object at l, and which object that is. */
static int real_path(const struct exec *x, struct loc *l, char out[PATH_MAX], struct stat *st)
{
	char self[FD_PATH_MAX];
	bv_autofd int fd = loc_open_path(x->v, l);

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	if (st->st_nlink == 0)
		return nameless(x, st, out);
	real_fd_path(self, fd);
	ssize_t n = readlink(self, out, PATH_MAX);
	if (n < 0)
		return -errno;
	if (n >= PATH_MAX)
		return -ENAMETOOLONG;
	out[n] = '\0';
	return 0;
}

/* Follows #! lines from l until it is a binary, of which p tells. */
static int follow_scripts(struct exec *x, struct loc *l, struct program_info *p)
{
	x->argv[x->first = ARGV_END - 1] = x->filename;
	for (size_t depth = 0;; depth++) {
		struct script *s = &x->script[depth];
		struct loc next;

		x->native &= l->native && wall_allows(x->v, l->path);
		if (depth > MAX_DEPTH)
			return -ELOOP;
		int r = program_look(x->v, l, p);
		if (r < 0 || p->kind != PROGRAM_SCRIPT)
			return r;
		*s = p->script;
		if (x->closing)
			return -ENOENT; /* execveat(2), BUGS: the interpreter could not open it */
		if (s->arg[0])
			x->argv[--x->first] = s->arg;
		x->argv[--x->first] = s->interp;
		r = resolve(x, AT_FDCWD, s->interp, 0, &next);
		if (r < 0)
			return r;
		loc_fini(l);
		*l = next;
	}
}

/* The real path of the ELF interpreter if it is not the one that the kernel would find; else "". */
static int elf_interp(struct exec *x, const struct loc *program, const struct program_info *p, char out[PATH_MAX])
{
	const char *made = x->v->exec_dir;
	struct stat st;
	struct loc l;

	out[0] = '\0';
	if (program->view == V_ANON && strncmp(program->path, made, strlen(made)) == 0)
		return 0; /* /proc/self/exe of a copy of ours: it names the right one already */
	if (!p->interp[0])
		return 0;
	const char *end = shortcut_end(x->v, p->interp);
	if (end && wall_allows(x->v, end))
		return 0;
	int r = resolve(x, AT_FDCWD, p->interp, 0, &l);
	if (r < 0)
		return r;
	bool native = l.native && wall_allows(x->v, l.path);
	x->native &= native;
	if (!native)
		r = real_path(x, &l, out, &st);
	loc_fini(&l);
	return r;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* Leading slashes until AT_EXECFN has room for what the guest shall read there. */
static int pad(char path[PATH_MAX], size_t want)
{
	size_t len = strlen(path), more = want > len ? want - len : 0;

	if (len + more >= PATH_MAX)
		return -ENAMETOOLONG;
	memmove(path + more, path, len + 1);
	memset(path, '/', more);
	return 0;
}

/*
 * What Linux makes of comm (proc_pid_comm(5)): the last part of filename, so for a script the
 * script's; for a descriptor alone the name of the file that is run (Linux 6.14).
 */
static void comm_of(const struct exec *x, const struct loc *l, const char *real, char out[NAME_MAX + 1])
{
	static const char deleted[] = " (deleted)";
	bool nowhere = strncmp(real, "/proc/", 6) == 0;
	const char *name = base_name(!x->by_fd ? x->filename : nowhere ? l->path : real);
	size_t len = strnlen(name, NAME_MAX), tail = sizeof(deleted) - 1;

	if (x->by_fd && nowhere && len > tail && strcmp(name + len - tail, deleted) == 0)
		len -= tail;
	memcpy(out, name, len);
	out[len] = '\0';
}

/* Runs the binary at l by a path of ours. */
static enum bv_verdict run(struct exec *x, struct loc *l, const char *interp)
{
	struct vfs *v = x->v;
	char real[PATH_MAX], target[PATH_MAX], name[NAME_MAX + 1];
	struct stat st;
	int r = real_path(x, l, real, &st);

	comm_of(x, l, r == 0 ? real : "", name);
	bool outside = r == 0 && v->landlock && strncmp(real, "/proc/", 6) != 0 && !wall_allows(v, real);
	if (r == 0 && (*interp || outside)) {
		bv_autofd int file = program_open(v, l);

		r = file < 0 ? -EACCES : made_copy(v, file, &st, l->path, interp, real);
		if (r == MADE_LATER)
			return made_defer(v, x->call, file, &st, l->path, interp, x->handler);
	}
	/* Nobody but root may trace a program that its user cannot read, and the kernel kills who is traced
	 * into one (ptrace(2)). */
	if (r == 0 && geteuid() != 0 && strncmp(real, "/proc/", 6) != 0 && access(real, R_OK) < 0)
		r = -EACCES;
	if (r == 0 && *name && strcmp(base_name(real), name) != 0) {
		strcpy(target, real);
		r = made_alias(v, target, name, real);
	}
	if (r == 0)
		r = pad(real, strlen(x->filename));
	if (r < 0)
		return REPLY(v, x->call, r);
	const struct bv_redirect to = {
	    .head = BV_HEAD(CALL, struct bv_redirect),
	    .path = real,
	    .shown = x->filename,
	    .argv = x->argv + x->first,
	    .n_argv = x->first < ARGV_END - 1 ? ARGV_END - x->first : 0,
	    .dev = st.st_dev,
	    .ino = st.st_ino,
	};
	return v->host->redirect(x->call, &to);
}

/* What runs when the file at l is executed: l becomes the binary, interp as elf_interp() says. */
static int look(struct exec *x, struct loc *l, char interp[PATH_MAX])
{
	struct program_info p;

	x->native = true;
	int r = follow_scripts(x, l, &p);
	return r < 0 ? r : elf_interp(x, l, &p, interp);
}

/* Path and flags are the guest's, w what they mean to a walk. */
static enum bv_verdict exec_path(struct exec *x, unsigned w)
{
	struct vfs *v = x->v;
	char interp[PATH_MAX];
	struct loc l;
	int r = resolve(x, x->dirfd, x->path, w, &l);

	if (r < 0)
		return x->fetching ? x->verdict : REPLY(v, x->call, r);
	r = look(x, &l, interp);
	if (x->fetching) {
		loc_fini(&l);
		return x->verdict;
	}
	bool native = r == 0 && x->native && v->landlock;
	enum bv_verdict verdict = BV_PASS;
	/*
	 * The kernel reads the path again, and another thread may have changed it.  Landlock makes
	 * that harmless: only what is shown may be executed (a hidden file is not), and executing
	 * writes nothing.  A guest that does this to itself at worst runs the host's version of a
	 * program in place of its own.
	 */
	if (native)
		verdict = BV_CONTINUE;
	else if (!x->lax)
		verdict = r < 0 ? REPLY(v, x->call, r) : run(x, &l, interp);
	loc_fini(&l);
	return verdict;
}

/* close_on_exec() of the guest's descriptor. */
static bool closes_on_exec(const struct vfs *v, struct bv_call *call, int fd)
{
	char name[32], text[256];
	unsigned flags;

	snprintf(name, sizeof(name), "fdinfo/%d", fd);
	bv_autofd int info = openat(v->host->proc_fd(call), name, O_RDONLY | O_CLOEXEC);
	ssize_t n = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	const char *at = strstr(text, "flags:");
	return at && sscanf(at + 6, "%o", &flags) == 1 && (flags & O_CLOEXEC);
}

static enum bv_verdict do_exec(struct exec *x, uint64_t ptr)
{
	struct vfs *v = x->v;
	unsigned w = (x->flags & AT_EMPTY_PATH ? W_EMPTY : 0) | (x->flags & AT_SYMLINK_NOFOLLOW ? W_NOFOLLOW : 0);
	ssize_t n = v->host->mem_read_str(x->call, x->path, ptr, sizeof(x->path));

	if (n < 0)
		return REPLY(v, x->call, n);
	if (!n && !(x->flags & AT_EMPTY_PATH))
		return REPLY(v, x->call, -ENOENT); /* getname() comes before the flags are looked at */
	if (x->flags & ~(AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW | EXECVE_CHECK))
		return REPLY(v, x->call, -EINVAL);
	/* alloc_bprm(): how the kernel names what it runs. */
	if (x->dirfd == AT_FDCWD || x->path[0] == '/') {
		strcpy(x->filename, x->path);
	} else {
		snprintf(x->filename, sizeof(x->filename), "/dev/fd/%d%s%s", x->dirfd, x->path[0] ? "/" : "", x->path);
		x->closing = closes_on_exec(v, x->call, x->dirfd);
		x->by_fd = !x->path[0];
	}
	if (x->flags & EXECVE_CHECK) { /* asks about this file, not its interpreters */
		struct loc l;
		int r = resolve(x, x->dirfd, x->path, w, &l);

		if (r == 0)
			loc_fini(&l);
		return REPLY(v, x->call, r);
	}
	/* Nearly everything is for the kernel to run, which looks at permissions itself. */
	x->lax = v->landlock;
	enum bv_verdict verdict = exec_path(x, w);
	if (verdict != BV_PASS)
		return verdict;
	x->lax = false;
	return exec_path(x, w);
}

BV_SYSCALL(execve)
{
	struct exec x = {.v = self, .call = call, .handler = sys_execve, .dirfd = AT_FDCWD};

	return do_exec(&x, call->arg[0]);
}

BV_SYSCALL(execveat)
{
	struct exec x = {.v = self, .call = call, .handler = sys_execveat, .dirfd = (int)call->arg[0]};

	x.flags = (int)call->arg[4];
	return do_exec(&x, call->arg[1]);
}

const struct bv_handler exec_handlers[] = {
    BV_ON(execve, BV_SERVE),
    BV_ON(execveat, BV_SERVE),
    {0},
};
