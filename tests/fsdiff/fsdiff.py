#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
Differential filesystem tester: the same random operations natively on a plain directory and inside
bvisor on the copy-on-write view of one; what each operation gave and the trees in the end are
compared, and on a difference the sequence is shrunk to the few operations that it takes.

Modes:
  lower   the tree is the host's
  kept    the same, after one sequence in a sandbox that is kept: the second one begins with what
          that left in the layer
  stacked three generations: the layer of a sandbox, what its fork did, and what the fork of that does
  upper   the tree was made by the sandbox itself

Differences that are known and stay, with the row of docs/compatibility.md that gives the reason, are
in KNOWN; what a line of one has in common with none is a failure.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "guest"))
import harness  # noqa: E402

# (operation, native result, result inside, row of the table)
KNOWN = [
    (r"(rename2?|linkf?) .*", r"E.*", r"ENAMETOOLONG", "a name of more than 255 bytes is noticed before the other path"),
    (r"(fstat|empty) .*", r"4\d+ \d+:\d+", r"4\d+ \d+:\d+", "a removed or replaced directory of the host, by descriptor"),
]


def known(line, other):
    op, _, native = line.partition(" = ")
    _, _, inside = other.partition(" = ")
    return any(re.fullmatch(o, op.split(" ", 2)[-1]) and re.fullmatch(n, native) and re.fullmatch(i, inside)
               for o, n, i, _ in KNOWN)


class Told:
    """
    What differs with watches, and may (docs/compatibility.md): two links of one file that change places with
    something tell of it in another order; a directory of the host that was moved does not tell when a descriptor
    from before is closed; what only the host has and somebody has open ends when it is removed, and not with
    the last close.
    """
    EVENT = re.compile(r" \[(\d+) ([0-9a-f]+) [^]]*\]")
    LAST = ("400", "8000")

    def __init__(self):
        self.ended = set()

    def known(self, a, b):
        op, inside = a.partition(" = ")[0], b.partition(" = ")[0]
        if op == inside and re.search(r" rename2 .* 2$", op):
            return sorted(re.findall(r"\[.*?\]", a)) == sorted(re.findall(r"\[.*?\]", b))
        a = re.sub(r" \[\d+ 40000010 [^]]*\]", "", a)
        if re.search(r" (unlink|rmdir|rename2?) ", op):
            native = {m[0] for m in self.EVENT.finditer(a)}
            early = {m[1] for m in self.EVENT.finditer(b) if m[2] in self.LAST and m[0] not in native}
            self.ended |= early
            b = self.EVENT.sub(lambda m: "" if m[1] in early and m[2] in self.LAST else m[0], b)
        # What its descriptors do is told of it, and of its directory, on the host's side only.
        unheard = {m[2] for m in self.EVENT.finditer(a) if m[1] in self.ended}
        told = {m[0] for m in self.EVENT.finditer(b)}
        a = self.EVENT.sub(lambda m: "" if m[2] in unheard and m[0] not in told else m[0], a)
        return a == b


