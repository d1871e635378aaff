// SPDX-License-Identifier: Apache-2.0
import "./symbols.js";
import { constants } from "node:os";
import { SandboxError } from "./errors.js";
import type { CommandResult, Output } from "./process.js";

export interface FileInfo {
  readonly name: string;
  readonly path: string;
  readonly type: "file" | "directory" | "symlink" | "fifo" | "socket" | "device";
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtime: Date;
  readonly nlink: number;
  /** Of a symlink. */
  readonly target: string | null;
}

const TYPES: Record<string, FileInfo["type"]> = { f: "file", d: "directory", l: "symlink", p: "fifo", s: "socket", c: "device", b: "device" };

function parse(text: string, path: string, listing: boolean): FileInfo[] {
  const parts = text.split("\0");
  const all: FileInfo[] = [];
  for (let i = 0; i + 1 < parts.length; i += 2) {
    const words = (parts[i] as string).split(" ");
    const [kind, mode, uid, gid, size, mtime, nlink] = words as [string, string, string, string, string, string, string];
    const name = words.slice(8).join(" ");
    const full = listing ? (path.endsWith("/") ? path : path + "/") + name : path;
    all.push({
      name: full.slice(full.lastIndexOf("/") + 1),
      path: full,
      type: TYPES[kind] ?? "file",
      mode: parseInt(mode, 8),
      uid: Number(uid),
      gid: Number(gid),
      size: Number(size),
      mtime: new Date(Number(BigInt(mtime) / 1000000n)),
      nlink: Number(nlink),
      target: kind === "l" ? (parts[i + 1] as string) : null,
    });
  }
  return all;
}

export interface FileEvent {
  /** "modified": written and closed. */
  readonly kind: "created" | "modified" | "deleted" | "movedFrom" | "movedTo";
  /** In the directory; "" for a file that is watched itself. */
  readonly name: string;
  readonly path: string;
}

const KINDS: Record<string, FileEvent["kind"]> = { c: "created", m: "modified", d: "deleted", f: "movedFrom", t: "movedTo" };

/** What happens to a file or directly in a directory, until that is gone or close() is called. */
export class Watch implements AsyncIterableIterator<FileEvent>, AsyncDisposable {
  private readonly records: string[] = [];
  private rest: Buffer = Buffer.alloc(0);
  private ended = false;
  private wake: (() => void) | undefined;
  private readonly output: Output;

  /** @internal */
  constructor(start: (onStdout: (bytes: Uint8Array) => void) => Output, private readonly path: string) {
    this.output = start((bytes) => {
      this.rest = Buffer.concat([this.rest, bytes]);
      for (let at = this.rest.indexOf(0); at >= 0; at = this.rest.indexOf(0)) {
        this.records.push(this.rest.subarray(0, at).toString("utf8"));
        this.rest = this.rest.subarray(at + 1);
      }
      this.wake?.();
    });
    const over = (): void => {
      this.ended = true;
      this.wake?.();
    };
    this.output.exitCode.then(over, over);
  }

  private async record(): Promise<string | undefined> {
    while (!this.records.length && !this.ended) await new Promise<void>((resolve) => (this.wake = resolve));
    return this.records.shift();
  }

  /** @internal Resolves when it watches; with how it failed, if it does not. */
  async ready(): Promise<CommandResult | undefined> {
    return (await this.record()) === undefined ? this.output.result() : undefined;
  }

  async next(): Promise<IteratorResult<FileEvent>> {
    const record = await this.record();
    const kind = record === undefined ? undefined : KINDS[record[0] as string];
    if (record === undefined || !kind) return { done: true, value: undefined };
    const name = record.slice(2);
    return { done: false, value: { kind, name, path: name ? (this.path.endsWith("/") ? this.path : this.path + "/") + name : this.path } };
  }

