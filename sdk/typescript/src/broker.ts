// SPDX-License-Identifier: Apache-2.0
// The connection to `bvisor serve`: one broker for an application, started when first needed.
import { spawn, type ChildProcess } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { createRequire } from "node:module";
import { delimiter, dirname, join } from "node:path";
import type { Duplex } from "node:stream";
import { ProtocolError, SandboxError, UnsupportedHost, ofBroker } from "./errors.js";

const PROTOCOL = 1;
const HEAD = 12;
const FRAME = { json: 1, data: 2, credit: 3, end: 4 } as const;
export const STDOUT = 1;
export const STDERR = 2;

export type Json = Record<string, unknown>;

/** Who wants to hear of a process. */
export interface Sink {
  data(which: number, bytes: Uint8Array): void;
  end(which: number): void;
  credit(n: number): void;
  /** It has ended; the rest of its output waits to be granted. */
  unread(): void;
  exited(event: Json): void;
  lost(why: Error): void;
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Where the platform package may be installed: beside this one, or with the application. */
function places(): string[] {
  const found: string[] = [];
  // A stack frame of this very function names this file in both module systems.
  const here = /\(?((?:file:\/\/)?\/[^()]*?):\d+:\d+\)?$/m.exec(new Error().stack ?? "")?.[1];
  if (here) found.push(here);
  if (process.argv[1]) found.push(process.argv[1]);
  try {
    found.push(join(process.cwd(), "x.js"));
  } catch {
    // it was removed
  }
  return found;
}

/** The bvisor program: $BVISOR_BIN, the platform package's, or the one in PATH. */
export function findBvisor(): string {
  const chosen = process.env["BVISOR_BIN"];
  if (chosen) {
    if (isProgram(chosen)) return chosen;
    throw new UnsupportedHost(`BVISOR_BIN: '${chosen}' is no program`);
  }
  const libc = (process.report?.getReport() as { header?: { glibcVersionRuntime?: string } } | undefined)?.header?.glibcVersionRuntime ? "glibc" : "musl";
  for (const place of places()) {
    try {
      const path = join(dirname(createRequire(place).resolve(`bvisor-linux-${process.arch}-${libc}/package.json`)), "bin", "bvisor");
      if (isProgram(path)) return path;
    } catch {
      // not installed there
    }
  }
  for (const dir of (process.env["PATH"] ?? "").split(delimiter)) if (dir && isProgram(join(dir, "bvisor"))) return join(dir, "bvisor");
  throw new UnsupportedHost(`there is no bvisor: neither the package bvisor-linux-${process.arch}-${libc} nor one in PATH, and BVISOR_BIN is not set`);
}

interface Pending {
  resolve(result: Json): void;
  reject(why: Error): void;
}

/** One `bvisor serve`.  While nothing is waited for it does not keep the application alive. */
export class Broker {
  readonly pid: number | undefined;
  readonly program: string;
  private readonly child: ChildProcess;
  private readonly socket: Duplex & { ref?(): void; unref?(): void };
  private readonly pending = new Map<number, Pending>();
  private readonly sinks = new Map<number, Sink>();
  private readonly ends = new Map<number, (why: string) => void>();
  private readonly audits = new Map<number, (record: Json) => void>();
  private chunks: Buffer[] = [];
  private size = 0;
  private next = 0;
  private uses = 0;
  private gone: Error | undefined;
  private readonly greeting: Promise<void>;
  private readonly over: Promise<void>;
  windowIn = 0;

