"""Messages of Sign-In with Solana as wallets write them, and people who sign them."""

from __future__ import annotations

import hashlib
import json
import subprocess
from datetime import timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from devnet.toolchain import node_command
from helpers import npm
from idl.base58 import to_base58

HOME = Path(__file__).parents[1] / "api" / "auth" / "siws"
NONCE, SIWS = "/api/v1/auth/siws/nonce", "/api/v1/auth/siws"
ORIGIN = "https://app.example"
CLUSTER = "solana:EtWTRABZaYq6iMfeYKouRu166VU2xqa1"
AUTH = {
    "origins": (ORIGIN, "http://localhost:8080"),
    "chain_ids": frozenset({100}),
    "clusters": frozenset({CLUSTER}),
}


class Person:
    """Somebody with a key of Solana, made of a name: for nothing but tests."""

    def __init__(self, name):
        self.seed = hashlib.sha256(name.encode()).digest()
        self.key = Ed25519PrivateKey.from_private_bytes(self.seed)
        self.raw = self.key.public_key().public_bytes_raw()
        self.address = to_base58(self.raw)

    def sign(self, text):
        return to_base58(self.key.sign(text.encode()))

    def signed(self, text):
        """The body of a request."""
        return {"message": text, "signature": self.sign(text)}


ANNA, BEN = Person("anna"), Person("ben")


def stamp(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def nonce(door, **credentials):
    return door.post(NONCE, None, 201, **credentials).json["nonce"]


def message(door, person=ANNA, **changes):
    """A message as wallets write it, with some lines otherwise; None leaves one out."""
    now = door.clock()
    parts = {
        "domain": "app.example",
        "address": person.address,
        "statement": "Sign in to the platform.",
        "URI": f"{ORIGIN}/login?next=%2F",
        "Version": "1",
        "Chain ID": "devnet",
        "Nonce": "",
        "Issued At": stamp(now),
        "Expiration Time": stamp(now + timedelta(minutes=5)),
        "Not Before": None,
        "Request ID": None,
    } | changes
    if parts["Nonce"] == "":
        parts["Nonce"] = nonce(door)
    head = (
        f"{parts.pop('domain')} wants you to sign in with your Solana account:\n"
        f"{parts.pop('address')}"
    )
    statement = parts.pop("statement")
    lines = [f"{name}: {value}" for name, value in parts.items() if value is not None]
    blocks = [head, *([statement] if statement else []), "\n".join(lines)]
    return "\n\n".join(blocks)


def by_the_standard(tasks):
    """What the wallet standard's own functions answer; raises NpmUnavailable."""
    npm.install(HOME)
    done = subprocess.run(
        [*node_command(), "siws.mjs"],
        cwd=HOME,
        input=json.dumps(tasks),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)
