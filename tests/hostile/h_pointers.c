/* SPDX-License-Identifier: Apache-2.0 */
/* Every system call number with unmapped, page-straddling, kernel and other useless arguments. */
/* limit: 120 */
#include "h.h"

#define LAST 480

static bool skipped(long nr)
{
	static const long skip[] = {
		SYS_exit, SYS_exit_group, SYS_rt_sigreturn, SYS_clone, SYS_clone3, SYS_restart_syscall,
#ifdef SYS_fork
		SYS_fork, SYS_vfork, SYS_pause, SYS_alarm,
#endif
		SYS_kill, /* of pid 0 or -1: the test itself */
		SYS_setsid, SYS_setitimer, SYS_munmap, SYS_mremap, SYS_brk, SYS_rt_sigprocmask, SYS_rt_sigaction,
		SYS_seccomp, SYS_prctl, /* may only take rights away, from the child that tests */
		SYS_sync, SYS_syncfs,   /* slow on a real machine */
	};

	for (size_t i = 0; i < sizeof(skip) / sizeof(skip[0]); i++)
		if (skip[i] == nr)
			return true;
	return false;
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	long page = sysconf(_SC_PAGESIZE);
	char *two = mmap(NULL, (size_t)page * 2, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), b[PATH_MAX];
	int died = 0;

	MUST(two != MAP_FAILED && mprotect(two + page, (size_t)page, PROT_NONE) == 0 && !h.control);
	memset(two, 'A', (size_t)page);
	{
		const unsigned long pattern[] = { 0x10, (unsigned long)(two + page - 3), (unsigned long)(two + page), ~0ul,
			                          0xffffffff81000000ul, 0x7ffffffff000ul, 0x8000000000000000ul };
		int np = sizeof(pattern) / sizeof(pattern[0]);

		for (int k = 0; k < np; k++) {
			long nr = 0;

			/* One child goes through the numbers; when one kills or blocks it the next goes on after that. */
			while (nr < LAST) {
				atomic_long *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
				unsigned long p = pattern[k];
				int st;
				pid_t pid;

				MUST(at != MAP_FAILED);
				*at = nr;
				pid = fork();
				if (pid == 0) {
					int null = open("/dev/null", O_RDWR);

					for (int i = 0; i < 3; i++)
						dup2(null, i);
					for (; nr < LAST; nr++) {
						*at = nr;
						if (skipped(nr))
							continue;
						ualarm(100000, 0); /* what blocks is one of them */
						/* A descriptor or directory where one belongs, so that the pointer is reached. */
						syscall(nr, p, p, p, p, p, p);
						syscall(nr, AT_FDCWD, p, p, p, p, p);
						syscall(nr, 0, p, p, p, 0, 0);
						syscall(nr, p, 0, 0, 0, 0, 0);
					}
					_exit(0);
				}
				MUST(waitpid(pid, &st, 0) == pid);
				nr = *at + 1;
				if (WIFEXITED(st) && WEXITSTATUS(st) == 0)
					nr = LAST;
				else
					died++;
				munmap(at, 4096);
			}
		}
	}
	/* The supervisor is alive and answers as before. */
	if (access(h_fmt(b, "%s/a.txt", h.host), R_OK) < 0)
		breach("after useless arguments access says %s", strerror(errno));
	if (access("/bin/sh", X_OK) < 0 || system("exit 7") >> 8 != 7)
		breach("after useless arguments no command runs");
	printf("children lost on the way: %d\n", died);
	return h_end();
}
