/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree at /proc.  Everything is an allowlist: a name that a future kernel adds is invisible
 * until it has been judged.  Left out on purpose: ns/ and map_files/ (handles on host objects),
 * pagemap and stack (they answer by the privileges of whoever opened them, which is us), io_uring
 * and checkpoint helpers, and every system-wide file that tells of other processes.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "procns.h"

typedef int text_fn(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out);

enum kind {
	K_HOST,  /* the host's file as it is */
	K_TREE,  /* a host directory whose content is harmless as a whole */
	K_ASK,   /* a host directory whose entries are asked for here */
	K_TEXT,
	K_MAGIC,
	K_ROOT,  /* chroot is refused, so the root is always "/" */
	K_NET,
};

#define F_WRITE 1u   /* the host checks the writer itself at write(2) */
#define F_INSPECT 2u /* ptrace access mode check as the host does it */
#define F_OWN 4u     /* may be written only by the process it belongs to */

struct entry {
	const char *name;
	enum kind kind;
	unsigned flags;
	text_fn *text;
};

static int text_cgroup(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	strbuf_puts(out, "0::/\n");
	return 0;
}

static int text_cpuset(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	strbuf_puts(out, "/\n");
	return 0;
}

static const struct entry entries[] = {
	{"arch_status", K_HOST, 0, NULL},
	{"attr", K_TREE, 0, NULL},
	{"autogroup", K_HOST, F_WRITE, NULL},
	{"auxv", K_HOST, F_INSPECT, NULL},
	{"cgroup", K_TEXT, 0, text_cgroup},
	{"children", K_HOST, 0, NULL},
	{"clear_refs", K_HOST, F_OWN, NULL},
	{"cmdline", K_HOST, 0, NULL},
	{"comm", K_HOST, F_WRITE, NULL},
	{"coredump_filter", K_HOST, F_WRITE, NULL},
	{"cpuset", K_TEXT, 0, text_cpuset},
	{"cwd", K_MAGIC, F_INSPECT, NULL},
	{"environ", K_HOST, F_INSPECT, NULL},
	{"exe", K_MAGIC, F_INSPECT, NULL},
	{"fd", K_ASK, F_INSPECT, NULL},
	{"fdinfo", K_TREE, F_INSPECT, NULL},
	{"gid_map", K_HOST, 0, NULL},
	{"io", K_HOST, F_INSPECT, NULL},
	{"ksm_merging_pages", K_HOST, F_INSPECT, NULL},
	{"ksm_stat", K_HOST, F_INSPECT, NULL},
	{"limits", K_HOST, 0, NULL},
	{"loginuid", K_HOST, 0, NULL},
	{"maps", K_TEXT, F_INSPECT, text_maps},
	{"mem", K_HOST, F_INSPECT | F_OWN, NULL},
	{"mountinfo", K_TEXT, 0, text_mountinfo},
	{"mounts", K_TEXT, 0, text_mounts},
	{"mountstats", K_TEXT, F_INSPECT, text_mountstats},
	{"net", K_NET, 0, NULL},
	{"numa_maps", K_TEXT, F_INSPECT, text_numa_maps},
	{"oom_adj", K_HOST, F_WRITE, NULL},
	{"oom_score", K_HOST, 0, NULL},
	{"oom_score_adj", K_HOST, F_WRITE, NULL},
	{"personality", K_HOST, F_INSPECT, NULL},
	{"projid_map", K_HOST, 0, NULL},
	{"root", K_ROOT, F_INSPECT, NULL},
	{"sched", K_HOST, 0, NULL},
	{"schedstat", K_HOST, 0, NULL},
	{"sessionid", K_HOST, 0, NULL},
	{"setgroups", K_HOST, 0, NULL},
	{"smaps", K_TEXT, F_INSPECT, text_smaps},
	{"smaps_rollup", K_HOST, F_INSPECT, NULL},
	{"stat", K_TEXT, 0, text_stat},
	{"statm", K_HOST, 0, NULL},
	{"status", K_TEXT, 0, text_status},
	{"syscall", K_HOST, F_INSPECT, NULL},
	{"task", K_ASK, 0, NULL},
	{"timers", K_HOST, F_INSPECT, NULL},
	{"timerslack_ns", K_HOST, F_WRITE, NULL},
	{"uid_map", K_HOST, 0, NULL},
	{"wchan", K_HOST, 0, NULL},
};

