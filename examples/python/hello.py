# SPDX-License-Identifier: Apache-2.0
"""Hello, world: three lines give a program a shell."""
from bvisor import Sandbox

with Sandbox() as sb:
    print(sb.bash("echo 'Hello, world!'").stdout, end="")
