# SPDX-License-Identifier: Apache-2.0
"""What a sandbox does not let happen."""
import os
import tempfile

import bvisor
from bvisor import Sandbox


def show(what, good):
    """One line, and an exception when a promise is not kept."""
    print(f"{'kept' if good else 'BROKEN'}: {what}")
    assert good


with tempfile.TemporaryDirectory() as directory:
    secret = os.path.join(directory, "secret")
    with open(secret, "w", encoding="utf-8") as f:
        f.write("the key\n")
    with Sandbox(hide=[secret], cwd=directory) as sb, Sandbox(cwd=directory) as other:
        show("it has a name of its own", sb.bash("hostname").stdout == "bvisor\n")
        show("what is hidden does not exist", sb.bash("cat secret", check=False).exit_code != 0)
        show("but for who may see it", other.bash("cat secret").stdout == "the key\n")
        show("the host's passwords do not exist", sb.bash("cat /etc/shadow", check=False).exit_code != 0)
        sb.bash("echo ours > file; rm -rf /usr/share/doc", check=False)
        show("writes stay inside", not os.path.exists(os.path.join(directory, "file")) and os.path.isdir("/usr/share/doc"))
        show("and in one sandbox", other.bash("ls").stdout == "secret\n")
        with sb.start("sleep 60"):
            show("nobody sees another's processes", "sleep" not in other.bash("cat /proc/[0-9]*/comm").stdout)
            show("nor signals them", sb.bash(f"kill {os.getpid()}", check=False).exit_code != 0)
        for call in ("/usr/sbin/chroot /tmp", "mount -t tmpfs none /mnt", "unshare -U true", "insmod x"):
            try:
                sb.bash(call)
            except bvisor.CommandError:
                show(f"no {os.path.basename(call.split()[0])}", True)
            else:
                show(f"no {os.path.basename(call.split()[0])}", False)
        show("no network", sb.run(["bash", "-c", "exec 3<>/dev/tcp/192.0.2.1/80"], check=False).exit_code != 0)
    show("all is gone at the end", os.listdir(directory) == ["secret"])
