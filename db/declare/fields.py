"""Fields: what one value of an event is, in Postgres, in Python and at the edge.

| field       | Postgres        | Python | JSON               |
|-------------|-----------------|--------|--------------------|
| Address     | bytea (20)      | bytes  | `0x…`              |
| Bytes32     | bytea (32)      | bytes  | `0x…`              |
| FixedBytes  | bytea (n)       | bytes  | `0x…`              |
| Hash        | bytea (32)      | bytes  | `0x…`              |
| Blob        | bytea           | bytes  | `0x…`              |
| Pubkey      | bytea (32)      | bytes  | base58             |
| Signature   | bytea (64)      | bytes  | base58             |
| Uint, Int   | numeric(78,0)   | int    | decimal string     |
| Uint(≤ 63)  | bigint          | int    | decimal string     |
| Uint(≤ 48)  | bigint          | int    | number             |
| Bool        | boolean         | bool   | true / false       |
| Text        | text            | str    | string             |
| Uuid        | text            | str    | string             |
| Json        | jsonb           | object | object             |

`Uint(meaning=Money(18, "ETB"))` says what a value is to people, and so how they see and
write it (`db.declare.meanings`); what is stored, and what Python has, stay the same.

The fields that hold the types of an ABI are in `db.declare.evm.types`, those of an IDL
in `db.declare.solana.types`.

What a chain says may be of any length. What somebody gives us in a command or an entry
may not: `Text` has 2,000 characters at most, `Blob` 8,192 bytes and `Json` 16,384,
unless the declaration says otherwise, as `Text(max_length=20_000)`.
"""

import enum
import json
import re
import uuid
from typing import TYPE_CHECKING, Any, Self, overload

from db.declare.errors import DeclarationError
from idl.base58 import from_base58, to_base58

if TYPE_CHECKING:
    from db.declare.events import FieldRef
    from db.declare.meanings import Meaning


TEXT_LENGTH_MAX = 2000  # characters
BLOB_LENGTH_MAX = 8192  # bytes
JSON_LENGTH_MAX = 16_384  # bytes
NUMBER_BITS = 48  # of the widest integer that is a number in JSON
_SHOWN = 60  # characters of a wrong value


class FieldKind(enum.Enum):
    """The storage of a value; the value of the member is the Postgres type."""

    BYTES = "bytea"
    NUMERIC = "numeric"
    BIGINT = "bigint"
    BOOLEAN = "boolean"
    TEXT = "text"
    JSON = "jsonb"


class Encoding(enum.Enum):
    """The text form of bytes."""

    HEX = "hex"  # 0x and two digits a byte
    BASE58 = "base58"  # the alphabet of Bitcoin, which Solana has too

    @classmethod
    def of_chain(cls, chain_id: str) -> "Encoding":
        """The form of the hashes and addresses of a chain, by its id in CAIP-2."""
        return cls.BASE58 if chain_id.startswith("solana:") else cls.HEX

    def text(self, value: bytes) -> str:
        """The text of some bytes."""
        return to_base58(value) if self is Encoding.BASE58 else "0x" + value.hex()