  constructor(program = findBvisor()) {
    this.program = program;
    this.child = spawn(program, ["serve", "--fd", "3"], { stdio: ["ignore", "ignore", "inherit", "pipe"], detached: true });
    this.pid = this.child.pid;
    this.socket = this.child.stdio[3] as Duplex;
    this.over = new Promise((resolve) => {
      this.child.once("exit", () => resolve());
      this.child.once("error", () => resolve());
    });
    this.greeting = new Promise((resolve, reject) => {
      this.pending.set(0, { resolve: () => resolve(), reject });
      this.child.once("error", (e) => this.fail(new UnsupportedHost(`cannot start ${program}: ${e.message}`)));
      this.child.once("exit", (code) => this.fail(this.windowIn ? new SandboxError("the broker has ended") : new UnsupportedHost(`${program} serve ended at once, with status ${code}`)));
    });
    this.greeting.catch(() => undefined);
    this.socket.on("data", (bytes: Buffer) => this.receive(bytes));
    this.socket.on("error", () => undefined); // the exit tells
    this.send(FRAME.json, 0, Buffer.from(JSON.stringify({ bvisor: PROTOCOL, client: "typescript" })));
    this.use(1);
    this.greeting.then(() => this.use(-1), () => this.use(-1));
  }

  get alive(): boolean {
    return this.gone === undefined;
  }

  /** Counts what is waited for: while there is any, the application does not end by itself. */
  use(n: number): void {
    const before = this.uses;
    this.uses += n;
    if ((before > 0) === (this.uses > 0)) return;
    const verb = this.uses > 0 ? "ref" : "unref";
    this.child[verb]();
    this.socket[verb]?.();
  }

  private fail(why: Error): void {
    if (this.gone) return;
    this.gone = why;
    for (const p of this.pending.values()) p.reject(why);
    for (const s of this.sinks.values()) s.lost(why);
    for (const e of this.ends.values()) e(why.message);
    this.pending.clear();
    this.sinks.clear();
    this.ends.clear();
    this.socket.destroy();
  }

  private send(type: number, stream: number, payload: Uint8Array): void {
    if (this.gone) throw this.gone;
    const head = Buffer.alloc(HEAD);
    head.writeUInt32LE(payload.length, 0);
    head.writeUInt32LE(stream, 4);
    head.writeUInt32LE(type, 8);
    this.socket.cork();
    this.socket.write(head);
    if (payload.length) this.socket.write(payload);
    this.socket.uncork();
  }

  private take(n: number): Buffer {
    let first = this.chunks[0] as Buffer;
    if (first.length < n) {
      first = Buffer.concat(this.chunks);
      this.chunks = [first];
    }
    if (first.length === n) this.chunks.shift();
    else this.chunks[0] = first.subarray(n);
    this.size -= n;
    return first.subarray(0, n);
  }

  private head: { length: number; stream: number; type: number } | undefined;

  private receive(bytes: Buffer): void {
    this.chunks.push(bytes);
    this.size += bytes.length;
    try {
      for (;;) {
        if (!this.head) {
          if (this.size < HEAD) return;
          const head = this.take(HEAD);
          this.head = { length: head.readUInt32LE(0), stream: head.readUInt32LE(4), type: head.readUInt32LE(8) };
        }
        const { stream, type } = this.head;
        if (type === FRAME.data && this.size < this.head.length) {
          // A part of it, as it came: nobody needs it in one piece.
          this.head.length -= this.size;
          this.size = 0;
          for (const part of this.chunks.splice(0)) this.frame(type, stream, part);
        }
        const length = this.head.length;
        if (this.size < length) return;
        this.head = undefined;
        this.frame(type, stream, length ? this.take(length) : Buffer.alloc(0));
      }
    } catch (e) {
      this.fail(e instanceof Error && e.name !== "SyntaxError" ? e : new ProtocolError("the broker's words make no sense"));
    }
  }

  private frame(type: number, stream: number, payload: Buffer): void {
    const which = stream & 3;
    if (type === FRAME.json) this.message(JSON.parse(payload.toString("utf8")) as Json);
    else if (type === FRAME.data) this.give(stream >>> 2, (s) => s.data(which, payload));
    else if (type === FRAME.end) this.give(stream >>> 2, (s) => s.end(which));
    else if (type === FRAME.credit) this.give(stream >>> 2, (s) => s.credit(payload.readUInt32LE(0)));
  }

  private give(id: number, call: (sink: Sink) => void): void {
    const sink = this.sinks.get(id);
    if (sink) call(sink); // else it was detached while this was on its way
  }

