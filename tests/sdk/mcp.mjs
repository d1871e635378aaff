// SPDX-License-Identifier: Apache-2.0
// bvisor mcp with the official client.  Prints TAP.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { ElicitRequestSchema } from "@modelcontextprotocol/sdk/types.js";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { execFileSync, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";

const bvisor = process.env.BVISOR_BIN;
const [work] = process.argv.slice(2);
let n = 0;
let failed = 0;
function ok(good, what, note = "") {
  n++;
  if (!good) failed++;
  console.log(`${good ? "ok" : "not ok"} ${n} - ${what}`);
  if (!good) console.log(`# ${JSON.stringify(note).slice(0, 800)}`);
}

async function session(args, options, answer) {
  const dir = `${work}/repo${n}`;
  mkdirSync(dir);
  writeFileSync(`${dir}/one`, "one\n");
  const client = new Client({ name: "test", version: "1" }, options);
  const asked = [];
  if (answer)
    client.setRequestHandler(ElicitRequestSchema, (request) => {
      asked.push(request.params.message);
      return answer;
    });
  await client.connect(new StdioClientTransport({ command: bvisor, args: ["mcp", ...args], cwd: dir, env: process.env }));
  const call = async (name, args = {}) => {
    const r = await client.callTool({ name, arguments: args });
    return { text: r.content.map((c) => c.text).join(""), error: !!r.isError };
  };
  return { client, call, dir, asked };
}

