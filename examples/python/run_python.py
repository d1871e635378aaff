# SPDX-License-Identifier: Apache-2.0
"""Runs Python code that nobody has read, with limits, and takes its result back."""
import json

import bvisor
from bvisor import Sandbox

CODE = """
import json, sys
numbers = json.load(sys.stdin)
print(json.dumps({"sum": sum(numbers), "squares": [n * n for n in numbers]}))
"""

with Sandbox() as sb:
    sb.files.write("/tmp/task.py", CODE)
    result = sb.run(["python3", "/tmp/task.py"], input=json.dumps([1, 2, 3]), timeout=30, limits={"memory": 1 << 30})
    print(json.loads(result.stdout))

    # What goes wrong comes back as an exception.
    for code in ("import nonsense", "while True: pass", "open('/tmp/x', 'wb').write(b'0' * 2_000_000)"):
        try:
            sb.run(["python3", "-c", code], timeout=3, limits={"cpu_seconds": 1, "file_size": 1 << 20})
        except bvisor.LimitExceeded as e:
            print(f"limit: {e.limit}")
        except bvisor.CommandError as e:
            print(e.stderr.splitlines()[-1])
