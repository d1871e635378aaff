/* SPDX-License-Identifier: Apache-2.0 */
/*
 * modules/procns against a host of its own: the test process plays the supervisor, its children
 * play the guests (and one of them the stranger), all real processes.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "procns.h"

extern const struct bv_module bvisor_module;

struct bv_task {
	int32_t pid;
};

static struct world {
	pid_t guest[4], stranger;
	const struct bv_vfs_ops *ops;
	void *ctx, *module;
	struct bv_handler row[64];
	size_t n_rows;
	struct bv_task task;
	struct bv_call call;
	struct conf conf;
	struct bv_creds creds;
	int64_t value;
	int proc_fd; /* of guest[0] */
} w;

/* ---- the host ---- */

static enum bv_verdict reply(struct bv_call *call, int64_t r)
{
	(void)call;
	w.value = r;
	return BV_REPLIED;
}

static int mem_read(struct bv_call *call, void *to, uint64_t from, size_t n)
{
	(void)call;
	if (!from)
		return -EFAULT;
	memcpy(to, (const void *)(uintptr_t)from, n);
	return 0;
}

static int32_t task_pid(const struct bv_task *task)
{
	return task->pid;
}

static int is_guest(struct bv_self *self, int32_t pid)
{
	(void)self;
	for (size_t i = 0; i < 4; i++)
		if (pid && w.guest[i] == pid)
			return 1;
	return 0;
}

static int32_t first_pid(struct bv_self *self)
{
	(void)self;
	return w.guest[0];
}

static int creds(struct bv_call *call, struct bv_creds *out)
{
	(void)call;
	*out = w.creds;
	return 0;
}

static int route(struct bv_self *self, const struct bv_handler *row)
{
	(void)self;
	w.row[w.n_rows++] = *row;
	return 0;
}

static unsigned features(struct bv_self *self)
{
	(void)self;
	return 0; /* no Landlock: every signal is relayed */
}

static int get_fd(struct bv_call *call, int fd)
{
	(void)call;
	int got = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return got < 0 ? -errno : got;
}

static int vfs_mount(const struct bv_vfs *vfs, struct bv_self *self, const char *path, const struct bv_vfs_ops *ops,
                     void *ctx)
{
	(void)vfs, (void)self;
	cr_assert_str_eq(path, "/proc");
	w.ops = ops;
	w.ctx = ctx;
	return 0;
}

static ssize_t vfs_shown(const struct bv_vfs *vfs, const char *host, char *out, size_t size)
{
	(void)vfs;
	return snprintf(out, size, "/shown%s", host);
}

static int vfs_open_read(const struct bv_vfs *vfs, const char *path)
{
	(void)vfs;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static const struct bv_vfs vfs = {
	.head = BV_HEAD(SERVICE, struct bv_vfs), .mount = vfs_mount, .shown = vfs_shown, .open_read = vfs_open_read,
};

static const struct bv_head *service(struct bv_self *self, const char *name)
{
	(void)self, (void)name;
	return &vfs.head;
}

static int proc_fd(struct bv_call *call)
{
	return call->tid == w.guest[0] ? w.proc_fd : -ESRCH;
}

static const struct bv_host host = {
	.head = BV_HEAD(HOST, struct bv_host), .reply = reply, .mem_read = mem_read, .task_pid = task_pid,
	.is_guest = is_guest, .first_pid = first_pid, .creds = creds, .route = route, .features = features,
	.service = service, .get_fd = get_fd, .proc_fd = proc_fd,
};

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	return pid;
}

static void start(void)
{
	static const char *const files[] = {"filesystems"};

	for (int i = 0; i < 3; i++)
		w.guest[i] = sleeper();
	w.stranger = sleeper();
	w.conf.host_files = (struct bv_strings){1, files};
	w.creds = (struct bv_creds){.uid = getuid(), .euid = geteuid(), .fsuid = geteuid(), .fsgid = getegid(),
	                            .cap_effective = ~UINT64_C(0)};
	w.task.pid = w.guest[0];
	char path[32];
	snprintf(path, sizeof(path), "/proc/%d", (int)w.guest[0]);
	w.proc_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	w.call = (struct bv_call){.head = BV_HEAD(CALL, struct bv_call), .task = &w.task, .tid = w.guest[0]};
	cr_assert_eq(bvisor_module.init(NULL, &host, &w.conf, &w.module), 0);
}