  async return(): Promise<IteratorResult<FileEvent>> {
    await this.close();
    return { done: true, value: undefined };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async close(): Promise<void> {
    await this.output[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The files of a sandbox, as its commands see them.  Errors have a `code`, as those of node:fs. */
export class Files {
  /** @internal */
  constructor(
    private readonly exec: (argv: string[], input?: Uint8Array) => Promise<CommandResult>,
    private readonly start: (argv: string[], onStdout: (bytes: Uint8Array) => void) => Output,
    private readonly stream: (argv: string[], stdin: "pipe" | "null") => Output,
  ) {}

  private async do(verb: string, path: string, words: string[] = [], input?: Uint8Array): Promise<CommandResult> {
    return this.good(verb, path, await this.exec(["@bvisor-init", verb, path, ...words], input));
  }

  private good(verb: string, path: string, r: CommandResult): CommandResult {
    if (r.exitCode === 0) return r;
    const code = r.stderr.split(" ")[0] ?? "";
    if (!(code in constants.errno)) throw new SandboxError(`${verb} ${path}: ${r.stderr.trim() || r.exitCode}`);
    const e: NodeJS.ErrnoException = new Error(`${code}: ${verb} '${path}'${r.stderr.trim().slice(code.length)}`);
    e.code = code;
    e.errno = -(constants.errno as Record<string, number>)[code]!;
    e.path = path;
    throw e;
  }

  async read(path: string): Promise<Uint8Array> {
    return (await this.do("read", path)).stdoutBytes;
  }

  async readText(path: string): Promise<string> {
    return (await this.do("read", path)).stdout;
  }

  /** mode: its permission bits from now on; a new file's are else 0644 or less. */
  async write(path: string, data: string | Uint8Array, mode?: number): Promise<void> {
    await this.do("write", path, [mode === undefined ? "-" : mode.toString(8)], typeof data === "string" ? Buffer.from(data) : data);
  }

  /** A file of any size, from its beginning. */
  async readStream(path: string): Promise<ReadableStream<Uint8Array>> {
    const out = this.stream(["@bvisor-init", "read", path], "null");
    const reader = out.stdoutStream.getReader();
    const end = async (): Promise<void> => void this.good("read", path, await out.result());
    let first: ReadableStreamReadResult<Uint8Array> | undefined = await reader.read();
    if (first.done) await end(); // that it can be opened is known now
    return new ReadableStream<Uint8Array>(
      {
        pull: async (controller) => {
          const next = first ?? (await reader.read());
          first = undefined;
          if (!next.done) return controller.enqueue(next.value);
          await end();
          controller.close();
        },
        cancel: () => out.kill(),
      },
      { highWaterMark: 0 },
    );
  }

  /** A file that is written, or with append continued; mode as of write.  What stands in the way is told by writing or closing. */
  async writeStream(path: string, options: { mode?: number; append?: boolean } = {}): Promise<WritableStream<Uint8Array | string>> {
    const out = this.stream(["@bvisor-init", options.append ? "append" : "write", path, options.mode === undefined ? "-" : options.mode.toString(8)], "pipe");
    const end = async (): Promise<void> => void this.good("write", path, await out.result());
    return new WritableStream<Uint8Array | string>({
      write: async (chunk) => {
        try {
          await out.write(chunk);
        } catch (e) {
          await end();
          throw e;
        }
      },
      close: async () => {
        await out.closeStdin();
        await end();
      },
      abort: () => out.kill(),
    });
  }

  async append(path: string, data: string | Uint8Array): Promise<void> {
    await this.do("append", path, ["-"], typeof data === "string" ? Buffer.from(data) : data);
  }

  /** What is in a directory, by name. */
  async list(path = "."): Promise<FileInfo[]> {
    return parse((await this.do("list", path)).stdout, path, true).sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  async stat(path: string, options: { follow?: boolean } = {}): Promise<FileInfo> {
    return parse((await this.do(options.follow === false ? "lstat" : "stat", path)).stdout, path, false)[0] as FileInfo;
  }

  async exists(path: string): Promise<boolean> {
    try {
      await this.stat(path);
      return true;
    } catch (e) {
      if (["ENOENT", "ENOTDIR"].includes((e as NodeJS.ErrnoException).code ?? "")) return false;
      throw e;
    }
  }

  async mkdir(path: string, options: { recursive?: boolean; mode?: number } = {}): Promise<void> {
    await this.do(options.recursive ? "mkdirs" : "mkdir", path, [(options.mode ?? 0o755).toString(8)]);
  }

  async rename(path: string, to: string): Promise<void> {
    await this.do("move", path, [to]);
  }

  async remove(path: string, options: { recursive?: boolean } = {}): Promise<void> {
    await this.do(options.recursive ? "remove-all" : "remove", path);
  }

  /** From now on, what happens to a file or directly in a directory. */
  async watch(path = "."): Promise<Watch> {
    const watch = new Watch((onStdout) => this.start(["@bvisor-init", "watch", path], onStdout), path);
    const failed = await watch.ready();
    if (failed) this.good("watch", path, failed);
    return watch;
  }
}
