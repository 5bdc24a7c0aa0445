"""Sign-in by another service's word: its keys, its claims, and the wallet in them."""

import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from eth_account import Account

from api.auth.jwks import FLOOR_SECONDS, KEPT_SECONDS, Jwks, KeysAway
from api.auth.options import ExternalIssuer
from helpers.issuer import Issuer

EXTERNAL, ME = "/api/v1/auth/token/external", "/api/v1/auth/me"
NAME, AUDIENCE = "https://issuer.example", "our-client-id"
WALLET = Account.from_key(b"\3" * 32)  # a public test key
ADDRESS = WALLET.address


@pytest.fixture
def issuer():
    found = Issuer()
    yield found
    found.close()


@pytest.fixture
def door(own_door, issuer):
    external = ExternalIssuer("web3auth", NAME, issuer.url, AUDIENCE)
    own_door.open(auth={"external": (external,)})
    return own_door


def claims(**changes):
    now = int(time.time())
    found = {
        "iss": NAME, "aud": AUDIENCE, "iat": now, "exp": now + 3600,
        "wallets": [{"type": "ethereum", "address": ADDRESS}],
    } | changes  # fmt: skip
    return {name: value for name, value in found.items() if value is not None}


def ask(door, token, status=200, address=ADDRESS, kind="web3auth"):
    body = {"kind": kind, "token": token, "address": address}
    return door.post(EXTERNAL, body, status)


def public_key(*, compressed=True):
    key = WALLET._key_obj.public_key
    return "0x" + (key.to_compressed_bytes() if compressed else key.to_bytes()).hex()


def test_its_word_opens_the_account_of_the_wallet(door, issuer):
    first = ask(door, issuer.sign(claims())).json
    again = ask(door, issuer.sign(claims()), address=ADDRESS.lower()).json

    assert first["account"] == again["account"]
    me = door.get(ME, token=again["access_token"]).json
    assert me["wallets"] == [ADDRESS.lower()]
    assert issuer.asked == 1


@pytest.mark.parametrize("compressed", [True, False])
def test_the_wallet_may_be_told_by_its_public_key(door, issuer, compressed):
    wallet = {
        "type": "web3auth_app_key", "curve": "secp256k1",
        "public_key": public_key(compressed=compressed),
    }  # fmt: skip
    ed25519 = {
        "type": "web3auth_app_key",
        "curve": "ed25519",
        "public_key": "0x" + "1" * 64,
    }

    ask(door, issuer.sign(claims(wallets=[ed25519, wallet])))


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": None},
        {"exp": 1},
        {"exp": None},
        {"exp": "never"},
        {"iat": None},
        {"iat": 99999999999},
        {"nbf": 99999999999},
        {"wallets": None},
        {"wallets": []},
        {"wallets": "0x"},
        {"wallets": [ADDRESS]},
        {"wallets": [{"address": "0x" + "9" * 40}]},
        {"wallets": [{"address": ADDRESS[:-2]}]},
        {"wallets": [{"address": None}]},
        {"wallets": [{"curve": "secp256k1", "public_key": "0x02" + "ff" * 32}]},
        {"wallets": [{"curve": "ed25519", "public_key": public_key()}]},
        {"wallets": [{"curve": "secp256k1", "public_key": "zz"}]},
    ],
    ids=str,
)
def test_a_token_with_one_thing_wrong_is_refused(door, issuer, changes):
    answer = ask(door, issuer.sign(claims(**changes)), 401)

    assert answer.json["type"] == "/docs#bad_sign_in"


def test_a_token_of_another_key_is_refused(door, issuer):
    other = ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    # What a server that believes `alg` would take for the secret.
    public = issuer.public("first")["x"]
    for token in (
        issuer.sign(claims(), key=other),
        issuer.sign(claims(), key=other, headers={"kid": "unknown"}),
        issuer.sign(claims(), key=rsa_key, algorithm="RS256"),
        issuer.sign(claims(), key=public, algorithm="HS256"),
        issuer.sign(claims(), key="", algorithm="none"),
        jwt.encode(claims(), issuer.keys["first"], algorithm="ES256"),  # no kid
        "x.y.z",
        "",
        issuer.sign(claims())[:-8] + "AAAAAAAA",
    ):
        ask(door, token, 401)


def test_a_kind_that_is_not_set_is_refused(door, issuer):
    assert "web3auth" in ask(door, issuer.sign(claims()), 400, kind="other").text


def test_only_signatures_can_be_configured():
    for algorithm in ("HS256", "none"):
        with pytest.raises(ValueError, match="use one of ES256"):
            ExternalIssuer("x", NAME, "https://x", AUDIENCE, (algorithm,))


def test_when_the_keys_cannot_be_had_it_is_said(door, issuer):
    token = issuer.sign(claims())
    issuer.answer = (500, b"")

    answer = ask(door, token, 503)

    assert answer.json["type"] == "/docs#issuer_unavailable"
    assert answer.headers["Retry-After"]


class TestKeys:
    @pytest.fixture
    def keys(self, issuer):
        self.time = 1000.0
        return Jwks(issuer.url, lambda: self.time)

    def test_an_unknown_key_asks_once_a_minute(self, keys, issuer):
        assert keys.key("first") is not None
        for _ in range(5):
            assert keys.key("second") is None
        assert issuer.asked == 1

        self.time += FLOOR_SECONDS
        issuer.rotate("second")
        assert keys.key("second") is not None
        assert keys.key("second") is not None

        assert issuer.asked == 2

    def test_a_key_that_was_withdrawn_is_gone_after_a_while(self, keys, issuer):
        assert keys.key("first") is not None
        del issuer.keys["first"]

        self.time += KEPT_SECONDS - 1
        assert keys.key("first") is not None
        self.time += 1

        assert keys.key("first") is None

    @pytest.mark.parametrize(
        "answer",
        [
            (500, b""), (302, b""), (200, b""), (200, b"{"), (200, b"[]"),
            (200, b'{"keys": 1}'), (200, b" " * (1 << 19)),
        ],
        ids=range(7),
    )  # fmt: skip
    def test_while_the_issuer_fails_its_keys_go_on(self, keys, issuer, answer):
        assert keys.key("first") is not None
        issuer.answer = answer

        for _ in range(3):
            self.time += KEPT_SECONDS
            assert keys.key("first") is not None
        assert issuer.asked == 4

    def test_without_any_it_is_not_known(self, keys, issuer):
        issuer.answer = (500, b"")
        for _ in range(3):
            with pytest.raises(KeysAway):
                keys.key("first")

        assert issuer.asked == 1

    def test_keys_that_are_none_of_ours_are_passed_over(self, keys, issuer):
        import orjson

        odd = [{"kty": "oct"}, {"kid": 1}, 7, {"kid": "x", "kty": "unheard of"}]
        listed = [*odd, issuer.public("first")]
        issuer.answer = (200, orjson.dumps({"keys": listed}))

        assert keys.key("first") is not None
        assert keys.key("x") is None

    def test_keys_come_over_https_or_from_this_machine(self):
        with pytest.raises(ValueError, match="use https"):
            Jwks("http://issuer.example/jwks")