static const struct entry *entry_find(const char *name, size_t len)
{
	for (size_t i = 0; i < BV_ROWS_OF(entries); i++)
		if (strncmp(entries[i].name, name, len) == 0 && !entries[i].name[len])
			return &entries[i];
	return NULL;
}

/* Files of /proc itself. */
struct top {
	const char *name;
	const char *link; /* a symlink with this text, or */
	const char *text; /* a file with this text */
};

static const struct top tops[] = {
	{"cmdline", NULL, "quiet\n"},
	{"mounts", "self/mounts", NULL},
	{"net", "self/net", NULL},
	{"swaps", NULL, "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"},
};

static const struct top *top_find(const char *name)
{
	for (size_t i = 0; i < BV_ROWS_OF(tops); i++)
		if (strcmp(tops[i].name, name) == 0)
			return &tops[i];
	return NULL;
}

static bool host_file(const struct procns *p, const char *name)
{
	for (size_t i = 0; i < p->conf->host_files.n; i++)
		if (strcmp(p->conf->host_files.item[i], name) == 0)
			return true;
	return false;
}

bool proc_path_parse(const char *rel, struct proc_path *out)
{
	struct proc_path got = {0};
	size_t len = strcspn(rel, "/");

	got.pid = pid_number(rel, len);
	if (got.pid < 0)
		return false;
	rel += len + (rel[len] == '/');
	if (strncmp(rel, "task/", 5) == 0) {
		len = strcspn(rel + 5, "/");
		got.tid = pid_number(rel + 5, len);
		if (got.tid < 0)
			return false;
		rel += 5 + len;
		rel += *rel == '/';
	}
	got.name = rel;
	got.name_len = strcspn(rel, "/");
	got.rest = rel + got.name_len + (rel[got.name_len] == '/');
	*out = got;
	return true;
}

static int dir_node(struct bv_vfs_node *out, uint32_t mode)
{
	out->kind = BV_VFS_DIR;
	out->mode = mode;
	return 0;
}

static int link_node(struct bv_vfs_node *out, const char *text)
{
	out->kind = BV_VFS_LINK;
	out->mode = 0777;
	snprintf(out->target, sizeof(out->target), "%s", text);
	return 0;
}

static int host_node(struct bv_vfs_node *out, const char *rel)
{
	out->kind = BV_VFS_HOST;
	snprintf(out->target, sizeof(out->target), "/proc/%s", rel);
	return 0;
}

static void take_owner(struct bv_vfs_node *out, const struct stat *st)
{
	out->mode = st->st_mode & 07777;
	out->ino = st->st_ino;
	out->uid = st->st_uid;
	out->gid = st->st_gid;
}

/* Pins the process or thread of a path; -ENOENT in place of -ESRCH, as a missing name reads. */
static int pin_path(struct procns *p, struct bv_call *call, const struct proc_path *path)
{
	bv_autofd int fd = pid_pin(p, call, path->pid);
	char name[24];

	if (fd < 0)
		return -ENOENT;
	if (!path->tid)
		return bv_take_fd(&fd);
	snprintf(name, sizeof(name), "task/%d", path->tid);
	int task = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return task < 0 ? -ENOENT : task;
}

static int32_t subject(const struct proc_path *path)
{
	return path->tid ? path->tid : path->pid;
}

