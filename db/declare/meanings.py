"""Meanings: what a stored value is to people, beside how it is stored.

    goal = Uint(meaning=Money(18, "ETB"))
    deadline = Uint(meaning=Time())

| meaning          | of         | JSON                     | taken                     |
|------------------|------------|--------------------------|---------------------------|
| Money(18, "ETB") | an integer | `"5000.5"`, in units     | `"5000.50"`               |
| Share(10_000)    | an integer | `"0.03"`, of one         | `"0.03"`, `"3 %"`         |
| Time()           | an integer | `"2026-01-31T12:00:00Z"` | RFC 3339, a date, seconds |
| Duration()       | an integer | `"P90D"`, `"PT6H"`       | the same, `"90 days"`     |
| Code()           | bytesN     | `"telebirr"`             | the same, or `0x…`        |
| Url()            | text       | the URL                  | the same                  |

What is stored stays as it was: a meaning is in no fingerprint, and facts, folds, rules
and calldata have the stored value. What people cannot write in its form has an answer
all the same: a time after the year 9999 is its seconds, bytes that are no text are
`0x…`. `read` takes all that `text` writes, and `limit` refuses what nobody can mean.
"""

import re
from dataclasses import dataclass, field
from decimal import Context, Decimal
from typing import Any, ClassVar

from db.declare.errors import DeclarationError
from db.declare.fields import Field, FieldKind, FixedBytes, Text, Uuid, quoted
from db.declare.times import LAST, read_time, time_text

