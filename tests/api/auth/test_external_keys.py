"""Wallets of Solana by another service's word: where that is trusted, and right."""

import time

import pytest
from eth_account import Account
from solders.pubkey import Pubkey

from api.auth.options import ExternalIssuer
from helpers.issuer import Issuer
from helpers.siws import ANNA, AUTH, BEN, SIWS, Person, message, nonce
from idl.base58 import to_base58

EXTERNAL, ME = "/api/v1/auth/token/external", "/api/v1/auth/me"
WALLETS = "/api/v1/auth/wallets"
NAME, AUDIENCE = "https://issuer.example", "our-client-id"
WALLET = Account.from_key(b"\3" * 32)  # a public test key
ADDRESS = WALLET.address.lower()
DERIVED, _ = Pubkey.find_program_address([b"x"], Pubkey.default())  # no key at all


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture
def stranger():
    """An issuer that is trusted with wallets of Ethereum alone."""
    found = Issuer()
    yield found
    found.close()


@pytest.fixture
def door(own_door, issuer, stranger):
    external = (
        ExternalIssuer(
            "web3auth", NAME, issuer.url, AUDIENCE, solana_wallets=True
        ),
        ExternalIssuer("other", "https://other.example", stranger.url, AUDIENCE),
    )  # fmt: skip
    own_door.open(auth={**AUTH, "external": external})
    return own_door


def ed25519(raw, **changes):
    """An entry of `wallets` as Web3Auth writes it."""
    found = {"public_key": raw.hex(), "type": "web3auth_app_key", "curve": "ed25519"}
    return found | changes


def secp256k1(account=WALLET):
    key = account._key_obj.public_key.to_compressed_bytes().hex()
    return {"public_key": key, "type": "web3auth_app_key", "curve": "secp256k1"}


def claims(*wallets, **changes):
    now = int(time.time())
    return {
        "iss": NAME, "aud": AUDIENCE, "iat": now, "exp": now + 3600,
        "wallets": list(wallets),
    } | changes  # fmt: skip


def ask(door, token, address, status=200, kind="web3auth"):
    body = {"kind": kind, "token": token, "address": address}
    return door.post(EXTERNAL, body, status)


def wallets(door, opened):
    return set(door.get(ME, token=opened["access_token"]).json["wallets"])


def test_the_key_of_a_token_opens_the_account_of_the_wallet(door, issuer):
    first = ask(door, issuer.sign(claims(ed25519(ANNA.raw))), ANNA.address).json
    again = ask(
        door, issuer.sign(claims(ed25519(ANNA.raw), secp256k1())), ANNA.address
    ).json

    assert first["account"] == again["account"]
    assert wallets(door, again) == {ANNA.address}
    me = door.get(ME, token=again["access_token"]).json
    assert me["login"] == f"solana:{ANNA.address}"
    signed = door.post(SIWS, ANNA.signed(message(door))).json
    assert signed["account"] == first["account"]


@pytest.mark.parametrize(
    "entry",
    [
        ed25519(ANNA.raw, public_key="0x" + ANNA.raw.hex()),
        ed25519(ANNA.raw, type="web3auth_threshold_key"),
        {"type": "solana", "address": ANNA.address},
    ],
    ids=range(3),
)
def test_other_forms_of_it_are_read(door, issuer, entry):
    ask(door, issuer.sign(claims(entry)), ANNA.address)


def test_the_key_is_linked_to_the_account_of_the_other_wallet(door, issuer):
    token = issuer.sign(claims(secp256k1(), ed25519(ANNA.raw)))

    first = ask(door, token, ADDRESS).json
    assert wallets(door, first) == {ADDRESS, ANNA.address}
    listed = door.get(WALLETS, token=first["access_token"]).json["data"]
    assert {(each["kind"], each["address"]) for each in listed} == {
        ("evm", ADDRESS), ("solana", ANNA.address),
    }  # fmt: skip
    again = ask(door, token, ADDRESS).json  # linked already: nothing changes
    by_key = ask(door, token, ANNA.address).json
    assert first["account"] == again["account"] == by_key["account"]
    assert wallets(door, by_key) == {ADDRESS, ANNA.address}


def test_a_key_of_another_account_stays_there(door, issuer):
    owner = door.post(SIWS, ANNA.signed(message(door))).json
    token = issuer.sign(claims(secp256k1(), ed25519(ANNA.raw)))

    opened = ask(door, token, ADDRESS).json

    assert opened["account"] != owner["account"]
    assert wallets(door, opened) == {ADDRESS}
    assert wallets(door, owner) == {ANNA.address}
    again = door.post(SIWS, ANNA.signed(message(door))).json
    assert again["account"] == owner["account"]


