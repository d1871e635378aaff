/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of modules/procns: parsing and rewriting of the kernel's texts. */
#include <criterion/criterion.h>
#include <errno.h>

#include "procns.h"

Test(procns_number, only_canonical_decimals)
{
	cr_assert_eq(pid_number("1", 1), 1);
	cr_assert_eq(pid_number("2147483647", 10), INT32_MAX);
	cr_assert_eq(pid_number("2147483648", 10), -1);
	cr_assert_eq(pid_number("0", 1), -1);
	cr_assert_eq(pid_number("01", 2), -1);
	cr_assert_eq(pid_number("", 0), -1);
	cr_assert_eq(pid_number("+1", 2), -1);
	cr_assert_eq(pid_number("1a", 2), -1);
	cr_assert_eq(pid_number("99999999999", 11), -1);
}

Test(procns_path, splits_process_thread_and_name)
{
	struct proc_path p;

	cr_assert(proc_path_parse("12", &p));
	cr_assert_eq(p.pid, 12);
	cr_assert_eq(p.tid, 0);
	cr_assert_eq(p.name_len, 0);
	cr_assert(proc_path_parse("12/fd/3", &p));
	cr_assert_eq(strncmp(p.name, "fd", p.name_len), 0);
	cr_assert_str_eq(p.rest, "3");
	cr_assert(proc_path_parse("12/task", &p));
	cr_assert_eq(p.tid, 0);
	cr_assert_eq(p.name_len, 4);
	cr_assert(proc_path_parse("12/task/13/net/tcp", &p));
	cr_assert_eq(p.tid, 13);
	cr_assert_eq(p.name_len, 3);
	cr_assert_str_eq(p.rest, "tcp");
	cr_assert_not(proc_path_parse("12/task/x/stat", &p));
	cr_assert_not(proc_path_parse("012/stat", &p));
	cr_assert_not(proc_path_parse("self", &p));
	cr_assert_not(proc_path_parse("", &p));
}

Test(procns_stat, fields_behind_a_hostile_comm)
{
	struct pid_stat s;
	const char *line = "7 (a) R 1 (x) y) S 42 7 7 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 1 0 98765 0\n";

	cr_assert_eq(pid_stat_parse(line, &s), 0);
	cr_assert_eq(s.ppid, 42);
	cr_assert_eq(s.ppid_end - s.ppid_at, 2);
	cr_assert_eq(s.start, 98765);
	cr_assert_eq(strncmp(s.start_at, "98765 0\n", 8), 0);
	cr_assert_eq(pid_stat_parse("7 (short) S 1 2\n", &s), -EINVAL);
	cr_assert_eq(pid_stat_parse("nothing", &s), -EINVAL);
}

static const char status[] =
	"Name:\tx\nTgid:\t12\nPPid:\t7\nTracerPid:\t0\nUid:\t1\t2\t3\t4\nGid:\t5\t6\t7\t8\n"
	"SigBlk:\t0000000000010000\nSigIgn:\t0000000000001000\nSigCgt:\t8000000000000002\n"
	"CapPrm:\t00000000000000ff\n";

Test(procns_status, owner_and_capabilities)
{
	struct pid_status s;

	cr_assert_eq(pid_status_parse(status, &s), 0);
	cr_assert_eq(s.tgid, 12);
	cr_assert_eq(s.uid, 1);
	cr_assert_eq(s.euid, 2);
	cr_assert_eq(s.suid, 3);
	cr_assert_eq(s.egid, 6);
	cr_assert_eq(s.cap_permitted, 0xff);
	cr_assert_eq(s.ppid, 7);
	cr_assert_eq(s.tracer, 0);
	cr_assert_eq(s.blocked, 0x10000);
	cr_assert_eq(s.ignored, 0x1000);
	cr_assert_eq(s.caught, UINT64_C(0x8000000000000002));
	cr_assert_eq(pid_status_parse("Tgid:\t12\n", &s), -EINVAL);
}

/* A name may hold a line break only escaped, but a comm is the guest's choice: "Name:\tx\\nUid:". */
Test(procns_status, keys_count_at_the_start_of_a_line_only)
{
	struct pid_status s;

	cr_assert_eq(pid_status_parse("Name:\tUid:\t9\t9\t9\nTgid:\t1\nPPid:\t1\nTracerPid:"
	                              "\t0\nUid:\t1\t1\t1\nGid:\t1\t1\t1\n"
	                              "SigBlk:\t0\nSigIgn:\t0\nSigCgt:\t0\nCapPrm:\t0\n",
	                              &s),
	             0);
	cr_assert_eq(s.uid, 1);
}

