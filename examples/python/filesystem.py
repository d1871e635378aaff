# SPDX-License-Identifier: Apache-2.0
"""Files: written and read from outside, changed by commands, reviewed, kept or forgotten."""
import os
import tempfile

from bvisor import Sandbox

with tempfile.TemporaryDirectory() as project:
    with open(os.path.join(project, "config"), "w", encoding="utf-8") as f:
        f.write("debug = no\n")
    with Sandbox(cwd=project) as sb:
        files = sb.files
        files.mkdir("out/logs", parents=True)
        files.write("out/data.bin", bytes(range(256)))
        files.write("out/run.sh", "#!/bin/sh\nwc -c < out/data.bin\n", mode=0o755)
        print("run.sh says", sb.run(["./out/run.sh"]).stdout.strip())
        files.append("config", "level = 3\n")
        files.rename("out/data.bin", "out/data")
        for entry in files.list("out"):
            print(entry.type, entry.name, entry.size if entry.is_file else "")
        print("the host still has", os.listdir(project))

        print(sb.patch().split("diff --git")[1].splitlines()[-1])
        sb.commit(os.path.join(project, "config"))
        sb.rollback()
        print("changes left:", sb.diff())
    with open(os.path.join(project, "config"), encoding="utf-8") as f:
        print("committed:", f.read().split("\n")[1])
