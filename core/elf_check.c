/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look at a module's dynamic section before the dynamic linker runs it.  ELF constructors are
 * banned: nothing of a module runs before the handshake has accepted it.  What a C compiler links
 * into every shared object (_init, and frame_dummy as the one entry of .init_array) is let
 * through; the check catches the honest mistake, a module is trusted code.
 */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "handshake.h"

#if UINTPTR_MAX > 0xffffffffu
#define NATIVE_CLASS ELFCLASS64
#else
#define NATIVE_CLASS ELFCLASS32
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED
#endif
#endif
#if defined(SANITIZED) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define INIT_FUNCTIONS_MAX 1024u /* a sanitizer registers each source file by a constructor */
#else
#define INIT_FUNCTIONS_MAX 1u
#endif

static int check_dynamic(const ElfW(Dyn) * dyn, size_t n, const char *file, struct bv_error *err)
{
	for (size_t i = 0; i < n && dyn[i].d_tag != DT_NULL; i++) {
		size_t functions = dyn[i].d_un.d_val / sizeof(void *);
		if (dyn[i].d_tag == DT_PREINIT_ARRAYSZ && functions)
			return error_set(err, ENOEXEC, "%s: has ELF constructors (.preinit_array); use init instead",
					 file);
		if (dyn[i].d_tag == DT_INIT_ARRAYSZ && functions > INIT_FUNCTIONS_MAX)
			return error_set(err, ENOEXEC, "%s: has ELF constructors (.init_array); use init instead",
					 file);
	}
	return 0;
}

static int check_image(const char *image, size_t size, const char *file, struct bv_error *err)
{
	ElfW(Ehdr) eh;
	if (size < sizeof(eh))
		return error_set(err, ENOEXEC, "%s: not a shared object", file);
	memcpy(&eh, image, sizeof(eh));
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0 || eh.e_ident[EI_CLASS] != NATIVE_CLASS || eh.e_type != ET_DYN)
		return error_set(err, ENOEXEC, "%s: not a shared object for this machine", file);
	if (eh.e_phentsize != sizeof(ElfW(Phdr)) || eh.e_phoff > size ||
	    (size - eh.e_phoff) / sizeof(ElfW(Phdr)) < eh.e_phnum)
		return error_set(err, ENOEXEC, "%s: damaged: program headers lie outside of the file", file);
	for (size_t i = 0; i < eh.e_phnum; i++) {
		ElfW(Phdr) ph;
		memcpy(&ph, image + eh.e_phoff + i * sizeof(ph), sizeof(ph));
		if (ph.p_type != PT_DYNAMIC)
			continue;
		if (ph.p_offset > size || size - ph.p_offset < ph.p_filesz)
			return error_set(err, ENOEXEC, "%s: damaged: the dynamic section lies outside of the file",
					 file);
		size_t n = ph.p_filesz / sizeof(ElfW(Dyn));
		ElfW(Dyn) *dyn = malloc(n * sizeof(*dyn) + 1);
		if (!dyn)
			return error_set(err, ENOMEM, "out of memory");
		memcpy(dyn, image + ph.p_offset, n * sizeof(*dyn));
		int r = check_dynamic(dyn, n, file, err);
		free(dyn);
		return r;
	}
	return error_set(err, ENOEXEC, "%s: not a shared object: no dynamic section", file);
}

int elf_check(int fd, const char *file, struct bv_error *err)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return error_set(err, errno, "%s: %s", file, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size <= 0)
		return error_set(err, ENOEXEC, "%s: not a shared object", file);
	void *image = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (image == MAP_FAILED)
		return error_set(err, errno, "%s: %s", file, strerror(errno));
	int r = check_image(image, (size_t)st.st_size, file, err);
	munmap(image, (size_t)st.st_size);
	return r;
}
