/* SPDX-License-Identifier: Apache-2.0 */
/* Pointers at the edge: strings and structures that end at, or cross, an unmapped page. */
#include "t.h"
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/xattr.h>

static char *edge; /* the first byte that is not mapped */

/* A string whose NUL is the last mapped byte. */
static const char *at_edge(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(edge - n, s, n);
}

/* A string whose NUL would be the first unmapped byte. */
static const char *over_edge(const char *s)
{
	size_t n = strlen(s);

	return memcpy(edge - n, s, n);
}

int main(void)
{
	long page = sysconf(_SC_PAGESIZE);
	char *two = mmap(NULL, (size_t)page * 4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *ro;
	char big[PATH_MAX + 1], name[] = "user.edge";
	struct stat st;
	int fd = open("dir", O_RDONLY);

	umask(022);
	MUST(two != MAP_FAILED && munmap(two + page * 2, (size_t)page * 2) == 0);
	edge = two + page * 2;
	ro = mmap(NULL, (size_t)page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	MUST(ro != MAP_FAILED);

	TOPEN(open(at_edge("a.txt"), O_RDONLY));
	TOPEN(open(over_edge("a.txt"), O_RDONLY));
	T(stat(at_edge("dir/sub/f"), &st));
	T(stat(over_edge("dir/sub/f"), &st));
	T(mkdir(over_edge("notmade"), 0755));
	T(access("notmade", F_OK));
	T(unlink(over_edge("a.txt")));
	T(access("a.txt", F_OK));
	T(rename(at_edge("a.txt"), "renamed"));
	T(rename("renamed", over_edge("a.txt")));
	T(access("renamed", F_OK));
	T(rename("renamed", at_edge("a.txt")));
	T(readlink(over_edge("link_a"), big, 10));
	T(symlink("x", over_edge("y")));
	T(chdir(over_edge("dir")));
	T(truncate(over_edge("a.txt"), 0));
	T(setxattr("a.txt", over_edge(name), "v", 1, 0));

	/* A path across the page border. */
	memcpy(two + page - 6, "dir/sub/deep/leaf", 18);
	TOPEN(open(two + page - 6, O_RDONLY));
	memset(two, '/', (size_t)page * 2);
	memcpy(edge - 6, "usr/..", 6);
	edge[-1] = '\0';
	T(stat(edge - 4000, &st));
	memset(edge - 5000, 'n', 5000);
	T(stat(edge - 5000, &st)); /* too long before it ends: ENAMETOOLONG, not EFAULT */
	T(stat(edge - 4096, &st));
	T(stat(edge - 4095, &st)); /* ends nowhere within PATH_MAX */
	T(stat(edge - 300, &st));

	/* Results into the edge, into read-only memory, into the middle of nothing. */
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", edge - sizeof(st), 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", edge - sizeof(st) + 1, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", ro, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", 0xffffffffffffff00ul, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, "a.txt", 0x7fffffffffffff00ul, 0));
	T(syscall(SYS_newfstatat, AT_FDCWD, "missing", t_bad, 0)); /* which errno first */
	T(syscall(SYS_readlinkat, AT_FDCWD, "link_a", edge - 5, 100)); /* it fits: 5 bytes are written */
	T(syscall(SYS_readlinkat, AT_FDCWD, "link_a", edge - 4, 100));
	T(syscall(SYS_readlinkat, AT_FDCWD, "link_a", ro, 100));
	T(syscall(SYS_getcwd, edge - 2, 4096));
	T(syscall(SYS_getcwd, ro, 4096));
	T(syscall(SYS_statx, AT_FDCWD, "a.txt", 0, 0x7ff, edge - 256));
	T(syscall(SYS_statx, AT_FDCWD, "a.txt", 0, 0x7ff, edge - 255));
	T(syscall(SYS_statfs, ".", edge - sizeof(struct statfs)));
	T(syscall(SYS_statfs, ".", edge - sizeof(struct statfs) + 8));
	T(syscall(SYS_getdents64, fd, edge - 16, 4096));
	T(lseek(fd, 0, SEEK_SET));
	T(syscall(SYS_getdents64, fd, ro, 4096));
	T(syscall(SYS_getxattr, "a.txt", "user.one", edge - 1, 100));
	T(syscall(SYS_getxattr, "a.txt", "user.one", ro, 100));
	T(syscall(SYS_utimensat, AT_FDCWD, "a.txt", edge - 16, 0));
	T(syscall(SYS_utimensat, AT_FDCWD, "a.txt", memset(edge - 32, 0, 32), 0));
	T(syscall(SYS_execve, over_edge("/bin/true"), NULL, NULL));
	T(syscall(SYS_execve, "/bin/true", edge - 4, NULL));
	T(syscall(SYS_execve, "/bin/true", ((char *[]){ edge - 1, edge, NULL }), NULL));
	T(syscall(SYS_uname, edge - 8));
	T(syscall(SYS_uname, ro));
	T(syscall(SYS_sysinfo, edge - 8));
	T(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, edge - 8, NULL));
	T(syscall(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, edge - 8));
	T(syscall(SYS_connect, 0, edge - 4, 16) < 0);
	/* After all that everything still works. */
	T(stat("a.txt", &st));
	t_ls("dir");
	return 0;
}
