/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_ARCH_AUDIT_H
#define CORE_ARCH_AUDIT_H
/*
 * What the filter must know of the processor: the one architecture word whose calls it judges.
 * Everything else (int 0x80 on x86_64, aarch32 on aarch64) is refused there.
 */
#include <linux/audit.h>

#if defined(__x86_64__)
#define FILTER_AUDIT_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define FILTER_AUDIT_ARCH AUDIT_ARCH_AARCH64
#else
#error "bvisor runs on x86_64 and aarch64"
#endif

/* seccomp_data keeps arguments as native 64-bit words and BPF loads 32 bits. */
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "the filter loads the low half of an argument first"
#endif

#endif
