# SPDX-License-Identifier: Apache-2.0
"""Prepares a sandbox once, and runs the tests of a project in forks of it, all at the same time."""
import tempfile
from concurrent.futures import ThreadPoolExecutor

from bvisor import Sandbox

project = tempfile.mkdtemp()


def run(test, prepared):
    """One test in a fork of its own: what it breaks is broken for nobody else."""
    with prepared.fork(tag="prepared") as sb:
        result = sb.bash(test, check=False, timeout=60)
        return result.exit_code, result.stdout.strip()


with Sandbox(cwd=project) as base:
    # Whatever takes long, once: installing, building, filling a database.
    base.bash("mkdir data; seq 1000 > data/numbers; sqlite3 data/db 'create table t(x); insert into t values (1)' || touch data/db")
    base.snapshot("prepared")
    tests = ["wc -l < data/numbers", "rm -rf data; ls | wc -l", "seq 5 > data/numbers; wc -l < data/numbers", "test -e data/db && echo there", "false"]
    with ThreadPoolExecutor(4) as pool:
        for test, (code, out) in zip(tests, pool.map(lambda test: run(test, base), tests)):
            print(f"{'ok' if code == 0 else 'FAILED'}  {test}: {out}")