DIGITS_MAX = 200  # more than any sum of uint256 will have
GIVEN_LENGTH_MAX = 250  # characters in which somebody writes a value
DECIMALS_MAX = 77  # as many as a uint256 has room for
MINUTE, HOUR, DAY = 60, 3600, 86_400
_EXACT = Context(prec=2 * DIGITS_MAX)
_WHOLE = re.compile(rf"-?[0-9]{{1,{DIGITS_MAX}}}", re.ASCII)
_DECIMAL = re.compile(rf"(-?[0-9]{{1,{DIGITS_MAX}}})(?:\.([0-9]{{1,100}}))?", re.ASCII)
_ISO = re.compile(
    rf"(-?)P(?:([0-9]{{1,{DIGITS_MAX}}})W)?(?:([0-9]{{1,{DIGITS_MAX}}})D)?"
    r"(?:T(?:([0-9]{1,20})H)?(?:([0-9]{1,20})M)?(?:([0-9]{1,20})S)?)?",
    re.ASCII,
)
_WORD_SECONDS = {"week": 7 * DAY, "day": DAY, "hour": HOUR, "minute": 60, "second": 1}
_WORDS = re.compile(r"([0-9]{1,12}) ?(week|day|hour|minute|second)s?", re.ASCII)
_URL = re.compile(r"([a-z][a-z0-9+.-]*):[!-~]+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Meaning:
    """The base of all meanings."""

    form: ClassVar[str] = ""  # the name of its form in JSON
    words: ClassVar[str] = ""  # in messages: "an amount"

    def holds(self, of: Field) -> bool:
        """Whether it can be said of a field: of an integer, if nothing else is said."""
        return of.kind in (FieldKind.NUMERIC, FieldKind.BIGINT)

    def text(self, value: Any) -> str:
        """The JSON form of a stored value."""
        raise NotImplementedError

    def read(self, of: Field, given: Any) -> Any:
        """The stored value of what was given; raises ValueError with the remedy."""
        raise NotImplementedError

    def limit(self, of: Field, value: Any) -> None:
        """Raise ValueError for a value that a command does not take."""

    def read_given(self, of: Field, given: Any) -> Any:
        """Read what a client gives to a command; raises ValueError."""
        length = len(given) if isinstance(given, str) else 0
        if length > (of.max_length or GIVEN_LENGTH_MAX):
            raise ValueError(
                f"{of.name}: {length} characters are too many for {self.described()}"
            )
        value = self.read(of, given)
        self.limit(of, value)
        return value

    def schema(self) -> dict[str, Any]:
        """The JSON schema of its form."""
        return {"type": "string"}

    def described(self) -> str:
        """The meaning as messages and documentation have it: "an amount in ETB"."""
        return self.words

    def sentence(self) -> str:
        """The meaning as comments have it: "An amount in ETB."."""
        words = self.described()
        return f"{words[:1].upper()}{words[1:]}."


@dataclass(frozen=True, slots=True)
class Scaled(Meaning):
    """Shared by integers that count a fraction of what people count in."""

    @property
    def places(self) -> int:
        """The decimals that one unit has."""
        raise NotImplementedError

    def text(self, value: Any) -> str:
        digits = str(abs(value)).rjust(self.places + 1, "0")
        point = len(digits) - self.places
        fraction = digits[point:].rstrip("0")
        sign = "-" if value < 0 else ""
        return f"{sign}{digits[:point]}{'.' if fraction else ''}{fraction}"

    def read(self, of: Field, given: Any) -> int:
        text = str(given) if type(given) is int else given
        found = _DECIMAL.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            raise ValueError(
                f"{of.name}: {quoted(given)} is not {self.described()}. {self.how()}"
            )
        fraction = (found[2] or "").rstrip("0")
        if len(fraction) > self.places:
            raise ValueError(
                f"{of.name}: {quoted(given)} has {len(fraction)} decimals, and "
                f"{self.described()} has {self.places}: leave the others out."
            )
        return int(found[1] + fraction.ljust(self.places, "0"))

    def how(self) -> str:
        """The sentence that says how it is written."""
        raise NotImplementedError

    def schema(self) -> dict[str, Any]:
        return {
            "type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$",
            "decimals": self.places,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Money(Scaled):
    """An amount, counted in the smallest unit of a currency or token.

    `most` is the greatest amount, in units, that a command takes: a client that sends
    the smallest unit for the unit would else ask for 10**decimals times too much. Say
    a low one where there are few decimals.
    """

    decimals: int
    symbol: str
    most: int = field(default=1_000_000_000, compare=False, repr=False)
    form: ClassVar[str] = "amount"
    words: ClassVar[str] = "an amount"

    def __post_init__(self) -> None:
        if type(self.decimals) is not int or not 0 <= self.decimals <= DECIMALS_MAX:
            raise _undeclared(self, f"{self.decimals!r} decimals", f"0..{DECIMALS_MAX}")
        if not re.fullmatch(r"[!-~]{1,32}", str(self.symbol)):
            raise _undeclared(self, f"the symbol {self.symbol!r}", "'ETB'")
        if type(self.most) is not int or self.most < 1:
            raise _undeclared(self, f"most={self.most!r}", "a number of units")

    @property
    def places(self) -> int:
        return self.decimals

    def how(self) -> str:
        return f'Write the number of {self.symbol} as text: "5000.50".'

    def limit(self, of: Field, value: Any) -> None:
        unit = 10**self.decimals
        if abs(value) <= self.most * unit:
            return
        meant = "."
        if unit > 1 and value % unit == 0:  # it was written in the smallest unit
            meant = f": did you mean {self.text(value // unit)}?"
        raise ValueError(
            f"{of.name}: it is more than {self.most} {self.symbol}. Amounts are in "
            f"{self.symbol}{meant} For the smallest unit send ?units=raw (--raw)."
        )

    def schema(self) -> dict[str, Any]:
        return {**Scaled.schema(self), "symbol": self.symbol}

    def described(self) -> str:
        return f"an amount in {self.symbol}"


@dataclass(frozen=True, slots=True)
class Share(Scaled):
    """A part of a whole, counted in so many parts: `Share(10_000)`, basis points."""

    whole: int
    form: ClassVar[str] = "share"
    words: ClassVar[str] = "a share"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"10{1,77}", str(self.whole)):
            raise _undeclared(self, f"{self.whole!r} parts", "100, 10_000, 10**18")

    @property
    def places(self) -> int:
        return len(str(self.whole)) - 1

    def how(self) -> str:
        return 'Write it as "0.03" or "3 %".'

    def read(self, of: Field, given: Any) -> int:
        if isinstance(given, str) and given.rstrip().endswith("%"):
            percent = given.rstrip().removesuffix("%").rstrip()
            if _DECIMAL.fullmatch(percent):
                given = f"{Decimal(percent).scaleb(-2, _EXACT):f}"
        return Scaled.read(self, of, given)

    def limit(self, of: Field, value: Any) -> None:
        if not 0 <= value <= self.whole:
            raise ValueError(
                f"{of.name}: a share is 0 to 1. {self.how()} For parts of "
                f"{self.whole} send ?units=raw (--raw)."
            )

    def described(self) -> str:
        return "a share of one"


@dataclass(frozen=True, slots=True)
class Time(Meaning):
    """A moment, in seconds since 1970."""

    form: ClassVar[str] = "time"
    words: ClassVar[str] = "a time"

    def text(self, value: Any) -> str:
        return time_text(value)

    def read(self, of: Field, given: Any) -> int:
        if type(given) is int or (isinstance(given, str) and _WHOLE.fullmatch(given)):
            return int(given)
        return read_time(of.name, str(given))

    def limit(self, of: Field, value: Any) -> None:
        if value > LAST:
            raise ValueError(
                f"{of.name}: {quoted(value)} is after the year 9999: times are in "
                "seconds, not in thousandths of one."
            )

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "date-time"}


