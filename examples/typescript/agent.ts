// SPDX-License-Identifier: Apache-2.0
// An agent's steps in a directory: what it made is shown, and committed when --yes is given.
import { CommandError, Sandbox } from "bvisor";

const steps = ["ls", "echo '# Notes' > NOTES.md", "cat missing", "rm -rf /usr/share/perl* 2>/dev/null; echo tidy"];

await using sb = await Sandbox.create();
for (const step of steps) {
  try {
    const r = await sb.bash(step, { timeout: 60_000 });
    console.log(`$ ${step}\n${r.stdout}`);
  } catch (e) {
    if (!(e instanceof CommandError)) throw e;
    console.log(`$ ${step}\nstatus ${e.exitCode}: ${e.stderr.trim()}`);
  }
}
for (const change of await sb.diff()) if (change.kind === "A") console.log("new:", change.path);
if (process.argv.includes("--yes")) console.log(await sb.commit({ paths: ["NOTES.md"] }));
