// SPDX-License-Identifier: Apache-2.0
import "./symbols.js";
import { randomBytes } from "node:crypto";
import { resolve } from "node:path";
import { sharedBroker, type Broker, type Json } from "./broker.js";
import { denialOf, type Denial } from "./audit.js";
import { ConflictError, PolicyError, SandboxError } from "./errors.js";
import { Files } from "./files.js";
import { Output, check, type CommandResult, type OutputHooks } from "./process.js";
import { Shell } from "./shell.js";

const KEPT_DENIALS = 1000;

export interface SandboxOptions {
  /** Keeps what is written under this name, also for the bvisor command; without, it goes with the sandbox. */
  name?: string;
  /** Host directories into which writes go through. */
  rw?: string[];
  ro?: string[];
  /** Host paths that do not exist inside. */
  hide?: string[];
  /** "SRC:DST[:ro|:rw]". */
  bind?: string[];
  net?: "none" | "host";
  /** What it reaches all the same: "registry.npmjs.org:443", "10.0.0.0/8", "[2001:db8::1]:80". */
  allow?: string[];
  /** How much may be written: "2G". */
  quota?: string;
  /** Variables of every command. */
  env?: Record<string, string>;
  /** Pass the application's environment. */
  envAll?: boolean;
  /** Keep what is refused, for denials(). */
  audit?: boolean;
  /** Called with each Denial besides. */
  onDenied?: (denial: Denial) => void;
  /** Where commands start; default: the application's working directory. */
  cwd?: string;
  /** A bvisor.ini. */
  config?: string;
  /** Its options: { "section.key": "value" }. */
  options?: Record<string, string>;
}

export interface Limits {
  cpu_seconds?: number;
  /** Bytes of address space. */
  memory?: number;
  processes?: number;
  open_files?: number;
  /** Bytes. */
  file_size?: number;
}

export interface CommandOptions {
  cwd?: string;
  /** Added to the environment; null removes one. */
  env?: Record<string, string | null>;
  /** Milliseconds until it is killed. */
  timeout?: number;
  limits?: Limits;
  /** A terminal, whose output is all in stdout. */
  tty?: boolean | { rows: number; cols: number };
  user?: { uid: number; gid: number };
  stdin?: "pipe" | "null";
  onStdout?: (bytes: Uint8Array) => void;
  onStderr?: (bytes: Uint8Array) => void;
  /** Kills it when aborted. */
  signal?: AbortSignal;
}

export interface RunOptions extends CommandOptions {
  input?: string | Uint8Array;
  /** Throw unless its status is 0; default true. */
  check?: boolean;
}

/** What a sandbox uses now. */
export interface Stats {
  processes: number;
  /** Bytes of RAM. */
  memory: number;
  /** Seconds, also of what has ended. */
  cpuTime: number;
  /** Seconds. */
  uptime: number;
}

/** What a sandbox may reach. */
export interface Network {
  /**
   * Lets it reach more, from now on: "HOST", "HOST:PORT", "ADDRESS/BITS", "ADDRESS:LOW-HIGH", "[IPV6]:PORT".  Hosts are
   * looked up now, outside, and found inside through /etc/hosts.
   */
  allow(...where: string[]): Promise<void>;
}

/** A change, as bvisor diff --json has it. */
export interface Change {
  kind: "A" | "M" | "D" | "T" | "R";
  path: string;
  size?: number;
  [more: string]: unknown;
}

/**
 * A place to run commands that nobody has read, on the host's own tools.  They see the host's files; what they
 * write stays inside, where it can be reviewed.  `new Sandbox()` starts it when first used; `await Sandbox.create()` at once.
 */
export class Sandbox implements AsyncDisposable, Disposable {
  readonly name: string | undefined;
  /** Read and write its files. */
  readonly files: Files;
  /** What it may reach. */
  readonly network: Network;
  private readonly params: Json;
  private readonly temporary: boolean;
  private kept: string | undefined; // what the broker calls it
  private readonly broker: Broker;
  private opening: Promise<number> | undefined;
  private ended: string | undefined;
  private closed = false;
  private readonly running = new Set<Output>();
  private readonly onDenied: ((denial: Denial) => void) | undefined;
  private denied: Denial[] = [];

  constructor(options: SandboxOptions = {}, broker: Broker = sharedBroker()) {
    const { envAll, audit, onDenied, ...rest } = options;
    this.params = { ...rest, cwd: resolve(options.cwd ?? ".") };
    if (audit || onDenied) this.params["audit"] = true;
    this.onDenied = onDenied;
    if (envAll !== undefined) this.params["env_all"] = envAll;
    for (const key of ["rw", "ro", "hide"]) if (Array.isArray(this.params[key])) this.params[key] = (this.params[key] as string[]).map((p) => resolve(p));
    this.name = options.name;
    this.kept = options.name;
    this.temporary = options.name === undefined;
    if (this.temporary) this.params["temporary"] = true;
    this.broker = broker;
    this.network = { allow: (...where) => this.allow(where) };
    this.files = new Files(
      async (argv, input) => this.finish(this.runCmd(argv, input === undefined ? { stdin: "null" } : {}), input),
      (argv, onStdout) => this.runCmd(argv, { stdin: "null", onStdout, discard: true }),
      (argv, stdin) => this.runCmd(argv, { stdin, discard: true }),
    );
  }

