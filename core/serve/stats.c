/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox uses now: its processes, as /proc shows them. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proc.h"
#include "serve.h"

struct usage {
	unsigned processes;
	uint64_t rss_pages, ticks;
};

static ssize_t read_file(const char *path, char *buf, size_t size)
{
	bv_autofd int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
	return n;
}

static void count(struct usage *u, pid_t pid)
{
	char path[64], text[1024];

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	const char *used =
		read_file(path, text, sizeof(text)) > 0 ? proc_stat_field(text, 14) : NULL;
	const char *rss = used ? proc_stat_field(text, 24) : NULL;
	uint64_t ticks[4];
	/* Its own, and of the children that it has waited for. */
	if (!rss || sscanf(used, "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64, &ticks[0],
	                   &ticks[1], &ticks[2], &ticks[3]) != 4)
		return; /* it has just ended */
	u->ticks += ticks[0] + ticks[1] + ticks[2] + ticks[3];
	u->rss_pages += strtoull(rss, NULL, 10);
	u->processes++;
}

/* Calls each for the children of all threads of a process. */
static void children(pid_t pid, struct usage *u, void (*each)(struct usage *u, pid_t pid))
{
	char path[64], list[32768];
	const struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	DIR *d = opendir(path);
	while (d && (e = readdir(d))) {
		if (e->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/children", (int)pid,
		         atoi(e->d_name));
		if (read_file(path, list, sizeof(list)) <= 0)
			continue;
		char *at = list, *end;
		for (long child = strtol(at, &end, 10); end != at;
		     child = strtol(at = end, &end, 10))
			each(u, (pid_t)child);
	}
	if (d)
		closedir(d);
}

static void guest(struct usage *u, pid_t pid)
{
	count(u, pid);
	children(pid, u, guest);
}

/* The supervisor is not what the sandbox uses; bvisor-init below it is, but is nobody's process. */
static void supervisor(struct usage *u, pid_t pid)
{
	children(pid, u, guest);
}

void box_stats(const struct box *b, json_t *id)
{
	struct usage u = {0};

	children(b->pid, &u, supervisor);
	client_result(b->client, id,
	              json_pack("{s:i, s:I, s:f, s:f}", "processes",
	                        u.processes ? (int)u.processes - 1 : 0, "memory",
	                        (json_int_t)u.rss_pages * sysconf(_SC_PAGESIZE), "cpu_time",
	                        (double)u.ticks / (double)sysconf(_SC_CLK_TCK), "uptime",
	                        (double)(now_ms() - b->began) / 1000));
}