Test(procns_inspect, rules_of_ptrace_access)
{
	struct pid_status whom = {.uid = 10, .euid = 10, .suid = 10, .gid = 20, .egid = 20, .sgid = 20};
	struct bv_creds who = {.fsuid = 10, .fsgid = 20};

	cr_assert(pid_may_inspect_as(&who, &whom));
	whom.suid = 0;
	cr_assert_not(pid_may_inspect_as(&who, &whom));
	who.cap_effective = UINT64_C(1) << 19;
	cr_assert(pid_may_inspect_as(&who, &whom));
	who.cap_effective = 0;
	whom.suid = 10;
	whom.egid = 0;
	cr_assert_not(pid_may_inspect_as(&who, &whom));
	whom.egid = 20;
	whom.cap_permitted = 2;
	cr_assert_not(pid_may_inspect_as(&who, &whom));
	who.cap_effective = 3;
	cr_assert(pid_may_inspect_as(&who, &whom));
}

static ssize_t shown(void *arg, const char *host, char *out, size_t size)
{
	const char *upper = arg;
	size_t len = strlen(upper);

	if (strncmp(host, upper, len) == 0)
		return snprintf(out, size, "%s", host + len);
	if (strncmp(host, "/hidden", 7) == 0)
		return -ENOENT;
	return snprintf(out, size, "%s", host);
}

static void check(void (*fn)(const char *, maps_shown_fn *, void *, struct strbuf *), const char *text, const char *want)
{
	bv_autostrbuf struct strbuf b = {0};

	fn(text, shown, "/up", &b);
	cr_assert_str_eq(b.data, want);
}

Test(procns_maps, paths_become_virtual)
{
	check(maps_rewrite, "1-2 r--p 0 fe:00 5    /up/bin/x\n3-4 rw-p 0 00:00 0 \n5-6 rw-p 0 00:00 0   [heap]\n",
	      "1-2 r--p 0 fe:00 5    /bin/x\n3-4 rw-p 0 00:00 0 \n5-6 rw-p 0 00:00 0   [heap]\n");
	check(maps_rewrite, "1-2 r--p 0 fe:00 5 /up/a b\\012c (deleted)\n", "1-2 r--p 0 fe:00 5 /a b\\012c (deleted)\n");
	check(maps_rewrite, "1-2 r--p 0 fe:00 5 /hidden/secret/lib.so\n", "1-2 r--p 0 fe:00 5 /lib.so\n");
	check(maps_rewrite, "1-2 r--p 0 00:01 5 /memfd:up/x (deleted)\n", "1-2 r--p 0 00:01 5 /memfd:up/x (deleted)\n");
	check(maps_rewrite, "1-2 r--p 0 00:01 5 /up/literal\\101\n", "1-2 r--p 0 00:01 5 /literal\\101\n");
	check(maps_rewrite, "1-2 r--p 0 fe:00 5 /up/x\nRss:    4 kB\nVmFlags: rd /up/no\n",
	      "1-2 r--p 0 fe:00 5 /x\nRss:    4 kB\nVmFlags: rd /up/no\n");
	check(maps_rewrite, "no newline at the end /up/x", "no newline at the end /x");
}

Test(procns_maps, numa_maps_and_unix)
{
	check(maps_rewrite_numa, "1000 default file=/up/a\\040b mapped=3 N0=3\n2000 default heap anon=1\n",
	      "1000 default file=/a\\040b mapped=3 N0=3\n2000 default heap anon=1\n");
	check(maps_rewrite_unix,
	      "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 1 1 77 /up/run/s\n0: 2 0 0 1 1 78\n0: 2 0 0 1 1 9 @abc\n",
	      "Num RefCount Protocol Flags Type St Inode Path\n0: 2 0 0 1 1 77 /run/s\n0: 2 0 0 1 1 78\n0: 2 0 0 1 1 9 @abc\n");
}

Test(procns_net, only_own_rows)
{
	bv_autostrbuf struct strbuf b = {0};
	struct inode_set own = {0};

	for (uint64_t i = 300; i > 0; i--)
		inode_set_add(&own, i * 7);
	inode_set_sort(&own);
	cr_assert(inode_set_has(&own, 7));
	cr_assert(inode_set_has(&own, 2100));
	cr_assert_not(inode_set_has(&own, 8));
	net_filter("  sl  local rem st q t r u to inode\n   0: a b c d e f 0 0 7 1 x\n   1: a b c d e f 0 0 8 1 x\n   2: a b\n",
	           9, &own, &b);
	cr_assert_str_eq(b.data, "  sl  local rem st q t r u to inode\n   0: a b c d e f 0 0 7 1 x\n");
	inode_set_fini(&own);
	cr_assert_not(inode_set_has(&own, 7));
}