  /** When signal is aborted before it is there, it is given up. */
  static async create(options: SandboxOptions & { signal?: AbortSignal } = {}, broker?: Broker): Promise<Sandbox> {
    const { signal, ...policy } = options;
    const sb = broker ? new Sandbox(policy, broker) : new Sandbox(policy);
    await sb.open(signal);
    return sb;
  }

  private async open(signal?: AbortSignal): Promise<number> {
    if (this.closed) throw new SandboxError("the sandbox is closed");
    if (this.ended !== undefined) throw new SandboxError(`the sandbox has ended: ${this.ended}`);
    this.opening ??= this.broker.call("sandbox.create", this.kept === undefined ? this.params : { ...this.params, name: this.kept }, (answer) => {
      if (this.params["audit"]) this.broker.onAudit(Number(answer["sandbox"]), (record) => this.heard(denialOf(record)));
    }, signal).then((answer) => {
      const id = Number(answer["sandbox"]);
      this.kept = String(answer["name"]);
      this.broker.onEnd(id, (why) => (this.ended = why));
      return id;
    });
    try {
      return await this.opening;
    } catch (e) {
      this.opening = undefined;
      throw e;
    }
  }

  /** Starts a command: text for bash, or a list of words. */
  runCmd(command: string | readonly string[], options: CommandOptions & Pick<OutputHooks, "discard"> = {}): Output {
    const start = async (then: (answer: Json) => void): Promise<Json> => {
      const params: Json = { sandbox: await this.open(), [typeof command === "string" ? "shell" : "argv"]: command };
      for (const key of ["cwd", "env", "limits", "tty", "user", "stdin"] as const) if (options[key] !== undefined) params[key] = options[key];
      if (options.timeout !== undefined) params["timeout"] = options.timeout / 1000;
      return this.broker.call("process.start", params, then);
    };
    const output = new Output(command, this.broker, start, options, options.signal);
    this.running.add(output);
    const over = (): void => void this.running.delete(output);
    output.exitCode.then(over, over);
    return output;
  }

  private async finish(output: Output, input: string | Uint8Array | undefined): Promise<CommandResult> {
    if (input !== undefined) {
      void output.write(input).then(() => output.closeStdin()).catch(() => undefined); // it may not want all of it
    }
    return output.result();
  }

  private async complete(command: string | readonly string[], options: RunOptions): Promise<CommandResult> {
    const { input, check: wanted = true, ...rest } = options;
    if (input === undefined) rest.stdin ??= "null";
    const result = await this.finish(this.runCmd(command, rest), input);
    rest.signal?.throwIfAborted();
    return wanted ? check(result) : result;
  }

  /** Runs a command line with bash to its end. */
  async bash(command: string, options: RunOptions = {}): Promise<CommandResult> {
    return this.complete(command, options);
  }

  /** Runs a list of words to its end. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
    return this.complete(argv, options);
  }

  private heard(denial: Denial): void {
    if (this.denied.push(denial) > KEPT_DENIALS) this.denied.shift();
    if (this.onDenied) queueMicrotask(() => this.onDenied?.(denial)); // what it throws is not the connection's
  }

  /**
   * What was refused since this was last asked, the latest 1,000; what a command was refused is known when it has ended.
   * Needs the option audit.
   */
  denials(): Denial[] {
    if (!this.params["audit"]) throw new PolicyError("there is no audit: new Sandbox({ audit: true })");
    const found = this.denied;
    this.denied = [];
    return found;
  }

  /** What its processes use now. */
  async stats(): Promise<Stats> {
    const answer = await this.broker.call("sandbox.stats", { sandbox: await this.open() });
    return { processes: Number(answer["processes"]), memory: Number(answer["memory"]), cpuTime: Number(answer["cpu_time"]), uptime: Number(answer["uptime"]) };
  }

  /** A shell that stays, with its directory and variables, from command to command. */
  async shell(options: Pick<CommandOptions, "cwd" | "env" | "limits" | "user"> = {}): Promise<Shell> {
    await this.open();
    return new Shell((hooks) => this.runCmd(["bash", "--noprofile", "--norc"], { ...options, ...hooks }));
  }

  private async allow(where: string[]): Promise<void> {
    await this.open();
    if (!where.length) return;
    await this.bvisor(["allow", "--", String(this.kept), ...where]);
    this.params["allow"] = [...((this.params["allow"] as string[] | undefined) ?? []), ...where]; // and when it is opened again
  }

