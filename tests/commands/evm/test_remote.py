"""A signer in another process: what it signs is read before it is trusted."""

import contextlib
import json
import socket
import threading
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from commands.errors import SigningHeld, SigningRefused
from commands.evm.raw import read_raw
from commands.evm.signers import Payload, signer_from_key
from commands.evm.signing.guard import GuardedSigner, Rules
from commands.evm.signing.remote import RemoteSigner
from commands.evm.signing.served import methods
from commands.evm.signing.wire import as_payload
from commands.signing.server import open_server
from commands.signing.wire import NO_METHOD
from db.commands.states import Hold
from db.commands.stops import EVERYTHING, stop_signing

KEY, OTHER_KEY = "0x" + "22" * 32, "0x" + "33" * 32  # nobody's: for tests only
LOCAL = signer_from_key("s", KEY)
NOW = datetime(2026, 5, 1, tzinfo=UTC)
PAYLOAD = Payload(
    chain_id=100, nonce=7, gas_price=10**9, gas=50_000, to=b"\xc0" * 20, value=5,
    data=b"\x01\x02\x03\x04",
)  # fmt: skip
DYNAMIC = replace(PAYLOAD, priority_fee=10**8, nonce=8)


@contextlib.contextmanager
def serving(engine, listen, rules=None):
    rules = rules or Rules(name="s", chain_id=100)
    guarded = GuardedSigner(engine, LOCAL, rules, lambda: NOW)
    with open_server(listen, methods({LOCAL.address: guarded})) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def remote(url, timeout=5.0, address=LOCAL.address):
    return RemoteSigner("s", address, url, timeout)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sign.sock"


def test_the_same_is_signed_over_a_socket_that_only_its_owner_opens(
    migrated_engine, path
):
    with serving(migrated_engine, f"unix:{path}"):
        signer = remote(f"unix:{path}")
        mode = path.stat().st_mode & 0o777
        legacy, dynamic = signer.sign(PAYLOAD), signer.sign(DYNAMIC)
        floor = signer.floor()

    assert 0o600 == mode
    assert LOCAL.sign(PAYLOAD) == legacy
    assert LOCAL.sign(DYNAMIC) == dynamic
    assert (2, 9) == (dynamic.raw[0], floor)


def test_it_listens_on_this_machine_alone(migrated_engine, path):
    with serving(migrated_engine, "127.0.0.1:0") as server:
        port = server.server_address[1]
        assert LOCAL.sign(PAYLOAD) == remote(f"http://127.0.0.1:{port}").sign(PAYLOAD)
    for listen in ("0.0.0.0:9000", "10.1.2.3:9000", "example.org:9000", "9000"):
        with pytest.raises(SigningRefused, match="not on this machine"):
            open_server(listen, {})


def test_a_socket_left_behind_is_taken_and_one_in_use_is_not(migrated_engine, path):
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()

    with (
        serving(migrated_engine, f"unix:{path}"),
        pytest.raises(SigningRefused, match="another process listens"),
    ):
        open_server(f"unix:{path}", {})


def test_refusals_and_holds_arrive_as_what_they_are(migrated_engine, path):
    rules = Rules(name="s", chain_id=100, value_per_transaction=4)
    with serving(migrated_engine, f"unix:{path}", rules):
        signer = remote(f"unix:{path}")
        with pytest.raises(SigningRefused, match="value_per_transaction"):
            signer.permits(PAYLOAD)
        with pytest.raises(SigningRefused, match="value_per_transaction"):
            signer.sign(PAYLOAD)
        with pytest.raises(SigningRefused, match="no key for"):
            remote(f"unix:{path}", address=b"\x01" * 20).sign(PAYLOAD)
        signer.sign(replace(PAYLOAD, value=4))
        with pytest.raises(SigningRefused, match="two calls must never compete"):
            signer.sign(replace(PAYLOAD, value=3))
        with migrated_engine.begin() as connection:
            stop_signing(connection, EVERYTHING, "why", NOW)
        with pytest.raises(SigningHeld) as stopped:
            signer.permits(replace(PAYLOAD, value=4))

    assert Hold.STOPPED is stopped.value.hold


