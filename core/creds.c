/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Credentials of guests, and acting with them.
 *
 * Only a supervisor with root's user id can meet guests that are somebody else, and only after
 * one of them called something of the set*id family: until then everybody is who the first
 * process was.  The routes registered here notice that moment.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cleanup.h>

#include "bvisor.h"
#include "creds.h"
#include "loop.h"

/* Capabilities that decide about files (capabilities(7)); the rest stays ours while we act for a
 * guest, or we could not go back. */
#define FILE_CAPS                                                                                \
	(1ULL << CAP_CHOWN | 1ULL << CAP_DAC_OVERRIDE | 1ULL << CAP_DAC_READ_SEARCH |            \
	 1ULL << CAP_FOWNER | 1ULL << CAP_FSETID | 1ULL << CAP_LINUX_IMMUTABLE |                 \
	 1ULL << CAP_MKNOD)

/*
 * What the thread was before it took on a guest's identity.  Credentials belong to a kernel
 * thread, so their record does too: this is no state of the sandbox and two instances in one
 * process do not share it.
 */
struct assumed {
	bool on;
	uid_t fsuid;
	gid_t fsgid;
	int n_groups;
	gid_t group[BV_NGROUPS];
	struct __user_cap_data_struct cap[2];
};
static _Thread_local struct assumed assumed;

static ssize_t read_status(int proc_fd, char *buf, size_t size)
{
	bv_autofd int fd = openat(proc_fd, "status", O_RDONLY | O_CLOEXEC);
	size_t done = 0;

	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	while (done < size - 1) {
		ssize_t n = read(fd, buf + done, size - 1 - done);

		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	buf[done] = '\0';
	return (ssize_t)done;
}

/* The text after "\nkey:"; a thread's name cannot fake one, since the kernel escapes newlines. */
static const char *field(const char *status, const char *key)
{
	const char *at = strstr(status, key);

	return at ? at + strlen(key) : NULL;
}

int creds_read(int proc_fd, struct bv_creds *out)
{
	struct bv_creds c = {0};
	char buf[8192];
	unsigned saved;
	ssize_t n = read_status(proc_fd, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	const char *uid = field(buf, "\nUid:"), *gid = field(buf, "\nGid:");
	const char *groups = field(buf, "\nGroups:"), *cap = field(buf, "\nCapEff:");
	if (!uid || !gid || !groups || !cap ||
	    sscanf(uid, "%u %u %u %u", &c.uid, &c.euid, &saved, &c.fsuid) != 4 ||
	    sscanf(gid, "%u %u %u %u", &c.gid, &c.egid, &saved, &c.fsgid) != 4)
		return -ESRCH;
	while (c.n_groups < BV_NGROUPS) {
		char *end;
		unsigned long g;

		while (*groups == ' ' || *groups == '\t')
			groups++;
		if (*groups == '\n' || *groups == '\0')
			break;
		g = strtoul(groups, &end, 10);
		if (end == groups)
			break;
		c.group[c.n_groups++] = (uint32_t)g;
		groups = end;
	}
	c.cap_effective = strtoull(cap, NULL, 16);
	*out = c;
	return 0;
}

int creds_umask(int proc_fd)
{
	char buf[1024];
	ssize_t n = read_status(proc_fd, buf, sizeof(buf));

	if (n < 0)
		return (int)n;
	/* Since Linux 4.7, proc(5). */
	const char *mask = field(buf, "\nUmask:");
	return mask ? (int)(strtoul(mask, NULL, 8) & 0777) : -ESRCH;
}

/* The raw calls act on the calling thread; libc's wrappers would change all of them, setxid(7). */
static int set_groups(int n, const gid_t *group)
{
	return syscall(SYS_setgroups, (size_t)n, group) < 0 ? -errno : 0;
}

static int cap_get(struct __user_cap_data_struct cap[2])
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

	return syscall(SYS_capget, &head, cap) < 0 ? -errno : 0;
}

static int cap_set(const struct __user_cap_data_struct cap[2])
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};

	return syscall(SYS_capset, &head, cap) < 0 ? -errno : 0;
}