static void stop(void)
{
	for (int i = 0; i < 3; i++)
		if (w.guest[i])
			kill(w.guest[i], SIGKILL);
	kill(w.stranger, SIGKILL);
	bvisor_module.fini(w.module);
	close(w.proc_fd);
}

TestSuite(procns_view, .init = start, .fini = stop);

/* "@" in a path stands for the pid. */
static void fill(char rel[256], const char *path, int pid)
{
	const char *at = strchr(path, '@');

	if (at)
		snprintf(rel, 256, "%.*s%d%s", (int)(at - path), path, pid, at + 1);
	else
		snprintf(rel, 256, "%s", path);
}

static int look(const char *path, int pid, struct bv_vfs_node *node)
{
	char rel[256];

	fill(rel, path, pid);
	return w.ops->lookup(w.ctx, &w.call, rel, node);
}

static char *text(const char *path, int pid)
{
	static char b[65536];
	char rel[256];
	bv_autofd int fd = memfd_create("text", MFD_CLOEXEC);
	ssize_t n;

	fill(rel, path, pid);
	if (w.ops->text(w.ctx, &w.call, rel, fd) < 0)
		return NULL;
	n = pread(fd, b, sizeof(b) - 1, 0);
	b[n > 0 ? n : 0] = '\0';
	return b;
}

/* Makes a call; BV_REPLIED's value is in w.value. */
static enum bv_verdict call(const char *name, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
	for (size_t i = 0; i < w.n_rows; i++) {
		if (strcmp(w.row[i].syscall, name) != 0)
			continue;
		w.call.name = name;
		w.call.arg[0] = a, w.call.arg[1] = b, w.call.arg[2] = c, w.call.arg[3] = d;
		w.value = 12345;
		return w.row[i].fn(w.module, &w.call);
	}
	cr_assert_fail("no handler for %s", name);
	return BV_PASS;
}

Test(procns_view, links_of_the_caller)
{
	struct bv_vfs_node n;
	char want[64];

	cr_assert_eq(look("self", 0, &n), 0);
	snprintf(want, sizeof(want), "%d", w.guest[0]);
	cr_assert_eq(n.kind, BV_VFS_LINK);
	cr_assert_str_eq(n.target, want);
	cr_assert_eq(look("thread-self", 0, &n), 0);
	snprintf(want, sizeof(want), "%d/task/%d", w.guest[0], w.guest[0]);
	cr_assert_str_eq(n.target, want);
	cr_assert_eq(w.ops->lookup(w.ctx, NULL, "self", &n), -ENOENT);
}

Test(procns_view, strangers_do_not_exist)
{
	struct bv_vfs_node n;

	cr_assert_eq(look("@", w.guest[1], &n), 0);
	cr_assert_eq(n.kind, BV_VFS_DIR);
	cr_assert_eq(n.uid, getuid());
	cr_assert_eq(look("@", w.stranger, &n), -ENOENT);
	cr_assert_eq(look("@/comm", w.stranger, &n), -ENOENT);
	cr_assert_eq(look("@/root", w.stranger, &n), -ENOENT);
	cr_assert_eq(look("@/mem", getpid(), &n), -ENOENT);
	cr_assert_eq(look("1", 0, &n), -ENOENT);
	cr_assert_null(text("@/stat", w.stranger));
	char rel[64];
	snprintf(rel, sizeof(rel), "%d/task/%d", w.guest[1], w.stranger);
	cr_assert_eq(look(rel, 0, &n), -ENOENT);
}