def test_nonsense_is_refused_and_the_process_goes_on(migrated_engine, path):
    good = {"from": "0x" + LOCAL.address.hex()}
    bodies = [
        b"", b"{", b"[]", b'{"method": 1}', b'{"method": "eth_sign", "params": []}',
            b'{"method": "eth_sign", "params": [{}]}',
        *(
            json.dumps({"id": 1, "method": "eth_signTransaction", "params": each})
            for each in ([], [{}], [None], [good], [{**good, "to": "0x12"}], "x")
        ),
    ]  # fmt: skip
    with serving(migrated_engine, f"unix:{path}"):
        signer = remote(f"unix:{path}")
        for body in bodies:
            raw = body if isinstance(body, bytes) else body.encode()
            with contextlib.suppress(ValueError):
                assert "error" in json.loads(signer._port()._post(raw))
        signed = signer.sign(PAYLOAD)

    assert LOCAL.sign(PAYLOAD) == signed


@contextlib.contextmanager
def web3signer(answer):
    """A signer of another make: `answer` gives the result for a payload."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if said["method"] != "eth_signTransaction":
                reply = {"error": {"code": NO_METHOD, "message": "Method not found"}}
            else:
                reply = answer(as_payload(said["params"][0])[1])
            body = json.dumps({"jsonrpc": "2.0", "id": 1, **reply}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def signed_hex(payload, signer=LOCAL):
    return "0x" + signer.sign(payload).raw.hex()


@pytest.mark.parametrize(
    "shape", [signed_hex, lambda payload: {"raw": signed_hex(payload), "tx": {}}]
)
def test_a_web3signer_or_a_node_will_do(shape):
    with web3signer(lambda payload: {"result": shape(payload)}) as url:
        signer = remote(url)
        signer.permits(PAYLOAD)

        assert LOCAL.sign(PAYLOAD) == signer.sign(PAYLOAD)
        assert 0 == signer.floor()


LIES = {
    "another nonce": {"nonce": 9}, "another place": {"to": b"\x01" * 20},
    "more value": {"value": 6}, "other data": {"data": b""},
    "a higher price": {"gas_price": 2 * 10**9}, "other gas": {"gas": 60_000},
    "another chain": {"chain_id": 101}, "another type": {"priority_fee": 1},
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_what_was_not_asked_for_is_not_taken(lie):
    changes = LIES[lie]

    def answer(payload):
        return {"result": signed_hex(replace(payload, **changes))}

    with web3signer(answer) as url, pytest.raises(SigningHeld, match="another trans"):
        remote(url).sign(PAYLOAD)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ({"result": signed_hex(PAYLOAD, signer_from_key("o", OTHER_KEY))}, "signed as"),
        ({"result": "0x" + "ab" * 40}, "no signed transaction"),
        ({"result": None}, "no signed transaction"),
        ({"error": {"code": -32000, "message": "vault sealed"}}, "vault sealed"),
    ],
)
def test_what_is_no_signature_of_ours_is_not_taken(reply, words):
    with web3signer(lambda _: reply) as url, pytest.raises(SigningHeld, match=words):
        remote(url).sign(PAYLOAD)


def test_one_that_is_dead_or_slow_is_waited_for_elsewhere(path):
    with pytest.raises(SigningHeld) as dead:
        remote(f"unix:{path}").sign(PAYLOAD)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    with pytest.raises(SigningHeld) as slow:
        remote(f"unix:{path}", timeout=0.2).sign(PAYLOAD)
    listening.close()

    assert {Hold.SIGNER_UNAVAILABLE} == {dead.value.hold, slow.value.hold}


def test_its_bytes_are_those_of_the_transaction():
    found = read_raw(LOCAL.sign(DYNAMIC).raw)

    assert (10**9, 10**8) == (found.gas_price, found.priority_fee)
