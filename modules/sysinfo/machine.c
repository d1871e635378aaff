/* SPDX-License-Identifier: Apache-2.0 */
/* The facts behind every view, and the two calls that ask for them directly. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <time.h>

#include "sysinfo.h"

int read_file(const char *path, struct strbuf *out)
{
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

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

int write_text(int fd, const struct strbuf *b)
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

int64_t machine_uptime(const struct sysinfo_module *m)
{
	struct timespec now;
	int64_t up;

	if (clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return 0;
	up = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	return m->conf->uptime == UPTIME_HOST ? up : up - m->started;
}

int machine_processes(struct sysinfo_module *m)
{
	DIR *d = opendir("/proc");
	const struct dirent *e;
	int n = 0;

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
		    m->host->is_guest(m->self, (int32_t)strtol(e->d_name, NULL, 10)) == 1)
			n++;
	if (d)
		closedir(d);
	return n ? n : 1;
}

uint64_t machine_scale(uint64_t value, uint64_t total, uint64_t shown)
{
	if (!shown || !total || shown >= total)
		return value;
	return (uint64_t)((__uint128_t)value * shown / total);
}

BV_SYSCALL(uname)
{
	struct sysinfo_module *m = self;

	return REPLY(m, call, m->host->mem_write(call, call->arg[0], &m->uts, sizeof(m->uts)));
}

BV_SYSCALL(sysinfo)
{
	struct sysinfo_module *m = self;
	struct sysinfo info;
	uint64_t unit, total, shown;

	if (sysinfo(&info) < 0)
		return REPLY(m, call, -errno);
	unit = info.mem_unit ? info.mem_unit : 1;
	total = info.totalram * unit;
	shown = m->conf->memory;
	info.uptime = (long)(machine_uptime(m) / 1000000000);
	info.procs = (unsigned short)machine_processes(m);
	if (shown && shown < total) {
		info.totalram = shown / unit;
		info.freeram = machine_scale(info.freeram, total, shown);
		info.sharedram = machine_scale(info.sharedram, total, shown);
		info.bufferram = machine_scale(info.bufferram, total, shown);
		info.totalhigh = info.freehigh = 0;
		info.totalswap = info.freeswap = 0;
	}
	return REPLY(m, call, m->host->mem_write(call, call->arg[0], &info, sizeof(info)));
}

const struct bv_handler machine_handlers[] = {
	BV_ON(uname, BV_SERVE),
	BV_ON(sysinfo, BV_SERVE),
	{0},
};
