"""What a key of Solana owns is read by whoever has signed in with it, and the staff."""

import pytest

from db.accounts.accounts import link_wallet
from db.declare import Address, Count, Entry, Key, Own, Projection, Pubkey, Sum, Uint
from db.declare.readers import STAFF
from db.declare.roles import Role
from db.journal.append import Actor, append
from db.registry import Registry
from helpers.door import Door
from helpers.siws import ANNA, AUTH, BEN, SIWS, Person, message
from idl.base58 import to_base58

CLERK = Actor("clerk", "", "127.0.0.1", "")
# Twenty bytes that the key of somebody else begins with.
SHORT = ANNA.raw[:20]


class Bought(Entry):
    """Somebody bought something."""

    __domain__ = "shop"
    buyer = Pubkey()
    payer = Address()
    amount = Uint()

    readable_by = (STAFF, Own("buyer"))


class Buyer(Projection):
    """One row for each buyer."""

    __domain__ = "shop"
    buyer = Key()
    amount = Sum(Bought.amount)

    readable_by = (STAFF, Own("buyer"))


class Payer(Projection):
    """One row for each payer."""

    __domain__ = "shop"
    payer = Key()
    times = Count(Bought)

    readable_by = (STAFF, Own("payer"))


REGISTRY = Registry.of([Bought], [Buyer, Payer])
BUYERS, BOUGHT = "/api/v1/buyers", "/api/v1/events/shop_bought"


@pytest.fixture
def door(database_url):
    found = Door(database_url, REGISTRY, auth=AUTH)
    with found.writer.begin() as connection:
        for person, payer, amount in ((ANNA, 1, 5), (BEN, 2, 7), (ANNA, 2, 11)):
            entry = Bought(buyer=person.raw, payer=bytes([payer]) * 20, amount=amount)
            append(connection, REGISTRY, entry, actor=CLERK, now=found.clock())
    yield found
    found.close()


def sign_in(door, person):
    body = person.signed(message(door, person))
    return door.post(SIWS, body).json["access_token"]


def data(door, path, token):
    return door.get(path, token=token).json["data"]


def test_a_buyer_reads_what_is_theirs(door):
    anna, ben = sign_in(door, ANNA), sign_in(door, BEN)

    assert data(door, BUYERS, anna) == [{"buyer": ANNA.address, "amount": "16"}]
    assert data(door, BUYERS, ben) == [{"buyer": BEN.address, "amount": "7"}]
    assert [each["amount"] for each in data(door, BOUGHT, anna)] == ["11", "5"]
    assert {each["buyer"] for each in data(door, BOUGHT, ben)} == {BEN.address}
    door.get(BUYERS, 401)


def test_one_row_is_read_by_its_owner_and_the_staff(door):
    anna, auditor = sign_in(door, ANNA), door.token(door.account(Role.AUDITOR))
    path = f"{BUYERS}/{BEN.address}"

    door.get(path, 404, token=anna)
    assert door.get(path, token=auditor).json["data"]["amount"] == "7"
    assert door.get(path, token=sign_in(door, BEN)).json["data"]["amount"] == "7"
    door.get(f"{BUYERS}/{ANNA.address}", token=anna)


def test_a_filter_does_not_widen_it(door):
    anna = sign_in(door, ANNA)

    assert data(door, f"{BOUGHT}?buyer={BEN.address}", anna) == []
    assert data(door, f"{BUYERS}?buyer={BEN.address}", anna) == []
    door.get(f"{BUYERS}?buyer__own={BEN.address}", 400, token=anna)


def test_wallets_of_one_kind_own_nothing_of_the_other(door):
    """An address is compared whole: neither a prefix nor padding is another's."""
    account = door.account()
    padded = bytes([1]) * 20 + bytes(12)
    with door.writer.begin() as connection:
        for kind, wallet in (("evm", SHORT), ("solana", padded)):
            link_wallet(connection, account, wallet, kind=kind, now=door.clock())
    token = door.token(account)

    assert data(door, BUYERS, token) == []
    assert data(door, BOUGHT, token) == []
    assert data(door, "/api/v1/payers", token) == []
    me = door.get("/api/v1/auth/me", token=token).json["wallets"]
    assert sorted(me) == sorted(["0x" + SHORT.hex(), to_base58(padded)])


def test_an_account_with_both_owns_by_either(door):
    account, wallet = door.account(), bytes([2]) * 20
    with door.writer.begin() as connection:
        for kind, raw in (("evm", wallet), ("solana", ANNA.raw), ("solana", BEN.raw)):
            link_wallet(connection, account, raw, kind=kind, now=door.clock())
    token = door.token(account)

    assert {each["buyer"] for each in data(door, BUYERS, token)} == {
        ANNA.address, BEN.address,
    }  # fmt: skip
    [row] = data(door, "/api/v1/payers", token)
    assert (row["payer"], row["times"]) == ("0x" + wallet.hex(), 2)


def test_a_wallet_that_is_let_go_takes_its_rows_along(door):
    token, other = sign_in(door, ANNA), Person("other")
    asked = door.post("/api/v1/auth/siws/nonce", None, 201, token=token).json["nonce"]
    text = message(door, other, Nonce=asked)
    body = {**other.signed(text), "kind": "solana"}
    door.post("/api/v1/auth/wallets", body, 201, token=token)
    assert data(door, BUYERS, token)

    door.delete(f"/api/v1/auth/wallets/{ANNA.address}", token=token)

    assert data(door, BUYERS, token) == []
