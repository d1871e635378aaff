#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Gets the official client of the Model Context Protocol, once, and runs mcp.mjs with it: mcp.sh BUILD.
set -u
build=$(readlink -f -- "$1")
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
tools=$build/mcp-client
mkdir -p "$tools"
if [ ! -d "$tools/node_modules/@modelcontextprotocol/sdk" ]; then
	echo '{ "private": true, "type": "module" }' >"$tools/package.json"
	if ! (cd "$tools" && npm install --no-audit --no-fund --loglevel=error @modelcontextprotocol/sdk@1) >"$tools/log" 2>&1; then
		rm -rf "$tools/node_modules"
		echo "1..0 # SKIP the official client cannot be had: $(tail -n 1 "$tools/log")"
		exit 0
	fi
fi
work=$(mktemp -d "$build/bvisor-mcp-XXXXXX")
trap 'rm -rf "$work"' EXIT
cp "$here/mcp.mjs" "$tools/mcp.mjs"
export XDG_STATE_HOME=$work/state
cd "$tools" && node mcp.mjs "$work"
