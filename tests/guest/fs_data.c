/* SPDX-License-Identifier: Apache-2.0 */
/* What files hold: truncate, mappings, appending by many, holes, umask, statfs, locks. */
#include "t.h"
#include <sys/file.h>
#include <sys/sendfile.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

static void truncates(void)
{
	struct stat st;
	int fd = open("dir/x", O_RDWR), ro = open("dir/x", O_RDONLY);

	T(truncate("a.txt", 3));
	t_cat("a.txt");
	T(truncate("a.txt", 10));
	t_cat("a.txt");
	T(truncate("link_a", 1));
	t_cat("a.txt");
	T(truncate("big.bin", 5000));
	T(stat("big.bin", &st));
	t_stat("big.bin", &st);
	T(truncate("missing", 0));
	T(truncate("dir", 0));
	T(truncate("fifo", 0));
	T(truncate("a.txt/x", 0));
	T(truncate("", 0));
	T(truncate("a.txt", -1));
	T(truncate("loop1", 0));
	T(syscall(SYS_truncate, t_bad, 0));
	T(ftruncate(fd, 1));
	T(ftruncate(ro, 1));
	T(ftruncate(-1, 1));
	T(fstat(ro, &st));
	t_stat("dir/x", &st);
	close(fd);
	close(ro);
}

static void holes(void)
{
	struct stat st;
	char b[4] = "end";
	int fd = open("sparse", O_RDWR);

	T(lseek(fd, 0, SEEK_DATA));
	T(pwrite(fd, b, 3, 4 << 20));
	T(fstat(fd, &st));
	SAY("  still sparse %d\n", st.st_blocks * 512 < (2 << 20));
	T(lseek(fd, 0, SEEK_DATA));
	T(lseek(fd, 4 << 20, SEEK_HOLE));
	T(posix_fallocate(fd, 0, 4096));
	T(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096));
	close(fd);
}

static void maps(void)
{
	int fd = open("big.bin", O_RDWR), ro, tmp;
	char *m, *p, *r;

	/* big.bin is 5,000 bytes now and was copied up. */
	m = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	MUST(m != MAP_FAILED);
	p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	MUST(p != MAP_FAILED);
	ro = open("big.bin", O_RDONLY);
	r = mmap(NULL, 4096, PROT_READ, MAP_SHARED, ro, 0);
	MUST(r != MAP_FAILED);
	memcpy(m, "mapped", 6);
	SAY("  other mapping sees %.6s\n", r);
	memcpy(p, "hidden", 6);
	SAY("  private write unseen: %.6s\n", r);
	T(pwrite(fd, "WRITTEN", 7, 100));
	SAY("  mapping sees %.7s\n", m + 100);
	T(msync(m, 8192, MS_SYNC));
	if (fork() == 0) {
		memcpy(m + 200, "child", 5);
		_exit(0);
	}
	wait(NULL);
	SAY("  parent sees %.5s\n", m + 200);
	T(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, ro, 0) == MAP_FAILED ? errno : 0);
	close(fd);
	close(ro);
	munmap(m, 8192);
	munmap(p, 4096);
	munmap(r, 4096);
	/* A mapping made before the file is written for the first time. */
	fd = open("b.txt", O_RDONLY);
	r = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	MUST(r != MAP_FAILED);
	SAY("  before %.4s\n", r);
	tmp = open("b.txt", O_WRONLY | O_APPEND);
	T(write(tmp, "x", 1));
	SAY("  after %.4s\n", r);
	close(tmp);
	close(fd);
	munmap(r, 4096);
	t_cat("b.txt");
}

