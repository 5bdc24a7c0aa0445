"""A node behind real HTTP that answers what a test tells it, however odd.

with ScriptedNode(head=7) as node:
    node.answers["eth_gasPrice"] = "0x5"           # or a function of the parameters
    node.answers["eth_call"] = Fault(-32005, "limit exceeded")
    node.body = b"[" * 300_000                     # instead of any answer
    node.silent.set()                              # takes requests, answers none
"""

import json
import threading
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Fault:
    """An error of JSON-RPC."""

    code: int
    message: str
    data: Any = None

    def as_json(self):
        found = {"code": self.code, "message": self.message}
        return found if self.data is None else found | {"data": self.data}


class ScriptedNode:
    """One node; `sent` are the bytes that it was given, `calls` counts by method."""

    def __init__(self, *, chain_id=100, head=10, port=0, path=""):
        self.head, self.path = head, path
        self.chain_id = chain_id
        self.answers, self.calls, self.sent = {}, Counter(), []
        self.body, self.status, self.silent = None, 200, threading.Event()
        self.drip_seconds = None
        self.batches = True
        self.requests = 0
        self.done = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}{path}"
        self.thread = threading.Thread(
            target=self.server.serve_forever, args=(0.05,), daemon=True
        )

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        self.done.set()
        self.server.shutdown()
        self.server.server_close()

    def reply(self, message):
        method, params = message["method"], message["params"]
        self.calls[method] += 1
        result = self._result(method, params)
        if isinstance(result, Fault):
            return {"jsonrpc": "2.0", "id": message["id"], "error": result.as_json()}
        return {"jsonrpc": "2.0", "id": message["id"], "result": result}

    def _result(self, method, params):
        if method == "eth_sendRawTransaction":
            self.sent.append(params[0])
        if method in self.answers:
            found = self.answers[method]
            return found(*params) if callable(found) else found
        return {
            "eth_chainId": hex(self.chain_id), "eth_blockNumber": hex(self.head),
            "eth_gasPrice": hex(10**9), "eth_getTransactionCount": "0x0",
            "eth_getBalance": hex(10**18), "eth_estimateGas": hex(50_000),
            "eth_sendRawTransaction": "0x" + "ab" * 32,
        }.get(method, Fault(-32601, f"the method {method} does not exist"))  # fmt: skip

    def _answer(self, body):
        asked = json.loads(body)
        if isinstance(asked, list) and not self.batches:
            error = Fault(-32600, "batches are not taken").as_json()
            return {"jsonrpc": "2.0", "id": None, "error": error}
        if isinstance(asked, list):
            return [self.reply(each) for each in asked]
        return self.reply(asked)

    def _handler(node):
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                node.requests += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                while node.silent.is_set() and not node.done.wait(0.02):
                    pass
                answer = node.body
                if answer is None:
                    answer = json.dumps(node._answer(body)).encode()
                self.send_response(node.status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self._write(answer)

            def _write(self, answer):
                if node.drip_seconds is None:
                    self.wfile.write(answer)
                    return
                for at in range(len(answer)):
                    self.wfile.write(answer[at : at + 1])
                    if node.done.wait(node.drip_seconds):
                        return

            def handle(self):
                try:
                    super().handle()
                except OSError:
                    self.close_connection = True

            def log_message(self, *_):
                """Nothing."""

        return Handler
