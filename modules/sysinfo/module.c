/* SPDX-License-Identifier: Apache-2.0 */
/* sysinfo: what machine the guest believes to be on.  See docs/modules/sysinfo.md. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "sysinfo.h"

static const struct bv_need needs[] = {
	{BV_VFS_SERVICE, 1, 0, 1, 0},
};

static const struct bv_option options[] = {
	{"hostname", BV_OPT_STR, offsetof(struct conf, hostname), "bvisor", NULL, "The host name of the sandbox."},
	{"domainname", BV_OPT_STR, offsetof(struct conf, domainname), "(none)", NULL, "The NIS domain name of the sandbox."},
	{"release", BV_OPT_STR, offsetof(struct conf, release), "", NULL, "Kernel release shown; empty: the host's."},
	{"version", BV_OPT_STR, offsetof(struct conf, version), "", NULL, "Kernel version shown; empty: the host's."},
	{"cpus", BV_OPT_INT, offsetof(struct conf, cpus), "0", NULL,
	 "Number of CPUs shown, and used by the guest's processes from the start; 0: all."},
	{"memory", BV_OPT_SIZE, offsetof(struct conf, memory), "0", NULL,
	 "Memory shown (this limits nothing); 0: the host's."},
	{"uptime", BV_OPT_ENUM, offsetof(struct conf, uptime), "sandbox", "sandbox|host",
	 "Since when the machine is up: the start of the sandbox, or the host's. With host, /proc/stat and /proc/uptime "
	 "are the host's own and keep counting while a program such as top(1) holds them open."},
	{"sysctl", BV_OPT_WORDS, offsetof(struct conf, sysctl), NULL, NULL,
	 "Further names below /proc/sys, such as net/ipv4/tcp_mem, shown read-only."},
};

static int refuse(struct sysinfo_module *m, const char *key, const char *why)
{
	char text[400];

	snprintf(text, sizeof(text), "%s: %s: %s", m->host->option_where(m->self, key), key, why);
	m->host->fail(m->self, text);
	return -EINVAL;
}

static int take(struct sysinfo_module *m, const char *key, const char *value, char *to, size_t size)
{
	if (!value || !*value)
		return 0;
	if (strlen(value) >= size)
		return refuse(m, key, "is longer than the 64 bytes uname(2) has room for");
	memset(to, 0, size); /* no byte of the host's name behind it */
	strcpy(to, value);
	return 0;
}

static int init_uts(struct sysinfo_module *m, char host[sizeof(m->uts.nodename)])
{
	int r;

	if (uname(&m->uts) < 0)
		return -errno;
	strcpy(host, m->uts.nodename);
	r = take(m, "hostname", m->conf->hostname, m->uts.nodename, sizeof(m->uts.nodename));
	if (r == 0)
		r = take(m, "domainname", m->conf->domainname, m->uts.domainname, sizeof(m->uts.domainname));
	if (r == 0)
		r = take(m, "release", m->conf->release, m->uts.release, sizeof(m->uts.release));
	if (r == 0)
		r = take(m, "version", m->conf->version, m->uts.version, sizeof(m->uts.version));
	return r;
}

static int init_cpus(struct sysinfo_module *m)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t usable;

	if (m->conf->cpus < 0)
		return refuse(m, "cpus", "is negative");
	/* Without the kernel's list (no sysfs) the CPUs we may use are all we know of. */
	CPU_ZERO(&m->cpus);
	if (sched_getaffinity(0, sizeof(usable), &usable) < 0)
		return -errno;
	if (read_file("/sys/devices/system/cpu/online", &b) < 0 || !b.data || cpus_parse(b.data, &m->cpus) < 0)
		m->cpus = usable;
	if (m->conf->cpus > 0 && m->conf->cpus < CPU_COUNT(&m->cpus)) {
		cpus_first(&usable, m->conf->cpus, &m->cpus);
		m->few = true;
	}
	return 0;
}

/* A random (version 4) UUID, as the kernel makes one per boot. */
static int init_boot_id(struct sysinfo_module *m)
{
	unsigned char b[16];

	if (getrandom(b, sizeof(b), 0) != sizeof(b))
		return -EIO;
	b[6] = (unsigned char)((b[6] & 0x0f) | 0x40);
	b[8] = (unsigned char)((b[8] & 0x3f) | 0x80);
	snprintf(m->boot_id, sizeof(m->boot_id),
	         "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0], b[1], b[2], b[3], b[4],
	         b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]);
	return 0;
}

static int mount_all(struct sysinfo_module *m, const struct bv_vfs *vfs)
{
	struct place *sysctl = place_add(m, NULL), *syscpu = place_add(m, NULL);
	int r;

	if (!sysctl || !syscpu)
		return -ENOMEM;
	r = vfs->mount(vfs, m->self, "/proc/sys", &sysctl_ops, sysctl);
	if (r == 0)
		r = files_mount(m, vfs);
	if (r == 0 && m->few)
		r = vfs->mount(vfs, m->self, "/sys/devices/system/cpu", &syscpu_ops, syscpu);
	if (r < 0)
		m->host->fail(m->self, "/proc cannot be mounted in the virtual tree");
	return r;
}

static int start(struct sysinfo_module *m)
{
	const struct bv_vfs *vfs = (const struct bv_vfs *)m->host->service(m->self, BV_VFS_SERVICE);
	char host[sizeof(m->uts.nodename)];
	struct timespec now;
	int r;

	if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return -errno;
	m->started = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	for (size_t i = 0; i < m->conf->sysctl.n; i++)
		if (!sysctl_name_ok(m->conf->sysctl.item[i]))
			return refuse(m, "sysctl", "holds something that is no relative path");
	r = init_uts(m, host);
	if (r == 0)
		r = init_cpus(m);
	if (r == 0)
		r = init_boot_id(m);
	if (r == 0 && vfs)
		r = mount_all(m, vfs);
	if (r == 0 && vfs)
		r = names_show(m, vfs, host);
	for (const struct bv_handler *row = machine_handlers; row->syscall && r == 0; row++)
		r = m->host->route(m->self, row);
	return r < 0 ? r : 0;
}

static int init(struct bv_self *self, const struct bv_host *host, const void *conf, void **out)
{
	struct sysinfo_module *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return -ENOMEM;
	m->self = self;
	m->host = host;
	m->conf = conf;
	r = start(m);
	if (r < 0) {
		free(m);
		return r;
	}
	*out = m;
	return 0;
}

static void fini(void *self)
{
	free(self);
}

/* The first process is put on the CPUs shown; affinity is inherited, so all later ones are too. */
static int task_new(void *self, struct bv_task *parent, struct bv_task *child)
{
	struct sysinfo_module *m = self;

	if (!m->few || m->pinned)
		return 0;
	m->pinned = true;
	return sched_setaffinity(m->host->task_pid(child), sizeof(m->cpus), &m->cpus) < 0 ? -errno : 0;
}

BV_MODULE_EXPORT const struct bv_module bvisor_module = {
	.head = BV_HEAD(MODULE, struct bv_module),
	.name = "sysinfo",
	.version = "0.1.0",
	.needs = needs,
	.options = options,
	.n_needs = BV_ROWS(needs),
	.n_options = BV_ROWS(options),
	.need_size = sizeof(struct bv_need),
	.option_size = sizeof(struct bv_option),
	.handler_size = sizeof(struct bv_handler),
	.rule_size = sizeof(struct bv_rule),
	.conf_size = sizeof(struct conf),
	.init = init,
	.fini = fini,
	.task_new = task_new,
};
