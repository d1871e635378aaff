// SPDX-License-Identifier: Apache-2.0
// Node 18 has neither symbol; these are what TypeScript's helpers take then.
const symbols = Symbol as { dispose?: symbol; asyncDispose?: symbol };
symbols.dispose ??= Symbol.for("Symbol.dispose");
symbols.asyncDispose ??= Symbol.for("Symbol.asyncDispose");

export {};