class Tester:
    def __init__(self, bvisor, fsd, work, events):
        self.bvisor, self.fsd, self.work, self.events = bvisor, fsd, work, events
        self.env = dict(os.environ, XDG_STATE_HOME=os.path.join(work, "state"))

    def fresh(self, place, make=True):
        top = os.path.join(self.work, place)
        if os.path.exists(top):
            subprocess.run(["chmod", "-R", "u+rwX", top], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["rm", "-rf", top], check=True)
        # Deep enough for what a path can reach above it by a "../" and a symlink made there.
        tree = os.path.join(top, "u", "t")
        os.makedirs(os.path.dirname(tree))
        if make:
            subprocess.run([self.fsd, "tree", tree], check=True)
        return tree

    def gen(self, seed, n):
        ops = subprocess.run([self.fsd, "gen", str(seed), str(n)], check=True, capture_output=True, text=True).stdout.splitlines(True)
        # A lock of the host's file is kept with a duplicate of the descriptor, whose last close is then not seen.
        return [o for o in ops if not (self.events and " flock " in o)]

    def write(self, name, ops):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="utf-8") as f:
            f.writelines(ops)
        return path

    def run(self, argv):
        r = subprocess.run(argv, capture_output=True, env=self.env, stdin=subprocess.DEVNULL, timeout=60, check=False)
        out = r.stdout.decode("utf-8", "backslashreplace").splitlines()
        return out + ([f"status {r.returncode} {r.stderr[-300:]!r}"] if r.returncode else [])

    def must(self, *argv):
        r = subprocess.run([self.bvisor, *argv], capture_output=True, env=self.env, check=False)
        if r.returncode:
            raise SystemExit(f"bvisor {' '.join(argv)}: {r.stderr.decode()}")

    def both(self, mode, first, ops):
        """The two logs; first: the sequences that the layer went through before (modes kept, stacked)."""
        path = self.write("ops", ops)
        native, inside = self.fresh("n"), self.fresh("i", mode != "upper")
        box = [self.bvisor, "run", "--env-all"]
        if first:
            shutil.rmtree(self.env["XDG_STATE_HOME"], ignore_errors=True)
        for generation, sequence in enumerate(first):
            before = self.write("before", sequence)
            self.run([self.fsd, "run", before, native])
            self.run([*box, "--name", f"g{generation}", "--", self.fsd, "run", before, inside])
            if mode == "stacked":
                self.must("snapshot", f"g{generation}", "t")
                self.must("fork", f"g{generation}@t", f"g{generation + 1}")
        if first:
            box += ["--name", f"g{len(first) if mode == 'stacked' else 0}"]
        what = "watch" if self.events else "run"
        run = [self.fsd, what, path, inside, *self.events]
        if mode == "upper":
            run = ["sh", "-c", '"$1" tree "$4" && exec "$@"', "sh", *run]
        return self.run([self.fsd, what, path, native, *self.events]), self.run([*box, "--", *run])

    def differ(self, mode, first, ops):
        """The first line that differs, with its number; None."""
        native, inside = self.both(mode, first, ops)
        told = Told()
        for i, (a, b) in enumerate(zip(native + [""] * len(inside), inside + [""] * len(native))):
            if a != b and not known(a, b) and not (self.events and told.known(a, b)):
                return i, a, b
        return None

    def shrink(self, mode, first, ops, end):
        """ddmin (Zeller 1999) over the operations, within some time."""
        def bad(candidate):
            return self.differ(mode, first, candidate) is not None

        n = 2
        while len(ops) >= 2 and time.monotonic() < end:
            size = max(len(ops) // n, 1)
            for at in range(0, len(ops), size):
                rest = ops[:at] + ops[at + size:]
                if rest and bad(rest):
                    ops, n = rest, max(n - 1, 2)
                    break
                if time.monotonic() > end:
                    break
            else:
                if size == 1:
                    break
                n = min(n * 2, len(ops))
        return ops


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    ap.add_argument("--bvisor")
    ap.add_argument("--build")
    ap.add_argument("--fsd", required=True, help="the compiled guest")
    ap.add_argument("--ops", type=int, default=int(os.environ.get("FSDIFF_OPS", "100000")), help="operations in all")
    ap.add_argument("--length", type=int, default=1000, help="operations of one sequence")
    ap.add_argument("--seed", type=int, default=1, help="the first one")
    ap.add_argument("--modes", default="lower,kept,stacked,upper")
    ap.add_argument("--watch", metavar="EVENTS", help="with a watch of everything for these inotify(7) events, a number")
    ap.add_argument("--failures", type=int, default=5, help="stop after so many")
    ap.add_argument("--shrink", type=int, default=60, help="seconds to shrink each")
    args = ap.parse_args()

    tap = harness.Tap()
    work = harness.workdir(args.build)
    os.chmod(work, 0o755)
    fsd = shutil.copy2(args.fsd, os.path.join(work, "fsd"))
    t = Tester(harness.bvisor(args), fsd, work, [args.watch] if args.watch else [])
    modes = args.modes.split(",")
    each = max(args.ops // args.length // len(modes), 1)
    for mode in modes:
        failures = []
        for seed in range(args.seed, args.seed + each):
            first = [t.gen(seed + 1000000 * i, 150) for i in range(1, {"kept": 2, "stacked": 3}.get(mode, 1))]
            ops = t.gen(seed, args.length)
            found = t.differ(mode, first, ops)
            # What does not come a second time came from outside: the host's filesystem is shared.
            if found and not t.differ(mode, first, ops):
                print(f"# {mode}, seed {seed}: {found[1][:100]} but inside {found[2][:100]}; not so again")
                continue
            if not found:
                continue
            if found[0] < len(ops):
                ops = ops[:found[0] + 1]
            end = time.monotonic() + args.shrink
            ops = t.shrink(mode, first, ops, end)
            first = shrink_first(t, mode, first, ops, end)
            _, a, b = t.differ(mode, first, ops) or (0, "it did not come again", "")
            failures.append([f"seed {seed}, {len(ops)} operations:"] + [f"before ({i}): " + o.strip() for i, sequence in enumerate(first) for o in sequence[-40:]] +
                            [o.strip() for o in ops[-40:]] + ["native: " + a[:300], "inside: " + b[:300]] +
                            (["first seen: " + found[1][:300], "inside:     " + found[2][:300]] if (a, b) != found[1:] else []))
            if len(failures) >= args.failures:
                break
        tap.ok(not failures, f"{mode}: {each} sequences of {args.length} operations", sum(failures, []))
    return tap.done()


def shrink_first(t, mode, first, ops, end):
    """As few operations as will do of each sequence before; an empty one still makes its generation."""
    for i, sequence in enumerate(first):
        n = len(sequence)
        while n and time.monotonic() < end:
            for at in range(0, len(sequence), n):
                rest = sequence[:at] + sequence[at + n:]
                if t.differ(mode, first[:i] + [rest] + first[i + 1:], ops):
                    sequence = rest
                    break
            else:
                n //= 2
            n = min(n, len(sequence))
        first = first[:i] + [sequence] + first[i + 1:]
    return first


if __name__ == "__main__":
    sys.exit(main())
