/* SPDX-License-Identifier: Apache-2.0 */
/* exec by a thread that is not the leader, while other threads are inside trapped calls. */
#include "h.h"
#include <pthread.h>

static char path[PATH_MAX], fifo[PATH_MAX], prog[PATH_MAX];

static void *busy(void *arg)
{
	struct stat st;

	for (;;) {
		stat(path, &st);
		close(open(path, O_RDONLY));
	}
	return arg;
}

static void *blocked(void *arg)
{
	close(open(fifo, O_RDONLY));
	return arg;
}

static void *execer(void *arg)
{
	char *const argv[] = { prog, (char *)"done", NULL };

	usleep((useconds_t)(intptr_t)arg);
	execv(prog, argv);
	_exit(99);
}

int main(int argc, char **argv)
{
	struct hostile h;
	ssize_t n;

	if (argc == 2)
		return access("/", F_OK) == 0 ? 42 : 1;
	h = h_start(argc, argv);
	h_fmt(path, "%s/dir/sub/f", h.host);
	h_fmt(fifo, "%s/fifo", h.host);
	n = readlink("/proc/self/exe", prog, sizeof(prog) - 1);
	MUST(n > 0);
	prog[n] = '\0';
	for (int i = 0; i < h.rounds / 100; i++) {
		int st;
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t t;

			h_time_limit(20);
			for (int k = 0; k < 3; k++)
				pthread_create(&t, NULL, k ? busy : blocked, NULL);
			pthread_create(&t, NULL, execer, (void *)(intptr_t)(i % 7 * 150));
			/* The leader is in a trapped call, blocked, or gone, by turns. */
			if (i % 3 == 0)
				busy(NULL);
			if (i % 3 == 1)
				blocked(NULL);
			pthread_exit(NULL);
		}
		MUST(waitpid(pid, &st, 0) == pid);
		if (!WIFEXITED(st) || WEXITSTATUS(st) != 42)
			breach("round %d ended with wait status %#x", i, st);
	}
	return h_end();
}
