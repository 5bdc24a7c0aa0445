"""Sign-In with Solana: every line of the message wrong, every byte, one at a time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from eth_account import Account
from eth_account.messages import encode_defunct
from solders.pubkey import Pubkey as SoldersKey

from api.auth import siws
from api.auth.messages import BadMessage
from api.auth.options import AuthOptions
from db.domains.crowdfunding.roles import ISSUER
from helpers import servers
from helpers.door import SECRET, Door
from helpers.npm import NpmUnavailable
from helpers.siws import (
    ANNA,
    AUTH,
    BEN,
    CLUSTER,
    NONCE,
    ORIGIN,
    SIWS,
    Person,
    by_the_standard,
    message,
    nonce,
    stamp,
)
from idl.base58 import from_base58, to_base58

WALLETS, ME = "/api/v1/auth/wallets", "/api/v1/auth/me"
ORDER = 2**252 + 27742317777372353535851937790883648493  # of ed25519's base point


@pytest.fixture(scope="module")
def door(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        found = Door(url, auth={**AUTH, "attempts_from_address": 10_000})
        yield found
        found.close()


def sign_in(door, text, person=ANNA, status=200):
    return door.post(SIWS, person.signed(text), status)


def refused(answer, part):
    assert answer.status_code == 401, answer.text
    assert answer.json["type"] == "/docs#bad_sign_in"
    assert answer.json["detail"].startswith(part), answer.json["detail"]


def in_(**by):
    """A time that far from now, told to `message` when there is a clock."""
    return lambda door: stamp(door.clock() + timedelta(**by))


def of_ethereum(door, wallet, asked):
    """The body of a request with a message as EIP-4361 has it."""
    now = door.clock()
    text = (
        "app.example wants you to sign in with your Ethereum account:\n"
        f"{wallet.address}\n\n\nURI: {ORIGIN}\nVersion: 1\nChain ID: 100\n"
        f"Nonce: {asked}\nIssued At: {stamp(now)}\n"
        f"Expiration Time: {stamp(now + timedelta(minutes=5))}"
    )
    signature = wallet.sign_message(encode_defunct(text=text)).signature
    return {"message": text, "signature": "0x" + bytes(signature).hex()}


def test_a_wallet_begins_an_account_and_opens_it_again(door):
    first, again = (sign_in(door, message(door)).json for _ in range(2))

    assert first["account"] == again["account"]
    me = door.get(ME, token=again["access_token"]).json
    assert me["roles"] == ["buyer", "investor"]  # those of newcomers
    assert me["wallets"] == [ANNA.address]
    assert me["login"] == f"solana:{ANNA.address}"
    [listed] = door.get(WALLETS, token=again["access_token"]).json["data"]
    assert (listed["kind"], listed["address"]) == ("solana", ANNA.address)
    probed = door.get("/probe", token=again["access_token"]).json
    assert probed["wallets"] == [ANNA.raw.hex()]


def test_where_registration_is_closed_a_new_wallet_does_not_come_in(own_door):
    own_door.open(auth={**AUTH, "registration": False})

    answer = sign_in(own_door, message(own_door), status=403)

    assert answer.json["type"] == "/docs#registration_closed"


@pytest.mark.parametrize(
    "changes",
    [
        {"statement": None},
        {"statement": "Nonce: 0000000000000000"},
        {"URI": None},
        {"URI": None, "Version": None, "Chain ID": None, "Expiration Time": None},
        {"statement": None, "URI": None, "Version": None, "Chain ID": None},
        {"domain": "localhost:8080", "URI": "http://localhost:8080"},
        {"Chain ID": "solana:devnet"},
        {"Chain ID": CLUSTER},
        {"Request ID": "one\nResources:\n- ipfs://x\n- https://y"},
        {"Not Before": "2020-01-01T00:00:00Z"},
        {"Not Before": in_(seconds=30)},
        {"Issued At": in_(seconds=30)},
        {"Expiration Time": in_(seconds=-29)},
    ],
)
def test_what_the_standard_leaves_open_is_accepted(door, changes):
    said = {k: v(door) if callable(v) else v for k, v in changes.items()}

    sign_in(door, message(door, **said))


@pytest.mark.parametrize(
    ("part", "changes"),
    [
        ("Domain", {"domain": "evil.example"}),
        ("Domain", {"domain": "app.example.evil.example"}),
        ("Domain", {"domain": "app.example:443"}),
        ("Domain", {"domain": "APP.example"}),
        ("It is not", {"domain": "https://app.example"}),
        ("It is not", {"domain": "user@app.example"}),
        ("It is not", {"domain": ""}),
        ("URI", {"URI": "https://evil.example/login"}),
        ("URI", {"URI": "http://app.example/login"}),
        ("URI", {"URI": "https://app.example@evil.example/"}),
        ("URI", {"URI": "http://localhost:8080/"}),  # ours, but not this domain's
        ("URI", {"URI": "https://[app.example/"}),
        ("It is not", {"URI": ""}),
        ("Version", {"Version": "2"}),
        ("Chain ID", {"Chain ID": "mainnet"}),
        ("Chain ID", {"Chain ID": "100"}),
        ("It is not", {"Chain ID": "dev net"}),
        ("Nonce", {"Nonce": "0123456789abcdef"}),
        ("It is not", {"Nonce": "short"}),
        ("It is not", {"Nonce": None}),
        ("Issued At", {"Issued At": in_(seconds=31)}),
        ("Issued At", {"Issued At": in_(minutes=-5, seconds=-1)}),
        ("2026-02-30", {"Issued At": "2026-02-30T00:00:00Z"}),
        ("It is not", {"Issued At": "yesterday"}),
        ("It is not", {"Issued At": None}),
        ("Expiration Time", {"Expiration Time": in_(seconds=-30)}),
        ("Not Before", {"Not Before": in_(seconds=31)}),
        ("Signature", {"address": BEN.address}),
        ("Address", {"address": ANNA.address[:-3]}),
        ("Address", {"address": "1" + ANNA.address[:-1]}),  # 33 bytes
        ("It is not", {"address": ANNA.address[:-1] + "0"}),  # no letter of base58
        ("It is not", {"address": ANNA.address[:-1] + "l"}),
        ("It is not", {"address": "0x" + "ab" * 20}),
        ("It is not", {"address": ""}),
        ("It is not", {"statement": "Two\nlines"}),
        ("It is not", {"statement": "Two\n\nblocks"}),
        ("It is not", {"Request ID": "one\nNonce: 12345678"}),
        ("It is not", {"Request ID": "one\n"}),
    ],
)
def test_a_message_with_one_thing_wrong_is_refused(door, part, changes):
    said = {k: v(door) if callable(v) else v for k, v in changes.items()}

    refused(sign_in(door, message(door, **said), status=None), part)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text + "\n",
        lambda text: " " + text,
        lambda text: text.replace("Solana", "Ethereum"),
        lambda text: text.replace("\n\nURI", "\nURI"),
        lambda text: text + "\nExpiration Time: 2999-01-01T00:00:00Z",
        lambda text: "\xff\x00solana offchain" + text,
        lambda text: "",
        lambda text: "x" * 4000 + text,
    ],
    ids=range(9),
)
def test_a_message_of_another_form_is_refused(door, change):
    answer = door.post(SIWS, ANNA.signed(change(message(door))), None)

    assert answer.status_code in (400, 401)
    assert "access_token" not in answer.text


class TestSignature:
    def test_every_bit_of_the_message_matters(self, door):
        text = message(door, Nonce="0123456789abcdef")
        options = AuthOptions(secret=SECRET, **AUTH)
        signature = from_base58(ANNA.sign(text), 64)

        def opens(given):
            try:
                read = siws.read_message(given)
                siws.check_message(read, options, door.clock())
            except BadMessage:
                return False
            return siws.signed_by(given, signature, read.wallet)

        assert opens(text)
        read = 0
        for at, letter in enumerate(text):
            for bit in range(8):
                other = text[:at] + chr(ord(letter) ^ 1 << bit) + text[at + 1 :]
                assert not opens(other), (at, bit)
                try:
                    siws.read_message(other)
                    read += 1
                except BadMessage:
                    pass
        assert read > 500  # of many it is the signature alone that tells

    def test_every_byte_of_the_signature_matters(self, door):
        for at in range(64):
            text = message(door)
            raw = bytearray(from_base58(ANNA.sign(text), 64))
            raw[at] ^= 1
            body = {"message": text, "signature": to_base58(bytes(raw))}

            refused(door.post(SIWS, body, None), "Signature: it is not")

    @pytest.mark.parametrize(
        "signature",
        [
            "", "1", "0x" + "00" * 64, "0" * 88, "l" * 88, "é" * 88, "z" * 88, "1" * 63,
            "1" * 65, to_base58(b"\1" * 63), to_base58(b"\1" * 65), "z" * 8000,
        ],
        ids=range(12),
    )  # fmt: skip
    def test_what_is_not_64_bytes_of_base58_is_refused(self, door, signature):
        body = {"message": message(door), "signature": signature}

        refused(door.post(SIWS, body, None), "Signature: write 64 bytes")

    def test_its_other_form_is_refused(self, door):
        """S + L satisfies the equation too; RFC 8032 takes S below L alone."""
        text = message(door)
        raw = from_base58(ANNA.sign(text), 64)
        other = int.from_bytes(raw[32:], "little") + ORDER
        forged = raw[:32] + other.to_bytes(32, "little")
        body = {"message": text, "signature": to_base58(forged)}

        refused(door.post(SIWS, body, None), "Signature: it is not")

    @pytest.mark.parametrize("key", [bytes([1]) + bytes(31), bytes(32)])
    def test_a_key_of_small_order_opens_nothing(self, door, key):
        """Anybody can sign for one, as plain verifiers see it; 32 zero bytes are the
        address of the System Program."""
        forged = bytes([1]) + bytes(63)  # R is the neutral element, S is 0
        tried = 0
        while True:
            text = message(door, address=to_base58(key))
            tried += 1
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(forged, text.encode())
                break
            except InvalidSignature:
                assert tried < 100
        body = {"message": text, "signature": to_base58(forged)}

        refused(door.post(SIWS, body, None), "Signature: it is not")

    def test_an_address_that_is_no_key_opens_nothing(self, door):
        derived, _ = SoldersKey.find_program_address([b"x"], SoldersKey.default())
        text = message(door, address=str(derived))

        refused(door.post(SIWS, ANNA.signed(text), None), "Signature: it is not")

    def test_a_message_for_ethereum_is_none_for_solana(self, door):
        answer = door.post("/api/v1/auth/siwe", ANNA.signed(message(door)), None)

        refused(answer, "It is not a message as EIP-4361")


class TestNonce:
    def test_a_message_is_good_once(self, door):
        text = message(door)
        sign_in(door, text)

        refused(sign_in(door, text, status=None), "Nonce")

    def test_of_many_at_once_one_comes_in(self, door):
        body, together = ANNA.signed(message(door)), threading.Barrier(4)

        def ask(_):
            client = door.app.test_client()
            together.wait()
            return client.post(SIWS, json=body).status_code

        with ThreadPoolExecutor(4) as pool:
            assert [200, 401, 401, 401] == sorted(pool.map(ask, range(4)))

    def test_it_is_used_up_by_a_wrong_signature_too(self, door):
        text = message(door)
        refused(sign_in(door, text, person=BEN, status=None), "Signature")

        refused(sign_in(door, text, status=None), "Nonce")

    def test_it_is_over_after_five_minutes(self, own_door):
        own_door.open(auth=AUTH)
        old = nonce(own_door)
        own_door.clock.forward(minutes=5)

        refused(sign_in(own_door, message(own_door, Nonce=old), status=None), "Nonce")


class TestLinking:
    @pytest.fixture
    def account(self, door):
        account = door.account(ISSUER)
        return account, door.token(account)

    def link(self, door, token, person, status=201, **changes):
        changes = {"Nonce": nonce(door, token=token)} | changes
        body = {**person.signed(message(door, person, **changes)), "kind": "solana"}
        return door.post(WALLETS, body, status, token=token)

    def test_an_account_has_wallets_of_both_kinds(self, door, account):
        (account_id, token), person, wallet = account, Person("both"), Account.create()
        self.link(door, token, person)
        door.clock.forward(seconds=1)
        body = of_ethereum(door, wallet, nonce(door, token=token))
        found = door.post(WALLETS, body, 201, token=token).json["data"]

        in_order = [(each["kind"], each["address"]) for each in found]
        assert in_order == [
            ("solana", person.address), ("evm", wallet.address.lower()),
        ]  # fmt: skip
        for path, body in (
            (SIWS, person.signed(message(door, person))),
            ("/api/v1/auth/siwe", of_ethereum(door, wallet, nonce(door))),
        ):
            assert door.post(path, body).json["account"] == str(account_id)
        me = door.get(ME, token=token).json["wallets"]
        assert sorted(me) == sorted([person.address, wallet.address.lower()])

    def test_a_message_for_signing_in_does_not_link(self, door, account):
        """Nor the other way: what a wallet signs is good for one thing."""
        person, (_, token) = Person("one thing"), account
        refused(self.link(door, token, person, None, Nonce=nonce(door)), "Nonce")

        for_linking = message(door, person, Nonce=nonce(door, token=token))
        refused(sign_in(door, for_linking, person, status=None), "Nonce")

    def test_a_nonce_of_another_account_does_not_link(self, door, account):
        other = door.token(door.account(ISSUER))
        asked = nonce(door, token=other)

        refused(self.link(door, account[1], BEN, None, Nonce=asked), "Nonce")

    def test_a_wallet_has_one_account(self, door, account):
        sign_in(door, message(door))

        answer = self.link(door, account[1], ANNA, 409)

        assert answer.json["type"] == "/docs#wallet_taken"

    def test_the_kind_must_be_that_of_the_message(self, door, account):
        person, (_, token) = Person("kind"), account
        body = person.signed(message(door, person, Nonce=nonce(door, token=token)))

        refused(door.post(WALLETS, body, None, token=token), "It is not a message")
        door.post(WALLETS, {**body, "kind": "bitcoin"}, 400, token=token)
        door.post(SIWS, {**body, "kind": "solana"}, 400)

    def test_a_key_links_nothing(self, door, account):
        key, _ = door.key(account[0], "issuer")
        body = {**ANNA.signed(message(door)), "kind": "solana"}

        door.post(NONCE, None, 403, key=key)
        door.post(WALLETS, body, 403, key=key)

    def test_a_wallet_is_let_go_unless_it_is_all_there_is(self, door):
        first, second = Person("first"), Person("second")
        token = sign_in(door, message(door, first), first).json["access_token"]
        door.delete(f"{WALLETS}/{first.address}", 403, token=token)

        self.link(door, token, second)
        for other in (first.address.swapcase(), "0x" + first.raw.hex(), BEN.address):
            door.delete(f"{WALLETS}/{other}", 404, token=token)
        door.delete(f"{WALLETS}/{first.address}", token=token)
        door.delete(f"{WALLETS}/{first.address}", 404, token=token)

        found = door.get(WALLETS, token=token).json["data"]
        assert [each["address"] for each in found] == [second.address]


def test_where_no_cluster_is_followed_no_wallet_of_solana_signs_in(own_door):
    own_door.open(auth={**AUTH, "clusters": frozenset()})

    for chain in ("devnet", None):
        text = message(own_door, **{"Chain ID": chain})
        refused(sign_in(own_door, text, status=None), "Chain ID")


def test_where_no_origin_is_known_nobody_signs_in(own_door):
    own_door.open(auth={**AUTH, "origins": ()})

    refused(sign_in(own_door, message(own_door), status=None), "Domain")


class TestTheStandardsOwnFunctions:
    """`@solana/wallet-standard-util` writes and checks, `@noble/curves` signs."""

    @pytest.fixture
    def standard(self):
        try:
            by_the_standard([])
        except NpmUnavailable as error:
            pytest.skip(str(error))
        return by_the_standard

    def inputs(self, door):
        """What a site may ask a wallet to sign, from least to most."""
        now = door.clock()
        least = {
            "domain": "app.example", "address": ANNA.address, "issuedAt": stamp(now),
        }  # fmt: skip
        more = {"statement": "Sign in: all of it.", "uri": f"{ORIGIN}/in?a=b#c"}
        most = {
            **more, "version": "1", "chainId": "solana:devnet", "requestId": "r-1",
            "expirationTime": stamp(now + timedelta(minutes=3)),
            "notBefore": stamp(now - timedelta(minutes=3)),
            "resources": ["https://app.example/terms", "ipfs://bafy"],
        }  # fmt: skip
        wanted = [{}, more, most, {"chainId": "devnet", "version": "1"}]
        wanted += [{name: value} for name, value in most.items()]
        return [{**least, **each, "nonce": nonce(door)} for each in wanted]

    def test_what_it_writes_and_signs_comes_in(self, door, standard):
        tasks = [{"sign": i, "seed": ANNA.seed.hex()} for i in self.inputs(door)]

        accounts = set()
        for made in standard(tasks):
            assert made["publicKey"] == ANNA.raw.hex()
            signature = to_base58(bytes.fromhex(made["signature"]))
            assert signature == ANNA.sign(made["text"])
            body = {"message": made["text"], "signature": signature}
            accounts.add(door.post(SIWS, body, 200).json["account"])

        assert len(accounts) == 1

    def test_what_we_write_and_sign_it_takes(self, door, standard):
        now = door.clock()
        fields = {
            "domain": "app.example", "address": ANNA.address,
            "statement": "Sign in to the platform.", "uri": f"{ORIGIN}/login?next=%2F",
            "version": "1", "chainId": "devnet", "nonce": "0123456789abcdef",
            "issuedAt": stamp(now), "expirationTime": stamp(now + timedelta(minutes=5)),
        }  # fmt: skip
        text = message(door, Nonce=fields["nonce"])
        good = {
            "verify": fields, "text": text, "publicKey": ANNA.raw.hex(),
            "signature": from_base58(ANNA.sign(text), 64).hex(),
        }  # fmt: skip
        raw = bytearray.fromhex(good["signature"])
        raw[7] ^= 1

        assert standard([
            good,
            {**good, "signature": raw.hex()},
            {**good, "publicKey": BEN.raw.hex()},
            {**good, "verify": {**fields, "nonce": "another1"}},
        ]) == [True, False, False, False]  # fmt: skip
        [made] = standard([{"sign": fields, "seed": ANNA.seed.hex()}])
        assert made["text"] == text
        assert made["signature"] == good["signature"]
