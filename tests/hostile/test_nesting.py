"""What nests deeply is refused by a real server, which goes on with the same memory."""

import base64
import json

import pytest
import rlp

from commands.evm.raw import RLP_DEPTH_MAX, BadTransaction, read_raw
from db.bounded import rlp_depth

pytestmark = pytest.mark.slow

GROWTH_MAX = 200 << 20


def nested_token(depth, part):
    def encoded(content):
        return base64.urlsafe_b64encode(content).decode().rstrip("=")

    parts = [encoded(b'{"alg":"HS256","typ":"JWT"}'), encoded(b"{}"), "x"]
    parts[part] = encoded(b"[" * depth)
    return ".".join(parts)


def nested_list(depth):
    """RLP of lists in lists: each level adds a header of four bytes at most."""
    encoded = b"\xc0"
    for _ in range(depth):
        length = len(encoded)
        if length < 56:
            head = bytes([0xC0 + length])
        else:
            digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
            head = bytes([0xF7 + len(digits)]) + digits
        encoded = head + encoded
    return encoded


@pytest.mark.parametrize("part", [0, 1])
@pytest.mark.parametrize("depth", [900, 100_000])
def test_a_nested_token_is_refused(lives, depth, part):
    token = nested_token(depth, part)

    for _ in range(3):
        status, _ = lives.ask("GET", "/api/v1/auth/me", Authorization=f"Bearer {token}")
        assert 401 == status


@pytest.mark.parametrize(
    "body", [b"[" * 100_000, b'{"a":' * 100_000, b"[" * 1000 + b"]" * 1000]
)
@pytest.mark.parametrize(
    "path", ["auth/token", "auth/token/external", "commands/register-issuer", "relay"]
)
def test_a_nested_body_is_refused(lives, path, body):
    token = None if path.startswith("auth/") else lives.registered()

    status, content = lives.post(f"/api/v1/{path}", body, token)

    assert status in (400, 403, 422), content


def test_nested_rlp_takes_no_memory(lives):
    token, before = lives.registered(), lives.memory()
    raw = nested_list(38_000)
    assert len(raw) < 131_072

    for _ in range(3):
        status, content = lives.post("/api/v1/relay", {"raw": "0x" + raw.hex()}, token)
        assert 422 == status, content

    assert lives.memory() - before < GROWTH_MAX


@pytest.mark.parametrize("kind", [b"", b"\x01", b"\x02"])
@pytest.mark.parametrize("depth", [5, 500, 38_000])
def test_a_transaction_nests_four_levels_at_most(kind, depth):
    with pytest.raises(BadTransaction):
        read_raw(kind + nested_list(depth))


@pytest.mark.parametrize("depth", range(4))
def test_the_depth_of_rlp_is_that_of_its_lists(depth):
    nested = []
    for _ in range(depth):
        nested = [b"\x01", b"x" * 80, nested, b"", []]

    assert max(depth + 1, 1) == rlp_depth(rlp.encode(nested), RLP_DEPTH_MAX)


def test_json_strings_may_hold_brackets(lives):
    token = lives.registered()

    status, content = lives.post("/api/v1/auth/keys", {"name": "[" * 90}, token)

    assert "nests" not in json.dumps(json.loads(content)), content
    assert status < 500
