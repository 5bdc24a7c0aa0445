"""Arguments as people write and see them, and as they are stored."""

import pytest

from commands.arguments import (
    BadArguments,
    check_arguments,
    read_arguments,
    shown_arguments,
)
from db.declare import (
    Bytes32,
    Code,
    Command,
    Duration,
    Entry,
    Money,
    Role,
    Share,
    Time,
    Uint,
)
from db.declare.commands import as_json

WEI = 10**18


class Drafted(Entry):
    """Somebody drafted a loan."""

    number = Uint(63)
    amount = Uint(meaning=Money(18, "ETB"))
    rate = Uint(16, meaning=Share(10_000))
    due = Uint(meaning=Time())
    runs = Uint(meaning=Duration())
    method = Bytes32(meaning=Code())


class Draft(Command):
    """Draft a loan."""

    number = Uint(63)
    amount = Uint(meaning=Money(18, "ETB"))
    rate = Uint(16, meaning=Share(10_000))
    due = Uint(meaning=Time())
    runs = Uint(meaning=Duration())
    method = Bytes32(meaning=Code())

    role = Role.OPERATOR
    record = Drafted


SPEC = Draft.spec
WRITTEN = {
    "number": "7", "amount": "5000.50", "rate": "3 %", "due": "2026-01-31",
    "runs": "90 days", "method": "telebirr",
}  # fmt: skip
STORED = {
    "number": 7, "amount": 5000 * WEI + WEI // 2, "rate": 300, "due": 1_769_817_600,
    "runs": 7_776_000, "method": b"telebirr".ljust(32, b"\0"),
}  # fmt: skip
SHOWN = {
    "number": "7", "amount": "5000.5", "rate": "0.03", "due": "2026-01-31T00:00:00Z",
    "runs": "P90D", "method": "telebirr",
}  # fmt: skip


def test_what_is_written_differently_is_one_request():
    stored = as_json(SPEC.fields, STORED)

    for written in (WRITTEN, SHOWN, WRITTEN | {"amount": "5000.5", "rate": "0.0300"}):
        assert read_arguments(SPEC, written) == STORED
        assert as_json(SPEC.fields, read_arguments(SPEC, written)) == stored
    assert check_arguments(SPEC, stored) == STORED
    assert Draft(**STORED).as_json() == stored


def test_stored_arguments_are_shown_as_they_are_written():
    commands = {"draft": Draft}
    stored = as_json(SPEC.fields, STORED)

    assert shown_arguments(commands, "draft", stored) == SHOWN
    assert read_arguments(SPEC, shown_arguments(commands, "draft", stored)) == STORED
    assert shown_arguments({}, "draft", stored) == stored
    old = {**stored, "amount": "what it was before", "gone": "1"}
    assert shown_arguments(commands, "draft", old) == {
        **SHOWN, "amount": "what it was before", "gone": "1",
    }  # fmt: skip


def test_what_a_row_gives_is_stored_already():
    given = {**WRITTEN, "amount": STORED["amount"]}

    assert read_arguments(SPEC, given, stored={"amount"}) == STORED
    with pytest.raises(BadArguments, match=r"did you mean 5000\.5\?"):
        read_arguments(SPEC, given)


def test_every_problem_is_told_at_once():
    with pytest.raises(BadArguments) as caught:
        read_arguments(SPEC, {"amount": "1,5", "rate": "7", "more": 1, "due": "soon"})

    told = [problem.split(":")[0] for problem in caught.value.problems]
    assert told == ["more", "number", "amount", "rate", "due", "runs", "method"]
