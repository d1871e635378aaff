#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gets and builds the sources that foreign.py needs, once: fetch.sh DIR.  From the system's own package
# archive; nothing of the system is changed.
set -euo pipefail
dir=${1:?a directory}
mkdir -p "$dir/apt/lists/partial"
dir=$(cd -- "$dir" && pwd -P)

apt() {
	apt-get -q -o Dir::Etc::SourceList="$dir/apt/sources" -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists="$dir/apt/lists" \
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}

sources() { # the system's archives, for source packages
	sed -n 's/^deb /deb-src /p' /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null || true
	local file
	for file in /etc/apt/sources.list.d/*.sources; do
		[ -f "$file" ] || continue
		awk -F': *' '
			function flush(  i, n, u, s, j, m) {
				n = split(uri, u, " "); m = split(suite, s, " ")
				for (i = 1; i <= n; i++) for (j = 1; j <= m; j++)
					print "deb-src " (key ? "[signed-by=" key "] " : "") u[i] " " s[j] " " comp
				uri = suite = comp = key = ""
			}
			/^URIs:/ { uri = $0; sub(/^URIs: */, "", uri) }
			/^Suites:/ { suite = $2 } /^Components:/ { comp = $2 } /^Signed-By:/ { key = $2 }
			/^$/ { flush() } END { flush() }' "$file"
	done
}

get() { # PACKAGE
	[ -d "$dir/$1" ] && return
	[ -s "$dir/apt/sources" ] || { sources | sort -u >"$dir/apt/sources"; apt update >/dev/null; }
	(rm -rf "$dir/new.$1" && mkdir "$dir/new.$1" && cd "$dir/new.$1" && apt source "$1" >/dev/null 2>&1 && mv "$1"-*/ ../"$1")
	rm -rf "$dir/new.$1"
}

get git
get busybox
if [ ! -x "$dir/git/git" ]; then
	make -C "$dir/git" -j"$(nproc)" NO_TCLTK=1 NO_GETTEXT=1 NO_CURL=1 NO_EXPAT=1 NO_PYTHON=1 all >"$dir/git.log" 2>&1
fi
if [ ! -x "$dir/busybox/busybox" ]; then
	make -C "$dir/busybox" defconfig >"$dir/busybox.log" 2>&1
	sed -i 's/^CONFIG_TC=y/# CONFIG_TC is not set/' "$dir/busybox/.config"
	(yes '' || true) | make -C "$dir/busybox" oldconfig >>"$dir/busybox.log" 2>&1
	make -C "$dir/busybox" -j"$(nproc)" >>"$dir/busybox.log" 2>&1
	gcc -Os -o "$dir/busybox/testsuite/echo-ne" "$dir/busybox/scripts/echo.c"
fi
