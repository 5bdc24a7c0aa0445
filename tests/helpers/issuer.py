"""A service that signs people in: an ES256 key, and its JWKS over loopback HTTP."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm


class Issuer:
    """Signs tokens, and serves its public keys; `answer` replaces them when set."""

    def __init__(self):
        self.keys = {}
        self.asked = 0
        self.answer = None  # (status, body)
        self.rotate("first")
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked += 1
                status, body = outer.answer or (200, outer.jwks())
                self.send_response(status)
                if status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/jwks"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def rotate(self, kid):
        self.kid = kid
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def jwks(self):
        return orjson.dumps({"keys": [self.public(kid) for kid in self.keys]})

    def public(self, kid):
        key = self.keys[kid].public_key()
        return {**ECAlgorithm.to_jwk(key, as_dict=True), "kid": kid, "alg": "ES256"}

    def sign(self, claims, *, key=None, algorithm="ES256", headers=None):
        """A token with these claims."""
        return jwt.encode(
            claims, self.keys[self.kid] if key is None else key, algorithm=algorithm,
            headers={"kid": self.kid, **(headers or {})},
        )  # fmt: skip

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()
