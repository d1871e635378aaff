/* SPDX-License-Identifier: Apache-2.0 */
/* 2,000 processes, many alive at once, each with trapped calls; none may be lost or left. */
/* limit: 120 */
#include "h.h"

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);
	atomic_int *done = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int made = 0, total = 2000;
	char b[PATH_MAX];
	struct stat st;

	MUST(done != MAP_FAILED);
	h_fmt(b, "%s/a.txt", h.host);
	/* Waves of 100 that each fork 4 more; a fifth of them orphaned on purpose. */
	while (made < total) {
		int wave = 0;

		for (int i = 0; i < 100 && made < total; i++) {
			pid_t pid = fork();

			if (pid < 0) {
				MUST(errno == EAGAIN);
				break;
			}
			if (pid == 0) {
				for (int k = 0; k < 4; k++) {
					pid_t p = fork();

					if (p == 0) {
						(*done) += stat(b, &st) == 0;
						_exit(0);
					}
					if (k < 3)
						waitpid(p, NULL, 0);
				}
				(*done) += access(b, R_OK) == 0;
				_exit(0);
			}
			wave++;
			made += 5;
		}
		for (int i = 0; i < wave; i++)
			MUST(wait(NULL) > 0);
	}
	/* The orphans finish by themselves. */
	for (int i = 0; i < 2000 && *done < made; i++)
		usleep(5000);
	if (*done != made)
		breach("of %d processes only %d saw their calls answered", made, *done);
	return h_end();
}
