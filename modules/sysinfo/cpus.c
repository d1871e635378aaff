/* SPDX-License-Identifier: Apache-2.0 */
/* CPU sets, and the kernel's texts cut down to one.  Pure. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "sysinfo.h"

void cpus_first(const cpu_set_t *of, int64_t n, cpu_set_t *out)
{
	cpu_set_t got;

	CPU_ZERO(&got);
	for (int i = 0; i < CPU_SETSIZE && n > 0; i++)
		if (CPU_ISSET(i, of)) {
			CPU_SET(i, &got);
			n--;
		}
	*out = got;
}

void cpus_format(const cpu_set_t *set, struct strbuf *out)
{
	const char *comma = "";

	for (int i = 0; i < CPU_SETSIZE; i++) {
		int last = i;

		if (!CPU_ISSET(i, set))
			continue;
		while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
			last++;
		strbuf_printf(out, last > i ? "%s%d-%d" : "%s%d", comma, i, last);
		comma = ",";
		i = last;
	}
}

int cpus_parse(const char *list, cpu_set_t *out)
{
	cpu_set_t got;

	CPU_ZERO(&got);
	while (*list && *list != '\n') {
		char *end;
		unsigned long from = strtoul(list, &end, 10), to = from;

		if (end == list)
			return -EINVAL;
		if (*end == '-') {
			list = end + 1;
			to = strtoul(list, &end, 10);
			if (end == list)
				return -EINVAL;
		}
		if (to < from || to >= CPU_SETSIZE)
			return -EINVAL;
		for (unsigned long i = from; i <= to; i++)
			CPU_SET(i, &got);
		if (*end == ',')
			end++;
		else if (*end && *end != '\n')
			return -EINVAL;
		list = end;
	}
	*out = got;
	return 0;
}

/* The number behind "processor", or -1: arm64 and x86 both begin a CPU's block with that line. */
static long block_cpu(const char *block)
{
	if (strncmp(block, "processor", 9) != 0)
		return -1;
	const char *colon = block + strcspn(block, ":\n");
	return *colon == ':' ? strtol(colon + 1, NULL, 10) : -1;
}

void cpus_filter_info(const char *text, const cpu_set_t *set, struct strbuf *out)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");
		long cpu = block_cpu(text);

		end = end ? end + 2 : text + strlen(text);
		if (cpu < 0 || (cpu < CPU_SETSIZE && CPU_ISSET(cpu, set)))
			strbuf_add(out, text, (size_t)(end - text));
		text = end;
	}
}

#define STAT_FIELDS 10 /* user to guest_nice: proc_stat(5) */

static void sum_line(const char *at, uint64_t sum[STAT_FIELDS])
{
	for (int i = 0; i < STAT_FIELDS; i++) {
		char *end;
		unsigned long long n = strtoull(at, &end, 10);

		if (end == at)
			return;
		sum[i] += n;
		at = end;
	}
}

void cpus_filter_stat(const char *text, const cpu_set_t *set, bool few, int64_t btime, struct strbuf *out)
{
	bv_autostrbuf struct strbuf rest = {0};
	uint64_t sum[STAT_FIELDS] = {0};

	while (*text) {
		const char *end = strchrnul(text, '\n');
		size_t len = (size_t)(end - text);

		if (strncmp(text, "cpu ", 4) == 0) {
			if (!few)
				sum_line(text + 4, sum);
		} else if (strncmp(text, "cpu", 3) == 0) {
			char *fields;
			unsigned long cpu = strtoul(text + 3, &fields, 10);

			if (cpu < CPU_SETSIZE && CPU_ISSET(cpu, set)) {
				strbuf_add(&rest, text, len);
				strbuf_puts(&rest, "\n");
				if (few)
					sum_line(fields, sum);
			}
		} else if (strncmp(text, "btime ", 6) == 0) {
			strbuf_printf(&rest, "btime %lld\n", (long long)btime);
		} else if (strncmp(text, "intr ", 5) == 0 || strncmp(text, "softirq ", 8) == 0) {
			/* Only the total: the rest is a list of the host's devices. */
			size_t key = strcspn(text, " ") + 1;

			strbuf_add(&rest, text, key + strcspn(text + key, " \n"));
			strbuf_puts(&rest, "\n");
		} else {
			strbuf_add(&rest, text, len);
			strbuf_puts(&rest, "\n");
		}
		text = *end ? end + 1 : end;
	}
	strbuf_puts(out, "cpu ");
	for (int i = 0; i < STAT_FIELDS; i++)
		strbuf_printf(out, " %llu", (unsigned long long)sum[i]);
	strbuf_puts(out, "\n");
	strbuf_add(out, rest.data, rest.len);
	out->failed |= rest.failed;
}

void meminfo_scale(const char *text, uint64_t memory, struct strbuf *out)
{
	const char *at = strstr(text, "MemTotal:");
	uint64_t total = at ? strtoull(at + 9, NULL, 10) : 0, shown = memory / 1024;

	if (!total || shown >= total) {
		strbuf_puts(out, text);
		return;
	}
	while (*text) {
		const char *end = strchrnul(text, '\n'), *colon = memchr(text, ':', (size_t)(end - text));
		uint64_t value = colon ? strtoull(colon + 1, NULL, 10) : 0;

		/* Page counts, address space and sizes of a page are no share of the memory. */
		if (!colon || strncmp(text, "Huge", 4) == 0 || strncmp(text, "Vmalloc", 7) == 0 ||
		    end - text < 3 || strncmp(end - 2, "kB", 2) != 0) {
			strbuf_add(out, text, (size_t)(end - text));
		} else {
			if (strncmp(text, "Swap", 4) == 0 && strncmp(text, "SwapCached", 10) != 0)
				value = 0;
			strbuf_add(out, text, (size_t)(colon + 1 - text));
			strbuf_printf(out, "%*llu kB", (int)(end - 3 - (colon + 1)),
			              (unsigned long long)machine_scale(value, total, shown));
		}
		strbuf_puts(out, "\n");
		text = *end ? end + 1 : end;
	}
}