Test(procns_view, allowlist)
{
	static const char *const hidden[] = {"kcore", "kmsg", "kallsyms", "sysrq-trigger", "keys", "sysvipc", "bus", "irq",
	                                     "filesystems/x", "net/tcp", "..", "@/ns", "@/ns/net", "@/map_files",
	                                     "@/pagemap", "@/stack", "@/fd/x", "@/fd/3/x", "@/fd/../root"};
	struct bv_vfs_node n;

	for (size_t i = 0; i < BV_ROWS_OF(hidden); i++)
		cr_assert_eq(look(hidden[i], w.guest[1], &n), -ENOENT, "%s", hidden[i]);
	cr_assert_eq(look("filesystems", 0, &n), 0);
	cr_assert_eq(n.kind, BV_VFS_HOST);
	cr_assert_eq(n.writable, 0);
	cr_assert_eq(look("@/comm", w.guest[1], &n), 0);
	cr_assert_eq(n.kind, BV_VFS_HOST);
	cr_assert_eq(n.writable, 1);
	cr_assert_eq(look("@/environ", w.guest[1], &n), 0);
	cr_assert_eq(n.writable, 0);
	/* Memory may be written by its own process only. */
	cr_assert_eq(look("@/mem", w.guest[0], &n), 0);
	cr_assert_eq(n.writable, 1);
	cr_assert_eq(look("@/mem", w.guest[1], &n), 0);
	cr_assert_eq(n.writable, 0);
	cr_assert_eq(look("@/fd", w.guest[1], &n), 0);
	cr_assert_eq(n.kind, BV_VFS_HOST);
	cr_assert_eq(n.below, 0);
	cr_assert_eq(look("@/fd/0", w.guest[1], &n), 0);
	cr_assert_eq(n.kind, BV_VFS_MAGIC);
	cr_assert_eq(look("@/fd/999", w.guest[1], &n), -ENOENT);
	cr_assert_eq(look("@/root", w.guest[1], &n), 0);
	cr_assert_eq(n.kind, BV_VFS_LINK);
	cr_assert_str_eq(n.target, "/");
	cr_assert_eq(look("@/stat/x", w.guest[1], &n), -ENOTDIR);
}

Test(procns_view, another_users_process_is_closed)
{
	struct bv_vfs_node n;

	w.creds.fsuid = w.creds.euid = w.creds.uid = 12345;
	w.creds.cap_effective = 0;
	cr_assert_eq(look("@/status", w.guest[1], &n), 0);
	cr_assert_eq(look("@/environ", w.guest[1], &n), -EACCES);
	cr_assert_eq(look("@/fd/0", w.guest[1], &n), -EACCES);
	cr_assert_null(text("@/maps", w.guest[1]));
	cr_assert_not_null(text("@/stat", w.guest[1]));
	cr_assert_eq(look("@/environ", w.guest[0], &n), 0, "one's own is open whatever the ids");
}

static int collect(void *arg, const char *name, uint64_t ino, unsigned char type)
{
	(void)ino, (void)type;
	strcat(arg, name);
	strcat(arg, " ");
	return 0;
}

Test(procns_view, listing)
{
	char names[8192] = " ", want[32];

	cr_assert_eq(w.ops->list(w.ctx, &w.call, "", collect, names), 0);
	for (int i = 0; i < 3; i++) {
		snprintf(want, sizeof(want), " %d ", w.guest[i]);
		cr_assert_not_null(strstr(names, want));
	}
	snprintf(want, sizeof(want), " %d ", w.stranger);
	cr_assert_null(strstr(names, want));
	snprintf(want, sizeof(want), " %d ", getpid());
	cr_assert_null(strstr(names, want));
	cr_assert_not_null(strstr(names, " self "));
	cr_assert_null(strstr(names, "kcore"));
	snprintf(names, sizeof(names), "%d", w.guest[1]);
	char inside[8192] = " ";
	cr_assert_eq(w.ops->list(w.ctx, &w.call, names, collect, inside), 0);
	cr_assert_not_null(strstr(inside, " maps "));
	cr_assert_null(strstr(inside, " ns "));
	cr_assert_null(strstr(inside, " pagemap "));
}

Test(procns_view, texts)
{
	char want[64], *got = text("@/status", w.guest[0]);

	cr_assert_not_null(strstr(got, "\nPPid:\t0\n"));
	/* Its real parent is this process, the supervisor: an orphan's lot. */
	got = text("@/status", w.guest[1]);
	snprintf(want, sizeof(want), "\nPPid:\t%d\n", w.guest[0]);
	cr_assert_not_null(strstr(got, want));
	got = text("@/stat", w.guest[1]);
	cr_assert_eq(atoi(strrchr(got, ')') + 4), w.guest[0]); /* ") S 123": whatever the state */
	cr_assert_not_null(strstr(text("@/maps", w.guest[1]), "   /shown/"));
	cr_assert_not_null(strstr(text("@/smaps", w.guest[1]), "   /shown/"));
	cr_assert_str_eq(text("@/cgroup", w.guest[1]), "0::/\n");
	cr_assert_not_null(strstr(text("@/mountinfo", w.guest[1]), " / / "));
	cr_assert_not_null(strstr(text("@/net/tcp", w.guest[1]), "local_address"));
	snprintf(want, sizeof(want), "@/task/%d/stat", w.guest[1]);
	cr_assert_eq(atoi(text(want, w.guest[1])), w.guest[1]);
}

