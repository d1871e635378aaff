/* SPDX-License-Identifier: Apache-2.0 */
/* Daemons that ignore every signal they can and leave their session must not outlive the sandbox. */
#include "h.h"
#include <sys/prctl.h>

/* The runner looks for processes that carry its canary's number in their arguments. */
static void daemonise(int depth, char **argv)
{
	if (fork() != 0)
		return;
	setsid();
	for (int s = 1; s < 32; s++)
		signal(s, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	prctl(PR_SET_PDEATHSIG, 0);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (depth == 2)
		prctl(PR_SET_DUMPABLE, 0);
	if (depth)
		daemonise(depth - 1, argv);
	if (depth == 1)
		raise(SIGSTOP);
	for (;;) {
		if (depth == 3)
			fork() == 0 ? _exit(0) : (void)wait(NULL); /* always a young one */
		else
			sleep(1);
	}
}

int main(int argc, char **argv)
{
	struct hostile h = h_start(argc, argv);

	MUST(!h.control);
	for (int i = 0; i < 5; i++)
		daemonise(i, argv);
	usleep(100000);
	return h_end();
}
