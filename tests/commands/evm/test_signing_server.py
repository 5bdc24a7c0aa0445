"""The signing port: what a page in a browser, or anybody hostile, can send to it."""

import http.client
import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from commands.errors import SigningRefused
from commands.evm.signers import Payload, signer_from_key
from commands.evm.signing.guard import GuardedSigner, Rules
from commands.evm.signing.served import methods
from commands.evm.signing.wire import as_parameters, as_payload
from commands.signing.server import keys_by_address, open_server

LOCAL = signer_from_key("s", "0x" + "22" * 32)  # nobody's: for tests only
PAYLOAD = Payload(
    chain_id=100, nonce=7, gas_price=10**9, gas=50_000, to=b"\xc0" * 20, value=5,
    data=b"\x01\x02\x03\x04",
)  # fmt: skip
CALL = json.dumps(
    {"jsonrpc": "2.0", "id": 1, "method": "eth_signTransaction",
     "params": [as_parameters(PAYLOAD, LOCAL.address)]}
).encode()  # fmt: skip
JSON = {"Content-Type": "application/json"}


@pytest.fixture
def server(migrated_engine):
    rules = Rules(name="s", chain_id=100)
    guarded = GuardedSigner(
        migrated_engine, LOCAL, rules, lambda: datetime(2026, 5, 1, tzinfo=UTC)
    )
    with running({LOCAL.address: guarded}) as found:
        yield found


@contextmanager
def running(signers):
    with open_server("127.0.0.1:0", methods(signers)) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def post(server, body=CALL, **headers):
    """The status of an answer, and what it says."""
    port = server.server_address[1]
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    given = {**JSON, **{name.replace("_", "-"): v for name, v in headers.items()}}
    try:
        connection.request("POST", "/", body, given)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    return answer.status, json.loads(content) if answer.status == 200 else None


def test_json_to_its_own_host_is_signed(server):
    port = server.server_address[1]

    for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
        status, answer = post(server, Host=host)
        assert (200, True) == (status, "result" in answer)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (415, {"Content_Type": "text/plain"}),
        (415, {"Content_Type": "application/x-www-form-urlencoded"}),
        (415, {"Content_Type": ""}),
        (403, {"Origin": "https://elsewhere.example"}),
        (403, {"Origin": "null"}),
        (403, {"Host": "elsewhere.example"}),
        (403, {"Host": "elsewhere.example:{port}"}),
        (403, {"Host": "127.0.0.1:1"}),
        (403, {"Host": ""}),
        (400, {"Content_Length": "-1"}),
        (400, {"Content_Length": "1e3"}),
        (413, {"Content_Length": str(1 << 40)}),
    ],
)
def test_what_a_page_of_another_site_can_send_is_not_signed(server, status, headers):
    port = server.server_address[1]
    given = {name: value.format(port=port) for name, value in headers.items()}

    assert (status, None) == post(server, **given)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000, b'{"a":' * 100_000, b"\xff" * 10, b"{}", b"[]", b"null",
        b'{"id": 1, "method": "m", "params": [1]}', b'{"method": "m", "params": []}',
        CALL.replace(b'"id": 1', b'"id": 1, "id": 2'),
        b'{"id": 1, "method": "chainfold_floor", "params": [{"from": "\\u0000"}]}',
    ],
)  # fmt: skip
def test_what_is_no_call_is_an_error_and_the_next_is_answered(server, body):
    status, answer = post(server, body)

    assert (200, True) == (status, "error" in answer)
    assert "result" in post(server)[1]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("nonce", hex(1 << 64)), ("gas", hex(1 << 63)), ("chainId", hex(1 << 64)),
        ("value", hex(1 << 256)), ("nonce", "0x-1"), ("nonce", "0x_1"), ("nonce", "1"),
        ("nonce", 1), ("to", "0x12"), ("data", "0xzz"), ("value", "0x" + "0" * 10_000),
    ],
)  # fmt: skip
def test_numbers_that_no_chain_takes_are_refused(server, name, value):
    parameter = {**as_parameters(PAYLOAD, LOCAL.address), name: value}

    with pytest.raises(SigningRefused):
        as_payload(parameter)
    call = {"id": 1, "method": "eth_signTransaction", "params": [parameter]}
    assert "error" in post(server, json.dumps(call).encode())[1]


def test_two_signers_of_one_key_are_refused():
    """A request names an address alone: whose rules hold must not be a guess."""
    other = signer_from_key("t", "0x" + "23" * 32)
    again = signer_from_key("u", "0x" + "22" * 32)

    assert keys_by_address([LOCAL, other]) == {
        LOCAL.address: LOCAL, other.address: other,
    }  # fmt: skip
    with pytest.raises(SigningRefused, match="s and u have the same key: give each a"):
        keys_by_address([LOCAL, other, again])
