"""Links one BPF object into a program that Solana's loader takes (SBPF version 0).

The object is what clang writes for `bpfel`: relocatable ELF with code, constants and
symbols. The result is a shared object whose addresses are its file offsets. Calls of
undefined symbols stay to be resolved by the loader: they are its system calls.
Source of the format: the ELF loader of agave's virtual machine (sbpf, src/elf.rs).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

BASE = 0x1_0000_0000
"""The address at which the virtual machine sees the file."""

ENTRY = "entrypoint"

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_REL = struct.Struct("<QQ")

_PROGBITS, _SYMTAB, _STRTAB, _DYNAMIC, _NOBITS, _RELOCATIONS, _DYNSYM = (
    1, 2, 3, 6, 8, 9, 11,
)  # fmt: skip
_WRITE, _ALLOC, _EXECUTE = 1, 2, 4
_LOAD64, _POINTER, _CALL = 1, 2, 10  # relocation types of BPF
_MACHINE_SBPF = 247
_GLOBAL_FUNCTION = 0x10


class LinkError(Exception):
    """The object holds what a program on Solana cannot have."""


@dataclass(slots=True)
class _Part:
    """A section of the object, and the place it gets in the program."""

    name: str
    kind: int
    flags: int
    data: bytearray
    link: int
    info: int
    align: int
    address: int = 0


@dataclass(frozen=True, slots=True)
class _Name:
    """A symbol: its section's number, 0 when it is defined nowhere."""

    name: str
    kind: int
    section: int
    value: int


@dataclass(slots=True)
class _Layout:
    """The sections of the result in order, with their addresses."""

    offset: int
    sections: list[tuple[str, int, int, int, bytes, int, int, int]] = field(
        default_factory=list
    )

    def add(
        self, name: str, kind: int, flags: int, data: bytes,
        *, align: int = 8, link: int = 0, info: int = 0, size: int = 0,
    ) -> int:  # fmt: skip
        """Append a section and return its address."""
        self.offset += -self.offset % align
        at = self.offset
        self.sections.append((name, kind, flags, at, data, link, info, size))
        self.offset += len(data)
        return at


def link(object_file: bytes) -> bytes:
    """Return the program for an object, or refuse with ``LinkError``."""
    parts, names = _read(object_file)
    text = _only_text(parts)
    constants = [
        part
        for part in parts
        if part.kind == _PROGBITS and part.flags & _ALLOC and part is not text
    ]
    for part in parts:
        if part.flags & _WRITE and part.data:
            raise LinkError(
                f"section {part.name} is writable: a program has no variables of its "
                "own, keep them on the stack or in accounts"
            )
    start = _HEADER.size + 3 * _PROGRAM.size
    text.address = start
    base = start + len(text.data)
    base += -base % 16
    end = base
    for part in constants:
        part.address = end + -end % max(part.align, 1)
        end = part.address + len(part.data)
    calls = _relocate(parts, names, text)
    rodata = bytearray(end - base)
    for part in constants:
        at = part.address - base
        rodata[at : at + len(part.data)] = part.data
    entry = next((name for name in names if name.name == ENTRY and name.section), None)
    if entry is None:
        raise LinkError(f"the object defines no function `{ENTRY}`")
    return _write(text, bytes(rodata), base, entry.value, calls)


def _read(data: bytes) -> tuple[list[_Part], list[_Name]]:
    header = _HEADER.unpack_from(data)
    if header[0][:6] != b"\x7fELF\x02\x01" or header[2] not in (_MACHINE_SBPF, 263):
        raise LinkError("this is no 64-bit little-endian BPF object")
    offset, count, names_at = header[6], header[12], header[13]
    raw = [_SECTION.unpack_from(data, offset + i * _SECTION.size) for i in range(count)]
    strings = data[raw[names_at][4] :]
    parts = [
        _Part(
            name=_text(strings, s[0]),
            kind=s[1],
            flags=s[2],
            data=bytearray(b"" if s[1] == _NOBITS else data[s[4] : s[4] + s[5]]),
            link=s[6],
            info=s[7],
            align=s[8],
        )
        for s in raw
    ]
    if any(part.kind == _NOBITS and s[5] for part, s in zip(parts, raw, strict=True)):
        raise LinkError("the object has a .bss: a program has no variables of its own")
    table = next((part for part in parts if part.kind == _SYMTAB), None)
    if table is None:
        raise LinkError("the object has no symbols")
    strings = bytes(parts[table.link].data)
    names = [
        _Name(_text(strings, name), info & 15, section, value)
        for name, info, _, section, value, _ in _SYMBOL.iter_unpack(table.data)
    ]
    return parts, names


def _text(strings: bytes, at: int) -> str:
    return strings[at : strings.index(b"\0", at)].decode()


def _only_text(parts: list[_Part]) -> _Part:
    found = [part for part in parts if part.flags & _EXECUTE and part.data]
    if len(found) != 1 or found[0].name != ".text":
        raise LinkError(
            "code must be in one section .text: compile without -ffunction-sections"
        )
    return found[0]


def _relocate(
    parts: list[_Part], names: list[_Name], text: _Part
) -> list[tuple[int, str]]:
    """Resolve what can be, and return the system calls: offset in .text, and name."""
    calls: list[tuple[int, str]] = []
    for part in parts:
        if part.kind != _RELOCATIONS or not parts[part.info].flags & _ALLOC:
            continue
        target = parts[part.info]
        for offset, info in _REL.iter_unpack(part.data):
            name, kind = names[info >> 32], info & 0xFFFFFFFF
            if kind == _POINTER and parts[name.section] is not text:
                (addend,) = struct.unpack_from("<Q", target.data, offset)
                address = BASE + parts[name.section].address + name.value + addend
                struct.pack_into("<Q", target.data, offset, address)
            elif target is not text:
                raise LinkError(
                    f"{target.name} holds an address of code: no tables of functions, "
                    "compile with -fno-jump-tables and without unwind tables"
                )
            elif kind == _LOAD64:
                _load(text, offset, name, parts)
            elif kind == _CALL and name.section == 0:
                struct.pack_into("<i", text.data, offset + 4, -1)
                calls.append((offset, name.name))
            elif kind == _CALL:
                _call(text, offset, name, parts)
            else:
                raise LinkError(f"relocation type {kind} of {name.name} is unknown")
    return calls