  private message(m: Json): void {
    if (!this.windowIn) {
      if (m["error"]) throw ofBroker(m["error"] as Json);
      this.windowIn = Number(m["window_in"]);
      this.pending.get(0)?.resolve(m);
      this.pending.delete(0);
    } else if (typeof m["id"] === "number") {
      const p = this.pending.get(m["id"]);
      this.pending.delete(m["id"]);
      if (m["error"]) p?.reject(ofBroker(m["error"] as Json));
      else p?.resolve(m["result"] as Json);
    } else if (m["event"] === "exit") {
      this.give(Number(m["process"]), (s) => s.exited(m));
    } else if (m["event"] === "unread") {
      this.give(Number(m["process"]), (s) => s.unread());
    } else if (m["event"] === "sandbox_end") {
      const end = this.ends.get(Number(m["sandbox"]));
      this.ends.delete(Number(m["sandbox"]));
      end?.(String(m["message"] || "the sandbox has ended"));
    } else if (m["event"] === "audit") {
      this.audits.get(Number(m["sandbox"]))?.(m["record"] as Json);
    } else if (m["error"]) {
      throw ofBroker(m["error"] as Json);
    }
  }

  /** then: what to do with the answer before anything else the broker says is heard. */
  async call(method: string, params: Json, then?: (answer: Json) => void, signal?: AbortSignal): Promise<Json> {
    this.use(1);
    let giveUp: (() => void) | undefined;
    try {
      await this.greeting;
      signal?.throwIfAborted();
      return await new Promise<Json>((resolve, reject) => {
        const id = ++this.next;
        giveUp = () => {
          if (!this.gone && this.pending.has(id)) this.send(FRAME.json, 0, Buffer.from(JSON.stringify({ id: ++this.next, method: "cancel", params: { request: id } })));
        };
        signal?.addEventListener("abort", giveUp, { once: true });
        this.send(FRAME.json, 0, Buffer.from(JSON.stringify({ id, method, params })));
        this.pending.set(id, {
          resolve: (answer) => {
            then?.(answer);
            resolve(answer);
          },
          reject,
        });
      });
    } catch (e) {
      signal?.throwIfAborted();
      throw e;
    } finally {
      if (giveUp) signal?.removeEventListener("abort", giveUp);
      this.use(-1);
    }
  }

  /** From now on sink hears of the process.  Before anything of it comes: in call()'s `then`. */
  attach(id: number, sink: Sink): void {
    this.sinks.set(id, sink);
  }

  /** Nobody wants to hear of it any more; what still comes of these outputs is thrown away. */
  detach(id: number, open: readonly number[]): void {
    this.sinks.delete(id);
    if (!this.gone) for (const which of open) this.send(FRAME.end, id * 4 + which, Buffer.alloc(0));
  }

  onEnd(sandbox: number, call: ((why: string) => void) | undefined): void {
    if (call) this.ends.set(sandbox, call);
    else this.ends.delete(sandbox);
  }

  onAudit(sandbox: number, call: ((record: Json) => void) | undefined): void {
    if (call) this.audits.set(sandbox, call);
    else this.audits.delete(sandbox);
  }

  write(id: number, bytes: Uint8Array): void {
    this.send(FRAME.data, id * 4, bytes);
  }

  endInput(id: number): void {
    if (!this.gone) this.send(FRAME.end, id * 4, new Uint8Array());
  }

  grant(id: number, which: number, n: number): void {
    if (this.gone || !n) return;
    const word = Buffer.alloc(4);
    word.writeUInt32LE(n);
    this.send(FRAME.credit, id * 4 + which, word);
  }

  /** Ends it, and all its sandboxes. */
  async close(): Promise<void> {
    this.use(1);
    this.socket.destroy();
    await this.over;
    this.use(-1);
  }
}

let shared: Broker | undefined;

/** The application's own broker. */
export function sharedBroker(): Broker {
  if (!shared?.alive) shared = new Broker();
  return shared;
}

/** Ends the application's broker and all sandboxes.  It is started again when needed. */
export async function closeAll(): Promise<void> {
  const old = shared;
  shared = undefined;
  await old?.close();
}
