// SPDX-License-Identifier: Apache-2.0
// Hello, world: and a command whose output is streamed.
import { Sandbox } from "bvisor";

await using sb = await Sandbox.create();
const r = await sb.bash("echo 'Hello, world!'");
process.stdout.write(r.stdout);

const out = sb.runCmd("for i in 1 2 3; do echo $i; sleep 0.1; done");
for await (const chunk of out.stdoutStream) process.stdout.write(chunk);
console.log("status", await out.exitCode);
