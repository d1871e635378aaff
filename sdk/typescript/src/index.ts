// SPDX-License-Identifier: Apache-2.0
/** Sandboxes for commands that nobody has read: local, at once, on the host's own tools. */
import "./symbols.js";
export { closeAll } from "./broker.js";
export * from "./errors.js";
export { type Denial } from "./audit.js";
export { type FileEvent, type FileInfo, type Files, type Watch } from "./files.js";
export { type CommandResult, type Output } from "./process.js";
export { type Shell, type ShellRunOptions } from "./shell.js";
export { Sandbox, type Change, type CommandOptions, type Limits, type Network, type RunOptions, type SandboxOptions, type Stats } from "./sandbox.js";