def _load(text: _Part, offset: int, name: _Name, parts: list[_Part]) -> None:
    """Write an address into both halves of a 64-bit load."""
    if not name.section:
        raise LinkError(f"{name.name} is defined nowhere, and its address is wanted")
    low, high = (struct.unpack_from("<I", text.data, offset + n)[0] for n in (4, 12))
    address = BASE + parts[name.section].address + name.value + low + (high << 32)
    struct.pack_into("<I", text.data, offset + 4, address & 0xFFFFFFFF)
    struct.pack_into("<I", text.data, offset + 12, address >> 32)


def _call(text: _Part, offset: int, name: _Name, parts: list[_Part]) -> None:
    """Write how many instructions away a function of our own is."""
    if parts[name.section] is not text:
        raise LinkError(f"{name.name} is called and is no code")
    (immediate,) = struct.unpack_from("<i", text.data, offset + 4)
    target = name.value // 8 + immediate + 1
    struct.pack_into("<i", text.data, offset + 4, target - offset // 8 - 1)


def _write(
    text: _Part, rodata: bytes, rodata_at: int, entry: int, calls: list[tuple[int, str]]
) -> bytes:
    externals = sorted({name for _, name in calls})
    strings = bytearray(b"\0")
    symbols = bytearray(_SYMBOL.size)
    for name in [*externals, ENTRY]:
        ours = name == ENTRY
        symbols += _SYMBOL.pack(
            len(strings), _GLOBAL_FUNCTION | 2 * ours, 0, int(ours),
            text.address + entry if ours else 0, 0,
        )  # fmt: skip
        strings += name.encode() + b"\0"
    relocations = b"".join(
        _REL.pack(text.address + at, (externals.index(name) + 1) << 32 | _CALL)
        for at, name in calls
    )
    layout = _Layout(text.address)
    layout.add(".text", _PROGBITS, _ALLOC | _EXECUTE, bytes(text.data))
    layout.add(".rodata", _PROGBITS, _ALLOC, rodata, align=16)
    if layout.sections[-1][3] != rodata_at:
        raise LinkError("the constants are not where the code looks for them")
    dynamic_size = 16 * 10
    dynamic = layout.offset + -layout.offset % 8
    dynsym = dynamic + dynamic_size
    dynstr = dynsym + len(symbols)
    rel = dynstr + len(strings)
    rel += -rel % 8
    tags = [
        (17, rel), (18, len(relocations)), (19, _REL.size), (6, dynsym),
        (11, _SYMBOL.size), (5, dynstr), (10, len(strings)), (30, 4), (22, 0), (0, 0),
    ]  # fmt: skip
    packed = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    layout.add(".dynamic", _DYNAMIC, _ALLOC | _WRITE, packed, link=5, size=16)
    layout.add(
        ".dynsym", _DYNSYM, _ALLOC, bytes(symbols), link=5, info=1, size=_SYMBOL.size
    )
    layout.add(".dynstr", _STRTAB, _ALLOC, bytes(strings), align=1)
    layout.add(".rel.dyn", _RELOCATIONS, _ALLOC, relocations, link=4, size=_REL.size)
    segments = _segments(layout, dynamic, dynamic_size)
    return _file(layout, segments, text.address + entry)


def _segments(layout: _Layout, dynamic: int, dynamic_size: int) -> bytes:
    """Code and constants; what the loader reads; where it finds its table."""
    first, last = layout.sections[0][3], layout.offset
    return b"".join(
        _PROGRAM.pack(kind, flags, at, at, at, size, size, align)
        for kind, flags, at, size, align in (
            (1, 5, first, dynamic - first, 0x1000),
            (1, 4, dynamic, last - dynamic, 0x1000),
            (2, 6, dynamic, dynamic_size, 8),
        )
    )


def _file(layout: _Layout, segments: bytes, entry: int) -> bytes:
    names = bytearray(b"\0")
    for name, *_ in layout.sections:
        names += name.encode() + b"\0"
    own = len(names)
    names += b".shstrtab\0"
    at_names = layout.offset
    table_at = at_names + len(names)
    table_at += -table_at % 8
    table = bytearray(_SECTION.size)
    for name, kind, flags, at, data, linked, info, size in layout.sections:
        table += _SECTION.pack(
            names.index(b"\0" + name.encode() + b"\0") + 1, kind, flags, at, at,
            len(data), linked, info, 1 if kind == _STRTAB else 8, size,
        )  # fmt: skip
    table += _SECTION.pack(own, _STRTAB, 0, 0, at_names, len(names), 0, 0, 1, 0)
    count = len(layout.sections) + 2
    header = _HEADER.pack(
        b"\x7fELF\x02\x01\x01", 3, _MACHINE_SBPF, 1, entry, _HEADER.size, table_at, 0,
        _HEADER.size, _PROGRAM.size, 3, _SECTION.size, count, count - 1,
    )  # fmt: skip
    out = bytearray(header + segments)
    for _, _, _, at, data, *_ in layout.sections:
        out += bytes(at - len(out)) + data
    out += names
    out += bytes(table_at - len(out)) + table
    return bytes(out)