  // ---- review ----

  /** Runs a command of bvisor's with the words before its name, which stands behind them, and after. */
  private async command(before: string[], after: string[] = [], tag?: string, live = false, signal?: AbortSignal): Promise<string> {
    await this.open();
    const argv = [...before, tag === undefined ? String(this.kept) : `${this.kept}@${tag}`, ...after];
    if (live && (this.running.size || (await this.stats()).processes)) return this.bvisor(argv, signal); // what runs may go on meanwhile
    if (this.running.size) throw new SandboxError(`${this.running.size} processes are running in it: end them first`, "EBUSY");
    await this.end(); // the next command opens it again
    return this.bvisor(argv, signal);
  }

  private async bvisor(argv: string[], signal?: AbortSignal): Promise<string> {
    const answer = await this.broker.call("command", { argv, temporary: this.temporary }, undefined, signal);
    const text = (key: string): string => String(answer[key] ?? Buffer.from(String(answer[key + "_hex"] ?? ""), "hex").toString("latin1"));
    const lines = text("stderr").trim().split("\n");
    if (answer["status"] === 3) throw new ConflictError(lines[lines.length - 1] ?? "conflicts", lines.slice(0, -1));
    if (answer["status"] !== 0) throw new SandboxError(lines.join("\n").replace(/^bvisor [a-z]+: /, "") || `bvisor ${argv[0]} failed`);
    return text("stdout");
  }

  /** What it has changed.  While something runs in it, this, patch, snapshot and fork see it as a crash would leave it. */
  async diff(options: { signal?: AbortSignal } = {}): Promise<Change[]> {
    return JSON.parse(await this.command(["diff"], ["--json"], undefined, true, options.signal)) as Change[];
  }

  /** What it has changed, as a patch. */
  async patch(options: { signal?: AbortSignal } = {}): Promise<string> {
    return this.command(["diff"], ["--patch"], undefined, true, options.signal);
  }

  /**
   * Brings its changes, or those at and below paths, to the host.  ConflictError: nothing was written.  What runs in it goes
   * on: what is there at the beginning is committed, as a crash would leave it.
   */
  async commit(options: { paths?: string[]; exclude?: string[]; force?: boolean; dryRun?: boolean; signal?: AbortSignal } = {}): Promise<string> {
    return this.command(
      ["commit", ...(options.force ? ["--force"] : []), ...(options.dryRun ? ["--dry-run"] : []), ...(options.exclude ?? []).flatMap((glob) => ["--exclude", glob])],
      (options.paths ?? []).map((p) => resolve(p)),
      undefined,
      true,
      options.signal,
    );
  }

  /** Forgets its changes, or those at and below paths.  What runs in it goes on: it has what it has open, and sees the
   * host's files in place of those that went. */
  async rollback(paths: string[] = []): Promise<string> {
    return this.command(["rollback"], paths.map((p) => resolve(p)), undefined, true);
  }

  /** Keeps its present state under a tag (NAME@TAG), to be forked. */
  async snapshot(tag: string): Promise<void> {
    await this.command(["snapshot"], [tag], undefined, true);
  }

  /** A new sandbox that begins where this one is, or was at the snapshot tag.  A kept one's has a name. */
  async fork(name?: string, tag?: string): Promise<Sandbox> {
    if ((name === undefined) !== this.temporary) throw new PolicyError("a sandbox with a name is forked into one with a name, one without into one without");
    const kept = name ?? `f${randomBytes(8).toString("hex")}`;
    await this.command(["fork"], [kept], tag, true);
    const other = new Sandbox(this.onDenied ? { onDenied: this.onDenied } : {}, this.broker);
    Object.assign(other, { name, kept, temporary: this.temporary, params: name === undefined ? this.params : { ...this.params, name } });
    return other;
  }

  /** Closes it and forgets its files and snapshots. */
  async remove(): Promise<void> {
    if (!this.temporary) await this.command(["rm"]);
    await this.close();
  }

  // ---- its end ----

  private async end(): Promise<void> {
    const opening = this.opening;
    this.opening = undefined;
    if (!opening) return;
    try {
      const sandbox = await opening;
      this.broker.onEnd(sandbox, undefined);
      this.broker.onAudit(sandbox, undefined);
      if (this.ended === undefined) await this.broker.call("sandbox.destroy", { sandbox });
    } catch {
      // it has ended by itself, or never began
    }
  }

  /** Ends it, and all that runs in it.  A kept one keeps its files. */
  async close(): Promise<void> {
    const closed = this.closed;
    this.closed = true;
    await this.end();
    if (this.temporary && this.kept !== undefined && !closed) await this.broker.call("sandbox.remove", { name: this.kept }).catch(() => undefined); // the broker itself has ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  [Symbol.dispose](): void {
    void this.close();
  }
}
