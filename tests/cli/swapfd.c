/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that wants more than its quota: one thread gives a descriptor's number to a pipe and to a
 * file in turns, and the other writes to it.  Ends when it is killed, or after so many seconds.
 */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define NR 50

static int file, out[2];

static void *swap(void *arg)
{
	for (;;) {
		dup2(file, NR);
		dup2(out[1], NR);
	}
	return arg;
}

static void *drain(void *arg)
{
	static char buf[1 << 16];

	while (read(out[0], buf, sizeof(buf)) > 0)
		continue;
	return arg;
}

int main(int argc, char **argv)
{
	static char data[1 << 16];
	struct iovec vec[2] = {{data, sizeof(data) / 2}, {data, sizeof(data) / 2}};
	pthread_t a, b;

	if (argc < 3 || pipe(out) < 0 || (file = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0600)) < 0)
		return 1;
	memset(data, 'x', sizeof(data));
	dup2(out[1], NR);
	if (pthread_create(&a, NULL, swap, NULL) || pthread_create(&b, NULL, drain, NULL))
		return 1;
	for (time_t end = time(NULL) + atoi(argv[2]); time(NULL) < end;) {
		(void)!write(NR, data, sizeof(data));
		(void)!writev(NR, vec, 2);
	}
	return 0;
}