class Field:
    """One named value of an event.

    `param` is the name in the ABI when it is not the field's own name in camelCase;
    `emitter=True` takes the address of the contract that wrote the log instead.
    `meaning` is what its values are to people; it is in no fingerprint.
    """

    kind: FieldKind = FieldKind.BYTES
    size: int | None = None  # bytes of a fixed-size BYTES field
    max_length: int | None = None  # of what is given to us: characters, or bytes
    encoding = Encoding.HEX  # of BYTES as text

    def __init__(
        self,
        *,
        param: str | None = None,
        emitter: bool = False,
        meaning: "Meaning | None" = None,
    ) -> None:
        self.param = param
        self.emitter = emitter
        self.meaning = meaning
        self.name = ""
        if meaning is not None and not meaning.holds(self):
            raise DeclarationError(
                f"{type(self).__name__}(meaning={meaning!r})",
                f"its values cannot be {meaning.described()}",
                "use a field of a type that `db.declare.meanings` lists",
            )

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    if TYPE_CHECKING:
        # The metaclass of events answers `Paid.amount` with a FieldRef; this says so.
        @overload
        def __get__(self, instance: None, owner: type) -> "FieldRef": ...
        @overload
        def __get__(self, instance: object, owner: type) -> Self: ...
        def __get__(self, instance: object, owner: type) -> "FieldRef | Self": ...

    def check(self, value: Any) -> Any:
        """Return the value in its canonical Python form, or raise ValueError."""
        raise NotImplementedError

    def text(self, value: Any) -> Any:
        """A canonical value with its bytes as text; other values as they are."""
        return self.encoding.text(value) if isinstance(value, bytes) else value

    def check_given(self, value: Any) -> Any:
        """Check a value from a client, where `check` checks a value from a chain."""
        return self.check(value)

    def read(self, given: Any) -> Any:
        """Check a value as people write it, in the form of its meaning."""
        if self.meaning is None:
            return self.check_given(given)
        return self.check_given(self.meaning.read_given(self, given))

    def shown(self, value: Any) -> Any:
        """A canonical value in the JSON form in which people see it."""
        if self.meaning is not None:
            return self.meaning.text(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value if self.in_number else str(value)
        return self.text(value)

    @property
    def in_number(self) -> bool:
        """Whether its values are numbers in JSON, exact in every language."""
        return False

    def refuse_long(self, length: int, unit: str) -> None:
        """Raise ValueError for what is longer than it may be."""
        if self.max_length is not None and length > self.max_length:
            raise ValueError(
                f"{self.name}: it has {length} {unit}, and may have {self.max_length}"
            )

    def describe(self) -> str:
        """The type as it enters fingerprints and documentation."""
        size = f"({self.size})" if self.size is not None else ""
        return f"{type(self).__name__}:{self.kind.value}{size}"


class _ByteField(Field):
    """Shared by the fields that are raw bytes inside and text outside."""

    def check(self, value: Any) -> bytes:
        if isinstance(value, str):
            value = self._read(value)
        if not isinstance(value, bytes):
            raise ValueError(f"{self.name}: expected bytes, got {type(value).__name__}")
        if self.size is not None and len(value) != self.size:
            raise ValueError(
                f"{self.name}: expected {self.size} bytes, got {len(value)}"
            )
        return value

    def _read(self, text: str) -> bytes:
        if not re.fullmatch(r"0x([0-9a-fA-F]{2})*", text):
            raise ValueError(f"{self.name}: {quoted(text)} is not 0x-prefixed hex")
        return bytes.fromhex(text[2:])


class Address(_ByteField):
    """A 20-byte account or contract address."""

    size = 20


class FixedBytes(_ByteField):
    """`bytesN`: exactly `size` bytes, 1 to 32."""

    def __init__(
        self,
        size: int,
        *,
        param: str | None = None,
        emitter: bool = False,
        meaning: "Meaning | None" = None,
    ) -> None:
        super().__init__(param=param, emitter=emitter, meaning=meaning)
        if not 1 <= size <= 32:
            raise ValueError(f"bytes{size} does not exist: use 1 to 32")
        self.size = size


class Bytes32(FixedBytes):
    """A 32-byte identifier."""

    def __init__(
        self, *, param: str | None = None, meaning: "Meaning | None" = None
    ) -> None:
        super().__init__(32, param=param, meaning=meaning)


class Hash(_ByteField):
    """The keccak-256 of an indexed string, bytes, array or struct."""

    size = 32


class _Base58Field(_ByteField):
    """Shared by the fields that Solana writes in base58."""

    size: int
    encoding = Encoding.BASE58

    def _read(self, text: str) -> bytes:
        try:
            return from_base58(text, self.size)
        except ValueError as error:
            raise ValueError(f"{self.name}: {quoted(text)}: {error}") from None


class Pubkey(_Base58Field):
    """A 32-byte public key or program-derived address of Solana."""

    size = 32


class Signature(_Base58Field):
    """A 64-byte signature, which is the id of a Solana transaction."""

    size = 64


class Blob(_ByteField):
    """`bytes` of any length."""

    def __init__(
        self, *, param: str | None = None, max_length: int = BLOB_LENGTH_MAX
    ) -> None:
        super().__init__(param=param)
        self.max_length = max_length

    def check_given(self, value: Any) -> bytes:
        found = self.check(value)
        self.refuse_long(len(found), "bytes")
        return found


class _Integer(Field):
    """Shared by the integers: a bigint when they always fit one, else a numeric."""

    kind = FieldKind.NUMERIC
    signed = False

    def __init__(
        self,
        bits: int = 256,
        *,
        param: str | None = None,
        meaning: "Meaning | None" = None,
    ) -> None:
        super().__init__(param=param, meaning=meaning)
        if not 1 <= bits <= 256:
            raise ValueError(f"{bits} bits: an integer has 1 to 256")
        self.bits = bits
        if bits + (not self.signed) <= 64:
            self.kind = FieldKind.BIGINT

    def check(self, value: Any) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,78}", value):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"{self.name}: {quoted(value)} is not a whole number")
        low, high = self.bounds()
        if not low <= value <= high:
            text = quoted(value) if value.bit_length() < 1024 else "a huge number"
            raise ValueError(f"{self.name}: {text} is outside {low}..{high}")
        return value

    @property
    def in_number(self) -> bool:
        return self.bits <= NUMBER_BITS

    def bounds(self) -> tuple[int, int]:
        """The least and the greatest value, both included."""
        if self.signed:
            return -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        return 0, (1 << self.bits) - 1

    def describe(self) -> str:
        return f"{super().describe()}/{self.bits}"


