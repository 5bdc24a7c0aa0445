"""The bytes that an entry's hash is of, written out: they can never change."""

import hashlib
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from db.journal.canonical import EntryRow, canonical

ROW = EntryRow(
    seq=7,
    at=datetime(2026, 3, 1, 12, 0, 0, 250000, tzinfo=UTC),
    kind="club.Applied",
    actor="account:1",
    tenant="account:1",
    address="192.0.2.1",
    agent='a "browser" é\n',
    signature=b"\1\2",
    body={"b": "5", "a": [True, None, {"z": "0x01", "y": "ü"}]},
    subject="someone",
    personal=b"ciphertext",
    previous=b"\3" * 32,
)
WRITTEN = (
    "chainfold.journal.entry.1\n"
    '{"actor":"account:1","address":"192.0.2.1","agent":"a \\"browser\\" é\\n",'
    '"at":1772366400250000,"body":{"a":[true,null,{"y":"ü","z":"0x01"}],"b":"5"},'
    '"kind":"club.Applied","personal":"PERSONAL","previous":"PREVIOUS","seq":7,'
    '"signature":"0102","subject":"someone","tenant":"account:1"}'
).replace("PERSONAL", hashlib.sha256(b"ciphertext").hexdigest())
WRITTEN = WRITTEN.replace("PREVIOUS", "03" * 32)


def test_the_hash_is_of_these_bytes():
    assert hashlib.sha256(WRITTEN.encode()).digest() == ROW.digest()
    known = "b2481e8d9bbe0eeaf388f34dda98b3598ff87359afe71be8fd75ee2543014ac8"
    assert known == ROW.digest().hex()


def test_what_is_not_said_is_null():
    plain = replace(ROW, signature=None, subject=None, personal=None)

    written = WRITTEN.replace('"signature":"0102"', '"signature":null')
    written = written.replace('"subject":"someone"', '"subject":null')
    sealed = hashlib.sha256(b"ciphertext").hexdigest()
    written = written.replace(f'"personal":"{sealed}"', '"personal":null')
    assert hashlib.sha256(written.encode()).digest() == plain.digest()


def test_a_moment_is_the_same_in_every_zone():
    elsewhere = ROW.at.astimezone(timezone(timedelta(hours=9)))

    assert ROW.digest() == replace(ROW, at=elsewhere).digest()


def test_every_field_is_in_the_hash():
    other = {
        "seq": 8, "at": ROW.at + timedelta(microseconds=1), "signature": b"",
        "body": {}, "personal": b"", "previous": b"\4" * 32,
    }  # fmt: skip
    found = {
        replace(ROW, **{field.name: other.get(field.name, "x")}).digest()
        for field in fields(EntryRow)
    }

    assert len(fields(EntryRow)) == len(found - {ROW.digest()})


@pytest.mark.parametrize(
    "value", [0.5, float("nan"), "\x00", {1: "a"}, {"a\x00": 1}, {"a"}, b"a", [[0.5]]]
)
def test_what_has_no_one_form_is_refused(value):
    with pytest.raises(ValueError, match="form|NUL|text"):
        canonical(value)


def test_half_a_character_is_refused():
    with pytest.raises(ValueError, match="surrogates"):
        canonical("\ud800")
