# SPDX-License-Identifier: Apache-2.0
"""A notebook of shell cells: each cell finds what the ones before it left.  usage: repl.py < cells

Cells are separated by lines of "%%"; on a terminal each line is one.
"""
import sys

import bvisor
from bvisor import Sandbox


def cells():
    """The cells of standard input."""
    if sys.stdin.isatty():
        while True:
            try:
                yield input("In: ")
            except EOFError:
                return
    yield from sys.stdin.read().split("\n%%\n")


with Sandbox() as sb:
    shell = sb.shell()
    for number, cell in enumerate(cells(), 1):
        try:
            result = shell.run(cell, check=False, timeout=60)
        except bvisor.SandboxError:
            shell = sb.shell()  # it has ended; files are still there
            result = shell.run(cell, check=False, timeout=60)
        print(f"Out[{number}]: {result.stdout}{result.stderr}", end="" if (result.stdout + result.stderr).endswith("\n") else "\n")
        if result.exit_code:
            print(f"status {result.exit_code}")
