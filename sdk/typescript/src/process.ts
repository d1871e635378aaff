// SPDX-License-Identifier: Apache-2.0
import "./symbols.js";
import { STDERR, STDOUT, type Broker, type Json, type Sink } from "./broker.js";
import { CommandError, LimitExceeded, SandboxError, TimeoutError } from "./errors.js";

/** How a command ended. */
export interface CommandResult {
  readonly command: string | readonly string[];
  /** Its status, or 128 and the number of the signal that killed it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly stdoutBytes: Uint8Array;
  readonly stderrBytes: Uint8Array;
  /** Seconds. */
  readonly duration: number;
  readonly signal: number | null;
  /** The limit that ended it: "timeout", "cpu_seconds", "file_size". */
  readonly limit: string | null;
  readonly userTime: number;
  readonly systemTime: number;
  /** Bytes. */
  readonly maxRss: number;
}

/** The same bytes as a Buffer. */
function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Adds output to a result: put together, and made text, when somebody asks, since that takes time for much of it. */
export function withOutput(rest: Omit<CommandResult, "stdout" | "stderr" | "stdoutBytes" | "stderrBytes">, out: () => Uint8Array, err: () => Uint8Array): CommandResult {
  const made: { [name: string]: unknown } = {};
  const result: object = { ...rest };
  const define = (name: string, make: () => unknown) =>
    Object.defineProperty(result, name, { enumerable: true, get: () => (name in made ? made[name] : (made[name] = make())) });
  define("stdoutBytes", out);
  define("stderrBytes", err);
  define("stdout", () => view((result as CommandResult).stdoutBytes).toString("utf8"));
  define("stderr", () => view((result as CommandResult).stderrBytes).toString("utf8"));
  return result as CommandResult;
}

/** Throws unless the status was 0. */
export function check(r: CommandResult): CommandResult {
  if (r.exitCode === 0 && r.limit === null) return r;
  let command = typeof r.command === "string" ? r.command : r.command.join(" ");
  if (command.length > 200) command = command.slice(0, 200) + "...";
  if (r.limit === "timeout") throw new TimeoutError(`'${command}' was killed after ${r.duration.toFixed(1)} s`, r.exitCode, r.stdout, r.stderr);
  if (r.limit !== null) throw new LimitExceeded(`'${command}' reached its limit: ${r.limit}`, r.limit, r.exitCode, r.stdout, r.stderr);
  const last = r.stderr.trim().split("\n").pop();
  const how = r.signal !== null ? `was killed by signal ${r.signal}` : `ended with status ${r.exitCode}`;
  throw new CommandError(`'${command}' ${how}${last ? ": " + last : ""}`, r.exitCode, r.stdout, r.stderr);
}

class Channel {
  private kept: Uint8Array[] = [];
  private controller: ReadableStreamDefaultController<Uint8Array> | undefined;
  private streamed: ReadableStream<Uint8Array> | undefined;
  private owed: number[] = [];
  private free = false; // nothing more is held back
  ended = false;

  constructor(private readonly grant: (n: number) => void, private readonly hook: ((bytes: Uint8Array) => void) | undefined, private readonly discard: boolean) {}

  feed(bytes: Uint8Array): void {
    if (!this.discard || !(this.hook || this.controller)) this.kept.push(bytes);
    this.hook?.(bytes);
    if (!this.controller || this.free) this.grant(bytes.length);
    if (!this.controller) return;
    this.owed.push(this.free ? 0 : bytes.length);
    this.controller.enqueue(bytes);
  }

  /** The process has ended: what is left of its output need not wait to be read. */
  release(): void {
    this.free = true;
    for (const n of this.owed) if (n) this.grant(n);
    this.owed = this.owed.map(() => 0);
  }

  finish(why?: Error): void {
    if (this.ended) return;
    this.ended = true;
    if (why) this.controller?.error(why);
    else this.controller?.close();
  }

  /** From now on the guest waits for who reads this. */
  stream(): ReadableStream<Uint8Array> {
    this.streamed ??= new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          for (const bytes of this.kept) controller.enqueue(bytes);
          this.owed = this.kept.map(() => 0); // granted already
          if (this.ended) controller.close();
          this.controller = controller;
        },
        pull: () => {
          const n = this.owed.shift();
          if (n) this.grant(n);
        },
        cancel: () => {
          this.controller = undefined;
          for (const n of this.owed) this.grant(n);
          this.owed = [];
        },
      },
      { highWaterMark: 1 },
    );
    return this.streamed;
  }

  bytes(): Uint8Array {
    if (this.kept.length !== 1) this.kept = [Buffer.concat(this.kept)];
    return this.kept[0] as Uint8Array;
  }
}

export interface OutputHooks {
  onStdout?: ((bytes: Uint8Array) => void) | undefined;
  onStderr?: ((bytes: Uint8Array) => void) | undefined;
  /** @internal What a hook gets nobody else wants. */
  discard?: boolean;
}

/** A command that runs: its output as it comes, its end as promises. */
export class Output implements Sink, AsyncDisposable {
  private readonly channels: { [which: number]: Channel };
  private id = 0;
  private window = 0;
  private wake: (() => void) | undefined;
  private event: Json | undefined;
  private finish!: (event: Json) => void;
  private reject!: (why: Error) => void;
  private readonly done: Promise<Json>;
  private readonly started: Promise<void>;
  private timedOut = false;

