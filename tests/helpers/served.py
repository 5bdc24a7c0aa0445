"""`chainfold serve` as a process of its own, for what only a real server can show."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path

from helpers import servers
from helpers.processes import descendants
from ops.ports import free_port

COMMAND = Path(sys.executable).parent / "chainfold"
KEY = "0x" + "22" * 32  # nobody's: for tests only
PASSWORD = "a long password for tests"
SETTINGS = """
[chains.edge]
id = "eip155:100"
rpc = ["{rpc}"]
finality = "ibft"

[database]
url = "{url}"

[api]
port = {port}
limit = "none"
sign_in_limit = "none"

[metrics]
port = {metrics}

[signers.registrar]
kind = "env"
env = "REGISTRAR_KEY"
address = "0x1563915e194d8cfba1943570603f7606a3115508"
gas_per_day = "1 ether"
"""


class Served:
    """The API under a real server; `process` is the command that was started."""

    def __init__(self, folder, url, *arguments, rpc="http://127.0.0.1:9", more=""):
        self.port, self.metrics_port = free_port(), free_port()
        self.folder, self.url = folder, url
        text = SETTINGS.format(
            url=servers.plain(url), port=self.port, metrics=self.metrics_port, rpc=rpc
        )
        (folder / "chainfold.toml").write_text(text + more)
        self.environment = {
            **{k: v for k, v in os.environ.items() if not k.startswith("CHAINFOLD_")},
            "REGISTRAR_KEY": KEY,
        }
        self.log = folder / "served.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [COMMAND, "serve", *arguments], cwd=folder, env=self.environment,
                stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        self._await()

    def _await(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log.read_text()
            with contextlib.suppress(OSError):
                if self.ask("GET", "/health/live")[0] == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(self.log.read_text())

    def run(self, *arguments, given=""):
        """Run another verb in the same folder."""
        done = subprocess.run(
            [COMMAND, *arguments], cwd=self.folder, env=self.environment, text=True,
            input=given, capture_output=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def ask(self, method, path, body=None, timeout=30, port=None, **headers):
        """The status and the content of an answer."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", port or self.port, timeout=timeout
        )
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body, named)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def post(self, path, body, token=None, **headers):
        """The status and the content of the answer to a JSON body."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        headers.setdefault("Content_Type", "application/json")
        headers.setdefault("Idempotency_Key", str(uuid.uuid4()))
        return self.ask("POST", path, content, **headers)

    def connect(self, receive_bytes=None):
        """A bare connection, to send what no client would."""
        connection = socket.socket()
        if receive_bytes is not None:  # how much the kernel takes before it is read
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.settimeout(30)
        connection.connect(("127.0.0.1", self.port))
        return connection

    def registered(self):
        """The access token of a new account that anybody could have made."""
        login = f"{uuid.uuid4().hex[:12]}@example.org"
        who = {"login": login, "password": PASSWORD}
        status, content = self.post("/api/v1/auth/register", {**who, "role": "issuer"})
        assert status in (200, 201), content
        status, content = self.post("/api/v1/auth/token", who)
        assert status == 200, content
        return json.loads(content)["access_token"]

    def signed_in(self, role):
        """The access token of a new account that an operator made."""
        login = f"{uuid.uuid4().hex[:12]}@example.org"
        self.run(
            "account", "create", "--email", login, "--role", role, "--password-stdin",
            given=PASSWORD,
        )  # fmt: skip
        status, content = self.post(
            "/api/v1/auth/token", {"login": login, "password": PASSWORD}
        )
        assert status == 200, content
        return json.loads(content)["access_token"]

    def samples(self):
        """Every sample that Prometheus would read: name and labels to value."""
        status, content = self.ask("GET", "/metrics", port=self.metrics_port)
        assert status == 200, content
        lines = (each for each in content.decode().splitlines() if each[0] != "#")
        return {name: float(v) for name, v in (line.rsplit(" ", 1) for line in lines)}

    def workers(self):
        """The ids of the processes that answer."""
        return descendants(self.process.pid)

    def memory(self):
        """Resident memory of all its processes, in bytes."""
        pages = sum(
            int(Path(f"/proc/{pid}/statm").read_text().split()[1])
            for pid in [self.process.pid, *self.workers()]
        )
        return pages * os.sysconf("SC_PAGE_SIZE")

    def close(self):
        """End it in good order, or else at once."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextlib.contextmanager
def serving(folder, postgres_url, template, *arguments, **options):
    """A served API on a database of its own."""
    with servers.fresh_database(postgres_url, template) as url:
        served = Served(folder, url, *arguments, **options)
        try:
            yield served
        finally:
            served.close()
