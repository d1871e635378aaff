#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The npm packages as their users have them: made, installed offline into a fresh project, used from TypeScript,
ES modules and CommonJS; and the SDK's own tests against them."""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "guest"))
import harness  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SDK = os.path.join(HERE, "..", "..", "sdk", "typescript")
TS = """
import { Sandbox, CommandError, type CommandResult } from "bvisor";
await using sb = await Sandbox.create();
const r: CommandResult = await sb.bash("echo 'Hello, world!'");
const out = sb.runCmd("echo streamed");
let n = 0;
for await (const chunk of out.stdoutStream) n += chunk.length;
try { await sb.bash("exit 3"); } catch (e) { if (!(e instanceof CommandError) || e.exitCode !== 3) throw e; }
console.log(r.stdout.trim(), n, (await out.stdout()).trim(), await out.exitCode);
"""

p = argparse.ArgumentParser()
p.add_argument("--build", required=True)
p.add_argument("--make", required=True, help="make-npm.sh")
args = p.parse_args()
if not shutil.which("npm"):
    print("1..0 # SKIP npm is missing")
    raise SystemExit(0)
tap = harness.Tap()
work = harness.workdir(args.build)
env = {k: v for k, v in os.environ.items() if not k.startswith("BVISOR_")}
env["PATH"] += ":/usr/sbin:/sbin"  # chroot(8), for an ordinary user
env.update(npm_config_cache=f"{work}/cache", BVISOR_TEST_DIR=work)


def run(what, *argv, cwd=work, **more):
    r = subprocess.run(argv, capture_output=True, text=True, env=dict(env, **more), check=False, cwd=cwd)
    tap.ok(r.returncode == 0, what, (r.stdout + r.stderr).splitlines()[-20:] if r.returncode else ())
    return r


run("the packages are made", args.make, args.build, work)
tars = sorted(glob.glob(f"{work}/*.tgz"))
tap.ok([re.sub(r"-[0-9.]+tgz$", "", os.path.basename(t)) for t in tars if "linux" not in t] == ["bvisor"] and len(tars) == 2,
       "one for everybody, one for this platform", tars)
project = f"{work}/project"
os.mkdir(project)
with open(f"{project}/package.json", "w") as f:
    f.write('{ "type": "module", "private": true }')
run("they are installed offline", "npm", "install", "--offline", "--no-audit", "--no-fund", *tars, cwd=project)
with open(f"{project}/hello.mjs", "w") as f:
    f.write(TS.replace(", type CommandResult", "").replace(": CommandResult", "").replace("await using", "const") + "await sb.close();\n")
with open(f"{project}/hello.cjs", "w") as f:
    f.write("const { Sandbox } = require('bvisor');\n(async () => { const sb = new Sandbox(); "
            "console.log((await sb.bash('echo cjs; hostname')).stdout.trim()); await sb.close(); })();\n")
with open(f"{project}/snippet.ts", "w") as f:
    f.write(TS)
want = "Hello, world! 9 streamed 0\n"
r = run("ES modules", "node", "hello.mjs", cwd=project)
tap.ok(r.stdout == want, "say hello", [r.stdout, r.stderr])
r = run("CommonJS", "node", "hello.cjs", cwd=project)
tap.ok(r.stdout == "cjs\nbvisor\n", "says hello", [r.stdout, r.stderr])
tsc = os.path.join(args.build, "sdk-typescript", "node_modules", "typescript", "bin", "tsc")
types = os.path.join(args.build, "sdk-typescript", "node_modules", "@types")
run("TypeScript compiles", "node", tsc, "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,esnext.disposable,dom,dom.asynciterable",
    "--typeRoots", types, "--types", "node", "--outDir", "out", "snippet.ts", cwd=project)
r = run("and runs", "node", "out/snippet.js", cwd=project)
tap.ok(r.stdout == want, "and says hello", [r.stdout, r.stderr])
EXAMPLES = os.path.join(HERE, "..", "..", "examples", "typescript")
for name in sorted(os.listdir(EXAMPLES)):
    shutil.copy(os.path.join(EXAMPLES, name), project)
run("the examples compile", "node", tsc, "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,esnext.disposable,dom,dom.asynciterable",
    "--typeRoots", types, "--types", "node", "--outDir", "out", *sorted(os.listdir(EXAMPLES)), cwd=project)
r = run("hello.ts runs", "node", "out/hello.js", cwd=project)
tap.ok(r.stdout == "Hello, world!\n1\n2\n3\nstatus 0\n", "and says hello", [r.stdout, r.stderr])
os.mkdir(f"{project}/notes")
r = run("agent.ts runs", "node", "../out/agent.js", "--yes", cwd=f"{project}/notes")
tap.ok("notes/NOTES.md\n" in r.stdout and "status 1: cat: missing" in r.stdout and "tidy\n" in r.stdout and os.listdir(f"{project}/notes") == ["NOTES.md"],
       "and commits its notes", [r.stdout, r.stderr])
r = run("from elsewhere, too", "node", f"{project}/hello.cjs", cwd="/")
shutil.copy(os.path.join(SDK, "test", "sandbox.test.mjs"), project)
r = subprocess.run(["node", "--test", "--test-reporter=tap", "sandbox.test.mjs"], capture_output=True, text=True, env=env, check=False, cwd=project)
for good, name in re.findall(r"^(not ok|ok) \d+ - (.*)$", r.stdout, re.M):
    tap.ok(good == "ok", name, r.stdout.splitlines()[-60:] if good != "ok" else ())
tap.ok(len(re.findall(r"^ok ", r.stdout, re.M)) > 8, "its own tests ran", r.stdout.splitlines()[-20:])
if shutil.which("bun"):
    r = run("Bun runs TypeScript as it is", "bun", "snippet.ts", cwd=project)
    tap.ok(r.stdout == want, "and says hello", [r.stdout, r.stderr])
    r = subprocess.run(["bun", "test", "./sandbox.test.mjs"], capture_output=True, text=True, env=env, check=False, cwd=project)
    for good, name in re.findall(r"^\((pass|fail)\) (.*?)(?: \[.*)?$", r.stdout + r.stderr, re.M):
        tap.ok(good == "pass", f"bun: {name}", (r.stdout + r.stderr).splitlines()[-60:] if good != "pass" else ())
    tap.ok(r.returncode == 0, "the same tests with Bun", (r.stdout + r.stderr).splitlines()[-20:])
else:
    tap.skip("Bun", "it is not installed")
raise SystemExit(tap.done())
