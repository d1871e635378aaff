/* SPDX-License-Identifier: Apache-2.0 */
/* control: yes */
/* Calls that change a file by descriptor without needing it writable. */
#include "h.h"
#include <linux/fs.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/time.h>
#include <sys/xattr.h>

static void every_call(int fd)
{
	struct timespec ts[2] = { { 1, 0 }, { 2, 0 } };
	struct timeval tv[2] = { { 1, 0 }, { 2, 0 } };
	struct fsxattr fsx = { .fsx_xflags = FS_XFLAG_NODUMP };
	struct { void *value; uint32_t size, flags; } xa = { (void *)"1", 1, 0 };
	struct { uint64_t xflags; uint32_t v[4]; } fa = { FS_XFLAG_NODUMP, { 0 } };
	char b[64];
	long flags = 0;

	fchmod(fd, 0777);
	(void)!fchown(fd, 4242, 4242);
	futimens(fd, ts);
	futimes(fd, tv);
	fsetxattr(fd, "user.breach", "1", 1, 0);
	fremovexattr(fd, "user.one");
	(void)!fchownat(fd, "", 4242, 4242, AT_EMPTY_PATH);
	utimensat(fd, "", ts, AT_EMPTY_PATH);
	syscall(SYS_utimensat, fd, NULL, ts, 0);
#ifdef SYS_fchmodat2
	syscall(SYS_fchmodat2, fd, "", 0777, AT_EMPTY_PATH);
#else
	syscall(452, fd, "", 0777, AT_EMPTY_PATH);
#endif
	/* setxattrat, removexattrat, file_setattr: newer than many headers, one number everywhere. */
	syscall(463, fd, "", AT_EMPTY_PATH, "user.breach2", &xa, sizeof(xa));
	syscall(466, fd, "", AT_EMPTY_PATH, "user.one");
	syscall(469, fd, "", &fa, sizeof(fa), AT_EMPTY_PATH);
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_NODUMP_FL;
		ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	ioctl(fd, FS_IOC_FSSETXATTR, &fsx);
	ioctl(fd, FS_IOC_SETVERSION, &flags);
	ioctl(fd, _IOW('f', 128, char[8]), b);
	fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
	(void)!ftruncate(fd, 0);
	(void)!write(fd, "BREACH", 6);
	(void)!pwrite(fd, "BREACH", 6, 0);
	snprintf(b, sizeof(b), "/proc/self/fd/%d", fd);
	chmod(b, 0777);
	(void)!chown(b, 4242, 4242);
	utimensat(AT_FDCWD, b, ts, 0);
	setxattr(b, "user.breach3", "1", 1, 0);
	(void)!truncate(b, 0);
}

struct race {
	int fd, mine, host;
	atomic_bool stop;
};

/* One descriptor number that is now ours, now the host's. */
static void *swapper(void *arg)
{
	struct race *r = arg;

	while (!r->stop) {
		dup2(r->mine, r->fd);
		dup2(r->host, r->fd);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	static const char *const name[] = { "a.txt", "dir", "b.txt", "script.sh", "big.bin", "emptydir" };
	char b[PATH_MAX];
	struct race r = { 0 };
	pthread_t t;

	for (size_t i = 0; i < sizeof(name) / sizeof(name[0]); i++) {
		int fd = open(h_fmt(b, "%s/%s", h.host, name[i]), O_RDONLY), two = open(b, O_PATH);

		MUST(fd >= 0 && two >= 0);
		/* O_PATH first: nothing has been copied up yet. */
		every_call(two);
		every_call(dup(fd));
		if (fork() == 0) {
			every_call(fd);
			_exit(0);
		}
		wait(NULL);
		close(fd);
		close(two);
	}
	r.host = open(h_fmt(b, "%s/file", h.ro), O_RDONLY);
	MUST(r.host >= 0);
	every_call(r.host);
	r.mine = open(h_fmt(b, "%s/mine", h.rw), O_RDWR | O_CREAT, 0644);
	r.fd = dup(r.mine);
	MUST(r.mine >= 0 && r.fd >= 0 && pthread_create(&t, NULL, swapper, &r) == 0);
	for (int i = 0; i < h.rounds / 4; i++) {
		fchmod(r.fd, 0600 + (i & 077));
		futimens(r.fd, NULL);
		fsetxattr(r.fd, "user.breach", "1", 1, 0);
		(void)!fchown(r.fd, 1, 1);
	}
	r.stop = true;
	pthread_join(t, NULL);
	return h_end();
}
