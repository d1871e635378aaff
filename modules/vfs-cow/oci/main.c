/* SPDX-License-Identifier: Apache-2.0 */
/* bvisor-oci export NAME | import FILE: the layer's tree is descriptor 3, the image of an export stdout. */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>

#include "oci.h"

#define TREE 3

const char *oci_command = "export";

int oci_fail(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* Names of unknown origin may be in it. */
	for (char *c = text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	fprintf(stderr, "bvisor %s: %s\n", oci_command, text);
	return -1;
}

int main(int argc, char **argv)
{
	if (argc != 3 || fcntl(TREE, F_GETFD) < 0) {
		fputs("bvisor-oci is started by bvisor export and bvisor import\n", stderr);
		return 2;
	}
	/* Names are bytes; libarchive converts what the locale says is text. */
	setlocale(LC_ALL, "C.UTF-8");
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	/* Nobody would wait for the result, or tidy up behind it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (strcmp(argv[1], "export") == 0)
		return oci_export(TREE, stdout, argv[2]) < 0;
	oci_command = "import";
	return oci_import(TREE, argv[2]) < 0;
}