@dataclass(frozen=True, slots=True)
class Duration(Meaning):
    """A length of time, in seconds."""

    form: ClassVar[str] = "duration"
    words: ClassVar[str] = "a duration"

    def text(self, value: Any) -> str:
        rest = abs(value)
        parts = []
        for letter, seconds in (("D", DAY), ("H", HOUR), ("M", MINUTE), ("S", 1)):
            number, rest = divmod(rest, seconds)
            parts.append(f"{number}{letter}" if number else "")
        clock = "".join(parts[1:])
        body = f"{parts[0]}T{clock}" if clock else parts[0]
        return f"{'-' if value < 0 else ''}P{body or 'T0S'}"

    def read(self, of: Field, given: Any) -> int:
        if type(given) is int or (isinstance(given, str) and _WHOLE.fullmatch(given)):
            return int(given)
        text = str(given).strip()
        found = _ISO.fullmatch(text)
        if found and any(each is not None for each in found.groups()[1:]):
            sizes = _WORD_SECONDS.values()
            pairs = zip(found.groups("0")[1:], sizes, strict=True)
            total = sum(int(number) * size for number, size in pairs)
            return -total if found[1] else total
        words = _WORDS.findall(text)
        if not words or _WORDS.sub("", text).strip(" ,"):
            raise ValueError(
                f"{of.name}: {quoted(given)} is not a duration. Write it as P90D or "
                'PT6H (ISO 8601, of weeks, days, hours, minutes and seconds), as "90 '
                'days", or in seconds.'
            )
        return sum(int(number) * _WORD_SECONDS[word] for number, word in words)

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "duration"}


@dataclass(frozen=True, slots=True)
class Code(Meaning):
    """A short text in bytes of a fixed size, with zeros behind it."""

    form: ClassVar[str] = "code"
    words: ClassVar[str] = "a code"

    def holds(self, of: Field) -> bool:
        return isinstance(of, FixedBytes)

    def text(self, value: Any) -> str:
        """The text; `0x…` where it is none, or reads as such."""
        found: bytes = value.rstrip(b"\0")
        if re.fullmatch(rb"(?!0x)[ -~]+", found):
            return found.decode("ascii")
        return f"0x{value.hex()}"

    def read(self, of: Field, given: Any) -> bytes:
        size = of.size or 0
        text = given if isinstance(given, str) else ""
        if text.startswith("0x"):
            found = of.check(text)
            return bytes(found)
        if not re.fullmatch(rf"[ -~]{{1,{size}}}", text):
            raise ValueError(
                f"{of.name}: {quoted(given)} is not a code. Write 1 to {size} "
                f"printable characters of ASCII, or 0x and {2 * size} hex digits."
            )
        return text.encode("ascii").ljust(size, b"\0")


@dataclass(frozen=True, slots=True)
class Url(Meaning):
    """An address on the web or of what is elsewhere, as a URI."""

    form: ClassVar[str] = "url"
    words: ClassVar[str] = "a URL"
    schemes: tuple[str, ...] = ("https", "http", "ipfs", "ar")

    def holds(self, of: Field) -> bool:
        return isinstance(of, Text) and not isinstance(of, Uuid)

    def text(self, value: Any) -> str:
        return str(value)

    def read(self, of: Field, given: Any) -> str:
        return str(of.check(given))

    def limit(self, of: Field, value: Any) -> None:
        found = _URL.fullmatch(value)
        if found is None or found[1] not in self.schemes:
            raise ValueError(
                f"{of.name}: {quoted(value)} is not a URL. It begins with "
                f"{', '.join(f'{each}:' for each in self.schemes)} and has no spaces."
            )

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "format": "uri"}


def _undeclared(meaning: Meaning, problem: str, remedy: str) -> DeclarationError:
    return DeclarationError(
        type(meaning).__name__, f"{problem}: there are none", f"write {remedy}"
    )
