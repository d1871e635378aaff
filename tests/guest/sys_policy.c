/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the default ini makes of the machine.  Differs from a native run by policy: run it inside
 * only, soon after the start; every line must end in "ok" and the exit status must be 0.
 */
#include "t.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

static int bad;

static void that(int line, const char *what, bool ok)
{
	SAY("%d: %s: %s\n", line, what, ok ? "ok" : "WRONG");
	bad += !ok;
}

#define THAT(e) that(__LINE__, #e, (e))

static bool denied(const char *path, int err)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == err;
}

int main(void)
{
	struct sysinfo si;
	struct utsname u;
	char *at, b[4096] = "";
	int fd;

	THAT(uname(&u) == 0 && strcmp(u.nodename, "bvisor") == 0);
	/* No byte of the host's longer name behind the new one. */
	at = u.nodename + strlen(u.nodename);
	while (at < u.nodename + sizeof(u.nodename) && !*at)
		at++;
	THAT(at == u.nodename + sizeof(u.nodename));
	THAT(sysinfo(&si) == 0 && si.uptime < 600);
	THAT(si.procs < 10);
	fd = open("/proc/stat", O_RDONLY);
	THAT(fd >= 0 && read(fd, b, sizeof(b) - 1) > 0);
	close(fd);
	/* The list of the host's interrupts is cut off behind its total. */
	at = strstr(b, "\nintr ");
	THAT(at && strspn(at + 6, "0123456789") == strcspn(at + 6, "\n"));
	THAT(denied("/proc/sys/kernel/sysrq", ENOENT));
	THAT(denied("/proc/sys/kernel/modprobe", ENOENT));
	THAT(denied("/proc/sys/fs/binfmt_misc", ENOENT));
	THAT(sethostname("x", 1) == -1);
	return bad != 0;
}
