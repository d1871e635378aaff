/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Doors to the kernel that a filter can forget: unknown numbers, x32 numbers, the 32-bit entry.
 * Each must be ENOSYS, whatever the number means there.
 */
#include "h.h"

static void want_enosys(long r, const char *what, long nr)
{
	if (r != -1 || errno != ENOSYS)
		breach("%s %ld: %ld %s", what, nr, r, r == -1 ? strerrorname_np(errno) : "");
}

static void unknown(void)
{
	static const long nr[] = { 9999, -1, 500, 1023, 0x3fffffff, 0x7fffffff, (long)0xdeadbeef0000270f };

	for (size_t i = 0; i < sizeof(nr) / sizeof(nr[0]); i++)
		want_enosys(syscall(nr[i], 0, 0, 0, 0, 0, 0), "number", nr[i]);
}

#ifdef __x86_64__
/* x32: bit 30.  Among them read, open, getpid, and the x32-only range from 512 on. */
static void x32(void)
{
	for (long nr = 0; nr < 560; nr++) {
		/* fork, vfork, clone, exits and sigreturns would end or double this process. */
		if (nr == 15 || nr == 56 || nr == 57 || nr == 58 || nr == 60 || nr == 231 || nr == 513)
			continue;
		want_enosys(syscall(nr | 0x40000000, 0, 0, 0, 0, 0, 0), "x32", nr);
	}
}

/* int 0x80: 32-bit numbers.  20 is getpid there, writev here. */
static long int80(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory", "r8", "r9", "r10", "r11");
	if ((int)r < 0 && (int)r > -4096) {
		errno = -(int)r;
		return -1;
	}
	return r;
}

static void on_segv(int sig)
{
	(void)sig;
	_exit(0); /* a kernel without the 32-bit entry: nothing to attack */
}

static void entry32(void)
{
	/* The strings must lie below 4 GiB for this entry. */
	char *low = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	pid_t pid;
	int st;

	MUST(low != MAP_FAILED);
	strcpy(low, "/etc/passwd");
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		signal(SIGSEGV, on_segv);
		want_enosys(int80(20, 0, 0, 0), "int 0x80", 20);           /* getpid */
		want_enosys(int80(5, (long)low, 0, 0), "int 0x80", 5);     /* open */
		want_enosys(int80(295, -100, (long)low, 0), "int 0x80", 295); /* openat */
		want_enosys(int80(26, 0, 0, 0), "int 0x80", 26);           /* ptrace */
		want_enosys(int80(21, (long)low, (long)low, (long)low), "int 0x80", 21); /* mount */
		want_enosys(int80(310, 0x10000000, 0, 0), "int 0x80", 310); /* unshare */
		want_enosys(int80(102, 1, (long)low, 0), "int 0x80", 102); /* socketcall */
		want_enosys(int80(425, 1, (long)low, 0), "int 0x80", 425); /* io_uring_setup */
		_exit(0);
	}
	MUST(waitpid(pid, &st, 0) == pid);
	if (!WIFEXITED(st) || WEXITSTATUS(st) != 0)
		breach("the 32-bit entry: status %#x", st);
}
#else
static void x32(void)
{
}

static void entry32(void)
{
}
#endif

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);

	MUST(!h.control);
	h_time_limit(30);
	unknown();
	x32();
	entry32();
	return h_end();
}