def test_of_two_keys_none_is_linked_and_each_opens_its_own(door, issuer):
    token = issuer.sign(claims(secp256k1(), ed25519(ANNA.raw), ed25519(BEN.raw)))

    assert wallets(door, ask(door, token, ADDRESS).json) == {ADDRESS}
    anna, ben = (ask(door, token, each.address).json for each in (ANNA, BEN))

    assert (wallets(door, anna), wallets(door, ben)) == ({ANNA.address}, {BEN.address})


def test_a_disabled_account_is_given_no_key(door, issuer):
    opened = ask(door, issuer.sign(claims(secp256k1())), ADDRESS).json
    admin = door.token(door.account("operator"))
    path = f"/api/v1/auth/accounts/{opened['account']}/disable"
    door.post(path, None, token=admin)

    ask(door, issuer.sign(claims(secp256k1(), ed25519(ANNA.raw))), ADDRESS, 403)

    signed = door.post(SIWS, ANNA.signed(message(door))).json
    assert signed["account"] != opened["account"]


@pytest.mark.parametrize(
    "entry",
    [
        ed25519(ANNA.raw, curve="secp256k1"),
        ed25519(ANNA.raw, curve="ED25519"),
        ed25519(ANNA.raw, curve=None),
        ed25519(ANNA.raw, curve=["ed25519"]),
        ed25519(ANNA.raw[:31]),
        ed25519(ANNA.raw + b"\0"),
        ed25519(b"\0" + ANNA.raw),
        ed25519(ANNA.raw, public_key=ANNA.address),
        ed25519(ANNA.raw, public_key=""),
        ed25519(ANNA.raw, public_key=None),
        ed25519(ANNA.raw, public_key=7),
        ed25519(ANNA.raw, public_key="zz" * 32),
        ed25519(BEN.raw),
        ed25519(ANNA.raw, address=BEN.address),
        {"type": "ethereum", "address": ANNA.address},
        {"type": "solana", "address": ANNA.raw.hex()},
        {"type": "solana", "address": ANNA.address[:-3]},
        {"address": ANNA.address},
        ANNA.address,
        secp256k1(),
    ],
    ids=range(20),
)
def test_an_entry_with_one_thing_wrong_opens_nothing(door, issuer, entry):
    answer = ask(door, issuer.sign(claims(entry)), ANNA.address, 401)

    assert answer.json["type"] == "/docs#bad_sign_in"


def test_what_is_no_key_of_the_curve_opens_nothing(door, issuer):
    token = issuer.sign(claims(secp256k1(), ed25519(bytes(DERIVED))))

    ask(door, token, str(DERIVED), 401)
    assert wallets(door, ask(door, token, ADDRESS).json) == {ADDRESS}


def test_an_issuer_that_is_not_trusted_with_it_opens_and_links_nothing(door, stranger):
    said = claims(secp256k1(), ed25519(ANNA.raw), iss="https://other.example")
    token = stranger.sign(said)

    ask(door, token, ANNA.address, 401, kind="other")
    opened = ask(door, token, ADDRESS, kind="other").json
    assert wallets(door, opened) == {ADDRESS}
    # Nor by the name of the one that is: its keys, its issuer.
    for forged in (token, stranger.sign({**said, "iss": NAME})):
        for address in (ANNA.address, ADDRESS):
            ask(door, forged, address, 401)


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"aud": "another-client"},
        {"exp": 1},
        {"iat": 99999999999},
        {"wallets": []},
    ],
    ids=str,
)
def test_a_token_with_one_thing_wrong_is_refused(door, issuer, changes):
    token = issuer.sign(claims(ed25519(ANNA.raw), **changes))

    ask(door, token, ANNA.address, 401)


@pytest.mark.parametrize(
    "address",
    ["", "0x", "1" * 31, "1" * 33, "l" * 43, ANNA.address[:-3], "z" * 44, "x" * 900],
)
def test_an_address_of_another_form_is_refused(door, issuer, address):
    ask(door, issuer.sign(claims(ed25519(ANNA.raw))), address, 400)


def test_what_was_linked_may_be_let_go(door, issuer):
    opened = ask(door, issuer.sign(claims(secp256k1(), ed25519(ANNA.raw))), ADDRESS)
    token = opened.json["access_token"]

    door.delete(f"{WALLETS}/{ANNA.address}", token=token)

    assert wallets(door, opened.json) == {ADDRESS}
    person = Person("linked by a message")
    text = message(door, person, Nonce=nonce(door, token=token))
    door.post(WALLETS, {**person.signed(text), "kind": "solana"}, 201, token=token)
    assert wallets(door, opened.json) == {ADDRESS, to_base58(person.raw)}
