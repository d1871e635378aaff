// SPDX-License-Identifier: Apache-2.0
// The TypeScript SDK against the real program.
import assert from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync, existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as bvisor from "bvisor";
import { Sandbox, closeAll } from "bvisor";

const base = process.env.BVISOR_TEST_DIR ?? join(homedir(), ".cache");
mkdirSync(base, { recursive: true });
const work = mkdtempSync(join(base, "bvisor-ts-"));
process.env.XDG_STATE_HOME = join(work, "state");
let sb;
before(() => (sb = new Sandbox()));
after(async () => {
  await closeAll();
  rmSync(work, { recursive: true, force: true });
});

function marked(word) {
  return readdirSync("/proc").filter((p) => {
    try {
      return /^\d+$/.test(p) && readFileSync(`/proc/${p}/cmdline`, "latin1").split("\0").includes(word);
    } catch {
      return false;
    }
  });
}

async function until(what, ms = 5000) {
  for (const end = Date.now() + ms; !what() && Date.now() < end; ) await sleep(10);
  return what();
}

test("hello", async () => {
  const own = await Sandbox.create();
  const r = await own.bash("echo 'Hello, world!'");
  assert.deepEqual([r.stdout, r.stderr, r.exitCode, r.limit], ["Hello, world!\n", "", 0, null]);
  assert.equal((await own.run(["printf", "%s|", "a b", "", "c'"])).stdout, "a b||c'|");
  await own.close();
  await assert.rejects(own.bash("true"), bvisor.SandboxError);
});

test("the seed's form", async () => {
  const out = sb.runCmd("echo one; sleep 0.1; echo two; echo err >&2; exit 3");
  const seen = [];
  for await (const chunk of out.stdoutStream) seen.push(Buffer.from(chunk).toString());
  assert.equal(seen.join(""), "one\ntwo\n");
  assert.equal(await out.stdout(), "one\ntwo\n");
  assert.equal(await out.stderr(), "err\n");
  assert.equal(await out.exitCode, 3);
});

test("failure", async () => {
  await assert.rejects(sb.bash("chroot /tmp"), (e) => e instanceof bvisor.CommandError && e.exitCode === 125 && /not permitted/.test(e.stderr));
  assert.equal((await sb.bash("kill -9 $$", { check: false })).signal, 9);
  await assert.rejects(sb.run(["/nowhere/program"]), (e) => e.errno === "ENOENT");
  await assert.rejects(sb.bash("pwd", { cwd: "/nowhere" }), bvisor.BvisorError);
  await assert.rejects(Sandbox.create({ net: "all" }), bvisor.BvisorError);
  await assert.rejects(sb.run([]), bvisor.PolicyError);
});

test("input, environment, terminal", async () => {
  const data = Buffer.alloc(3 << 20, "x");
  assert.equal((await sb.run(["wc", "-c"], { input: data })).stdout, `${data.length}\n`);
  assert.equal((await sb.run(["cat"], {})).stdout, "");
  assert.equal((await sb.bash("echo $X ${HOME-none}", { env: { X: "1", HOME: null } })).stdout, "1 none\n");
  const t = sb.runCmd("stty size; read x; echo got $x; stty size", { tty: { rows: 30, cols: 90 } });
  await t.resize(40, 100);
  await t.write("typed\n");
  assert.match((await t.stdout()).replaceAll("\r", ""), /got typed\n40 100\n$/);
});

test("timeout, limits, abort", async () => {
  await assert.rejects(sb.bash("echo part; sleep 60", { timeout: 300 }), (e) => e instanceof bvisor.TimeoutError && e.stdout === "part\n");
  await assert.rejects(sb.bash("while :; do :; done", { limits: { cpu_seconds: 1 } }), (e) => e instanceof bvisor.LimitExceeded && e.limit === "cpu_seconds");
  const abort = new AbortController();
  const p = sb.bash("sleep 401", { signal: abort.signal });
  await until(() => marked("401").length);
  abort.abort();
  await assert.rejects(p, { name: "AbortError" });
  assert.ok(await until(() => !marked("401").length));
});

test("files", async () => {
  const f = sb.files;
  await f.mkdir("/tmp/d/deep", { recursive: true });
  await f.write("/tmp/d/a", "text\n", 0o640);
  await f.append("/tmp/d/a", new Uint8Array([255, 0]));
  assert.deepEqual([...(await f.read("/tmp/d/a"))], [...Buffer.from("text\n"), 255, 0]);
  const info = await f.stat("/tmp/d/a");
  assert.deepEqual([info.type, info.mode, info.size], ["file", 0o640, 7]);
  await sb.bash("ln -s a /tmp/d/l; touch '/tmp/d/odd name'");
  assert.deepEqual((await f.list("/tmp/d")).map((x) => [x.name, x.type]), [["a", "file"], ["deep", "directory"], ["l", "symlink"], ["odd name", "file"]]);
  await f.rename("/tmp/d/a", "/tmp/d/b");
  assert.equal(await f.exists("/tmp/d/a"), false);
  await assert.rejects(f.read("/tmp/d/a"), { code: "ENOENT", path: "/tmp/d/a" });
  await f.remove("/tmp/d", { recursive: true });
  assert.equal(existsSync("/tmp/d/deep"), false);
});

