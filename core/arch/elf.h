/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ARCH_ELF_H
#define CORE_ARCH_ELF_H
/*
 * On aarch64 an object with an atomic operation has a constructor of libgcc's, which looks for the
 * processor's LSE instructions, unless it is compiled with -mno-outline-atomics, as bvisor-module.pc
 * says.  What to tell whoever did not.
 */
#if defined(__aarch64__)
#define ARCH_CONSTRUCTOR_HINT "; for atomics compile with -mno-outline-atomics"
#else
#define ARCH_CONSTRUCTOR_HINT ""
#endif

#endif
