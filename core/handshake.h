/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_HANDSHAKE_H
#define CORE_HANDSHAKE_H
/*
 * The two steps after handshake_check (bvisor.h), which only looks at the descriptor's own bytes:
 * its tables, and before all the file it comes in.
 */
#include "bvisor.h"

/*
 * Replaces the descriptor's tables by checked copies with our own strides, so that everybody may
 * index them plainly.  Follows the module's pointers, which are trusted from here on.
 */
int handshake_tables(struct bv_module *desc, const char *file, struct bv_error *err);
void handshake_tables_free(struct bv_module *desc);

/*
 * Refuses a file that is no ELF object of ours or that would run code before the handshake:
 * preinit functions, or more init functions than the compiler's own (one, frame_dummy).
 */
int elf_check(int fd, const char *file, struct bv_error *err);

#endif
