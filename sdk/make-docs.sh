#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The SDKs' reference, from their own comments: make-docs.sh BUILD-DIRECTORY OUTPUT-DIRECTORY.  TypeScript's
# needs typedoc, which npm fetches.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd -P)
tools=$(readlink -f -- "${1:?a build directory}")/sdk-docs
mkdir -p -- "${2:?where the reference goes}" "$tools/typescript"
out=$(readlink -f -- "$2")

mkdir -p "$tools/python"
cat >"$tools/python/index.rst" <<'END'
bvisor for Python
=================

.. automodule:: bvisor
   :members:
   :imported-members:
   :undoc-members:
   :exclude-members: with_traceback, add_note

.. autoclass:: bvisor.files.Files
   :members:
END
PYTHONPATH=$here/python PYTHONDONTWRITEBYTECODE=1 /usr/bin/python3 -m sphinx -q -b text -E -C -D extensions=sphinx.ext.autodoc \
	-D autodoc_member_order=bysource -D 'text_sectionchars==-' "$tools/python" "$tools/python/out"
cp "$tools/python/out/index.txt" "$out/python.txt"

cd "$tools/typescript"
if [ ! -d node_modules/typedoc-plugin-markdown ]; then
	npm install --no-save --no-audit --no-fund --loglevel=error typedoc@0.28 typedoc-plugin-markdown@4 typescript@5.9 @types/node@18
fi
rm -rf src out
cp -a "$here/typescript/tsconfig.json" "$here/typescript/src" .
npx typedoc --plugin typedoc-plugin-markdown --outputFileStrategy modules --entryPoints src/index.ts --readme none \
	--disableSources --excludePrivate --excludeInternal --excludeExternals --hidePageHeader --hideBreadcrumbs --useCodeBlocks \
	--parametersFormat table --interfacePropertiesFormat table --classPropertiesFormat table --name 'bvisor for TypeScript' \
	--logLevel Error --out out
cp out/README.md "$out/typescript.md"
