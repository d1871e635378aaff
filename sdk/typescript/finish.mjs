// SPDX-License-Identifier: Apache-2.0
// What tsc does not do: Node reads dist/cjs as CommonJS only if a package.json there says so.
import { writeFileSync } from "node:fs";

writeFileSync(new URL("dist/cjs/package.json", import.meta.url), '{ "type": "commonjs" }\n');
