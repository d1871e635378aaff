/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every view of one fact about the machine agrees with the others.  Outputs must be equal: natively
 * the host's picture is consistent, inside the sandbox's is.
 */
#include "t.h"

#include <sched.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>

static char *whole(const char *path)
{
	static char b[1 << 18];
	int fd = open(path, O_RDONLY);
	size_t at = 0;
	ssize_t n;

	b[0] = '\0';
	if (fd < 0) {
		SAY("  %s: %s\n", path, strerrorname_np(errno));
		return b;
	}
	while (at < sizeof(b) - 1 && (n = read(fd, b + at, sizeof(b) - 1 - at)) > 0)
		at += (size_t)n;
	b[at] = '\0';
	close(fd);
	return b;
}

static bool is_line(const char *path, const char *want)
{
	size_t len = strlen(want);
	char *text = whole(path);

	return strncmp(text, want, len) == 0 && strcmp(text + len, "\n") == 0;
}

static void names(void)
{
	struct utsname u;
	char host[65] = "", domain[65] = "", want[400];

	T(uname(&u));
	T(uname(t_bad));
	SAY("  %s %s\n", u.sysname, u.machine);
	T(gethostname(host, sizeof(host)));
	T(strcmp(host, u.nodename));
	T(getdomainname(domain, sizeof(domain)));
	T(strcmp(domain, u.domainname));
	T(is_line("/proc/sys/kernel/hostname", u.nodename));
	T(is_line("/proc/sys/kernel/domainname", u.domainname));
	T(is_line("/proc/sys/kernel/osrelease", u.release));
	T(is_line("/proc/sys/kernel/version", u.version));
	T(is_line("/proc/sys/kernel/ostype", u.sysname));
	snprintf(want, sizeof(want), "%s version %s (", u.sysname, u.release);
	char *text = whole("/proc/version");
	T(strncmp(text, want, strlen(want)));
	T(strstr(text, u.version) != NULL);
}

static void uptime(void)
{
	struct sysinfo si;
	char *at;
	long hz = sysconf(_SC_CLK_TCK);
	/* However long this program is kept waiting in between: each clock against a look before and one after. */
	time_t before = time(NULL);
	double up = atof(whole("/proc/uptime"));

	T(sysinfo(&si));
	T(sysinfo(t_bad));
	double up_then = atof(whole("/proc/uptime"));
	/* sysinfo(2) counts a second that has begun. */
	T(si.uptime >= (long)up && si.uptime <= (long)up_then + 1);
	at = strstr(whole("/proc/stat"), "btime ");
	long boot = at ? atol(at + 6) : 0;
	time_t after = time(NULL);
	/* A second each for what btime, and time(2), round off. */
	T(boot + (long)up <= (long)after + 2 && boot + (long)up_then >= (long)before - 2);
	/* Field 22 of stat, proc_pid_stat(5): this program was started, up to now. */
	at = strrchr(whole("/proc/self/stat"), ')');
	for (int i = 0; at && i < 20; i++)
		at = strchr(at + 1, ' ');
	double started = at ? strtod(at, NULL) / (double)hz : -1;
	T(started >= 0 && started <= up + 1);
	T(up - started < 600);
	T(si.procs > 0);
}

static void memory(void)
{
	struct sysinfo si;
	char *text = whole("/proc/meminfo");
	char *total = strstr(text, "MemTotal:"), *avail = strstr(text, "MemAvailable:");

	MUST(total && avail);
	T(sysinfo(&si));
	T((unsigned long)atol(total + 9) == si.totalram * si.mem_unit / 1024);
	T(atol(avail + 13) <= atol(total + 9));
	T((unsigned long)sysconf(_SC_PHYS_PAGES) <= si.totalram * si.mem_unit / 4096);
	T(si.freeram <= si.totalram);
}

static int count(const char *text, const char *key)
{
	int n = 0;

	for (const char *at = text; (at = strstr(at, key)); at += strlen(key))
		n += at == text || at[-1] == '\n';
	return n;
}

static void cpus(void)
{
	int online = get_nprocs();
	char *text = whole("/proc/stat");
	int lines = count(text, "cpu") - count(text, "cpu ");
	cpu_set_t set;

	T(lines == online);
	T(count(whole("/proc/cpuinfo"), "processor") == online);
	T(sched_getaffinity(0, sizeof(set), &set));
	T(CPU_COUNT(&set) <= online);
	T(access("/sys/devices/system/cpu/online", R_OK));
	T(access("/sys/devices/system/cpu", R_OK | X_OK));
}

static void settings(void)
{
	char id[64], *text;
	double load = 0;
	int running = 0, total = 0, last = 0;

	T(atol(whole("/proc/sys/kernel/pid_max")) > 300);
	T(atol(whole("/proc/sys/fs/nr_open")) > 1000);
	T(atol(whole("/proc/sys/vm/max_map_count")) > 1000);
	T(atol(whole("/proc/sys/net/core/somaxconn")) > 0);
	T(atol(whole("/proc/sys/kernel/cap_last_cap")) > 30);
	snprintf(id, sizeof(id), "%s", whole("/proc/sys/kernel/random/boot_id"));
	T((long)strlen(id));
	T(strcmp(id, whole("/proc/sys/kernel/random/boot_id")));
	snprintf(id, sizeof(id), "%s", whole("/proc/sys/kernel/random/uuid"));
	T((long)strlen(id));
	T(strcmp(id, whole("/proc/sys/kernel/random/uuid")) != 0);
	text = whole("/proc/loadavg");
	T(sscanf(text, "%lf %*f %*f %d/%d %d", &load, &running, &total, &last));
	T(load >= 0 && running >= 0 && total >= running && last > 0);
	T(access("/proc/sys/kernel", R_OK | X_OK));
	TOPEN(open("/proc/sys/kernel/nothing", O_RDONLY));
	TOPEN(open("/proc/sys/kernel", O_RDONLY | O_DIRECTORY));
}

int main(void)
{
	names();
	uptime();
	memory();
	cpus();
	settings();
	return 0;
}
