/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files in /etc that say what the machine is called.  They agree with uname(2), and the name can be
 * looked up, as on any machine: many programs ask for their own address first.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "sysinfo.h"

/* Is the word the host's name, or that with a domain? */
static bool is_name(const char *word, size_t len, const char *host)
{
	size_t n = strlen(host);

	return len >= n && strncasecmp(word, host, n) == 0 && (len == n || word[n] == '.');
}

void hosts_rename(const char *text, const char *host, const char *shown, struct strbuf *out)
{
	bool there = false;

	while (*text) {
		size_t line = strcspn(text, "\n"), code = strcspn(text, "#\n");

		for (size_t at = 0; at < line;) {
			size_t len = 0;

			while (at + len < code && !isspace((unsigned char)text[at + len]))
				len++;
			if (at > 0 && len && is_name(text + at, len, host)) {
				strbuf_puts(out, shown);
				there = true;
			} else {
				len += !len;
				strbuf_add(out, text + at, len);
			}
			at += len;
		}
		text += line;
		strbuf_puts(out, "\n");
		text += *text == '\n';
	}
	if (!there)
		strbuf_printf(out, "127.0.1.1\t%s\n", shown);
}

/* One that is always the same for a name, and is nobody's. */
void machine_id(const char *shown, char out[MACHINE_ID])
{
	uint64_t h[2] = {0xcbf29ce484222325u, 0x84222325cbf29ce4u};

	for (const unsigned char *c = (const unsigned char *)shown; *c; c++)
		for (size_t i = 0; i < 2; i++)
			h[i] = (h[i] ^ (*c + i)) * 0x100000001b3u;
	snprintf(out, MACHINE_ID, "%016llx%016llx\n", (unsigned long long)h[0],
	         (unsigned long long)h[1]);
}

static int show(struct sysinfo_module *m, const struct bv_vfs *vfs, const char *path,
                const char *text)
{
	int r = vfs->instead(vfs, m->self, path, text, strlen(text));

	return r == -ENOENT ? 0 : r;
}

int names_show(struct sysinfo_module *m, const struct bv_vfs *vfs, const char *host)
{
	bv_autostrbuf struct strbuf hosts = {0}, out = {0};
	char line[MACHINE_ID + sizeof(m->uts.nodename)];

	if (strcmp(host, m->uts.nodename) == 0 || !BV_HAS(struct bv_vfs, vfs, instead))
		return 0;
	snprintf(line, sizeof(line), "%s\n", m->uts.nodename);
	int r = show(m, vfs, "/etc/hostname", line);
	if (r == 0 && read_file("/etc/hosts", &hosts) == 0) {
		hosts_rename(hosts.data ? hosts.data : "", host, m->uts.nodename, &out);
		r = out.failed ? -ENOMEM : show(m, vfs, "/etc/hosts", out.data);
	}
	machine_id(m->uts.nodename, line);
	return r < 0 ? r : show(m, vfs, "/etc/machine-id", line);
}