test("files as streams", async () => {
  const f = sb.files;
  const block = new Uint8Array(1 << 20).map((_, i) => i & 255);
  const writer = (await f.writeStream("/tmp/big", { mode: 0o600 })).getWriter();
  for (let i = 0; i < 20; i++) await writer.write(block);
  await writer.close();
  assert.equal((await f.stat("/tmp/big")).size, 20 << 20);
  let size = 0;
  for await (const chunk of await f.readStream("/tmp/big")) size += chunk.length;
  assert.equal(size, 20 << 20);
  const more = (await f.writeStream("/tmp/lines", { append: true })).getWriter();
  await more.write("a\n");
  await more.close();
  for await (const chunk of await f.readStream("/tmp/lines")) assert.equal(Buffer.from(chunk).toString(), "a\n");
  for await (const _ of await f.readStream("/tmp/big")) break; // and no more of it
  await assert.rejects(f.readStream("/tmp/none"), { code: "ENOENT" });
  const bad = (await f.writeStream("/tmp/none/x")).getWriter();
  await assert.rejects(bad.write(block).then(() => bad.close()), { code: "ENOENT" });
});

test("what is not read does not keep a killed command from ending", async () => {
  const out = sb.runCmd("echo first; exec head -c 300M /dev/zero");
  const reader = out.stdoutStream.getReader();
  await reader.read();
  await sleep(300);
  await out.kill();
  assert.equal(await out.exitCode, 137);
  const more = await reader.read();
  assert.ok(!more.done && more.value.length > 0);
});

test("who is left behind goes on", async () => {
  const r = await sb.bash("(sleep 0.2; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; touch /tmp/left) & echo now");
  assert.equal(r.stdout, "now\n");
  const end = Date.now() + 10000;
  while (Date.now() < end) if ((await sb.bash("test -e /tmp/left", { check: false })).exitCode === 0) return;
  assert.fail("it waits for a reader");
});

test("a directory is watched", async () => {
  const dir = mkdtempSync(join(work, "watch-"));
  writeFileSync(join(dir, "old"), "old");
  const own = await Sandbox.create({ cwd: dir });
  const watch = await own.files.watch(".");
  await own.bash("echo x >new; echo y >>old; mv new newer; rm old");
  const seen = [];
  for await (const event of watch) {
    seen.push(`${event.kind} ${event.name}`);
    if (event.kind === "deleted") break;
  }
  assert.deepEqual(seen, ["created new", "modified new", "modified old", "movedFrom new", "movedTo newer", "deleted old"]);
  await assert.rejects(own.files.watch("missing"), { code: "ENOENT" });
  await own.close();
});

test("a sandbox is looked at while it runs", async () => {
  const dir = mkdtempSync(join(work, "live-"));
  const own = await Sandbox.create({ cwd: dir });
  const out = own.runCmd("echo 1 >new; echo up; cat");
  await out.stdoutStream.getReader().read();
  assert.deepEqual((await own.diff()).map((c) => [c.kind, c.path.split("/").pop()]), [["A", "new"]]);
  const other = await own.fork();
  assert.equal((await other.bash("cat new")).stdout, "1\n");
  await own.commit();
  assert.equal(readFileSync(join(dir, "new"), "utf8"), "1\n");
  assert.deepEqual(await own.diff(), []);
  await own.bash("echo 2 >>new; echo x >other");
  await own.rollback();
  assert.equal((await own.bash("cat *")).stdout, "1\n");
  assert.deepEqual(await own.diff(), []);
  out.closeStdin?.();
  await other.close();
  await own.close();
});

test("the network is shut but for what is allowed", async () => {
  const server = createServer((socket) => socket.end("hello"));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  const own = await Sandbox.create();
  const reach = `exec 3<>/dev/tcp/127.0.0.1/${port} && cat <&3`;
  assert.notEqual((await own.bash(reach, { check: false })).exitCode, 0);
  await own.network.allow(`127.0.0.1:${port}`);
  assert.equal((await own.bash(reach)).stdout, "hello");
  await own.diff();
  assert.equal((await own.bash(reach)).stdout, "hello");
  await assert.rejects(own.network.allow("*.example.com"), bvisor.SandboxError);
  await own.close();
  const other = await Sandbox.create({ allow: [`127.0.0.1:${port}`] });
  assert.equal((await other.bash(reach)).stdout, "hello");
  await other.close();
  server.close();
});

