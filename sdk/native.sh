#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the SDKs' packages hold of bvisor: native.sh BUILD-DIRECTORY DIRECTORY.
set -euo pipefail
build=${1:?a build directory}
to=${2:?a directory}
mkdir -p "$to"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet
prefix=$(meson introspect "$build" --buildoptions | /usr/bin/python3 -c '
import json, sys
print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
cd "$work/root$prefix"
# bvisor-oci and libbvisor need libraries that not everybody has.
find bin lib libexec share/bvisor -type f ! -name '*.a' ! -name '*.pc' ! -name bvisor-oci ! -name 'libbvisor.so*' ! -path '*/template/*' -print0 |
	tar -c --null -T - | tar -x -C "$to"
find "$to" -type f \( -perm /111 -o -name '*.so' \) -exec strip --strip-unneeded {} +
