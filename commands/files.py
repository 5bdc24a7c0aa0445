"""Inspect a file before it is stored: its content must fit its name and media type.

Only PDF, PNG, JPEG and WebP are taken, each from its first byte to its last: nothing
may stand in front of it or hang behind it, and it may be no ZIP archive besides. It is
never opened: who reads one needs a viewer that does not trust it either.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from commands.errors import CommandError

NAME_LENGTH = 100


class BadFile(CommandError):
    """A file is not one of those that are taken."""


@dataclass(frozen=True, slots=True)
class FileKind:
    """A kind of file: its media type, and the endings that its name may have."""

    media_type: str
    endings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Inspected:
    """A file whose content fits its type; `name` is for people, never a path."""

    media_type: str
    ending: str
    name: str


PDF = FileKind("application/pdf", ("pdf",))
PNG = FileKind("image/png", ("png",))
JPEG = FileKind("image/jpeg", ("jpg", "jpeg"))
WEBP = FileKind("image/webp", ("webp",))


def inspect(content: bytes, *, name: str, media_type: str) -> Inspected:
    """Tell a file's type; raises BadFile when content, name and sender do not agree."""
    if not content:
        raise BadFile("the file is empty. Choose another.")
    shown = _shown(name)
    ending = shown.rpartition(".")[2].lower() if "." in shown else ""
    kind = next((k for k in _WHOLE if ending in k.endings), None)
    if kind is None:
        raise BadFile("the name must end in .pdf, .png, .jpg, .jpeg or .webp")
    if media_type.partition(";")[0].strip().lower() != kind.media_type:
        raise BadFile(f"a .{ending} file is sent as {kind.media_type}")
    if not _WHOLE[kind](content):
        raise BadFile(
            f"the content is no whole .{ending} file. Save it again in that format, "
            "with nothing in front of it or behind it."
        )
    if _is_archive(content):
        raise BadFile("the file is also a ZIP archive. Save it again as a document.")
    return Inspected(kind.media_type, kind.endings[0], shown)


def _pdf(content: bytes) -> bool:
    begins = re.match(rb"%PDF-(1\.[0-7]|2\.0)[\r\n ]", content) is not None
    return begins and re.search(rb"%%EOF\s*\Z", content[-1024:]) is not None


def _png(content: bytes) -> bool:
    """Every chunk from the signature on, IHDR first and IEND last."""
    at, names = 8, []
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return False
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        names.append(content[at + 4 : at + 8])
        at += 12 + length
        if names[-1] == b"IEND":
            break
    return at == len(content) and names[:1] == [b"IHDR"] and names[-1] == b"IEND"


def _jpeg(content: bytes) -> bool:
    return (
        len(content) > 4
        and content[:3] == b"\xff\xd8\xff"
        and content[-2:] == b"\xff\xd9"
    )


def _webp(content: bytes) -> bool:
    """Every chunk of the container, an image among them."""
    if len(content) < 16 or content[:4] != b"RIFF" or content[8:12] != b"WEBP":
        return False
    (length,) = struct.unpack_from("<I", content, 4)
    if length + 8 != len(content) or content[12:15] != b"VP8":
        return False
    at, images = 12, 0
    while at + 8 <= len(content):
        (size,) = struct.unpack_from("<I", content, at + 4)
        images += size > 0 and content[at : at + 4] in (b"VP8 ", b"VP8L", b"ANMF")
        at += 8 + size + size % 2
    return at == len(content) and images > 0


def _is_archive(content: bytes) -> bool:
    """Whether a ZIP reader, which looks from the end, would open it."""
    tail = content[-65_557:]
    for found in re.finditer(re.escape(b"PK\x05\x06"), tail):
        comment = tail[found.start() + 20 : found.start() + 22]
        if len(comment) == 2:
            (length,) = struct.unpack("<H", comment)
            if found.start() + 22 + length <= len(tail):
                return True
    return False


def _shown(name: str) -> str:
    """The last part of a name, without what a terminal or a page would obey."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(c for c in last if c.isprintable() and c not in '<>:"|?*')
    stem, dot, ending = plain.strip(" ").rpartition(".")
    if not dot:
        return plain.strip()[:NAME_LENGTH]
    return f"{stem[: NAME_LENGTH - len(ending) - 1]}.{ending}"[-NAME_LENGTH:]


_WHOLE: dict[FileKind, Callable[[bytes], bool]] = {
    PDF: _pdf, PNG: _png, JPEG: _jpeg, WEBP: _webp,
}  # fmt: skip
