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
# Under its prefix, wherever that is; what the SDK does not run stays out.
DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet
prefix=$(meson introspect "$build" --buildoptions | /usr/bin/python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
mkdir "$work/sdk/bvisor/_native"
cd "$work/root$prefix"
find bin lib libexec share -type f ! -name '*.a' ! -name '*.pc' ! -name bvisor-oci ! -path '*/man/*' ! -path '*completion*' \
	! -path '*/doc/*' ! -path 'share/zsh/*' -print0 |
	tar -c --null -T - | tar -x -C "$work/sdk/bvisor/_native"
find "$work/sdk/bvisor/_native" -type f -perm /111 -exec strip --strip-unneeded {} + -o -name '*.so' -exec strip --strip-unneeded {} +
cd "$work/sdk"
find . -name __pycache__ -prune -exec rm -rf {} +
/usr/bin/python3 setup.py --quiet bdist_wheel --dist-dir "$out"
