/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Facts about processes, read from the host's /proc at the moment they are needed: nothing of
 * what fork, exec and exit change behind our back is cached.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "procns.h"

int32_t pid_number(const char *s, size_t len)
{
	int64_t n = 0;

	if (!len || len > 10 || s[0] == '0')
		return -1;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -1;
		n = n * 10 + (s[i] - '0');
	}
	return n <= INT32_MAX ? (int32_t)n : -1;
}

/* comm may hold blanks and ')' itself, so fields are counted from the last ')': proc_pid_stat(5). */
int pid_stat_parse(const char *line, struct pid_stat *out)
{
	const char *at = strrchr(line, ')');
	struct pid_stat got = {0};

	if (!at)
		return -EINVAL;
	at++;
	for (int field = 3; field <= 22; field++) {
		const char *end;

		while (*at == ' ')
			at++;
		end = at + strcspn(at, " \n");
		if (end == at)
			return -EINVAL;
		if (field == 4) {
			got.ppid = (int32_t)strtol(at, NULL, 10);
			got.ppid_at = at;
			got.ppid_end = end;
		} else if (field == 22) {
			got.start = strtoull(at, NULL, 10);
			got.start_at = at;
			got.start_end = end;
		}
		at = end;
	}
	*out = got;
	return 0;
}

static const char *line_of(const char *text, const char *key)
{
	size_t len = strlen(key);

	for (const char *at = text; at && *at; at = strchr(at, '\n'), at = at ? at + 1 : NULL)
		if (strncmp(at, key, len) == 0)
			return at + len;
	return NULL;
}

int pid_status_parse(const char *text, struct pid_status *out)
{
	const char *tgid = line_of(text, "Tgid:"), *uid = line_of(text, "Uid:");
	const char *gid = line_of(text, "Gid:"), *cap = line_of(text, "CapPrm:");
	const char *ppid = line_of(text, "PPid:"), *tracer = line_of(text, "TracerPid:");
	const char *blocked = line_of(text, "SigBlk:"), *ignored = line_of(text, "SigIgn:"),
		   *caught = line_of(text, "SigCgt:");
	struct pid_status got = {0};

	if (!ppid || !tracer || !blocked || !ignored || !caught)
		return -EINVAL;
	if (!tgid || !uid || !gid || !cap)
		return -EINVAL;
	got.tgid = (int32_t)strtol(tgid, NULL, 10);
	got.ppid = (int32_t)strtol(ppid, NULL, 10);
	got.tracer = (int32_t)strtol(tracer, NULL, 10);
	got.blocked = strtoull(blocked, NULL, 16);
	got.ignored = strtoull(ignored, NULL, 16);
	got.caught = strtoull(caught, NULL, 16);
	if (sscanf(uid, "%u %u %u", &got.uid, &got.euid, &got.suid) != 3 ||
	    sscanf(gid, "%u %u %u", &got.gid, &got.egid, &got.sgid) != 3)
		return -EINVAL;
	got.cap_permitted = strtoull(cap, NULL, 16);
	*out = got;
	return 0;
}

int read_whole(int dir, const char *name, struct strbuf *out)
{
	bv_autofd int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return -errno;
	for (;;) {
		if (!strbuf_reserve(out, 4096))
			return -ENOMEM;
		ssize_t n = read(fd, out->data + out->len, out->cap - out->len - 1);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		out->len += (size_t)n;
		out->data[out->len] = '\0';
		if (n == 0)
			return 0;
	}
}

bool pid_own(struct procns *p, struct bv_call *call, int32_t pid)
{
	if (pid <= 0)
		return false;
	/* The caller is stopped in this very call, so its ids are its own. */
	if (call && (pid == call->tid || pid == p->host->task_pid(call->task)))
		return true;
	return p->host->is_guest(p->self, pid) == 1;
}

enum bv_verdict pid_foreign(struct procns *p, struct bv_call *call, int32_t pid)
{
	char what[32];

	if (p->audited && pid > 0 && (kill(pid, 0) == 0 || errno == EPERM)) {
		snprintf(what, sizeof(what), "process %d", pid);
		p->host->report(p->self, call, BV_REPORT_DENIED, ESRCH, what);
	}
	return REPLY(p, call, -ESRCH);
}

int pid_pin(struct procns *p, struct bv_call *call, int32_t pid)
{
	char path[32];
	bv_autofd int fd = -1;

	if (call && pid == call->tid) {
		int own = p->host->proc_fd(call);

		if (own < 0)
			return own;
		fd = fcntl(own, F_DUPFD_CLOEXEC, 3);
		return fd < 0 ? -errno : bv_take_fd(&fd);
	}
	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	return pid_own(p, call, pid) ? bv_take_fd(&fd) : -ESRCH;
}

int pid_status(int pinned, struct pid_status *out)
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_whole(pinned, "status", &b);

	if (r < 0)
		return r == -ENOMEM ? r : -ESRCH;
	return pid_status_parse(b.data ? b.data : "", out) < 0 ? -ESRCH : 0;
}

