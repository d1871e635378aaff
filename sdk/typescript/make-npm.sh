#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The npm packages, one for this platform with the program in it: make-npm.sh BUILD-DIRECTORY OUTPUT-DIRECTORY.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
build=$(readlink -f -- "${1:?a build directory}")
mkdir -p -- "${2:?where the packages go}"
out=$(readlink -f -- "$2")

# The compiler, once for each package-lock.json.
tools=$build/sdk-typescript
mkdir -p "$tools"
if ! cmp -s "$here/package-lock.json" "$tools/package-lock.json"; then
	cp "$here/package.json" "$here/package-lock.json" "$tools"
	(cd "$tools" && npm ci --omit=optional --no-audit --no-fund --loglevel=error) || { rm -f "$tools/package-lock.json"; exit 1; }
fi
rm -rf "$tools/src" "$tools/dist"
cp -a "$here"/{package.json,tsconfig.json,tsconfig.cjs.json,finish.mjs,README.md,src} "$tools"
version=$(node -p 'require(process.argv[1]).version' "$here/package.json")
# (What is not published yet cannot stand in the lock.)
(cd "$tools" && npm run --silent build && npm pkg delete scripts devDependencies && npm pkg set \
	"optionalDependencies.bvisor-linux-x64-glibc=$version" "optionalDependencies.bvisor-linux-arm64-glibc=$version" &&
	npm pack --silent --pack-destination "$out" >/dev/null)

arch=$(node -p process.arch)
name=bvisor-linux-$arch-glibc
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/../native.sh" "$build" "$work"
cat >"$work/package.json" <<END
{ "name": "$name", "version": "$version", "description": "bvisor for linux-$arch with glibc", "license": "Apache-2.0",
  "os": ["linux"], "cpu": ["$arch"], "libc": ["glibc"], "files": ["bin", "lib", "libexec", "share"] }
END
(cd "$work" && npm pack --silent --pack-destination "$out" >/dev/null)
