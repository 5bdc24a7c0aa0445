"""Commands as a shell starts them, in a process group of their own."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

COMMAND = Path(sys.executable).parent / "chainfold"


def descendants(pid):
    """The processes that a process has started, and those that they have."""
    pids = [pid]
    for each in pids:
        for task in Path(f"/proc/{each}/task").iterdir():
            pids += map(int, (task / "children").read_text().split())
    return pids[1:]


class Group:
    """A command in a process group of its own, as a shell starts it at a terminal."""

    def __init__(self, folder, *arguments):
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")
        }
        # Every process of ours inherits this, wherever it goes: sessions, orphans.
        self.mark = f"CHAINFOLD_TEST_MARK={os.getpid()}-{time.monotonic_ns()}"
        name, _, value = self.mark.partition("=")
        self.log = folder / "said"
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                [COMMAND, *arguments], cwd=folder, env={**environment, name: value},
                stdout=said, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

    def send(self, number):
        os.killpg(self.process.pid, number)

    def living(self):
        """The processes that carry our mark, as (pid, command line)."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if self.mark.encode() in (folder / "environ").read_bytes().split(b"\0"):
                    words = (folder / "cmdline").read_bytes().split(b"\0")
                    found.append((int(folder.name), b" ".join(words).decode()))
            except OSError:
                continue
        return found

    def end(self):
        """Kill what is left."""
        for pid, _ in self.living():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(10)


def wait_until(condition, seconds=30, group=None):
    deadline = time.monotonic() + seconds
    while not condition():
        said = group.log.read_text() if group else ""
        assert time.monotonic() < deadline, f"not within {seconds} s\n{said}"
        time.sleep(0.1)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def live(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/live", timeout=2):
            return True
    except OSError:
        return False
