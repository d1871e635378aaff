# SPDX-License-Identifier: Apache-2.0
"""A web server that runs what strangers send, with limits: POST a Python program, get what it prints.

usage: server.py [PORT]     then     curl --data-binary @program.py localhost:PORT
"""
import http.server
import json
import sys
import threading

import bvisor
from bvisor import Sandbox

MAX_PROGRAM, MAX_OUTPUT, SLOTS = 64 << 10, 64 << 10, threading.Semaphore(4)
LIMITS = {"cpu_seconds": 2, "memory": 512 << 20, "file_size": 1 << 20, "open_files": 64}


def execute(program):
    """What becomes of it, as an answer."""
    with SLOTS, Sandbox(quota="16M", cwd="/", hide=["/home", "/root", "/srv"]) as sb:
        sb.files.write("/tmp/program.py", program)
        try:
            r = sb.run(["python3", "-I", "/tmp/program.py"], cwd="/tmp", timeout=5, limits=LIMITS, check=False)
        except bvisor.SandboxError as e:
            return {"error": str(e)}
        return {"status": r.exit_code, "limit": r.limit, "stdout": r.stdout[:MAX_OUTPUT], "stderr": r.stderr[:MAX_OUTPUT],
                "seconds": round(r.duration, 3)}


class Handler(http.server.BaseHTTPRequestHandler):
    """POST / with a program."""

    def do_POST(self):  # pylint: disable=invalid-name
        """Runs it."""
        size = int(self.headers.get("Content-Length") or 0)
        answer = execute(self.rfile.read(size)) if 0 < size <= MAX_PROGRAM else {"error": "a program has 1 to 65536 bytes"}
        body = json.dumps(answer).encode()
        self.send_response(200 if "status" in answer else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *args):  # pylint: disable=redefined-builtin
        """Quiet."""


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1]) if len(sys.argv) > 1 else 8080), Handler)
    print(f"listening on {server.server_address[1]}", flush=True)
    server.serve_forever()