int32_t pid_group(struct procns *p, struct bv_call *call, int32_t tid)
{
	struct pid_status s;
	int r;

	if (tid == call->tid || tid == p->host->task_pid(call->task))
		return p->host->task_pid(call->task);
	bv_autofd int pinned = pid_pin(p, call, tid);
	if (pinned < 0)
		return pinned;
	r = pid_status(pinned, &s);
	return r < 0 ? r : s.tgid;
}

/*
 * Linux gives orphans to the nearest subreaper or to init.  Here that is the supervisor, which
 * the guest cannot see; the first process stands for it, as init does in a pid namespace.
 */
int32_t pid_parent(struct procns *p, int32_t pid, int pinned, int32_t real)
{
	int32_t first = p->host->first_pid(p->self);
	struct pid_status s;

	if (real > 0 && p->host->is_guest(p->self, real) == 1)
		return real;
	if (pid == first || first <= 0 || p->host->is_guest(p->self, first) != 1)
		return 0;
	/* A thread of the first process has its parent too. */
	return pid_status(pinned, &s) == 0 && s.tgid == first ? 0 : first;
}

/*
 * Adds the children of every thread of a process to the list; false when the kernel does not tell
 * (proc_pid_task_children(5) needs CONFIG_PROC_CHILDREN).
 */
static bool add_children(int32_t tgid, struct inode_set *list)
{
	char path[40];
	const struct dirent *e;
	bool told = true;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/task", tgid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		bv_autostrbuf struct strbuf b = {0};
		char name[40];
		int r;

		if (e->d_name[0] == '.')
			continue;
		snprintf(name, sizeof(name), "%.20s/children", e->d_name);
		r = read_whole(dirfd(d), name, &b);
		if (r == -ENOENT && faccessat(dirfd(d), e->d_name, F_OK, 0) == 0)
			told = false;
		for (char *at = b.data; r == 0 && at && *at;) {
			char *end;
			unsigned long pid = strtoul(at, &end, 10);

			if (end == at)
				break;
			inode_set_add(list, pid);
			at = end;
		}
	}
	if (d)
		closedir(d);
	return told;
}

static int each_of_all(struct procns *p, int (*fn)(void *arg, int32_t tgid), void *arg)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	int r = 0;

	if (!d)
		return -errno;
	while (r == 0 && (e = readdir(d))) {
		int32_t pid = pid_number(e->d_name, strlen(e->d_name));

		if (pid > 0 && p->host->is_guest(p->self, pid) == 1)
			r = fn(arg, pid);
	}
	closedir(d);
	return r;
}

/*
 * The supervisor is the subreaper of all guests, so they are the tree below it: walking that costs
 * by the size of the sandbox, looking through the whole of /proc by the size of the host.
 */
int pid_each(struct procns *p, int (*fn)(void *arg, int32_t tgid), void *arg)
{
	struct inode_set list = {0};
	int r = 0;

	if (!add_children(getpid(), &list)) {
		inode_set_fini(&list);
		return each_of_all(p, fn, arg);
	}
	for (size_t i = 0; i < list.n && r == 0; i++) {
		int32_t pid = (int32_t)list.item[i];

		add_children(pid, &list);
		if (p->host->is_guest(p->self, pid) == 1)
			r = fn(arg, pid);
	}
	if (r == 0 && list.failed)
		r = -ENOMEM;
	inode_set_fini(&list);
	return r;
}

static int in_group(void *arg, int32_t tgid)
{
	return getpgid(tgid) == *(int32_t *)arg;
}

bool pid_group_own(struct procns *p, int32_t pgid)
{
	/* A leader may be gone while its group lives on, so when it is no guest the members decide. */
	if (p->host->is_guest(p->self, pgid) == 1 && getpgid(pgid) == pgid)
		return true;
	return pid_each(p, in_group, &pgid) == 1;
}

#define CAP_BIT_SYS_PTRACE (UINT64_C(1) << 19) /* CAP_SYS_PTRACE, linux/capability.h */

bool pid_may_inspect_as(const struct bv_creds *who, const struct pid_status *whom)
{
	if (who->cap_effective & CAP_BIT_SYS_PTRACE)
		return true;
	if (who->fsuid != whom->uid || who->fsuid != whom->euid || who->fsuid != whom->suid ||
	    who->fsgid != whom->gid || who->fsgid != whom->egid || who->fsgid != whom->sgid)
		return false;
	return (whom->cap_permitted & ~who->cap_effective) == 0;
}

int pid_may_inspect(struct procns *p, struct bv_call *call, int32_t pid, int pinned)
{
	struct pid_status whom;
	struct bv_creds who;

	if (!call)
		return 0;
	if (pid == call->tid || pid == p->host->task_pid(call->task))
		return 0;
	if (pid_status(pinned, &whom) < 0 || p->host->creds(call, &who) < 0)
		return -ESRCH;
	if (whom.tgid == p->host->task_pid(call->task))
		return 0;
	return pid_may_inspect_as(&who, &whom) ? 0 : -EACCES;
}
