/* SPDX-License-Identifier: Apache-2.0 */
/* What the default ini makes of the machine: nothing of the host's own names and counts. */
#include "h.h"

#include <sys/sysinfo.h>
#include <sys/utsname.h>

#define THAT(e)                                                                                  \
	do {                                                                                     \
		if (!(e))                                                                        \
			breach("not so: %s", #e);                                                \
	} while (0)

static bool denied(const char *path, int err)
{
	int fd = open(path, O_RDONLY);

	if (fd >= 0)
		close(fd);
	return fd < 0 && errno == err;
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	struct sysinfo si;
	struct utsname u;
	char *at, b[4096] = "";
	int fd;

	MUST(!h.control);
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
	return h_end();
}