static int ended_by(pid_t *pid)
{
	int st = 0;

	cr_assert_eq(waitpid(*pid, &st, 0), *pid);
	*pid = 0;
	return WIFSIGNALED(st) ? WTERMSIG(st) : -1;
}

Test(procns_view, calls_on_pids)
{
	static const char *const names[] = {"sched_getaffinity", "sched_setscheduler", "prlimit64", "getpgid", "getsid",
	                                    "process_vm_writev", "get_robust_list"};

	for (size_t i = 0; i < BV_ROWS_OF(names); i++) {
		cr_assert_eq(call(names[i], 0, 0, 0, 0), BV_CONTINUE, "%s", names[i]);
		cr_assert_eq(call(names[i], (uint64_t)w.guest[0], 0, 0, 0), BV_CONTINUE, "%s", names[i]);
		cr_assert_eq(call(names[i], (uint64_t)w.stranger, 0, 0, 0), BV_REPLIED, "%s", names[i]);
		cr_assert_eq(w.value, -ESRCH, "%s", names[i]);
		/* Garbage in the upper half is not part of the pid. */
		cr_assert_eq(call(names[i], UINT64_C(0xdead) << 32 | (uint32_t)w.stranger, 0, 0, 0), BV_REPLIED);
		cr_assert_eq(w.value, -ESRCH);
	}
	cr_assert_eq(call("prlimit64", (uint64_t)w.guest[1], 0, 0, 0), BV_CONTINUE);
	/* Without Landlock nobody looks into another's memory. */
	cr_assert_eq(call("process_vm_writev", (uint64_t)w.guest[1], 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, -EPERM);
	cr_assert_eq(call("getppid", 0, 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, 0);
}

Test(procns_view, priorities_of_a_user_spare_strangers)
{
	int base = getpriority(PRIO_PROCESS, 0); /* whoever runs the tests may be nice(1) */

	if (base > 15)
		cr_skip("this test is itself at the lowest priorities");
	cr_assert_eq(call("setpriority", PRIO_USER, 0, (uint64_t)(base + 3), 0), BV_REPLIED);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(getpriority(PRIO_PROCESS, (id_t)w.guest[0]), base + 3);
	cr_assert_eq(getpriority(PRIO_PROCESS, (id_t)w.guest[2]), base + 3);
	cr_assert_eq(getpriority(PRIO_PROCESS, (id_t)w.stranger), base);
	cr_assert_eq(getpriority(PRIO_PROCESS, 0), base);
	cr_assert_eq(call("getpriority", PRIO_USER, 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, 17 - base);
	setpriority(PRIO_PROCESS, (id_t)w.guest[1], 19);
	call("getpriority", PRIO_PGRP, 0, 0, 0);
	cr_assert_eq(w.value, 17 - base, "the highest priority of the group");
	/* Up again needs RLIMIT_NICE. */
	struct rlimit none = {0, 0};
	for (int i = 0; i < 3; i++)
		prlimit(w.guest[i], RLIMIT_NICE, &none, NULL);
	call("setpriority", PRIO_USER, 0, (uint64_t)(base - 5), 0);
	cr_assert_eq(w.value, -EACCES);
	w.creds.euid = w.creds.uid = 12345;
	call("setpriority", PRIO_PGRP, 0, 19, 0);
	cr_assert_eq(w.value, -EPERM);
}

Test(procns_view, relayed_signals)
{
	cr_assert_eq(call("kill", (uint64_t)w.stranger, SIGTERM, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, -ESRCH);
	cr_assert_eq(call("kill", (uint64_t)getpid(), SIGTERM, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, -ESRCH);
	cr_assert_eq(call("kill", (uint64_t)w.guest[0], SIGTERM, 0, 0), BV_CONTINUE, "one's own process");
	cr_assert_eq(call("kill", (uint64_t)w.guest[1], 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, 0);
	call("kill", (uint64_t)w.guest[1], 77, 0, 0);
	cr_assert_eq(w.value, -EINVAL);
	call("kill", (uint64_t)w.guest[1], SIGTERM, 0, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[1]), SIGTERM);
	call("tgkill", (uint64_t)w.guest[2], (uint64_t)w.guest[0], SIGUSR1, 0);
	cr_assert_eq(w.value, -ESRCH);
	call("tgkill", (uint64_t)w.guest[2], (uint64_t)w.guest[2], SIGUSR1, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[2]), SIGUSR1);
}

/* This process and the stranger are in the guests' group and must not be met. */
Test(procns_view, relayed_group)
{
	cr_assert_eq(call("kill", 0, 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, 0);
	call("kill", (uint64_t)-1, SIGKILL, 0, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[1]), SIGKILL);
	cr_assert_eq(ended_by(&w.guest[2]), SIGKILL);
	cr_assert_eq(waitpid(w.guest[0], NULL, WNOHANG), 0, "the caller is spared");
	cr_assert_eq(waitpid(w.stranger, NULL, WNOHANG), 0);
	call("kill", (uint64_t)-getpgrp(), SIGTERM, 0, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[0]), SIGTERM);
	cr_assert_eq(waitpid(w.stranger, NULL, WNOHANG), 0);
	call("kill", (uint64_t)-getpgrp(), SIGTERM, 0, 0);
	cr_assert_eq(w.value, -ESRCH);
}

Test(procns_view, relayed_permission)
{
	w.creds.euid = w.creds.uid = 12345;
	w.creds.cap_effective = 0;
	call("kill", (uint64_t)w.guest[1], SIGTERM, 0, 0);
	cr_assert_eq(w.value, -EPERM);
	/* Same session. */
	call("kill", (uint64_t)w.guest[1], SIGCONT, 0, 0);
	cr_assert_eq(w.value, 0);
	w.creds.cap_effective = UINT64_C(1) << 5; /* CAP_KILL */
	call("kill", (uint64_t)w.guest[1], SIGTERM, 0, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[1]), SIGTERM);
}

Test(procns_view, relayed_siginfo_cannot_be_forged)
{
	siginfo_t info = {.si_code = SI_USER};

	call("rt_sigqueueinfo", (uint64_t)w.guest[1], SIGTERM, (uint64_t)(uintptr_t)&info, 0);
	cr_assert_eq(w.value, -EPERM);
	info.si_code = SI_TKILL;
	call("rt_sigqueueinfo", (uint64_t)w.guest[1], SIGTERM, (uint64_t)(uintptr_t)&info, 0);
	cr_assert_eq(w.value, -EPERM);
	call("rt_sigqueueinfo", (uint64_t)w.guest[1], SIGTERM, 0, 0);
	cr_assert_eq(w.value, -EFAULT);
	info.si_code = SI_QUEUE;
	call("rt_sigqueueinfo", (uint64_t)w.guest[1], SIGTERM, (uint64_t)(uintptr_t)&info, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[1]), SIGTERM);
}

Test(procns_view, pidfds)
{
	int strange = (int)syscall(SYS_pidfd_open, w.stranger, 0), own = (int)syscall(SYS_pidfd_open, w.guest[1], 0);

	call("pidfd_send_signal", (uint64_t)strange, SIGTERM, 0, 0);
	cr_assert_eq(w.value, -ESRCH);
	call("pidfd_send_signal", 0, SIGTERM, 0, 0);
	cr_assert_eq(w.value, -EBADF);
	call("pidfd_getfd", (uint64_t)strange, 0, 0, 0);
	cr_assert_eq(w.value, -ESRCH);
	call("pidfd_open", (uint64_t)w.stranger, 0, 0, 0);
	cr_assert_eq(w.value, -ESRCH);
	call("pidfd_open", (uint64_t)w.guest[1], 1, 0, 0);
	cr_assert_eq(w.value, -EINVAL);
	call("pidfd_send_signal", (uint64_t)own, SIGTERM, 0, 0);
	cr_assert_eq(w.value, 0);
	cr_assert_eq(ended_by(&w.guest[1]), SIGTERM);
	call("pidfd_send_signal", (uint64_t)own, SIGTERM, 0, 0);
	cr_assert_eq(w.value, -ESRCH);
	close(strange);
	close(own);
}

Test(procns_view, clocks)
{
	uint64_t strange = (uint32_t)(~(uint32_t)w.stranger << 3) | 2, own = (uint32_t)(~(uint32_t)w.guest[1] << 3) | 2;

	cr_assert_eq(call("clock_gettime", strange, 0, 0, 0), BV_REPLIED);
	cr_assert_eq(w.value, -EINVAL);
	cr_assert_eq(call("clock_gettime", own, 0, 0, 0), BV_CONTINUE);
	cr_assert_eq(call("timer_create", (uint32_t)~(uint32_t)0 << 3 | 2, 0, 0, 0), BV_CONTINUE);
}
