// SPDX-License-Identifier: Apache-2.0
import type { Json } from "./broker.js";

/** Something that policy refused to a command. */
export interface Denial {
  /** "limit": it met a limit (a quota). */
  kind: "denied" | "limit";
  /** The module that refused. */
  by: string;
  /** The system call. */
  call: string;
  /** What it failed with: "ENETUNREACH". */
  errno: string;
  /** The path, "ADDRESS:PORT" or "process N" that it was about; a path that is no text with U+FFFD in it. */
  what: string | undefined;
  /** Who asked. */
  pid: number;
  command: string;
  /** Milliseconds since the Epoch. */
  time: number;
  /** How many came before it too fast to be told. */
  lost: number;
}

function text(record: Json, key: string): string | undefined {
  const hex = record[`${key}_hex`];
  return typeof hex === "string" ? Buffer.from(hex, "hex").toString("utf8") : (record[key] as string | undefined);
}

/** Of a record of the audit, bvisor(1). */
export function denialOf(record: Json): Denial {
  return {
    kind: record["event"] === "limit" ? "limit" : "denied",
    by: String(record["by"]),
    call: String(record["call"]),
    errno: String(record["errno"]),
    what: text(record, "what"),
    pid: Number(record["pid"]),
    command: text(record, "command") ?? "",
    time: Number(record["time"]) * 1000,
    lost: Number(record["lost"] ?? 0),
  };
}
