/* SPDX-License-Identifier: Apache-2.0 */
/* Letting go of standard input and output. */
#include <fcntl.h>
#include <unistd.h>

#include "cli.h"

void cli_release_stdio(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0)
		return;
	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	if (null > STDERR_FILENO)
		close(null);
}
