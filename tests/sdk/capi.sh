#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# capi.sh PROGRAM EXAMPLE: libbvisor's tests in a directory of their own, under valgrind where it is and
# no sanitizer has been built in.  The policy that the tests take is the host's.
capi=$(realpath "$1") example=$(realpath "$2")
work=$(mktemp -d "$(pwd)/bvisor-test-XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 99
export XDG_STATE_HOME="$work/state"
[ "$("$example")" = "Hello, world!
A $work/greeting  14" ] || { echo "Bail out! the example does not say what it should"; exit 1; }
"$capi" || exit
command -v valgrind >/dev/null && ! ldd "$capi" | grep -qE 'lib(a|ub)san' || exit 0
# It runs a child that cannot be executed as if that had ended at once, so one test differs.
valgrind -q --leak-check=full --error-exitcode=9 "$capi" >tap.log 2>valgrind.log
code=$?
sed 's/^/# /' valgrind.log
[ $code -ne 9 ] && [ "$(grep -c '^not ok' tap.log)" -le 1 ] && exit 0
grep -A1 '^not ok' tap.log | sed 's/^/# valgrind: /'
exit 1
