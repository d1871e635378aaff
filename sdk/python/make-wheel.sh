#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The wheel, with the program in it: make-wheel.sh BUILD-DIRECTORY OUTPUT-DIRECTORY.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
build=$(readlink -f -- "${1:?a build directory}")
mkdir -p -- "${2:?where the wheel goes}"
out=$(readlink -f -- "$2")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cp -a "$here"/. "$work/sdk"
rm -rf "$work/sdk/bvisor/_native" "$work/sdk/tests"
"$here/../native.sh" "$build" "$work/sdk/bvisor/_native"
cd "$work/sdk"
find . -name __pycache__ -prune -exec rm -rf {} +
/usr/bin/python3 setup.py --quiet bdist_wheel --dist-dir "$out"
