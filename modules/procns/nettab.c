/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /proc/<pid>/net: the host's socket tables are those of a whole network namespace.  A guest sees
 * only the rows of sockets that some process of its sandbox holds, and of the rest (interfaces,
 * routes) what a machine with a loopback alone would show.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "procns.h"

static const struct table {
	const char *name;
	int column;       /* word of a row that is the socket's inode; -1: fixed text */
	const char *text; /* column -1 */
} tables[] = {
	{"arp", -1, "IP address       HW type     Flags       HW address            Mask     Device\n"},
	{"dev", -1,
	 "Inter-|   Receive                                                |  Transmit\n"
	 " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls "
	 "carrier compressed\n"
	 "    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0"
	 "       0          0\n"},
	{"if_inet6", -1, "00000000000000000000000000000001 01 80 10 80       lo\n"},
	{"ipv6_route", -1, ""},
	{"raw", 9, NULL},
	{"raw6", 9, NULL},
	{"route", -1,
	 "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"},
	{"tcp", 9, NULL},
	{"tcp6", 9, NULL},
	{"udp", 9, NULL},
	{"udp6", 9, NULL},
	{"unix", 6, NULL},
};

static const struct table *table_find(const char *name)
{
	for (size_t i = 0; i < BV_ROWS_OF(tables); i++)
		if (strcmp(tables[i].name, name) == 0)
			return &tables[i];
	return NULL;
}

void inode_set_add(struct inode_set *s, uint64_t ino)
{
	if (s->n == s->cap) {
		size_t cap = s->cap ? s->cap * 2 : 64;
		uint64_t *item = realloc(s->item, cap * sizeof(*item));

		if (!item) {
			s->failed = true;
			return;
		}
		s->item = item;
		s->cap = cap;
	}
	s->item[s->n++] = ino;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

void inode_set_sort(struct inode_set *s)
{
	if (s->n)
		qsort(s->item, s->n, sizeof(*s->item), by_value);
}

bool inode_set_has(const struct inode_set *s, uint64_t ino)
{
	return s->n && bsearch(&ino, s->item, s->n, sizeof(*s->item), by_value);
}

void inode_set_fini(struct inode_set *s)
{
	free(s->item);
	*s = (struct inode_set){0};
}

void net_filter(const char *text, unsigned column, const struct inode_set *own, struct strbuf *out)
{
	for (bool heading = true; *text; heading = false) {
		const char *end = strchrnul(text, '\n');
		const char *at = text;

		for (unsigned word = 0; word < column; word++) {
			while (at < end && *at == ' ')
				at++;
			while (at < end && *at != ' ')
				at++;
		}
		while (at < end && *at == ' ')
			at++;
		if (heading || (at < end && isdigit((unsigned char)*at) && inode_set_has(own, strtoull(at, NULL, 10)))) {
			strbuf_add(out, text, (size_t)(end - text));
			strbuf_puts(out, "\n");
		}
		text = *end ? end + 1 : end;
	}
}

/* The inodes of all sockets a process holds. */
static int sockets_of(void *arg, int32_t tgid)
{
	struct inode_set *set = arg;
	const struct dirent *e;
	char path[48];
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%d/fd", tgid);
	d = opendir(path);
	if (!d)
		return 0; /* it ended meanwhile */
	while ((e = readdir(d))) {
		char text[64];
		ssize_t n = readlinkat(dirfd(d), e->d_name, text, sizeof(text) - 1);

		if (n <= 8)
			continue;
		text[n] = '\0';
		if (strncmp(text, "socket:[", 8) == 0)
			inode_set_add(set, strtoull(text + 8, NULL, 10));
	}
	closedir(d);
	return 0;
}

int net_lookup(struct procns *p, const char *name, struct bv_vfs_node *out)
{
	if (!table_find(name))
		return -ENOENT;
	out->kind = BV_VFS_TEXT;
	out->mode = 0444;
	return 0;
}

int net_list(struct procns *p, bv_vfs_emit_fn *emit, void *arg)
{
	int r = 0;

	for (size_t i = 0; i < BV_ROWS_OF(tables) && r == 0; i++)
		r = emit(arg, tables[i].name, 0, DT_REG);
	return r;
}

/* A socket bound for a guest has the name the supervisor bound it by: its last part is what is true. */
static ssize_t socket_shown(void *arg, const char *host, char *out, size_t size)
{
	return strncmp(host, "/proc/self/", 11) == 0 ? -ENOENT : text_shown(arg, host, out, size);
}

int net_text(struct procns *p, int pinned, const char *name, struct strbuf *out)
{
	const struct table *t = table_find(name);
	bv_autostrbuf struct strbuf b = {0};
	struct inode_set own = {0};
	char path[32];
	int r;

	if (!t)
		return -ENOENT;
	if (t->column < 0) {
		strbuf_puts(out, t->text);
		return 0;
	}
	snprintf(path, sizeof(path), "net/%s", name);
	r = read_whole(pinned, path, &b);
	if (r < 0)
		return r;
	pid_each(p, sockets_of, &own);
	inode_set_sort(&own);
	if (own.failed) {
		r = -ENOMEM;
	} else if (b.data && strcmp(name, "unix") == 0) {
		bv_autostrbuf struct strbuf rows = {0};

		net_filter(b.data, (unsigned)t->column, &own, &rows);
		maps_rewrite_unix(rows.data ? rows.data : "", socket_shown, p, out);
	} else if (b.data) {
		net_filter(b.data, (unsigned)t->column, &own, out);
	}
	inode_set_fini(&own);
	return r;
}
