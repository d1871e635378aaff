/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a process whose text is made here, because the host's would name the supervisor, the
 * front process or a host path.  They are snapshots taken at open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "procns.h"

/*
 * How many clock ticks the sandbox's uptime is behind the host's.  Whoever serves /proc/uptime
 * decides; start times follow it, so that ps(1) computes ages and dates as on one machine.
 */
static uint64_t skew(struct procns *p)
{
	struct timespec now;
	char text[64] = "";
	double behind;

	if (p->have_skew)
		return p->skew;
	p->have_skew = true;
	bv_autofd int fd = p->vfs->open_read(p->vfs, "/proc/uptime");
	if (fd < 0 || clock_gettime(CLOCK_BOOTTIME, &now) < 0)
		return 0;
	if (pread(fd, text, sizeof(text) - 1, 0) <= 0)
		return 0;
	behind = (double)now.tv_sec + (double)now.tv_nsec / 1e9 - strtod(text, NULL);
	/* Less than a second is the time it took to look. */
	if (behind > 1)
		p->skew = (uint64_t)(behind * (double)sysconf(_SC_CLK_TCK));
	return p->skew;
}

int text_stat(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	struct pid_stat s;
	uint64_t behind;
	int r = read_whole(pinned, "stat", &b);

	if (r == 0)
		r = pid_stat_parse(b.data, &s);
	if (r < 0)
		return r;
	behind = skew(p);
	/* The caller waits for us; it believes to be running, and state is one letter and a blank. */
	if (call && pid == call->tid)
		b.data[s.ppid_at - b.data - 2] = 'R';
	strbuf_add(out, b.data, (size_t)(s.ppid_at - b.data));
	strbuf_printf(out, "%d", pid_parent(p, pid, pinned, s.ppid));
	strbuf_add(out, s.ppid_end, (size_t)(s.start_at - s.ppid_end));
	strbuf_printf(out, "%llu", (unsigned long long)(s.start > behind ? s.start - behind : 0));
	strbuf_puts(out, s.start_end);
	return 0;
}

int text_status(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_whole(pinned, "status", &b);

	if (r < 0 || !b.data)
		return r;
	for (const char *line = b.data; *line;) {
		const char *end = strchrnul(line, '\n');

		if (strncmp(line, "PPid:", 5) == 0)
			strbuf_printf(out, "PPid:\t%d", pid_parent(p, pid, pinned, atoi(line + 5)));
		else if (strncmp(line, "State:", 6) == 0 && call && pid == call->tid)
			strbuf_puts(out, "State:\tR (running)");
		else if (strncmp(line, "TracerPid:", 10) == 0) /* only the supervisor traces, to start a program */
			strbuf_puts(out, "TracerPid:\t0");
		else
			strbuf_add(out, line, (size_t)(end - line));
		strbuf_puts(out, "\n");
		line = *end ? end + 1 : end;
	}
	return 0;
}

ssize_t text_shown(void *arg, const char *host, char *out, size_t size)
{
	struct procns *p = arg;

	return p->vfs->shown(p->vfs, host, out, size);
}

static int text_mapped(struct procns *p, int pinned, const char *name, struct strbuf *out,
                       void (*rewrite)(const char *, maps_shown_fn *, void *, struct strbuf *))
{
	bv_autostrbuf struct strbuf b = {0};
	int r = read_whole(pinned, name, &b);

	if (r == 0 && b.data)
		rewrite(b.data, text_shown, p, out);
	return r;
}

int text_maps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	return text_mapped(p, pinned, "maps", out, maps_rewrite);
}

int text_smaps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	return text_mapped(p, pinned, "smaps", out, maps_rewrite);
}

int text_numa_maps(struct procns *p, struct bv_call *call, int32_t pid, int pinned, struct strbuf *out)
{
	return text_mapped(p, pinned, "numa_maps", out, maps_rewrite_numa);
}
