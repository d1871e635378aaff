/* SPDX-License-Identifier: Apache-2.0 */
/* Readers blocked on pipes and FIFOs must not keep the writer's calls from being answered. */
#include "h.h"
#include <pthread.h>

static void *fifo_reader(void *arg)
{
	char b[8];
	int fd = open(arg, O_RDONLY);
	ssize_t n = fd >= 0 ? read(fd, b, sizeof(b)) : -1;

	close(fd);
	return (void *)(intptr_t)n;
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	char f[2][PATH_MAX], b[PATH_MAX], c;
	struct stat st;

	h_time_limit(60);
	for (int i = 0; i < 2; i++)
		MUST(mkfifo(h_fmt(f[i], "%s/pipe%d", h.host, i), 0644) == 0);
	h_fmt(b, "%s/dir/x", h.host);
	for (int round = 0; round < h.rounds / 100; round++) {
		int p[2][2], out;
		pthread_t t[2];
		void *r[2];
		pid_t pid[2];

		for (int i = 0; i < 2; i++) {
			MUST(pipe(p[i]) == 0);
			pid[i] = fork();
			if (pid[i] == 0) {
				close(p[i][1]);
				if (i)
					close(p[0][1]);
				_exit(read(p[i][0], &c, 1) == 1 ? 0 : 1);
			}
			close(p[i][0]);
			MUST(pthread_create(&t[i], NULL, fifo_reader, f[i]) == 0);
		}
		/* All four are blocked; now work, then let them go in the other order. */
		for (int k = 0; k < 20; k++)
			MUST(stat(b, &st) == 0);
		for (int i = 1; i >= 0; i--) {
			out = open(f[i], O_WRONLY);
			MUST(out >= 0 && write(out, "x", 1) == 1);
			close(out);
			MUST(write(p[i][1], "x", 1) == 1);
		}
		for (int i = 0; i < 2; i++) {
			int status;

			close(p[i][1]);
			pthread_join(t[i], &r[i]);
			MUST(waitpid(pid[i], &status, 0) == pid[i]);
			if ((intptr_t)r[i] != 1 || status)
				breach("reader %d got nothing in round %d", i, round);
		}
	}
	return h_end();
}