test("what is given up", async () => {
  for (const delay of [0, 1, 5]) {
    const abort = new AbortController();
    const making = Sandbox.create({ signal: abort.signal });
    setTimeout(() => abort.abort(), delay);
    await making.then(
      (sb) => sb.close(), // it was faster
      (e) => assert.equal(e.name, "AbortError"),
    );
  }
  const own = await Sandbox.create();
  await assert.rejects(own.diff({ signal: AbortSignal.abort() }), { name: "AbortError" });
  assert.deepEqual(await own.diff(), []);
  await own.close();
  await assert.rejects(Sandbox.create({ net: "all" }), (e) => e instanceof bvisor.SandboxError && e.rule === "net");
});

test("what is refused is told", async () => {
  const told = [];
  const own = await Sandbox.create({ onDenied: (d) => told.push(d) });
  await own.bash("exec 3<>/dev/tcp/192.0.2.1/80; cat /etc/shadow; chroot /; true");
  const found = own.denials();
  assert.deepEqual(
    found.map((d) => [d.kind, d.by, d.call, d.errno, d.what, d.command]),
    [
      ["denied", "net", "connect", "ENETUNREACH", "192.0.2.1:80", "bash"],
      ["denied", "vfs-cow", "openat", "ENOENT", "/etc/shadow", "cat"],
      ["denied", "blocklist", "chroot", "EPERM", undefined, "chroot"],
    ],
  );
  assert.ok(found.every((d) => Math.abs(d.time - Date.now()) < 60000 && d.pid > 0 && d.lost === 0));
  assert.deepEqual(found, told);
  await own.rollback();
  const other = await own.fork();
  for (const sb of [own, other]) {
    await sb.bash("chroot /", { check: false });
    assert.equal(sb.denials().length, 1);
    await sb.close();
  }
  assert.equal(told.length, 5);
  const quiet = await Sandbox.create({ audit: true });
  await quiet.bash("chroot /", { check: false });
  assert.equal(quiet.denials().length, 1);
  await quiet.close();
  const none = await Sandbox.create();
  assert.throws(() => none.denials(), bvisor.PolicyError);
  await none.close();
});

test("stats", async () => {
  const own = await Sandbox.create();
  const idle = await own.stats();
  const out = own.runCmd("x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo up; sleep 60; echo $x | wc -c");
  await out.stdoutStream.getReader().read();
  const busy = await own.stats();
  assert.ok(idle.processes === 0 && busy.processes >= 1 && busy.memory > idle.memory + 20e6 && busy.cpuTime >= idle.cpuTime && busy.uptime > idle.uptime, JSON.stringify([idle, busy]));
  await own.close();
});

test("a shell that stays", async () => {
  const sh = await sb.shell();
  await sh.run("cd /usr; x='a  b'; f() { echo \"f $1\"; }");
  assert.equal((await sh.run('pwd; echo "$x"; f z')).stdout, "/usr\na  b\nf z\n");
  const r = await sh.run("echo out; echo err >&2; false", { check: false });
  assert.deepEqual([r.exitCode, r.stdout, r.stderr], [1, "out\n", "err\n"]);
  await assert.rejects(sh.run("( exit 7 )"), { name: "CommandError", exitCode: 7 });
  const both = await Promise.all([sh.run("sleep 0.1; echo first"), sh.run("echo 'it''s'; echo second")]);
  assert.deepEqual(both.map((x) => x.stdout), ["first\n", "its\nsecond\n"]);
  assert.equal((await sh.run("head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2; printf x")).stdoutBytes.length, 3000001);
  assert.equal((await sh.run("cat; exec >/tmp/log; echo hidden")).stdout, "");
  await assert.rejects(sh.run("echo before; sleep 60", { timeout: 300 }), { name: "TimeoutError", stdout: "" });
  assert.ok(sh.closed);
  await assert.rejects(sh.run("true"), bvisor.SandboxError);
  const other = await sb.shell({ cwd: "/etc", env: { A: "b" } });
  assert.equal((await other.run("echo $PWD $A")).stdout, "/etc b\n");
  const end = await other.run("echo last; exit 3", { check: false });
  assert.deepEqual([end.exitCode, end.stdout, other.closed], [3, "last\n", true]);
  await other.close();
});

test("review", async () => {
  const dir = mkdtempSync(join(work, "repo-"));
  writeFileSync(join(dir, "one"), "one\n");
  const kept = new Sandbox({ name: "ts", cwd: dir });
  await kept.bash("echo more >>one; echo new >two");
  assert.deepEqual((await kept.diff()).map((c) => c.kind).sort(), ["A", "M"]);
  assert.match(await kept.patch(), /\+more\n/);
  await kept.snapshot("t");
  const other = await kept.fork("ts2", "t");
  assert.equal((await other.bash("cat two")).stdout, "new\n");
  await other.remove();
  await kept.commit({ paths: [join(dir, "one")] });
  assert.equal(readFileSync(join(dir, "one"), "utf8"), "one\nmore\n");
  await kept.rollback();
  assert.deepEqual(await kept.diff(), []);
  await kept.bash("echo x >one");
  writeFileSync(join(dir, "one"), "outside\n");
  await assert.rejects(kept.commit(), bvisor.ConflictError);
  await assert.rejects(kept.fork(), bvisor.PolicyError);
  await kept.remove();
});