/* Gives the thread ids and, last, exactly those file capabilities of ours that caps has. */
static int assume(uid_t fsuid, gid_t fsgid, int n_groups, const gid_t *group, uint64_t caps,
                  const struct __user_cap_data_struct own[2])
{
	struct __user_cap_data_struct cap[2] = {own[0], own[1]};
	int r = set_groups(n_groups, group);

	if (r < 0)
		return r;
	/* setfsuid(2) reports no error: asking with -1, which is refused, tells what is in force. */
	setfsgid(fsgid);
	setfsuid(fsuid);
	if ((uid_t)setfsuid((uid_t)-1) != fsuid || (gid_t)setfsgid((gid_t)-1) != fsgid)
		return -EPERM;
	cap[0].effective = (own[0].effective & ~(uint32_t)FILE_CAPS) |
	                   (own[0].permitted & (uint32_t)FILE_CAPS & (uint32_t)caps);
	return cap_set(cap);
}

int creds_assume(const struct bv_creds *c)
{
	struct assumed *a = &assumed;
	int r;

	if (!a->on) {
		int n = getgroups(BV_NGROUPS, a->group);

		if (n < 0)
			return -errno;
		r = cap_get(a->cap);
		if (r < 0)
			return r;
		a->n_groups = n;
		a->fsuid = (uid_t)setfsuid((uid_t)-1);
		a->fsgid = (gid_t)setfsgid((gid_t)-1);
		a->on = true;
	}
	r = assume(c->fsuid, c->fsgid, (int)c->n_groups, c->group, c->cap_effective, a->cap);
	if (r < 0)
		creds_restore();
	return r;
}

void creds_restore(void)
{
	struct assumed *a = &assumed;

	if (!a->on)
		return;
	a->on = false;
	if (assume(a->fsuid, a->fsgid, a->n_groups, a->group, a->cap[0].effective, a->cap) < 0) {
		log_line(BV_LOG_ERROR, "core", "cannot take back my own credentials");
		abort();
	}
}

/* Guards: from this call on, credentials must be looked up.  Passes. */
static enum bv_verdict changes(void *self, struct bv_call *call)
{
	struct loop *l = ((struct ncall *)call)->loop;

	(void)self;
	l->creds_vary = true;
	return BV_PASS;
}

static enum bv_verdict changes_groups(void *self, struct bv_call *call)
{
	changes(self, call);
	if ((int)call->arg[0] > BV_NGROUPS)
		return host_table.reply(call, -EPERM);
	return BV_PASS;
}

/*
 * The kernel itself checks what these ask for, against the calling thread's credentials, and
 * what came of it is read from /proc afterwards.  Nothing is decided here on what setgroups and
 * capset point to, so the kernel's reading of it cannot break a promise.
 */
static enum bv_verdict by_kernel(void *self, struct bv_call *call)
{
	(void)self;
	(void)call;
	return BV_CONTINUE;
}

int creds_routes(struct sandbox *box)
{
	static const char *const name[] = {"setuid",    "setgid",   "setreuid", "setregid", "setresuid",
	                                   "setresgid", "setfsuid", "setfsgid", "setgroups", "capset"};

	if (geteuid() != 0)
		return 0;
	if (!box->core) {
		box->core = calloc(1, sizeof(*box->core));
		if (!box->core)
			return -ENOMEM;
		box->core->box = box;
		box->core->desc = &core_module;
		box->core->ready = true;
	}
	for (size_t i = 0; i < BV_ROWS_OF(name); i++) {
		struct bv_handler guard = {name[i], changes, BV_GUARD, 0};
		struct bv_handler last = {name[i], by_kernel, BV_FALLBACK, 0};

		if (strcmp(name[i], "setgroups") == 0)
			guard.fn = changes_groups;
		int r = router_add(box->router, box->core, &guard);
		if (r == 0)
			r = router_add(box->router, box->core, &last);
		if (r < 0)
			return r;
	}
	return 0;
}
