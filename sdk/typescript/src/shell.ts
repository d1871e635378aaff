// SPDX-License-Identifier: Apache-2.0
import "./symbols.js";
import { randomBytes } from "node:crypto";
import { SandboxError } from "./errors.js";
import { check, type CommandResult, type Output, type OutputHooks } from "./process.js";

export interface ShellRunOptions {
  /** Throw unless its status is 0; default true. */
  check?: boolean;
  /** Milliseconds until it is killed, and the shell with it. */
  timeout?: number;
}

type Hook = (bytes: Uint8Array) => void;

/** What comes on one output, cut at marks. */
class Cut {
  private data: Buffer = Buffer.alloc(0);
  private searched = 0;
  private wanted: { mark: Buffer; resolve: (found: boolean) => void } | undefined;
  ended = false;

  feed(bytes: Uint8Array): void {
    this.data = Buffer.concat([this.data, bytes]);
    this.look();
  }

  end(): void {
    this.ended = true;
    this.look();
  }

  private look(): void {
    if (!this.wanted) return;
    const { mark, resolve } = this.wanted;
    const at = this.data.indexOf(mark, this.searched);
    if (at < 0 && !this.ended) {
      this.searched = Math.max(0, this.data.length - mark.length + 1);
      return;
    }
    this.wanted = undefined;
    this.searched = at;
    resolve(at >= 0);
  }

  /** Resolves when the mark has come; false: the output ended before. */
  until(mark: Buffer): Promise<boolean> {
    return new Promise((resolve) => {
      this.searched = 0;
      this.wanted = { mark, resolve };
      this.look();
    });
  }

  /** What stands before the mark that was found, which goes too; all, if there is none. */
  take(mark: Buffer | undefined): Buffer {
    const n = mark ? this.searched : this.data.length;
    const before = this.data.subarray(0, n);
    this.data = this.data.subarray(n + (mark?.length ?? 0));
    return before;
  }
}

/**
 * A bash in which each command finds the directory, variables and functions that those before it left.  One command
 * runs after the other.  Made by Sandbox.shell().
 */
export class Shell implements AsyncDisposable {
  private readonly out = new Cut();
  private readonly err = new Cut();
  private readonly process: Output;
  private last: Promise<unknown>;

  constructor(start: (hooks: Required<Pick<OutputHooks, "discard">> & { onStdout: Hook; onStderr: Hook }) => Output) {
    this.process = start({ onStdout: (bytes) => this.out.feed(bytes), onStderr: (bytes) => this.err.feed(bytes), discard: true });
    const over = (): void => {
      this.out.end();
      this.err.end();
    };
    this.process.exitCode.then(over, over);
    // How a command ended is told on descriptors that its own redirections do not reach.
    this.last = this.process.write("exec 3>&1 4>&2\n");
    this.last.catch(() => undefined);
  }

  /** Runs a command line.  SandboxError when the shell has ended, as by exit. */
  run(command: string, options: ShellRunOptions = {}): Promise<CommandResult> {
    const result = this.last.then(
      () => this.complete(command, options),
      () => this.complete(command, options),
    );
    this.last = result.catch(() => undefined);
    return options.check === false ? result : result.then(check);
  }

  private async complete(command: string, options: ShellRunOptions): Promise<CommandResult> {
    if (!this.process.running) throw new SandboxError("the shell has ended");
    const mark = Buffer.from(randomBytes(16).toString("hex"));
    const began = performance.now();
    const both = Promise.all([this.out.until(mark), this.err.until(mark)]);
    let expired = false;
    const timer =
      options.timeout === undefined
        ? undefined
        : setTimeout(() => {
            expired = true;
            void this.process.kill().catch(() => undefined);
          }, options.timeout);
    const quoted = "'" + command.replaceAll("'", "'\\''") + "'";
    // It may end meanwhile, which is seen below.
    await this.process.write(`eval ${quoted} </dev/null 3>&- 4>&-\nprintf '${mark}%d;' $? >&3; printf ${mark} >&4\n`).catch(() => undefined);
    const [out, err] = await both;
    clearTimeout(timer);
    const stdoutBytes = Buffer.from(this.out.take(out ? mark : undefined));
    const stderrBytes = Buffer.from(this.err.take(err ? mark : undefined));
    const end = Buffer.from(";");
    const exitCode = out && (await this.out.until(end)) ? Number(this.out.take(end).toString()) : await this.process.exitCode;
    return {
      command, exitCode, stdoutBytes, stderrBytes, stdout: stdoutBytes.toString("utf8"), stderr: stderrBytes.toString("utf8"),
      duration: (performance.now() - began) / 1000, signal: null, limit: expired ? "timeout" : null, userTime: 0, systemTime: 0, maxRss: 0,
    };
  }

  /** Whether it has ended. */
  get closed(): boolean {
    return !this.process.running;
  }

  /** Ends it, and what runs in its foreground. */
  async close(): Promise<void> {
    await this.process[Symbol.asyncDispose]();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