test("review without a name", async () => {
  const dir = mkdtempSync(join(work, "repo-"));
  writeFileSync(join(dir, "one"), "one\n");
  const own = await Sandbox.create({ cwd: dir });
  await own.bash("echo more >>one; echo new >two");
  assert.deepEqual((await own.diff()).map((c) => c.kind).sort(), ["A", "M"]);
  await own.snapshot("t");
  await own.bash("rm two");
  const other = await own.fork(undefined, "t");
  assert.equal((await other.bash("cat two")).stdout, "new\n");
  await other.close();
  await assert.rejects(own.fork("named"), bvisor.PolicyError);
  await own.commit();
  assert.equal(readFileSync(join(dir, "one"), "utf8"), "one\nmore\n");
  await own.close();
});

test("a slow reader stops the guest, and nobody else; the event loop is free", async () => {
  const out = sb.runCmd("head -c 100M /dev/zero; echo done >&2");
  const reader = out.stdoutStream.getReader();
  await sleep(300);
  assert.ok(out.running);
  assert.equal((await sb.bash("echo others go on")).stdout, "others go on\n");
  let n = 0;
  let worst = 0;
  let last = performance.now();
  const tick = setInterval(() => {
    worst = Math.max(worst, performance.now() - last - 5);
    last = performance.now();
  }, 5);
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    n += value.length;
  }
  clearInterval(tick);
  assert.equal(n, 100 << 20);
  assert.equal(await out.exitCode, 0);
  assert.ok(worst < 200, `the loop was late by ${worst} ms`);
});

test("many at once", async () => {
  const boxes = Array.from({ length: 20 }, () => new Sandbox());
  const all = await Promise.all(boxes.map((b, i) => b.bash(`echo ${i}`)));
  assert.deepEqual(all.map((r) => r.stdout), boxes.map((_, i) => `${i}\n`));
  await Promise.all(boxes.map((b) => b.close()));
});

const app = (code) => ["--input-type=module", "-e", code];

test("the application ends by itself, and all with it", async () => {
  const r = spawnSync(process.execPath, app("import { Sandbox } from 'bvisor'; const sb = new Sandbox(); sb.runCmd('sleep 402'); await sb.bash('setsid sleep 402 & true'); await (await Sandbox.create()).bash('true'); console.log('end'); process.exit(0)"), { cwd: import.meta.dirname ?? ".", encoding: "utf8", timeout: 20000 });
  assert.equal(r.stdout, "end\n", r.stderr);
  assert.ok(await until(() => !marked("402").length, 3000));
  const idle = spawnSync(process.execPath, app("import { Sandbox } from 'bvisor'; await new Sandbox().bash('true'); console.log('idle')"), { cwd: import.meta.dirname ?? ".", encoding: "utf8", timeout: 20000 });
  assert.deepEqual([idle.stdout, idle.status], ["idle\n", 0], "an open sandbox does not keep it alive");
});

test("the application is killed", async () => {
  const child = spawn(process.execPath, app("import { Sandbox } from 'bvisor'; const sb = new Sandbox(); sb.runCmd('trap \"\" TERM; sleep 403'); await sb.bash('true'); console.log('up'); setInterval(() => 0, 1000)"), { cwd: import.meta.dirname ?? ".", stdio: ["ignore", "pipe", "inherit"] });
  await new Promise((resolve) => child.stdout.once("data", resolve));
  await until(() => marked("403").length);
  child.kill("SIGKILL");
  assert.ok(await until(() => !marked("403").length, 2000));
});

test("no program", () => {
  const r = spawnSync(process.execPath, app("import { Sandbox } from 'bvisor'; try { new Sandbox() } catch (e) { console.log(e.name) }"), { cwd: import.meta.dirname ?? ".", encoding: "utf8", env: { ...process.env, BVISOR_BIN: "/nowhere" } });
  assert.equal(r.stdout, "UnsupportedHost\n", r.stderr);
  const f = spawnSync(process.execPath, app("import { Sandbox } from 'bvisor'; try { await Sandbox.create() } catch (e) { console.log(e.name) }"), { cwd: import.meta.dirname ?? ".", encoding: "utf8", env: { ...process.env, BVISOR_BIN: "/bin/true" } });
  assert.equal(f.stdout, "UnsupportedHost\n", f.stderr);
});
