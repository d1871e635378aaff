# SPDX-License-Identifier: Apache-2.0
"""An agent edits a repository.  It works on a copy, shows the patch, and only what is approved becomes real.

The "model" here is a list of commands; put yours in its place.  usage: agent.py [--yes]
"""
import os
import subprocess
import sys
import tempfile

from bvisor import Sandbox

APPROVE = "--yes" in sys.argv


def model(last_output):
    """What to do next, from what was seen: a command line, or None."""
    steps = model.steps  # type: ignore[attr-defined]
    print(f"(the model has seen {len(last_output)} characters)")
    return steps.pop(0) if steps else None


model.steps = [  # type: ignore[attr-defined]
    "git log --oneline; cat greet.py; python3 test.py",
    "sed -i 's/Helo/Hello/' greet.py",
    "python3 test.py",
    "rm -rf .git *",  # a bad idea, and harmless
]

repository = tempfile.mkdtemp()
for name, text in (("greet.py", "def greet(name):\n    return f'Helo {name}!'\n"),
                   ("test.py", "from greet import greet\nassert greet('you') == 'Hello you!', greet('you')\nprint('passed')\n")):
    with open(os.path.join(repository, name), "w", encoding="utf-8") as f:
        f.write(text)
git = ["git", "-C", repository, "-c", "user.name=x", "-c", "user.email=x@example.org"]
subprocess.run([*git, "init", "-q"], check=True)
subprocess.run([*git, "add", "."], check=True)
subprocess.run([*git, "commit", "-qm", "Begin"], check=True)

with Sandbox(cwd=repository, env={"PYTHONDONTWRITEBYTECODE": "1"}) as sb:
    output = ""
    step = 0
    while (command := model(output)) is not None:
        sb.snapshot(f"step{step}")
        step += 1
        result = sb.bash(command, check=False, timeout=60)
        output = result.stdout + result.stderr
        print(f"$ {command}\n{output}", end="")
    print("all is gone inside:", not sb.files.exists("greet.py"))
    with sb.fork(tag="step3") as good:  # before the bad idea
        print(good.patch())
        if APPROVE or (sys.stdin.isatty() and input("Commit this? [y/N] ") == "y"):
            print(good.commit(repository), end="")
        else:
            print("not committed")

sys.stdout.flush()
subprocess.run([*git, "diff", "--stat"], check=True)
