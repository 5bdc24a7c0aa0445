"""What may be signed: the memory of every nonce, the rules, the limits, the switch."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from eth_account import Account
from sqlalchemy import text

from commands.errors import SigningHeld, SigningRefused
from commands.evm.raw import read_raw
from commands.evm.signers import Payload, SignedBytes, signer_from_key
from commands.evm.signing.guard import Allowance, GuardedSigner, Rules, digest
from db import sources
from db.commands.evm.memory import SpendingLimits
from db.commands.states import FAR_NONCES, Hold
from db.commands.stops import EVERYTHING, allow_signing, stop_signing

KEY = "0x" + "22" * 32  # nobody's: for tests only
CHAIN = 100
REGISTRY, FACTORY, CAMPAIGN = b"\xc0" * 20, b"\xc1" * 20, b"\xca" * 20
ONE, OTHER = b"\x01\x01\x01\x01", b"\x02\x02\x02\x02"
ALLOW = (
    Allowance("Registry", frozenset({REGISTRY}), frozenset({ONE})),
    Allowance("Campaign", frozenset(), frozenset({OTHER})),
)
NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    now: datetime = NOON

    def __call__(self):
        return self.now


@dataclass
class Pen:
    """A key that writes down what it signed, and may be broken."""

    name: str = "s"
    address: bytes = signer_from_key("s", KEY).address
    signed: list = field(default_factory=list)
    broken: bool = False

    def permits(self, payload):
        pass

    def sign(self, payload):
        if self.broken:
            raise SigningHeld(Hold.SIGNER_UNAVAILABLE, "broken")
        self.signed.append(payload)
        return SignedBytes(b"", b"")


@pytest.fixture
def pen():
    return Pen()


def guard(engine, pen, *, clock=None, **rules):
    rules = Rules(name="s", chain_id=CHAIN, **rules)
    return GuardedSigner(engine, pen, rules, clock or Clock())


def call(nonce=0, **changes):
    return replace(
        Payload(
            chain_id=CHAIN, nonce=nonce, gas_price=10, gas=50_000, to=REGISTRY, value=0,
            data=ONE + b"first",
        ),
        **changes,
    )  # fmt: skip


def nothing(pen, nonce=0, **changes):
    return call(nonce, **{"to": pen.address, "data": b"", "gas": 21_000, **changes})


def test_one_call_is_signed_for_a_nonce_whatever_its_fee(migrated_engine, pen):
    signer = guard(migrated_engine, pen)
    signer.sign(call())

    signer.sign(call(gas_price=99, gas=60_000, priority_fee=3))
    for other in (
        call(data=ONE + b"second"), call(value=1), call(to=FACTORY), call(data=b""),
    ):  # fmt: skip
        with pytest.raises(SigningRefused, match="two calls must never compete"):
            signer.sign(other)
    signer.sign(call(1, data=ONE + b"second"))

    assert [0, 0, 1] == [each.nonce for each in pen.signed]


def test_a_nonce_is_given_up_by_a_transfer_of_nothing(migrated_engine, pen):
    signer = guard(migrated_engine, pen)
    signer.sign(call())

    signer.sign(nothing(pen, gas_price=20))
    signer.sign(nothing(pen, gas_price=30))
    signer.sign(call(gas_price=40))
    with pytest.raises(SigningRefused):
        signer.sign(nothing(pen, value=1))
    with pytest.raises(SigningRefused):
        signer.sign(nothing(pen, data=b"x"))

    assert 4 == len(pen.signed)


def test_a_nonce_that_was_given_up_first_takes_no_call(migrated_engine, pen):
    signer = guard(migrated_engine, pen)
    signer.sign(nothing(pen))

    with pytest.raises(SigningRefused, match="needs another nonce"):
        signer.sign(call())

    assert 1 == len(pen.signed)


def test_of_many_at_once_one_call_is_signed(migrated_engine, pen):
    signers = [guard(migrated_engine, pen) for _ in range(8)]

    def attempt(number):
        try:
            signers[number % 8].sign(call(data=ONE + bytes([number])))
        except SigningRefused:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        signed = sum(pool.map(attempt, range(32)))

    assert 1 == signed == len(pen.signed)


def test_the_database_itself_refuses_a_second_call(migrated_engine, pen):
    guard(migrated_engine, pen).sign(call())

    with migrated_engine.begin() as connection, pytest.raises(Exception, match="pkey"):
        connection.execute(
            text("INSERT INTO control.signed SELECT * FROM control.signed")
        )


def test_what_was_to_be_signed_is_remembered_even_if_the_key_fails(
    migrated_engine, pen
):
    """The key may have signed before its answer was lost."""
    signer = guard(migrated_engine, pen)
    pen.broken = True
    with pytest.raises(SigningHeld):
        signer.sign(call())
    pen.broken = False

    with pytest.raises(SigningRefused):
        signer.sign(call(data=ONE + b"second"))

    assert 1 == signer.floor()


def test_the_digest_tells_what_is_done_not_what_it_costs():
    same = digest(call())

    assert same == digest(call(gas_price=1, gas=1, priority_fee=1))
    for other in (
        call(1), call(to=FACTORY), call(value=1), call(data=b"x"), call(chain_id=1),
    ):  # fmt: skip
        assert same != digest(other)


def test_only_what_is_allowed_is_called(migrated_engine, pen):
    signer = guard(migrated_engine, pen, allow=ALLOW)
    with migrated_engine.begin() as connection:
        row = sources.register(
            connection, name="c", chain_id=f"eip155:{CHAIN}", ordinals="rank"
        )
        connection.execute(
            text("INSERT INTO control.child VALUES (:s, 'Campaign', :a, 1)"),
            {"s": row.id, "a": CAMPAIGN},
        )

    signer.sign(call())
    signer.sign(call(1, to=CAMPAIGN, data=OTHER))
    signer.sign(nothing(pen, 2))
    for refused in (
        call(3, data=OTHER), call(3, to=FACTORY), call(3, to=CAMPAIGN),
        call(3, to=FACTORY, data=OTHER), call(3, data=b""), call(3, data=ONE[:3]),
    ):  # fmt: skip
        with pytest.raises(SigningRefused, match="add it to its allow"):
            signer.sign(refused)
        with pytest.raises(SigningRefused):
            signer.permits(refused)
    with pytest.raises(SigningRefused, match="chain"):
        signer.sign(call(3, chain_id=1))

    assert 3 == len(pen.signed)


def test_value_is_limited_for_a_transaction_and_for_a_day(migrated_engine, pen):
    clock = Clock()
    signer = guard(
        migrated_engine, pen, clock=clock, value_per_transaction=60,
        limits=SpendingLimits(value_per_day=100),
    )  # fmt: skip
    with pytest.raises(SigningRefused, match="value_per_transaction"):
        signer.sign(call(value=61))
    signer.sign(call(0, value=60))
    signer.sign(call(0, value=60, gas_price=20))
    signer.sign(call(1, value=40))
    with pytest.raises(SigningRefused, match="value_per_day"):
        signer.permits(call(2, value=1))
    with pytest.raises(SigningRefused, match="value_per_day"):
        signer.sign(call(2, value=1))
    signer.sign(call(2))
    signer.sign(nothing(pen, 3))

    clock.now = NOON.replace(hour=23, minute=59)
    with pytest.raises(SigningRefused):
        signer.sign(call(4, value=1))
    clock.now += timedelta(minutes=2)

    signer.sign(call(4, value=60))


def test_many_at_once_stay_within_the_day_s_value(migrated_engine, pen):
    signer = guard(migrated_engine, pen, limits=SpendingLimits(value_per_day=100))

    def attempt(nonce):
        try:
            signer.sign(call(nonce, value=30))
        except SigningRefused:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert 3 == sum(pool.map(attempt, range(16)))


def test_gas_is_limited_by_price_and_by_day(migrated_engine, pen):
    """A fee that is raised counts by what it adds: one of the two is mined."""
    signer = guard(
        migrated_engine,
        pen,
        gas_price_max=50,
        limits=SpendingLimits(gas_per_day=2_000_000),
    )
    with pytest.raises(SigningHeld) as ceiling:
        signer.sign(call(gas_price=51))
    signer.sign(call(0, gas_price=10))
    signer.sign(call(0, gas_price=20))
    signer.sign(call(1, gas_price=20))
    with pytest.raises(SigningHeld) as budget:
        signer.permits(call(2, gas_price=1))
    with pytest.raises(SigningHeld):
        signer.sign(call(1, gas_price=21))

    assert (Hold.CEILING, Hold.BUDGET) == (ceiling.value.hold, budget.value.hold)
    assert 3 == len(pen.signed)


@pytest.mark.parametrize("scope", [EVERYTHING, "s"])
def test_the_switch_stops_everything_at_once(migrated_engine, pen, scope):
    signer = guard(migrated_engine, pen)
    with migrated_engine.begin() as connection:
        stop_signing(connection, "another", "why", NOON)
    signer.sign(call())
    with migrated_engine.begin() as connection:
        stop_signing(connection, scope, "why", NOON)

    for refused in (call(1), nothing(pen, 1), call(gas_price=20)):
        with pytest.raises(SigningHeld, match="sign resume") as stopped:
            signer.sign(refused)
        assert Hold.STOPPED is stopped.value.hold
        with pytest.raises(SigningHeld):
            signer.permits(refused)
    with migrated_engine.begin() as connection:
        allow_signing(connection, scope)

    signer.sign(call(1))


def test_a_hostile_caller_gets_no_conflict_and_nothing_forbidden(migrated_engine):
    """Every signature of a thousand random requests, read back from its bytes."""
    rng = random.Random(5)
    limits = SpendingLimits(value_per_day=10**6)
    kept = []

    class Key:
        name, address = "s", Pen.address
        inner = signer_from_key("s", KEY)

        def permits(self, payload):
            pass

        def sign(self, payload):
            signed = self.inner.sign(payload)
            kept.append(read_raw(signed.raw))
            return signed

    signer = guard(
        migrated_engine, Key(), allow=ALLOW[:1], value_per_transaction=10**5,
        gas_price_max=50, limits=limits,
    )  # fmt: skip
    for _ in range(1000):
        asked = call(
            rng.randrange(40), gas_price=rng.randrange(1, 80),
            gas=rng.choice((21_000, 50_000)),
            to=rng.choice((REGISTRY, REGISTRY, FACTORY, Pen.address)),
            value=rng.choice((0, 0, 1, 10**5, 10**5 + 1, 10**18)),
            data=rng.choice((ONE, ONE, OTHER, b"")) + rng.choice((b"", b"a", b"b")),
            chain_id=rng.choice((CHAIN, CHAIN, 1)),
            priority_fee=rng.choice((None, 1)),
        )  # fmt: skip
        try:
            signer.sign(asked)
        except (SigningRefused, SigningHeld):
            continue

    own = Account.from_key(KEY).address.lower()
    calls = [each for each in kept if each.data or each.value or each.to != Pen.address]
    competing = {each.nonce: set() for each in calls}
    for each in calls:
        competing[each.nonce].add((each.to, each.value, each.data))
    assert 20 < len(competing)
    assert {1} == {len(found) for found in competing.values()}
    assert {own} == {"0x" + each.sender.hex() for each in kept}
    assert {CHAIN} == {each.chain_id for each in kept}
    assert {REGISTRY} == {each.to for each in calls}
    assert {ONE} == {each.data[:4] for each in calls}
    assert all(each.value <= 10**5 and each.gas_price <= 50 for each in kept)
    assert 10**6 >= sum({each.nonce: each.value for each in calls}.values())


def test_a_nonce_is_given_up_only_by_signers_that_may(migrated_engine, pen):
    signer = guard(migrated_engine, pen, fillers=False)

    for ask in (signer.permits, signer.sign):
        with pytest.raises(SigningRefused, match='add "filler" to its allow'):
            ask(nothing(pen))
    signer.sign(call())
    assert 1 == len(pen.signed)


def test_a_nonce_far_above_the_last_is_held_and_moves_no_floor(migrated_engine, pen):
    signer = guard(migrated_engine, pen)
    signer.sign(call(7_000))  # before anything was signed, any may be next
    assert 7_001 == signer.floor()

    for far in (7_001 + FAR_NONCES, 100_000, 1_000_000_000, (1 << 63) - 1):
        for payload in (call(far), nothing(pen, far)):
            with pytest.raises(SigningHeld, match=f"--nonce {far}"):
                signer.sign(payload)
    assert 7_001 == signer.floor()

    signer.sign(call(7_000 + FAR_NONCES))
    assert [7_000, 7_000 + FAR_NONCES] == [each.nonce for each in pen.signed]
