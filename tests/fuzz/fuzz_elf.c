/* SPDX-License-Identifier: Apache-2.0 */
/* The look at a module's ELF file before the dynamic linker gets it, on any bytes. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bv_error err = {""};
	int fd = memfd_create("fuzz", MFD_CLOEXEC);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	int r = elf_check(fd, "f.so", &err);
	close(fd);
	if (r < 0 ? strncmp(err.text, "f.so: ", 6) != 0 : err.text[0] != '\0')
		abort();
	return 0;
}
