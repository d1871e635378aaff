/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at a module's dynamic section before the dynamic linker runs it.  ELF constructors are
 * banned: nothing of a module runs before the handshake has accepted it.  What a C compiler links
 * into every shared object (_init, and frame_dummy as the one entry of .init_array) is let
 * through; the check catches the honest mistake, a module is trusted code.
 */
#include <cleanup.h>
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <sanitized.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arch/elf.h"
#include "handshake.h"

#if UINTPTR_MAX > 0xffffffffu
#define NATIVE_CLASS ELFCLASS64
#else
#define NATIVE_CLASS ELFCLASS32
#endif

/* A sanitizer registers each source file by a constructor. */
#define INIT_FUNCTIONS_MAX (BV_SANITIZED ? 1024u : 1u)

static int check_dynamic(const ElfW(Dyn) * dyn, size_t n, const char *file, struct bv_error *err)
{
	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		size_t functions = dyn[i].d_un.d_val / sizeof(void *);
		if (dyn[i].d_tag == DT_PREINIT_ARRAYSZ && functions)
			return error_set(err, ENOEXEC, "%s: has ELF constructors (.preinit_array); use init instead",
					 file);
		if (dyn[i].d_tag == DT_INIT_ARRAYSZ && functions > INIT_FUNCTIONS_MAX)
			return error_set(err, ENOEXEC,
			                 "%s: has ELF constructors (.init_array); use init "
			                 "instead" ARCH_CONSTRUCTOR_HINT,
			                 file);
	}
	return 0;
}

#define PHDRS_MAX 64 /* a shared object has about ten */
#define DYNAMIC_MAX 65536

/* All of it, or -1. */
static int read_at(int fd, void *to, size_t size, uint64_t at)
{
	return at <= INT64_MAX && pread(fd, to, size, (off_t)at) == (ssize_t)size ? 0 : -1;
}

static int check_segment(int fd, const ElfW(Phdr) * ph, const char *file, struct bv_error *err)
{
	size_t size = ph->p_filesz < DYNAMIC_MAX ? (size_t)ph->p_filesz : DYNAMIC_MAX + 1;
	bv_autofree ElfW(Dyn) *dyn = size > DYNAMIC_MAX ? NULL : malloc(size + 1);

	if (size > DYNAMIC_MAX || (dyn && read_at(fd, dyn, size, ph->p_offset) < 0))
		return error_set(err, ENOEXEC, "%s: damaged: the dynamic section lies outside of the file", file);
	if (!dyn)
		return error_set(err, ENOMEM, "out of memory");
	return check_dynamic(dyn, size / sizeof(*dyn), file, err);
}

int elf_check(int fd, const char *file, struct bv_error *err)
{
	struct stat st;
	ElfW(Ehdr) eh;
	ElfW(Phdr) ph[PHDRS_MAX];

	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "%s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode) || read_at(fd, &eh, sizeof(eh), 0) < 0)
		return error_set(err, ENOEXEC, "%s: not a shared object", file);
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != NATIVE_CLASS || eh.e_type != ET_DYN)
		return error_set(err, ENOEXEC, "%s: not a shared object for this machine", file);
	if (eh.e_phentsize != sizeof(ph[0]) || eh.e_phnum > PHDRS_MAX ||
	    read_at(fd, ph, eh.e_phnum * sizeof(ph[0]), eh.e_phoff) < 0)
		return error_set(err, ENOEXEC, "%s: damaged: program headers lie outside of the file", file);
	for (size_t i = 0; i < eh.e_phnum; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			return check_segment(fd, &ph[i], file, err);
	return error_set(err, ENOEXEC, "%s: not a shared object: no dynamic section", file);
}
