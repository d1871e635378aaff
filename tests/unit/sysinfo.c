/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of modules/sysinfo: CPU sets and the kernel's texts cut down to them. */
#include <criterion/criterion.h>
#include <errno.h>

#include "sysinfo.h"

static cpu_set_t set_of(const char *list)
{
	cpu_set_t set;

	cr_assert_eq(cpus_parse(list, &set), 0);
	return set;
}

static void same(const char *list, const char *want)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t set = set_of(list);

	cpus_format(&set, &b);
	cr_assert_str_eq(b.data ? b.data : "", want);
}

Test(sysinfo_cpus, lists_round_trip)
{
	same("0\n", "0");
	same("0-3,8\n", "0-3,8");
	same("0,1,2,5,7-8", "0-2,5,7-8");
	same("1023", "1023");
	same("\n", "");
}

Test(sysinfo_cpus, bad_lists)
{
	cpu_set_t set;

	cr_assert_eq(cpus_parse("3-1", &set), -EINVAL);
	cr_assert_eq(cpus_parse("x", &set), -EINVAL);
	cr_assert_eq(cpus_parse("1-", &set), -EINVAL);
	cr_assert_eq(cpus_parse("1024", &set), -EINVAL);
	cr_assert_eq(cpus_parse("1 2", &set), -EINVAL);
}

Test(sysinfo_cpus, first_of_what_is_usable)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t usable = set_of("4-7,12"), few;

	cpus_first(&usable, 2, &few);
	cpus_format(&few, &b);
	cr_assert_str_eq(b.data, "4-5");
	cpus_first(&usable, 99, &few);
	cr_assert_eq(CPU_COUNT(&few), 5);
}

Test(sysinfo_cpuinfo, keeps_shown_and_common_blocks)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t set = set_of("1");

	cpus_filter_info("processor\t: 0\nx\t: a\n\nprocessor\t: 1\nx\t: b\n\nHardware\t: board\n", &set, &b);
	cr_assert_str_eq(b.data, "processor\t: 1\nx\t: b\n\nHardware\t: board\n");
}

static const char stat[] = "cpu  11 22 33 0 0 0 0 0 0 0\ncpu0 1 2 3 0 0 0 0 0 0 0\ncpu1 10 20 30 0 0 0 0 0 0 0\n"
                           "intr 99 1 2 3\nctxt 5\nbtime 7\nsoftirq 4 1 1 2\n";

Test(sysinfo_stat, sums_the_cpus_shown)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t set = set_of("1");

	cpus_filter_stat(stat, &set, true, 123, &b);
	cr_assert_str_eq(b.data, "cpu  10 20 30 0 0 0 0 0 0 0\ncpu1 10 20 30 0 0 0 0 0 0 0\nintr 99\nctxt 5\nbtime 123\n"
	                         "softirq 4\n");
}

Test(sysinfo_stat, all_cpus_keep_the_hosts_sum)
{
	bv_autostrbuf struct strbuf b = {0};
	cpu_set_t set = set_of("0-1");

	cpus_filter_stat(stat, &set, false, 123, &b);
	cr_assert_eq(strncmp(b.data, "cpu  11 22 33 0 0 0 0 0 0 0\ncpu0 1 2", 35), 0);
}

Test(sysinfo_memory, scales_what_is_memory)
{
	bv_autostrbuf struct strbuf b = {0};

	meminfo_scale("MemTotal:        1000 kB\nMemFree:          500 kB\nSwapTotal:        100 kB\nHugePages_Total:       3\n"
	              "VmallocTotal:   9999 kB\n",
	              UINT64_C(100) * 1024, &b);
	cr_assert_str_eq(b.data,
	                 "MemTotal:         100 kB\nMemFree:           50 kB\nSwapTotal:          0 kB\nHugePages_Total:       3\n"
	                 "VmallocTotal:   9999 kB\n");
	cr_assert_eq(machine_scale(10, 100, 0), 10);
	cr_assert_eq(machine_scale(10, 100, 1000), 10);
	cr_assert_eq(machine_scale(UINT64_MAX, UINT64_MAX, UINT64_C(1) << 40), UINT64_C(1) << 40);
}

Test(sysinfo_sysctl, names_stay_below_proc_sys)
{
	cr_assert(sysctl_name_ok("net/ipv4/tcp_mem"));
	cr_assert_not(sysctl_name_ok("/kernel/x"));
	cr_assert_not(sysctl_name_ok("kernel/../x"));
	cr_assert_not(sysctl_name_ok("kernel/./x"));
	cr_assert_not(sysctl_name_ok("kernel/"));
	cr_assert_not(sysctl_name_ok("a//b"));
}

static void renamed(const char *text, const char *want)
{
	bv_autostrbuf struct strbuf b = {0};

	hosts_rename(text, "vm", "bvisor", &b);
	cr_assert_str_eq(b.data ? b.data : "", want);
}

Test(sysinfo_names, hosts)
{
	renamed("127.0.0.1 localhost\n127.0.1.1\tvm.example.org vm\n", "127.0.0.1 localhost\n127.0.1.1\tbvisor bvisor\n");
	renamed("127.0.0.1 localhost VM # vm\n", "127.0.0.1 localhost bvisor # vm\n");
	renamed("::1 localhost\n", "::1 localhost\n127.0.1.1\tbvisor\n");
	renamed("vm 1.2.3.4\n10.0.0.1 vmx xvm vm-2", "vm 1.2.3.4\n10.0.0.1 vmx xvm vm-2\n127.0.1.1\tbvisor\n");
	renamed("# 1.1.1.1 vm\n\n", "# 1.1.1.1 vm\n\n127.0.1.1\tbvisor\n");
	renamed("", "127.0.1.1\tbvisor\n");
}

Test(sysinfo_names, machine_ids)
{
	char a[MACHINE_ID], b[MACHINE_ID];

	machine_id("bvisor", a);
	machine_id("bvisor", b);
	cr_assert_str_eq(a, b);
	cr_assert_eq(strspn(a, "0123456789abcdef"), 32);
	machine_id("other", b);
	cr_assert_str_neq(a, b);
}