class Uint(_Integer):
    """An unsigned integer; amounts are in the token's smallest unit (wei)."""


class Int(_Integer):
    """A signed integer."""

    signed = True


class Bool(Field):
    """True or false."""

    kind = FieldKind.BOOLEAN

    def check(self, value: Any) -> bool:
        if value in ("true", "false"):
            return bool(value == "true")
        if not isinstance(value, bool):
            raise ValueError(f"{self.name}: {quoted(value)} is not true or false")
        return value


class Text(Field):
    """A string. Postgres has no NUL character: it is stored as U+FFFD."""

    kind = FieldKind.TEXT

    def __init__(
        self,
        *,
        param: str | None = None,
        max_length: int = TEXT_LENGTH_MAX,
        meaning: "Meaning | None" = None,
    ) -> None:
        super().__init__(param=param, meaning=meaning)
        self.max_length = max_length

    def check_given(self, value: Any) -> str:
        found = self.check(value)
        if isinstance(value, str) and "\x00" in value:
            raise ValueError(f"{self.name}: it holds a zero character: leave it out")
        self.refuse_long(len(found), "characters")
        return found

    def check(self, value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{self.name}: expected text, got {type(value).__name__}")
        return value.replace("\x00", "\ufffd")


class Uuid(Text):
    """An identifier (RFC 9562) in lower case with hyphens."""

    def __init__(self, *, param: str | None = None) -> None:
        super().__init__(param=param, max_length=36)

    def check(self, value: Any) -> str:
        if isinstance(value, uuid.UUID):
            return str(value)
        pattern = r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            raise ValueError(f"{self.name}: {quoted(value)} is not a UUID")
        return value.lower()


class Json(Field):
    """An array or a struct: integers as decimal strings, bytes as `0x…`."""

    kind = FieldKind.JSON

    def __init__(
        self, *, param: str | None = None, max_length: int = JSON_LENGTH_MAX
    ) -> None:
        super().__init__(param=param)
        self.max_length = max_length

    def check_given(self, value: Any) -> Any:
        self.refuse_long(len(json.dumps(value, default=str)), "bytes")
        return self.check(value)

    def check(self, value: Any) -> Any:
        return value


def quoted(value: Any) -> str:
    """Return a wrong value for a message, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