  constructor(readonly command: string | readonly string[], private readonly broker: Broker, start: (then: (answer: Json) => void) => Promise<Json>, hooks: OutputHooks, signal?: AbortSignal) {
    const grant = (which: number) => (n: number) => {
      if (!this.event) this.broker.grant(this.id, which, n);
    };
    this.channels = { [STDOUT]: new Channel(grant(STDOUT), hooks.onStdout, hooks.discard ?? false), [STDERR]: new Channel(grant(STDERR), hooks.onStderr, hooks.discard ?? false) };
    this.done = new Promise((resolve, reject) => {
      this.finish = resolve;
      this.reject = reject;
    });
    this.done.catch(() => undefined);
    broker.use(1);
    void this.done.then(() => broker.use(-1), () => broker.use(-1));
    this.started = (async () => {
      try {
        signal?.throwIfAborted();
        await start((answer) => {
          this.id = Number(answer["process"]);
          this.window = broker.windowIn;
          broker.attach(this.id, this);
        });
      } catch (e) {
        this.lost(e as Error);
        throw e;
      }
      if (signal?.aborted) await this.kill();
      signal?.addEventListener("abort", () => void this.kill().catch(() => undefined), { once: true });
    })();
    this.started.catch(() => undefined);
  }

  private channel(which: number): Channel {
    return this.channels[which] as Channel;
  }

  /** @internal */
  data(which: number, bytes: Uint8Array): void {
    this.channel(which).feed(bytes);
  }

  /** @internal */
  end(which: number): void {
    this.channel(which).finish();
  }

  /** @internal */
  credit(n: number): void {
    this.window += n;
    this.wake?.();
  }

  /** @internal */
  unread(): void {
    this.channel(STDOUT).release();
    this.channel(STDERR).release();
  }

  /** @internal */
  exited(event: Json): void {
    this.event = event;
    // Who it left behind may hold the streams open: that is not waited for.
    const open = [STDOUT, STDERR].filter((which) => !this.channel(which).ended);
    for (const which of open) this.channel(which).finish();
    this.broker.detach(this.id, open);
    this.wake?.();
    this.finish(event);
  }

  /** @internal */
  lost(why: Error): void {
    this.channel(STDOUT).finish(why);
    this.channel(STDERR).finish(why);
    this.event ??= {};
    this.wake?.();
    this.reject(why);
  }

  /** Standard output as it comes.  Who reads it slowly slows the command down. */
  get stdoutStream(): ReadableStream<Uint8Array> {
    return this.channel(STDOUT).stream();
  }

  /** Standard error as it comes. */
  get stderrStream(): ReadableStream<Uint8Array> {
    return this.channel(STDERR).stream();
  }

  /** All of standard output, when it has ended. */
  async stdout(): Promise<string> {
    await this.done;
    return view(this.channel(STDOUT).bytes()).toString("utf8");
  }

  /** All of standard error, when it has ended. */
  async stderr(): Promise<string> {
    await this.done;
    return view(this.channel(STDERR).bytes()).toString("utf8");
  }

  /** Its status, or 128 and the signal's number. */
  get exitCode(): Promise<number> {
    return this.done.then((event) => Number(event["code"]));
  }

  /** Its number inside; -1 when it could not be started. */
  get running(): boolean {
    return this.event === undefined;
  }

  /** How it ended. */
  async result(): Promise<CommandResult> {
    const event = await this.done;
    const signal = event["signal"] === null ? null : Number(event["signal"]);
    const rest = {
      command: this.command,
      exitCode: Number(event["code"]),
      duration: Number(event["duration"]),
      signal,
      limit: this.timedOut ? "timeout" : ((event["limit"] as string | null) ?? null),
      userTime: Number(event["user_time"]),
      systemTime: Number(event["system_time"]),
      maxRss: Number(event["max_rss"]),
    };
    return withOutput(rest, () => this.channel(STDOUT).bytes(), () => this.channel(STDERR).bytes());
  }

  /** To standard input; waits while the command does not read. */
  async write(data: string | Uint8Array): Promise<void> {
    await this.started;
    const bytes = typeof data === "string" ? Buffer.from(data) : data;
    for (let at = 0; at < bytes.length; ) {
      while (!this.window && !this.event) await new Promise<void>((resolve) => (this.wake = resolve));
      if (this.event) throw new SandboxError("the process has ended", "EPIPE");
      const n = Math.min(this.window, bytes.length - at, 1 << 16);
      this.window -= n;
      this.broker.write(this.id, bytes.subarray(at, at + n));
      at += n;
    }
  }

  /** Standard input ends; on a terminal it is Ctrl-D. */
  async closeStdin(): Promise<void> {
    await this.started;
    if (!this.event) this.broker.endInput(this.id);
  }

  /** Sends a signal to it and its process group. */
  async signal(signal: number, group = true): Promise<void> {
    await this.started;
    if (this.event) return;
    try {
      await this.broker.call("process.signal", { process: this.id, signal, group });
    } catch (e) {
      if (!(e instanceof SandboxError && e.errno === "ESRCH")) throw e;
    }
  }

  async kill(): Promise<void> {
    await this.signal(9);
  }

  /** Its terminal has another size now. */
  async resize(rows: number, cols: number): Promise<void> {
    await this.started;
    await this.broker.call("process.resize", { process: this.id, rows, cols });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill().catch(() => undefined);
    await this.done.catch(() => undefined);
  }
}
