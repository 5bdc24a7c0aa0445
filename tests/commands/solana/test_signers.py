"""Keys of Solana: files that others write, and what is said of those that are none."""

import json
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from commands.errors import SigningRefused
from commands.solana.signers import Payload, signer_from_file, signer_from_key
from idl.base58 import to_base58

SEED = bytes(range(3, 35))
PUBLIC = Ed25519PrivateKey.from_private_bytes(SEED).public_key().public_bytes_raw()
PAIR = SEED + PUBLIC
MESSAGE = b"\x80 any message"


def signs(signer):
    """Whether its signature is of its address, by another library."""
    signature = signer.sign(Payload(MESSAGE, b"", 0, 0))
    Ed25519PublicKey.from_public_bytes(signer.address).verify(signature, MESSAGE)
    return True


def openssl(path, *arguments):
    command = ["openssl", "genpkey", "-algorithm", *arguments, "-out", str(path)]
    subprocess.run(command, check=True, capture_output=True)


def test_a_key_that_openssl_made_and_locked_is_opened(tmp_path):
    path = tmp_path / "key.pem"
    openssl(path, "ed25519", "-aes256", "-pass", "pass:correct horse")
    public = subprocess.run(
        ["openssl", "pkey", "-in", str(path), "-passin", "pass:correct horse",
         "-pubout", "-outform", "DER"],
        check=True, capture_output=True,
    ).stdout  # fmt: skip

    signer = signer_from_file("vault", path, "correct horse")

    assert signer.address == public[-32:]
    assert signs(signer)


def test_the_file_of_the_solana_command_line_is_read(tmp_path):
    path = tmp_path / "id.json"
    path.write_text(json.dumps(list(PAIR)))

    signer = signer_from_file("vault", path, None)

    assert signer.address == PUBLIC
    assert signs(signer)


@pytest.mark.parametrize(
    "text", [to_base58(PAIR), f" {to_base58(PAIR)}\n", json.dumps(list(PAIR))]
)
def test_an_environment_variable_holds_base58_or_numbers(text):
    signer = signer_from_key("vault", text)

    assert signer.address == PUBLIC
    assert signs(signer)


def test_a_key_is_never_shown():
    signer = signer_from_key("vault", to_base58(PAIR))

    assert to_base58(PAIR) not in repr(signer)
    assert SEED.hex() not in repr(signer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        to_base58(SEED),
        to_base58(PAIR)[:-1] + "0",
        to_base58(SEED + bytes(reversed(PUBLIC))),
        json.dumps(list(PAIR[:63])),
        json.dumps([*PAIR[:63], 256]),
        json.dumps([*PAIR[:63], "1"]),
        "[" * 100_000,
        "[1e400]",
        "[true]",
    ],
    ids=str.__len__,
)
def test_a_text_that_is_no_keypair_is_refused_without_being_told(text):
    with pytest.raises(
        SigningRefused, match="key of signer vault is no keypair"
    ) as found:
        signer_from_key("vault", text)

    assert len(text) < 5 or text[:40] not in str(found.value)
    assert found.value.__cause__ is None
    assert found.value.__suppress_context__


@pytest.mark.parametrize("password", [None, "correct horse"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"{}", b"[1,2,3]", b"-----BEGIN PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_refused(tmp_path, content, password):
    path = tmp_path / "key"
    path.write_bytes(content)

    with pytest.raises(SigningRefused, match="cannot be opened"):
        signer_from_file("vault", path, password)


def test_a_wrong_password_is_refused(tmp_path):
    path = tmp_path / "key.pem"
    openssl(path, "ed25519", "-aes256", "-pass", "pass:correct horse")

    with pytest.raises(SigningRefused, match="and the password"):
        signer_from_file("vault", path, "battery staple")


def test_a_key_of_another_curve_is_refused(tmp_path):
    path = tmp_path / "key.pem"
    key = ec.generate_private_key(ec.SECP256K1())
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"correct horse"),
        )
    )

    with pytest.raises(SigningRefused, match="an Ed25519 key"):
        signer_from_file("vault", path, "correct horse")


def test_a_file_that_is_not_there_or_is_a_folder_is_named(tmp_path):
    with pytest.raises(SigningRefused, match=r"is not at .*nowhere"):
        signer_from_file("vault", tmp_path / "nowhere", None)
    with pytest.raises(SigningRefused, match="cannot be read"):
        signer_from_file("vault", tmp_path, None)
