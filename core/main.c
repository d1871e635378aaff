/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor(1).  Makes sure of the standard descriptors and hands over to the subcommands. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"

/* A closed standard descriptor would go to the next open(2), and a log line into that file. */
static int fill_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", O_RDWR) != fd)
			return -1;
	return 0;
}

int main(int argc, char **argv)
{
	return fill_stdio() < 0 ? EXIT_BVISOR : cli_main(argc, argv);
}
