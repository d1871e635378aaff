// SPDX-License-Identifier: Apache-2.0

/**
 * The base of all that this package throws.  `errno`: the system's name of it ("ENOENT"), where there is one; `rule`: the part of
 * the policy that it is about ("net", "core.workers"), where it is about one.
 */
export class BvisorError extends Error {
  override name = "BvisorError";
  constructor(message: string, readonly errno?: string, readonly rule?: string) {
    super(message);
  }
}

/** A sandbox could not be started, or has ended. */
export class SandboxError extends BvisorError {
  override name = "SandboxError";
}

/** What was asked for is not a policy, or the policy forbids it. */
export class PolicyError extends BvisorError {
  override name = "PolicyError";
}

/** The broker and this package do not understand each other. */
export class ProtocolError extends BvisorError {
  override name = "ProtocolError";
}

/** bvisor is not here, or cannot work here. */
export class UnsupportedHost extends BvisorError {
  override name = "UnsupportedHost";
}

/** A commit would overwrite what the host changed meanwhile, or leave the sandbox's directory. */
export class ConflictError extends BvisorError {
  override name = "ConflictError";
  constructor(message: string, readonly conflicts: string[]) {
    super(message);
  }
}

/** A command ended with another status than 0. */
export class CommandError extends BvisorError {
  override name = "CommandError";
  constructor(message: string, readonly exitCode: number, readonly stdout: string, readonly stderr: string) {
    super(message);
  }
}

/** A command was killed because its time was over. */
export class TimeoutError extends CommandError {
  override name = "TimeoutError";
}

/** A command was ended by a limit. */
export class LimitExceeded extends CommandError {
  override name = "LimitExceeded";
  constructor(message: string, readonly limit: string, exitCode: number, stdout: string, stderr: string) {
    super(message, exitCode, stdout, stderr);
  }
}

/** @internal The error for what the broker answered. */
export function ofBroker(error: { code?: unknown; message?: unknown; errno?: unknown; rule?: unknown }): BvisorError {
  const message = String(error.message);
  const errno = error.errno === undefined ? undefined : String(error.errno);
  const rule = error.rule === undefined ? undefined : String(error.rule);
  switch (error.code) {
    case "invalid":
      return new PolicyError(message, errno, rule);
    case "protocol":
    case "version":
    case "no_method":
      return new ProtocolError(message, errno);
    default:
      return new SandboxError(message, errno, rule);
  }
}
