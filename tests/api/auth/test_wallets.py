"""Sign-in with a wallet: every line of the message wrong, one at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy import text

from api.auth import siwe
from api.auth.options import AuthOptions
from commands.errors import NodeAway
from db.domains.crowdfunding.roles import ISSUER
from helpers.door import SECRET, Door

NONCE, SIWE = "/api/v1/auth/siwe/nonce", "/api/v1/auth/siwe"
WALLETS, ME = "/api/v1/auth/wallets", "/api/v1/auth/me"
ORIGIN = "https://app.example"
# Public test keys, for nothing but tests.
ANNA, BEN = Account.from_key(b"\1" * 32), Account.from_key(b"\2" * 32)
AUTH = {"origins": (ORIGIN, "http://localhost:8080"), "chain_ids": frozenset({100, 7})}


@pytest.fixture(scope="module")
def door(postgres_url):
    from helpers import servers

    with servers.fresh_database(postgres_url) as url:
        found = Door(url, auth=AUTH)
        yield found
        found.close()


def nonce(door, **credentials):
    return door.post(NONCE, None, 201, **credentials).json["nonce"]


def message(door, account=ANNA, **changes):
    """A message as wallets write it, with some lines otherwise; None leaves one out."""
    now = door.clock()
    parts = {
        "scheme": "",
        "domain": "app.example",
        "address": to_checksum_address(account.address),
        "statement": "Sign in to the platform.\n",
        "URI": f"{ORIGIN}/login?next=%2F",
        "Version": "1",
        "Chain ID": "100",
        "Nonce": None,
        "Issued At": stamp(now),
        "Expiration Time": stamp(now + timedelta(minutes=5)),
        "Not Before": None,
        "Request ID": None,
    } | changes
    parts["Nonce"] = parts["Nonce"] or nonce(door)
    head = (
        f"{parts.pop('scheme')}{parts.pop('domain')} wants you to sign in with your "
        f"Ethereum account:\n{parts.pop('address')}\n\n{parts.pop('statement')}\n"
    )
    lines = [f"{name}: {value}" for name, value in parts.items() if value is not None]
    return head + "\n".join(lines)


def stamp(time):
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def signed(text, account=ANNA):
    signature = account.sign_message(encode_defunct(text=text)).signature
    return {"message": text, "signature": "0x" + bytes(signature).hex()}


def sign_in(door, text, account=ANNA, status=200):
    return door.post(SIWE, signed(text, account), status)


def refused(answer, part):
    assert answer.status_code == 401, answer.text
    assert answer.json["type"] == "/docs#bad_sign_in"
    assert answer.json["detail"].startswith(part), answer.json["detail"]


def test_a_wallet_begins_an_account_and_opens_it_again(door):
    first, again = (sign_in(door, message(door)).json for _ in range(2))

    assert first["account"] == again["account"]
    me = door.get(ME, token=again["access_token"]).json
    assert me["roles"] == ["buyer", "investor"]  # those of newcomers
    assert me["wallets"] == [ANNA.address.lower()]
    assert me["login"] == f"evm:{ANNA.address.lower()}"
    door.post("/api/v1/auth/token/refresh", {"refresh_token": again["refresh_token"]})


def test_of_two_at_once_with_a_new_wallet_both_come_in(door):
    wallet, together = Account.create(), threading.Barrier(2)
    bodies = [signed(message(door, wallet), wallet) for _ in range(2)]

    def ask(body):
        client = door.app.test_client()
        together.wait()
        return client.post(SIWE, json=body).json["account"]

    with ThreadPoolExecutor(2) as pool:
        assert len(set(pool.map(ask, bodies))) == 1


def test_a_wallet_that_was_let_go_begins_another_account(door):
    first, second = Account.create(), Account.create()
    opened = sign_in(door, message(door, first), first).json
    token = opened["access_token"]
    text = message(door, second, Nonce=nonce(door, token=token))
    door.post(WALLETS, signed(text, second), 201, token=token)
    door.delete(f"{WALLETS}/{first.address}", token=token)

    again = sign_in(door, message(door, first), first).json

    assert again["account"] != opened["account"]
    me = door.get(ME, token=again["access_token"]).json
    assert me["wallets"] == [first.address.lower()]
    assert (
        sign_in(door, message(door, second), second).json["account"]
        == opened["account"]
    )


def test_where_registration_is_closed_a_new_wallet_does_not_come_in(own_door):
    own_door.open(auth={**AUTH, "registration": False})

    answer = sign_in(own_door, message(own_door), status=403)

    assert answer.json["type"] == "/docs#registration_closed"


@pytest.mark.parametrize(
    "changes",
    [
        {"statement": ""},
        {"statement": "Anything: even this.\n"},
        {"scheme": "https://"},
        {"domain": "localhost:8080", "URI": "http://localhost:8080"},
        {"URI": ORIGIN},
        {"URI": f"{ORIGIN}#top"},
        {"Chain ID": "7"},
        {"Request ID": "one"},
        {"Request ID": ""},
        {"Request ID": "one\nResources:\n- ipfs://x\n- https://y"},
        {"Not Before": "2020-01-01T00:00:00Z"},
        {"Expiration Time": "2999-01-01T03:00:00.123456+03:00"},
    ],
)
def test_what_the_standard_leaves_open_is_accepted(door, changes):
    sign_in(door, message(door, **changes))


def in_(**by):
    """A time that far from now, told to `message` when there is a clock."""
    return lambda door: stamp(door.clock() + timedelta(**by))


@pytest.mark.parametrize(
    "changes",
    [
        {"Issued At": in_(seconds=30)},
        {"Not Before": in_(seconds=30)},
        {"Expiration Time": in_(seconds=-29)},
    ],
)
def test_a_wallet_s_clock_may_differ_by_half_a_minute(door, changes):
    sign_in(door, message(door, **{k: at(door) for k, at in changes.items()}))


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("Domain", {"domain": "evil.example"}),
        ("Domain", {"domain": "app.example.evil.example"}),
        ("Domain", {"domain": "app.example:443"}),
        ("Domain", {"domain": "APP.example"}),
        ("Domain", {"domain": "localhost"}),
        ("Domain", {"scheme": "http://"}),
        ("It is not", {"domain": "app.example/login"}),
        ("It is not", {"domain": "user@app.example"}),
        ("It is not", {"domain": ""}),
        ("URI", {"URI": "https://evil.example/login"}),
        ("URI", {"URI": "http://app.example/login"}),
        ("URI", {"URI": "https://app.example:8443/"}),
        ("URI", {"URI": "https://app.example.evil.example/"}),
        ("URI", {"URI": "https://app.example@evil.example/"}),
        ("URI", {"URI": "https://user@app.example/"}),
        ("URI", {"URI": "https://evil.example\\@app.example/"}),
        ("URI", {"URI": "http://localhost:8080/"}),  # ours, but not this domain's
        ("URI", {"URI": "https://[app.example/"}),
        ("URI", {"URI": "app.example"}),
        ("It is not", {"URI": ""}),
        ("It is not", {"URI": None}),
        ("Version", {"Version": "2"}),
        ("It is not", {"Version": "1.0"}),
        ("It is not", {"Version": None}),
        ("Chain ID", {"Chain ID": "1"}),
        ("Chain ID", {"Chain ID": "0"}),
        ("It is not", {"Chain ID": "0x64"}),
        ("It is not", {"Chain ID": "-100"}),
        ("It is not", {"Chain ID": None}),
        ("Nonce", {"Nonce": "0123456789abcdef"}),
        ("It is not", {"Nonce": "short"}),
        ("It is not", {"Nonce": "01234567-89abcdef"}),
        ("Issued At", {"Issued At": in_(seconds=31)}),
        ("Issued At", {"Issued At": in_(minutes=-5, seconds=-1)}),
        ("2026-02-30", {"Issued At": "2026-02-30T00:00:00Z"}),
        ("It is not", {"Issued At": "2026-01-31T12:00:00"}),
        ("It is not", {"Issued At": "yesterday"}),
        ("It is not", {"Issued At": None}),
        ("Expiration Time", {"Expiration Time": None}),
        ("Expiration Time", {"Expiration Time": in_(seconds=-30)}),
        ("It is not", {"Expiration Time": ""}),
        ("Not Before", {"Not Before": in_(seconds=31)}),
        ("It is not", {"Not Before": "later"}),
        ("Address", {"address": ANNA.address.lower()}),
        ("Address", {"address": "0x" + ANNA.address[2:].swapcase()}),
        ("It is not", {"address": ANNA.address[:-1]}),
        ("It is not", {"address": ""}),
        ("Signature", {"address": to_checksum_address(BEN.address)}),
        ("It is not", {"statement": "Two\nlines\n"}),
        ("It is not", {"Request ID": "one\nNonce: 12345678"}),
        ("It is not", {"Request ID": "one\nResources:\nhttps://y"}),
        ("It is not", {"Request ID": "one\n"}),
    ],
)
def test_a_message_with_one_thing_wrong_is_refused(door, part, changes):
    changes = {
        name: value(door) if callable(value) else value
        for name, value in changes.items()
    }

    refused(sign_in(door, message(door, **changes), status=None), part)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("Ethereum", "Solana"),
        lambda text: text.replace("Version: 1\n", "").replace(
            "URI:", "Version: 1\nURI:"
        ),
        lambda text: text + "\nExpiration Time: 2999-01-01T00:00:00Z",
        lambda text: "x" * 4000 + text,
        lambda text: "",
    ],
    ids=range(8),
)
def test_a_message_of_another_form_is_refused(door, change):
    answer = door.post(SIWE, signed(change(message(door))), None)

    assert answer.status_code in (400, 401)
    assert "access_token" not in answer.text


@pytest.mark.parametrize(
    "signature",
    ["", "0x", "0x00", "zz", "0x" + "00" * 65, "0x" + "ff" * 65, "0x" + "11" * 64],
)
def test_bytes_that_are_no_signature_are_refused(door, signature):
    body = {"message": message(door), "signature": signature}

    refused(door.post(SIWE, body, None), "Signature")


def test_a_signature_of_other_bytes_is_refused(door):
    body = signed(message(door))
    body["message"] = message(door, Nonce=nonce(door))

    refused(door.post(SIWE, body, None), "Signature")


class TestNonce:
    def test_a_message_is_good_once(self, door):
        text = message(door)
        sign_in(door, text)

        refused(sign_in(door, text, status=None), "Nonce")

    def test_of_many_at_once_one_comes_in(self, door):
        body, together = signed(message(door)), threading.Barrier(4)

        def ask(_):
            client = door.app.test_client()
            together.wait()
            return client.post(SIWE, json=body).status_code

        with ThreadPoolExecutor(4) as pool:
            assert [200, 401, 401, 401] == sorted(pool.map(ask, range(4)))

    def test_it_is_used_up_by_a_wrong_signature_too(self, door):
        text = message(door)
        refused(sign_in(door, text, account=BEN, status=None), "Signature")

        refused(sign_in(door, text, status=None), "Nonce")

    def test_it_is_over_after_five_minutes(self, own_door):
        own_door.open(auth=AUTH)
        old = nonce(own_door)
        own_door.clock.forward(minutes=5)

        refused(sign_in(own_door, message(own_door, Nonce=old), status=None), "Nonce")

    def test_those_that_are_over_are_swept(self, own_door):
        for _ in range(3):
            nonce(own_door)
        own_door.clock.forward(minutes=5)

        nonce(own_door)

        with own_door.writer.connect() as connection:
            query = text("SELECT count(*) FROM control.sign_in_nonce")
            assert connection.execute(query).scalar_one() == 1


class TestLinking:
    @pytest.fixture
    def account(self, door):
        account = door.account(ISSUER)
        return account, door.token(account)

    def link(self, door, token, text, account, status=201):
        return door.post(WALLETS, signed(text, account), status, token=token)

    def test_a_wallet_is_linked_and_opens_the_account(self, door, account):
        wallet = Account.create()
        account_id, token = account
        asked = nonce(door, token=token)

        found = self.link(door, token, message(door, wallet, Nonce=asked), wallet)

        assert [each["address"] for each in found.json["data"]] == [
            wallet.address.lower()
        ]
        opened = sign_in(door, message(door, wallet), wallet).json
        assert opened["account"] == str(account_id)
        assert door.get(ME, token=token).json["wallets"] == [wallet.address.lower()]

    def test_a_message_for_signing_in_does_not_link(self, door, account):
        """Nor the other way: what a wallet signs is good for one thing."""
        wallet, (_, token) = Account.create(), account

        refused(self.link(door, token, message(door, wallet), wallet, None), "Nonce")
        for_linking = message(door, wallet, Nonce=nonce(door, token=token))
        refused(sign_in(door, for_linking, wallet, status=None), "Nonce")

    def test_a_nonce_of_another_account_does_not_link(self, door, account):
        wallet, other = Account.create(), door.token(door.account(ISSUER))
        text = message(door, wallet, Nonce=nonce(door, token=other))

        refused(self.link(door, account[1], text, wallet, None), "Nonce")

    def test_a_wallet_has_one_account(self, door, account):
        sign_in(door, message(door))
        text = message(door, Nonce=nonce(door, token=account[1]))

        answer = self.link(door, account[1], text, ANNA, 409)

        assert answer.json["type"] == "/docs#wallet_taken"

    def test_linking_again_changes_nothing(self, door, account):
        wallet, (_, token) = Account.create(), account
        for _ in range(2):
            text = message(door, wallet, Nonce=nonce(door, token=token))
            found = self.link(door, token, text, wallet).json["data"]

        assert len(found) == 1

    def test_a_key_links_nothing(self, door, account):
        key, _ = door.key(account[0], "issuer")

        door.post(NONCE, None, 403, key=key)
        door.post(WALLETS, signed(message(door)), 403, key=key)

    def test_a_wallet_is_let_go_unless_it_is_all_there_is(self, door):
        first, second = Account.create(), Account.create()
        token = sign_in(door, message(door, first), first).json["access_token"]
        path = f"{WALLETS}/{first.address}"
        door.delete(path, 403, token=token)

        text = message(door, second, Nonce=nonce(door, token=token))
        self.link(door, token, text, second)
        door.delete(path, token=token)
        door.delete(path, 404, token=token)
        door.delete(f"{WALLETS}/x", 404, token=token)

        found = door.get(WALLETS, token=token).json["data"]
        assert [each["address"] for each in found] == [second.address.lower()]


class TestContractWallets:
    """EIP-1271: the contract is asked whether it accepts the signature."""

    WALLET = to_checksum_address("0x" + "ab" * 20)
    SIGNATURE = b"whatever the contract wants: more than one word of it"

    def ask(self, door, answer):
        asked = []

        def call(chain_id, address, data):
            asked.append((chain_id, address, data))
            if isinstance(answer, Exception):
                raise answer
            return answer

        door.open(auth={**AUTH, "contract_call": call})
        text = message(door, address=self.WALLET)
        body = {"message": text, "signature": self.SIGNATURE.hex()}
        return door.post(SIWE, body, None), asked, text

    def test_one_that_accepts_comes_in(self, own_door):
        answer, ((chain, address, data),), text = self.ask(
            own_door, siwe._IS_VALID.ljust(32, b"\0")
        )

        assert answer.status_code == 200
        assert (chain, address) == (100, b"\xab" * 20)
        length = str(len(text.encode())).encode()
        prefixed = b"\x19Ethereum Signed Message:\n" + length + text.encode()
        assert data[:4] == keccak(b"isValidSignature(bytes32,bytes)")[:4]
        assert data[4:36] == keccak(prefixed)
        assert data[100:].rstrip(b"\0") == self.SIGNATURE
        assert len(data) % 32 == 4

    @pytest.mark.parametrize(
        "answer",
        [b"", b"\1" * 32, siwe._IS_VALID, b"\xff\xff\xff\xff".ljust(32, b"\0")],
    )
    def test_one_that_does_not_is_refused(self, own_door, answer):
        refused(self.ask(own_door, answer)[0], "Signature")

    def test_a_node_that_is_away_is_said_to_be(self, own_door):
        answer, _, _ = self.ask(own_door, NodeAway("away"))

        assert answer.status_code == 503
        assert answer.json["type"] == "/docs#node_unavailable"


def test_where_no_origin_is_known_nobody_signs_in(own_door):
    own_door.open(auth={**AUTH, "origins": ()})

    refused(sign_in(own_door, message(own_door), status=None), "Domain")


def test_a_message_is_read_as_it_is_written(door):
    """The parts that decide come from the lines that say them, and no others."""
    text = message(
        door, Nonce="abcdefgh12345678",
        statement="URI: https://evil.example Nonce: 00000000\n",
    )  # fmt: skip

    found = siwe.read_message(text)

    assert (found.nonce, found.uri) == ("abcdefgh12345678", f"{ORIGIN}/login?next=%2F")
    siwe.check_message(found, AuthOptions(secret=SECRET, **AUTH), door.clock())