{
  const { client, call, dir } = await session([], {});
  const { tools } = await client.listTools();
  ok(tools.map((t) => t.name).join() === "bash,read_file,write_file,list_files,diff,commit,reset" && tools.every((t) => t.description && t.inputSchema.type === "object"), "the tools", tools);
  let r = await call("bash", { command: "pwd; cat one; echo err >&2; echo two >>one" });
  ok(!r.error && r.text === `${dir}\none\nerr\n`, "bash", r);
  ok(readFileSync(`${dir}/one`, "utf8") === "one\n", "the host's file is what it was");
  r = await call("bash", { command: "exit 3" });
  ok(r.error && r.text.includes("[exit code 3]"), "a failure", r);
  ok(!r.text.includes("refused"), "of its own", r);
  r = await call("bash", { command: "for i in 1 2 3; do exec 3<>/dev/tcp/192.0.2.1/80; done; chroot /" });
  ok(r.error && r.text.endsWith("\n[the sandbox refused connect 192.0.2.1:80: ENETUNREACH]\n[the sandbox refused chroot: EPERM]"), "what was refused", r);
  r = await call("bash", { command: "cat /etc/shadow" });
  ok(r.error && !r.text.includes("refused"), "but not what is hidden", r);
  r = await call("bash", { command: "sleep 60", timeout: 0.5 });
  ok(r.error && r.text.includes("[killed after"), "a timeout", r);
  r = await call("bash", { command: "head -c 1000000 /dev/zero | tr '\\0' x" });
  ok(!r.error && r.text.length < 300000 && /\[\d+ more bytes\]/.test(r.text), "much output is cut", r.text.length);
  r = await call("bash", { command: "printf '\\377\\n'" });
  ok(!r.error && r.text === "?\n", "what is no UTF-8", r);
  r = await call("write_file", { path: "dir/new", content: "x" });
  ok(r.error && r.text.includes("ENOENT"), "a directory that is not there", r);
  r = await call("write_file", { path: "new", content: "é\n" });
  ok(!r.error && (await call("read_file", { path: "new" })).text === "é\n" && !existsSync(`${dir}/new`), "write and read");
  await call("bash", { command: "mkdir d; ln -s one l" });
  r = await call("list_files");
  ok(r.text.split("\n").sort().join() === ",d/,l@,new,one", "list", r);
  r = await call("read_file", { path: "/etc/shadow" });
  ok(r.error, "what is hidden", r);
  r = await call("bash", {});
  ok(r.error && r.text.includes("command is no text"), "no command", r);
  r = await call("diff");
  ok(r.text.includes("+two\n") && r.text.includes("new file"), "diff", r);
  r = await call("commit");
  ok(r.error && r.text.includes("cannot ask its user") && readFileSync(`${dir}/one`, "utf8") === "one\n", "commit without a user to ask", r);
  for (const paths of [`${dir}/one`, [], [7], [""]]) {
    r = await call("commit", { paths });
    ok(r.error && r.text.includes("no list of paths"), `commit of ${JSON.stringify(paths)}`, r);
  }
  r = await call("reset");
  ok(!r.error && (await call("bash", { command: "cat one; ls" })).text === "one\none\n", "reset", r);
  ok((await client.ping()) !== undefined, "ping");
  await client.callTool({ name: "fly", arguments: {} }).then(() => ok(false, "no such tool"), (e) => ok(/no such tool/.test(e.message), "no such tool", e.message));
  await client.close();
  ok(!execFileSync(bvisor, ["ls"], { encoding: "utf8" }).includes("mcp-"), "the session's sandbox is forgotten");
}
for (const [what, answer, written] of [
  ["the user agrees", { action: "accept", content: { commit: true } }, true],
  ["the user does not", { action: "decline" }, false],
  ["the user says no", { action: "accept", content: { commit: false } }, false],
]) {
  const { client, call, dir, asked } = await session([], { capabilities: { elicitation: {} } }, answer);
  await call("bash", { command: "echo two >>one; echo x >other" });
  const r = await call("commit", { paths: [`${dir}/one`] });
  ok(asked.length === 1 && asked[0].includes(`${dir}/one`) && !asked[0].includes("other"), "it asks, and says what", asked);
  ok(readFileSync(`${dir}/one`, "utf8") === (written ? "one\ntwo\n" : "one\n") && r.error !== written && !existsSync(`${dir}/other`), what, r);
  await client.close();
}
{
  const { client, call, dir } = await session(["--name", "mcp-kept", "--yes"], {});
  await call("bash", { command: "echo kept >k" });
  for (const option of ["--force", "-c", "--help"]) {
    const r = await call("commit", { paths: [option] });
    ok(r.text.startsWith("0 changes") && !existsSync(`${dir}/k`), `${option} is a path`, r);
  }
  await call("bash", { command: "sleep 4711 >/dev/null 2>&1 & echo $! >pid" });
  ok(!(await call("commit")).error && readFileSync(`${dir}/k`, "utf8") === "kept\n", "--yes");
  let r = await call("bash", { command: "kill $(cat pid) && echo alive" });
  ok(r.text === "alive\n", "what runs in the background goes on", r);
  await call("bash", { command: "(sleep 0.2; head -c 6000000 /dev/zero; head -c 6000000 /dev/zero >&2; touch done) &" });
  r = await call("bash", { command: "for i in {1..100}; do test -e done && echo done && break; sleep 0.1; done" });
  ok(r.text === "done\n", "and neither waits for a reader nor is in another's output", r);
  await client.close();
  ok(execFileSync(bvisor, ["ls"], { encoding: "utf8" }).includes("mcp-kept"), "--name keeps it");
  execFileSync(bvisor, ["rm", "mcp-kept"]);
}
{
  // By hand: what comes while the user is asked waits, and the answer to another question is none.
  const dir = mkdtempSync(join(work, "raw-"));
  const p = spawn(bvisor, ["mcp"], { cwd: dir, stdio: ["pipe", "pipe", "inherit"] });
  const lines = createInterface({ input: p.stdout })[Symbol.asyncIterator]();
  const say = (message) => p.stdin.write(JSON.stringify({ jsonrpc: "2.0", ...message }) + "\n");
  const hear = async () => JSON.parse((await lines.next()).value);
  const yes = { action: "accept", content: { commit: true } };
  say({ id: 1, method: "initialize", params: { protocolVersion: "2025-06-18", capabilities: { elicitation: {} } } });
  await hear();
  say({ id: 2, method: "tools/call", params: { name: "write_file", arguments: { path: "a", content: "a" } } });
  await hear();
  const questions = [];
  for (const [id, answer] of [[3, { action: "decline" }], [4, { action: "cancel" }]]) {
    say({ id, method: "tools/call", params: { name: "commit", arguments: {} } });
    const question = await hear();
    questions.push(question.id);
    say({ id: questions[0], ...(id === 4 ? { result: yes } : { method: "ping" }) });
    say({ id: 50 + id, method: "ping" });
    say({ id: question.id, result: answer });
    const first = await hear();
    ok(first.id === id && first.result.isError && !existsSync(join(dir, "a")), "not what was asked", first);
    const rest = id === 3 ? [await hear(), await hear()] : [await hear()];
    ok(rest.at(-1).id === 50 + id && rest.at(-1).result, "what came meanwhile is answered", rest);
  }
  ok(questions[0] !== questions[1], "each question has its name", questions);
  p.stdin.end();
  ok((await new Promise((done) => p.on("exit", done))) === 0, "ends");
}
console.log(`1..${n}`);
process.exit(failed ? 1 : 0);