/* fd/N and task/<tid> are all that is asked below a K_ASK directory. */
static int lookup_below(struct procns *p, struct bv_call *call, const struct entry *e, const char *rel,
                        const struct proc_path *path, int pinned, struct bv_vfs_node *out)
{
	if (strcmp(e->name, "fd") == 0 && !strchr(path->rest, '/') &&
	    (strcmp(path->rest, "0") == 0 || pid_number(path->rest, strlen(path->rest)) > 0)) {
		char name[24];
		struct stat st;

		snprintf(name, sizeof(name), "fd/%.12s", path->rest);
		if (fstatat(pinned, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -ENOENT;
		take_owner(out, &st);
		out->kind = BV_VFS_MAGIC;
		snprintf(out->target, sizeof(out->target), "/proc/%s", rel);
		return 0;
	}
	return -ENOENT;
}

static int lookup_process(struct procns *p, struct bv_call *call, const char *rel, const struct proc_path *path,
                          struct bv_vfs_node *out)
{
	bv_autofd int pinned = pin_path(p, call, path);
	const struct entry *e;
	struct stat st;
	char name[64];
	int r;

	if (pinned < 0)
		return pinned;
	if (!path->name_len) {
		if (fstat(pinned, &st) < 0)
			return -ENOENT;
		take_owner(out, &st);
		out->kind = BV_VFS_DIR;
		return 0;
	}
	e = entry_find(path->name, path->name_len);
	if (!e)
		return -ENOENT;
	snprintf(name, sizeof(name), "%s", e->name);
	/* What this kernel or this kind of directory (task/ or not) lacks is missing here too. */
	if (fstatat(pinned, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -ENOENT;
	/* A TEXT asks when it is read; for the others this look-up is all that comes before the open. */
	bool inspect = (e->flags & F_INSPECT) && e->kind != K_TEXT;

	r = inspect ? pid_may_inspect(p, call, subject(path), pinned) : 0;
	if (*path->rest) {
		if (r < 0)
			return r;
		if (e->kind == K_NET)
			return p->conf->net == NET_HOST ? host_node(out, rel) : net_lookup(p, path->rest, out);
		if (e->kind == K_ASK)
			return lookup_below(p, call, e, rel, path, pinned, out);
		return e->kind == K_TREE ? host_node(out, rel) : -ENOTDIR;
	}
	if (r < 0)
		return r == -EACCES ? r : -ENOENT;
	take_owner(out, &st);
	switch (e->kind) {
	case K_HOST:
		out->writable = (e->flags & F_WRITE) != 0;
		if (e->flags & F_OWN)
			out->writable = call && path->pid == p->host->task_pid(call->task);
		return host_node(out, rel);
	case K_TREE:
		out->below = 1;
		return host_node(out, rel);
	case K_ASK:
		return host_node(out, rel);
	case K_TEXT:
		out->kind = BV_VFS_TEXT;
		return 0;
	case K_MAGIC:
		host_node(out, rel);
		out->kind = BV_VFS_MAGIC;
		return 0;
	case K_ROOT:
		return link_node(out, "/");
	case K_NET:
		if (p->conf->net == NET_HOST) {
			out->below = 1;
			return host_node(out, rel);
		}
		return dir_node(out, 0555);
	}
	return -ENOENT;
}

static int proc_lookup(void *ctx, struct bv_call *call, const char *rel, struct bv_vfs_node *out)
{
	struct procns *p = ctx;
	struct proc_path path;
	const struct top *top;
	struct stat st;
	char text[48];

	memset(out, 0, sizeof(*out));
	if (!*rel)
		return dir_node(out, 0555);
	if (proc_path_parse(rel, &path))
		return lookup_process(p, call, rel, &path, out);
	if (strcmp(rel, "self") == 0 || strcmp(rel, "thread-self") == 0) {
		if (!call)
			return -ENOENT;
		int32_t tgid = p->host->task_pid(call->task);

		if (rel[0] == 's')
			snprintf(text, sizeof(text), "%d", tgid);
		else
			snprintf(text, sizeof(text), "%d/task/%d", tgid, call->tid);
		return link_node(out, text);
	}
	top = top_find(rel);
	if (top && top->link)
		return link_node(out, top->link);
	if (top) {
		out->kind = BV_VFS_TEXT;
		out->mode = 0444;
		return 0;
	}
	if (strchr(rel, '/') || !host_file(p, rel))
		return -ENOENT;
	host_node(out, rel);
	if (lstat(out->target, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	take_owner(out, &st);
	return 0;
}

struct pid_lister {
	bv_vfs_emit_fn *emit;
	void *arg;
};

static int emit_pid(void *arg, int32_t tgid)
{
	struct pid_lister *l = arg;
	char name[16];

	snprintf(name, sizeof(name), "%d", tgid);
	return l->emit(l->arg, name, 0, DT_DIR);
}

static int list_root(struct procns *p, bv_vfs_emit_fn *emit, void *arg)
{
	struct pid_lister l = {emit, arg};
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(tops) && r == 0; i++)
		r = emit(arg, tops[i].name, 0, tops[i].link ? DT_LNK : DT_REG);
	for (size_t i = 0; i < p->conf->host_files.n && r == 0; i++) {
		char path[300];
		struct stat st;

		snprintf(path, sizeof(path), "/proc/%s", p->conf->host_files.item[i]);
		if (!top_find(p->conf->host_files.item[i]) && lstat(path, &st) == 0 && S_ISREG(st.st_mode))
			r = emit(arg, p->conf->host_files.item[i], 0, DT_REG);
	}
	if (r == 0)
		r = emit(arg, "self", 0, DT_LNK);
	if (r == 0)
		r = emit(arg, "thread-self", 0, DT_LNK);
	return r == 0 ? pid_each(p, emit_pid, &l) : r;
}

static int list_process(int pinned, bv_vfs_emit_fn *emit, void *arg)
{
	int fd = openat(pinned, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	const struct dirent *e;
	int r = 0;
	DIR *d;

	if (fd < 0)
		return -ENOENT;
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while (r == 0 && (e = readdir(d)))
		if (entry_find(e->d_name, strlen(e->d_name)))
			r = emit(arg, e->d_name, e->d_ino, e->d_type);
	closedir(d);
	return r;
}

static int proc_list(void *ctx, struct bv_call *call, const char *rel, bv_vfs_emit_fn *emit, void *arg)
{
	struct procns *p = ctx;
	struct proc_path path;

	if (!*rel)
		return list_root(p, emit, arg);
	if (!proc_path_parse(rel, &path))
		return -ENOTDIR;
	bv_autofd int pinned = pin_path(p, call, &path);
	if (pinned < 0)
		return pinned;
	if (!path.name_len)
		return list_process(pinned, emit, arg);
	if (path.name_len == 3 && strncmp(path.name, "net", 3) == 0 && !*path.rest)
		return net_list(p, emit, arg);
	return -ENOTDIR;
}

int write_whole(int fd, const struct strbuf *b)
{
	size_t done = 0;

	if (b->failed)
		return -ENOMEM;
	while (done < b->len) {
		ssize_t n = write(fd, b->data + done, b->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		done += (size_t)n;
	}
	return 0;
}

static int proc_text(void *ctx, struct bv_call *call, const char *rel, int fd)
{
	bv_autostrbuf struct strbuf b = {0};
	struct procns *p = ctx;
	struct proc_path path;
	const struct entry *e;
	const struct top *top;
	int r;

	if (!proc_path_parse(rel, &path)) {
		top = top_find(rel);
		if (!top || !top->text)
			return -ENOENT;
		strbuf_puts(&b, top->text);
		return write_whole(fd, &b);
	}
	bv_autofd int pinned = pin_path(p, call, &path);
	if (pinned < 0)
		return pinned;
	e = entry_find(path.name, path.name_len);
	if (!e)
		return -ENOENT;
	if (e->kind == K_NET) {
		r = net_text(p, pinned, path.rest, &b);
		return r < 0 ? r : write_whole(fd, &b);
	}
	if (e->kind != K_TEXT || *path.rest)
		return -ENOENT;
	if (e->flags & F_INSPECT) {
		r = pid_may_inspect(p, call, subject(&path), pinned);
		if (r < 0)
			return r;
	}
	r = e->text(p, call, subject(&path), pinned, &b);
	return r < 0 ? r : write_whole(fd, &b);
}

const struct bv_vfs_ops proc_ops = {
	.head = BV_HEAD(SERVICE, struct bv_vfs_ops),
	.lookup = proc_lookup,
	.list = proc_list,
	.text = proc_text,
};