static void appends(void)
{
	int n = 0, bad = 0, seen[4] = { 0 };
	char line[32];
	FILE *f;

	/* Four processes, 250 lines each, one log: none lost, none torn. */
	for (int k = 0; k < 4; k++) {
		if (fork() == 0) {
			int fd = open(k % 2 ? "log" : "full/../log", O_WRONLY | O_CREAT | O_APPEND, 0644);

			for (int i = 0; i < 250; i++) {
				int len = snprintf(line, sizeof(line), "%d:%03d\n", k, i);

				if (write(fd, line, (size_t)len) != len)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int k = 0; k < 4; k++)
		t_wait(-1);
	f = fopen("log", "r");
	MUST(f);
	while (fgets(line, sizeof(line), f)) {
		int k, i;

		n++;
		if (sscanf(line, "%d:%d", &k, &i) != 2 || k < 0 || k > 3 || strlen(line) != 6 || i != seen[k]++)
			bad++;
	}
	fclose(f);
	unlink("log");
	SAY("lines %d, torn or out of order %d\n", n, bad);
	/* The same on a file that all open before the first writes to it. */
	if (fork() == 0) {
		int fd1 = open("ro.txt", O_RDONLY), fd2 = open("ro.txt", O_WRONLY | O_APPEND);

		T(write(fd2, "tail\n", 5));
		t_cat("ro.txt");
		close(fd1);
		close(fd2);
		_exit(0);
	}
	wait(NULL);
}

static void masks(void)
{
	struct stat st;
	static const mode_t mask[] = { 0, 022, 077, 0777, 0111 };

	for (size_t i = 0; i < sizeof(mask) / sizeof(mask[0]); i++) {
		T(umask(mask[i]));
		TOPEN(open("u", O_WRONLY | O_CREAT, 0777));
		T(stat("u", &st));
		t_stat("u", &st);
		T(mkdir("ud", 0777));
		T(stat("ud", &st));
		t_stat("ud", &st);
		T(mkfifo("up", 0777));
		T(stat("up", &st));
		t_stat("up", &st);
		T(unlink("u"));
		T(rmdir("ud"));
		T(unlink("up"));
	}
	T(umask(022));
	T(umask(01777));
	T(umask(022));
	if (fork() == 0) {
		T(umask(0));
		_exit(0);
	}
	wait(NULL);
	T(umask(022));
}

static void file_systems(void)
{
	struct statfs a, b;
	struct statvfs v;
	int fd = open("a.txt", O_RDONLY);

	T(statfs(".", &a));
	T(fstatfs(fd, &b));
	SAY("  block size same %d, some blocks %d, name length %ld\n", a.f_bsize == b.f_bsize, a.f_blocks > 0, (long)a.f_namelen);
	T(statfs("missing", &a));
	T(statfs("dangling", &a));
	T(statfs("link_dir", &a));
	T(statfs("a.txt/x", &a));
	T(statfs("", &a));
	T(fstatfs(-1, &a));
	T(syscall(SYS_statfs, "a.txt", t_bad));
	T(syscall(SYS_statfs, t_bad, &a));
	T(statvfs("/", &v));
	T(statfs("/proc", &a));
	SAY("  proc %#lx\n", (unsigned long)a.f_type);
	close(fd);
}

static void locks(void)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	int a = open("lock", O_RDWR | O_CREAT, 0600), b = open("lock", O_RDWR), lower = open("dir/y", O_RDWR);

	T(flock(a, LOCK_EX | LOCK_NB));
	T(flock(b, LOCK_EX | LOCK_NB));
	T(flock(a, LOCK_UN));
	T(flock(b, LOCK_EX | LOCK_NB));
	T(fcntl(lower, F_SETLK, &l));
	if (fork() == 0) {
		int again = open("dir/y", O_RDWR);

		T(fcntl(again, F_SETLK, &l));
		_exit(0);
	}
	wait(NULL);
	close(a);
	close(b);
	close(lower);
	T(unlink("lock"));
}

static void copies(void)
{
	int in = open("script.sh", O_RDONLY), out = open("copy", O_RDWR | O_CREAT, 0644), p[2];
	struct iovec v[2] = { { (void *)"one ", 4 }, { (void *)"two\n", 4 } };

	T(sendfile(out, in, NULL, 1000));
	T(copy_file_range(in, &(off_t){ 0 }, out, NULL, 1000, 0));
	T(writev(out, v, 2));
	T(fsync(out));
	T(fdatasync(out));
	T(posix_fadvise(in, 0, 0, POSIX_FADV_WILLNEED));
	MUST(pipe(p) == 0);
	T(splice(in, &(off_t){ 0 }, p[1], NULL, 100, 0));
	T(tee(p[0], p[0], 1, 0));
	close(in);
	close(out);
	close(p[0]);
	close(p[1]);
	t_cat("copy");
}

int main(void)
{
	umask(022);
	truncates();
	holes();
	maps();
	appends();
	masks();
	file_systems();
	locks();
	copies();
	return 0;
}
