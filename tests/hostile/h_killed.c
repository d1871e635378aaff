/* SPDX-License-Identifier: Apache-2.0 */
/* Children SIGKILLed in the middle of every kind of trapped call; the rest goes on whole. */
/* limit: 120 */
#include "h.h"

static void work(const struct hostile *h, int kind)
{
	char a[PATH_MAX], b[PATH_MAX];
	struct stat st;

	for (int i = 0;; i++) {
		int fd;

		switch (kind) {
		case 0: /* path calls */
			stat(h_fmt(a, "%s/dir/sub/f", h->host), &st);
			close(open(a, O_RDONLY));
			break;
		case 1: /* copy-up of a megabyte, again and again */
			h_fmt(a, "%s/big.bin", h->host);
			h_fmt(b, "%s/big.new", h->host);
			fd = open(a, O_RDWR);
			(void)!pwrite(fd, "x", 1, 0);
			close(fd);
			link(a, b);
			unlink(b);
			break;
		case 2: /* renames */
			h_fmt(a, "%s/dir/x", h->host);
			h_fmt(b, "%s/other/y", h->host);
			rename(a, b);
			rename(b, a);
			break;
		case 3: /* blocked in an open */
			close(open(h_fmt(a, "%s/fifo", h->host), i % 2 ? O_RDONLY : O_WRONLY));
			break;
		case 4: /* exec, by redirect as well */
			if (fork() == 0) {
				execl("/bin/sh", "sh", "-c", "cp /bin/true ./t.$$; ./t.$$; rm ./t.$$", NULL);
				_exit(1);
			}
			wait(NULL);
			break;
		case 5: /* directories */
			mkdir(h_fmt(a, "%s/emptydir/%d", h->host, getpid()), 0755);
			rmdir(a);
			chdir(h->host);
			break;
		default: /* listings */
			{
				DIR *d = opendir(h_fmt(a, "%s/full", h->host));

				while (d && readdir(d))
					;
				if (d)
					closedir(d);
			}
		}
	}
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char a[PATH_MAX], b[PATH_MAX];
	uint32_t seed = 12345u + (uint32_t)h.rounds;
	struct stat st;
	int fd, n = 0;
	DIR *d;

	MUST(chdir("/tmp") == 0);
	h_time_limit(110);
	for (int i = 0; i < h.rounds / 30; i++) {
		pid_t pid = fork();
		int status;

		if (pid == 0) {
			setpgid(0, 0);
			work(&h, i % 7);
		}
		usleep(h_random(&seed) % 4000);
		kill(-pid, SIGKILL);
		kill(pid, SIGKILL);
		if (waitpid(pid, &status, 0) != pid || !WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
			breach("round %d: the child ended with %#x", i, status);
		if (stat(h_fmt(a, "%s/a.txt", h.host), &st) < 0 || st.st_size != 6)
			breach("round %d: stat does not work any more: %s", i, strerror(errno));
	}
	/* The file is there once, whole; the directory lists what it should. */
	fd = open(h_fmt(a, "%s/big.bin", h.host), O_RDONLY);
	if (fstat(fd, &st) < 0 || st.st_size != 1 << 20)
		breach("big.bin is torn: %lld bytes", (long long)st.st_size);
	n = access(h_fmt(a, "%s/dir/x", h.host), F_OK) == 0;
	n += access(h_fmt(b, "%s/other/y", h.host), F_OK) == 0;
	if (n != 1)
		breach("after killed renames the file is there %d times", n);
	n = 0;
	d = opendir(h_fmt(a, "%s/full", h.host));
	while (d && readdir(d))
		n++;
	if (n != 202)
		breach("the listing has %d entries instead of 202", n);
	return h_end();
}
