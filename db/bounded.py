"""JSON and RLP of others: size and depth are known before they are parsed.

    load_json(answer, bytes_max=1 << 20)       what a node or another service answers
    load_strict_json(body, bytes_max=1 << 20)  what a client asks

A parser that calls itself for each level of nesting needs stack, or memory, for as many
levels as the sender likes; so what nests deeper than it can mean anything is refused by
counting brackets. The strict form also refuses what is read in two ways: two members of
one name (RFC 8259, section 4), text that Postgres or UTF-8 cannot hold.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import rlp  # type: ignore[import-untyped]

DEPTH_MAX = 64
NAME_SHOWN = 60

# A string, or one that the text ends in; possessive, so that time is linear.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_AS_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


class Unreadable(ValueError):
    """The text is not acceptable JSON; the message never repeats its content."""


def load_json(content: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX) -> Any:
    """The value of a JSON text in UTF-8; raises Unreadable."""
    return _parsed(_checked(content, bytes_max, depth_max))


def load_strict_json(
    content: bytes, *, bytes_max: int, depth_max: int = DEPTH_MAX
) -> Any:
    """The value of a JSON text that has one meaning; raises Unreadable."""
    text = _checked(content, bytes_max, depth_max)
    value = _parsed(text, object_pairs_hook=_members, parse_constant=_no_number)
    if "\\u" in text:  # all else that JSON can write was checked with the UTF-8
        for place, string in _strings(value, ""):
            _check_string(place, string)
    return value


def too_deep(content: bytes, depth_max: int) -> bool:
    """Whether a JSON text nests deeper; brackets inside of strings do not count."""
    if content.count(b"[") + content.count(b"{") <= depth_max:
        return False
    left = _STRING.sub(b"", content).translate(_AS_ONE_KIND, _NO_BRACKETS)
    for _ in range(depth_max):  # each pass takes the innermost level away
        if not left:
            return False
        left = left.replace(b"[]", b"")
    return bool(left)


def load_rlp(encoded: bytes, *, depth_max: int) -> Any:
    """The items of an RLP encoding, measured first; raises Unreadable."""
    if rlp_depth(encoded, depth_max) > depth_max:
        raise Unreadable(f"it nests deeper than {depth_max} lists")
    try:
        return rlp.decode(encoded, strict=True)
    except (rlp.exceptions.RLPException, IndexError) as error:
        raise Unreadable(f"it is not RLP: {error}"[:200]) from None


def rlp_depth(encoded: bytes, depth_max: int) -> int:
    """Return the depth of an RLP encoding's lists, up to one more than the limit.

    Follows the headers alone (Ethereum yellow paper, appendix B), and no further than
    the encoding is whole.
    """
    ends: list[int] = []
    at, deepest = 0, 0
    while at < len(encoded) and deepest <= depth_max:
        while ends and at >= ends[-1]:
            ends.pop()
        first = encoded[at]
        short, long = (0x80, 0xB7) if first < 0xC0 else (0xC0, 0xF7)
        length, at = first - short, at + 1
        if first < 0x80:
            continue
        if first > long:
            digits = first - long
            length, at = int.from_bytes(encoded[at : at + digits]), at + digits
        if first < 0xC0:
            at += length
        else:
            ends.append(at + length)
            deepest = max(deepest, len(ends))
    return deepest


def _checked(content: bytes, bytes_max: int, depth_max: int) -> str:
    if len(content) > bytes_max:
        raise Unreadable(f"it has more than {bytes_max} bytes")
    if too_deep(content, depth_max):
        raise Unreadable(f"it nests deeper than {depth_max} levels, or is not JSON")
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise Unreadable("it is not in UTF-8") from None


def _parsed(text: str, **hooks: Any) -> Any:
    try:
        return json.loads(text, **hooks)
    except Unreadable:
        raise
    except json.JSONDecodeError as error:
        raise Unreadable(f"it is not JSON: {error}") from None
    except (ValueError, RecursionError):  # a number of thousands of digits
        raise Unreadable("it is not JSON that can be taken") from None


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(n for n, _ in pairs if n in seen or seen.add(n))  # type: ignore[func-returns-value]
        raise Unreadable(f"{_shown(twice)} is there twice: send it once")
    return members


def _no_number(constant: str) -> Any:
    raise Unreadable(f"{constant} is no number of JSON")


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every string of a value and its place, names of members too."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _strings(item, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, item in value.items():
            inside = f"{place}.{_shown(name)}" if place else _shown(name)
            yield inside, name
            yield from _strings(item, inside)


def _check_string(place: str, string: str) -> None:
    where = place or "the text"
    if "\0" in string:
        raise Unreadable(f"{where} holds a zero character: leave it out")
    try:
        string.encode()
    except UnicodeEncodeError:
        raise Unreadable(
            f"{where} holds half a character (a lone surrogate): send it whole"
        ) from None


def _shown(name: str) -> str:
    """The name of a member, in what can be shown of it."""
    plain = name.encode("ascii", "backslashreplace").decode().replace("\0", "\\0")
    return plain if len(plain) <= NAME_SHOWN else f"{plain[:NAME_SHOWN]}…"
