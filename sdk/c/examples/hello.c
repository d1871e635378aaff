/* SPDX-License-Identifier: Apache-2.0 */
/* cc hello.c $(pkg-config --cflags --libs bvisor) && ./a.out */
#include <bvisor.h>
#include <stdio.h>
#include <stdlib.h>

int main(void)
{
	struct bvisor_error e;
	struct bvisor *b = bvisor_open(NULL, &e);
	struct bvisor_sandbox *sb = b ? bvisor_create(b, NULL, &e) : NULL;
	const struct bvisor_command hello = {.size = sizeof(hello),
	                                     .shell = "echo 'Hello, world!' | tee greeting"};
	struct bvisor_result r;

	if (!sb || bvisor_run(sb, &hello, &r, &e) < 0) {
		fprintf(stderr, "%s: %s\n", e.code, e.message);
		bvisor_close(b);
		return 1;
	}
	fputs(r.out, stdout);
	bvisor_result_free(&r);
	char *changes = bvisor_diff(sb, NULL, &e);
	fputs(changes ? changes : e.message, stdout);
	free(changes);
	bvisor_close(b);
	return 0;
}
