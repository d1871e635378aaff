#!/bin/sh
# Prints SYSCALL(name) for every system call of the target's kernel headers.
# Usage: gen-syscall-names.sh COMPILER [ARGS...]
set -e
echo '#include <asm/unistd.h>' | "$@" -E -dM -x c - |
	sed -n 's/^#define __NR_\([a-z_][a-z0-9_]*\) .*/SYSCALL(\1)/p' |
	grep -v -x -e 'SYSCALL(syscalls)' -e 'SYSCALL(arch_specific_syscall)' |
	LC_ALL=C sort
