"""Values in the forms in which people read and write them."""

import string

import pytest
from hypothesis import given, strategies

from db.declare import (
    Address,
    Average,
    Bytes32,
    Code,
    Command,
    Contract,
    DeclarationError,
    Duration,
    Entry,
    Event,
    First,
    FixedBytes,
    Int,
    Key,
    Latest,
    Max,
    Money,
    Projection,
    Role,
    Share,
    Sum,
    Text,
    Time,
    Uint,
    Url,
)
from db.journal.canonical import plain
from helpers.ledger import abi_event

ETB, USDC = Money(18, "ETB"), Money(6, "USDC")
WEI = 10**18
INTEGERS = strategies.integers(-(2**300), 2**300)
BYTES = strategies.one_of(
    strategies.binary(max_size=32),
    strategies.text(string.printable, max_size=32).map(lambda text: text.encode()),
    strategies.sampled_from([b"0x12", b"telebirr", b"a\0b", b" ", b"\xff"]),
).map(lambda value: value[:32].ljust(32, b"\0"))


def field(meaning, of=Int):
    found = of(meaning=meaning)
    found.name = "value"
    return found


FORMS = [
    (ETB, 5000 * WEI, "5000"), (ETB, 5000 * WEI + WEI // 2, "5000.5"), (ETB, 0, "0"),
    (ETB, 1, "0.000000000000000001"), (ETB, -WEI, "-1"), (USDC, -1, "-0.000001"),
    (Money(0, "JPY"), 120, "120"), (Money(77, "T"), 10**77, "1"),
    (Share(10_000), 300, "0.03"), (Share(10_000), 10_000, "1"),
    (Share(100), 7, "0.07"), (Time(), 0, "1970-01-01T00:00:00Z"),
    (Time(), 1_769_860_800, "2026-01-31T12:00:00Z"),
    (Time(), 253_402_300_799, "9999-12-31T23:59:59Z"),
    (Time(), 2**64 - 1, f"{2**64 - 1}"), (Time(), -(10**12), f"-{10**12}"),
    (Time(), -62_135_596_800, "0001-01-01T00:00:00Z"),
    (Duration(), 90 * 86_400, "P90D"), (Duration(), 6 * 3600, "PT6H"),
    (Duration(), 0, "PT0S"), (Duration(), 93_784, "P1DT2H3M4S"),
    (Duration(), -61, "-PT1M1S"), (Duration(), 86_400 * 10**40, f"P{10**40}D"),
]  # fmt: skip


@pytest.mark.parametrize(("meaning", "value", "text"), FORMS)
def test_a_value_is_shown_in_the_form_of_its_meaning(meaning, value, text):
    assert field(meaning).shown(value) == text
    assert meaning.read(field(meaning), text) == value


@pytest.mark.parametrize(
    ("meaning", "text", "value"),
    [
        (ETB, "5000.50", 5000 * WEI + WEI // 2), (ETB, 5000, 5000 * WEI),
        (ETB, "007", 7 * WEI), (ETB, "1.0000000000000000000000", WEI),
        (Share(10_000), "3 %", 300), (Share(10_000), "3.25%", 325),
        (Share(10_000), "0.0300", 300), (Share(10_000), "100 %", 10_000),
        (Time(), "2026-01-31", 1_769_817_600), (Time(), 1_769_860_800, 1_769_860_800),
        (Time(), "1769860800", 1_769_860_800),
        (Time(), "2026-01-31T14:00:00+02:00", 1_769_860_800),
        (Duration(), "90 days", 90 * 86_400), (Duration(), "1 day, 6 hours", 108_000),
        (Duration(), "P2W", 14 * 86_400), (Duration(), 3600, 3600),
        (Duration(), "PT90M", 5400), (Duration(), "7776000", 7_776_000),
    ],
)  # fmt: skip
def test_people_may_write_it_otherwise(meaning, text, value):
    assert field(meaning).read(text) == value


@pytest.mark.parametrize(
    ("meaning", "given", "message"),
    [
        (ETB, "5,000", 'not an amount in ETB. Write the number of ETB as text'),
        (ETB, 5000.5, "not an amount in ETB"), (ETB, True, "not an amount in ETB"),
        (ETB, "0" * 251, "251 characters are too many for an amount in ETB"),
        (ETB, "1e3", "not an amount"), (ETB, ".5", "not an amount"),
        (ETB, "0." + "0" * 18 + "1", "19 decimals, and an amount in ETB has 18"),
        (ETB, str(5000 * WEI), r"in ETB: did you mean 5000\? For the smallest"),
        (ETB, f"{5000 * WEI + WEI // 2}", r"did you mean 5000\.5\?"),
        (Money(18, "ETB", most=100), "101", "it is more than 100 ETB"),
        (Share(10_000), "300", 'a share is 0 to 1. Write it as "0.03" or "3 %"'),
        (Share(10_000), "-0.1", "a share is 0 to 1"),
        (Share(100), "0.001", "3 decimals"), (Share(100), "three %", "not a share"),
        (Time(), "tomorrow", "not a time. Write it as 2026-01-31T12:00:00Z"),
        (Time(), 1_769_860_800_000, "not in thousandths of one"),
        (Time(), "2026-01-31T12:00:00.5Z", "part of a second"),
        (Duration(), "P1Y", "not a duration"), (Duration(), "P", "not a duration"),
        (Duration(), "PT", "not a duration"), (Duration(), "90 dys", "not a duration"),
        (Duration(), "1.5 days", "not a duration"), (Duration(), "", "not a duration"),
    ],
)  # fmt: skip
def test_what_nobody_can_mean_is_refused_with_the_remedy(meaning, given, message):
    with pytest.raises(ValueError, match=f"^value: .*{message}"):
        field(meaning).read(given)


def test_a_code_is_text_or_hex():
    code = field(Code(), Bytes32)
    paid_by = b"telebirr".ljust(32, b"\0")

    assert code.read("telebirr") == code.read("0x" + paid_by.hex()) == paid_by
    assert code.shown(paid_by) == "telebirr"
    assert code.shown(b"\xff" * 32) == "0x" + "ff" * 32
    assert code.shown(b"0x12".ljust(32, b"\0")).endswith("0" * 56)
    assert code.shown(bytes(32)) == "0x" + "0" * 64
    for wrong in ("", "x" * 33, "ብር", "0x12", 7):
        with pytest.raises(ValueError, match="^value: "):
            code.read(wrong)


def test_a_url_is_one():
    url = field(Url(), Text)

    assert url.read("ipfs://bafy/1.json") == "ipfs://bafy/1.json"
    for wrong in ("javascript:alert(1)", "https://a b", "readme", ""):
        with pytest.raises(ValueError, match="is not a URL. It begins with https:, "):
            url.read(wrong)
    assert url.shown("what a chain says") == "what a chain says"


@given(INTEGERS, strategies.sampled_from([each for each, _, _ in FORMS]))
def test_every_integer_is_read_back_from_its_form(value, meaning):
    assert meaning.read(field(meaning), meaning.text(value)) == value


@given(BYTES)
def test_every_code_is_read_back_from_its_form(value):
    code = field(Code(), Bytes32)
    assert code.read(code.shown(value)) == value


def test_integers_of_48_bits_are_numbers_and_wider_ones_are_text():
    assert [Uint(bits).shown(5) for bits in (8, 48, 49, 256)] == [5, 5, "5", "5"]


# In no fingerprint ------------------------------------------------------------------


def test_a_meaning_is_in_no_fingerprint_and_in_no_hash():
    for meant, bare in (
        (Uint(meaning=ETB), Uint()), (Uint(63, meaning=Time()), Uint(63)),
        (Bytes32(meaning=Code()), Bytes32()), (Text(meaning=Url()), Text()),
    ):  # fmt: skip
        assert meant.describe() == bare.describe()
        assert meant.kind is bare.kind
    assert plain(Uint(meaning=ETB), 5) == plain(Uint(), 5) == "5"


@pytest.mark.parametrize(
    "make",
    [
        lambda: Uint(meaning=Code()), lambda: Text(meaning=ETB),
        lambda: Address(meaning=Code()), lambda: Bytes32(meaning=Time()),
        lambda: FixedBytes(4, meaning=Url()), lambda: Money(78, "ETB"),
        lambda: Money(-1, "ETB"), lambda: Money(6, "two words"), lambda: Money(6, ""),
        lambda: Money(6, "USDC", most=0), lambda: Share(30), lambda: Share(0),
    ],
)  # fmt: skip
def test_a_meaning_that_no_value_has_is_refused(make):
    with pytest.raises(DeclarationError, match="Remedy: "):
        make()


# Arithmetic -------------------------------------------------------------------------

bank = Contract(
    "Bank",
    abi=[
        abi_event(
            "Lent", loan="uint256", amount="uint256", fee="uint256", rate="uint16",
            due="uint256", runs="uint256", usd="uint256", number="uint256",
            method="bytes32",
        )
    ],
)  # fmt: skip


class Lent(Event):
    """Money was lent."""

    source = bank
    loan = Uint()
    amount = Uint(meaning=ETB)
    fee = Uint(meaning=Money(18, "ETB", most=5))
    rate = Uint(16, meaning=Share(10_000))
    due = Uint(meaning=Time())
    runs = Uint(meaning=Duration())
    usd = Uint(meaning=USDC)
    number = Uint()
    method = Bytes32(meaning=Code())


class Loan(Projection):
    """One row per loan."""

    loan = Key()

    amount = Sum(Lent.amount)
    fees = Sum(Lent.fee, -Lent.amount)
    rate = Max(Lent.rate)
    due = Latest(Lent.due)
    began = First(Lent.due - Lent.runs)
    runs = First(Lent.runs)
    usd = Sum(Lent.usd)
    number = Sum(Lent.number)
    method = Latest(
        Lent.method, {Lent.only(Lent.number == 0): b"none".ljust(32, b"\0")}
    )
    typical = Average(Lent.amount)
    dues = Sum(Lent.due)

    both = amount + fees
    less = amount - 5 * WEI
    negative = -amount
    twice = 2 * amount
    each = amount // number
    whole = amount // WEI
    percent = amount * 100 // fees
    part = amount * rate // 10_000
    took = due - began
    later = due + runs
    next_day = due + 86_400
    day = due // 86_400
    large = amount > 100
    longer = runs * 2


@pytest.mark.parametrize(
    ("names", "meaning"),
    [
        ("amount fees both less negative twice each part typical", ETB),
        ("rate", Share(10_000)), ("due began later next_day", Time()),
        ("runs took longer", Duration()), ("usd", USDC), ("method", Code()),
        ("number percent day large dues whole", None),
    ],
)  # fmt: skip
def test_arithmetic_keeps_the_meaning(names, meaning):
    for name in names.split():
        assert Loan.spec.column_field(name).meaning == meaning, name


@pytest.mark.parametrize(
    "make",
    [
        lambda: Sum(Lent.amount, Lent.usd), lambda: Sum(Lent.amount, Lent.number),
        lambda: Latest(Lent.due, Lent.runs), lambda: Max(Lent.amount, Lent.rate),
        lambda: Sum(Lent.amount + Lent.due), lambda: Sum(Lent.due + Lent.due),
        lambda: Sum(Lent.runs - Lent.due), lambda: Sum(Lent.due - Lent.amount),
        lambda: Sum(Lent.amount * Lent.usd), lambda: Sum(Lent.amount // Lent.usd),
        lambda: Sum(Lent.number // Lent.amount), lambda: Sum(Lent.due * Lent.runs),
        lambda: Sum(Lent.number, where=Lent.amount > Lent.usd),
        lambda: Sum(Lent.number, where=Lent.due == Lent.runs),
    ],
)  # fmt: skip
def test_two_meanings_in_one_value_are_refused(make):
    with pytest.raises(DeclarationError, match="do not go together"):
        type(
            "Wrong",
            (Projection,),
            {"loan": Key(), "wrong": make(), "__module__": __name__, "__doc__": "One."},
        )


def test_a_command_and_its_entry_mean_the_same():
    class Pledged(Entry):
        """Somebody pledged."""

        amount = Uint(meaning=ETB)

    with pytest.raises(DeclarationError, match="a plain number, and Pledged.amount is"):

        class Pledge(Command):
            """Pledge."""

            amount = Uint()
            role = Role.OPERATOR
            record = Pledged
