"""Borsh by hand, on the type expressions of an IDL as they stand in its JSON.

A second reader and writer that shares no code with `idl`: slow, plain, and right.
Values are as `idl.codec` gives them.
"""

from __future__ import annotations

import struct

FLOATS = {"f32": "<f", "f64": "<d"}


def defined(types, raw):
    name = raw["defined"]
    name = name["name"] if isinstance(name, dict) else name
    [found] = [each["type"] for each in types if each["name"] == name]
    return found


def kinds_of(fields):
    return [each["type"] if isinstance(each, dict) and "name" in each else each
            for each in fields]  # fmt: skip


def write(types, raw, value) -> bytes:
    if isinstance(raw, str):
        if raw in FLOATS:
            return struct.pack(FLOATS[raw], value)
        if raw == "bool":
            return bytes([value])
        if raw in ("pubkey", "publicKey"):
            return value
        if raw == "bytes":
            return len(value).to_bytes(4, "little") + value
        if raw == "string":
            return write(types, "bytes", value.encode())
        return value.to_bytes(int(raw[1:]) // 8, "little", signed=raw[0] == "i")
    [(key, inner)] = raw.items()
    if key == "option":
        return b"\0" if value is None else b"\1" + write(types, inner, value)
    if key == "vec":
        if inner == "u8":
            return write(types, "bytes", value)
        return len(value).to_bytes(4, "little") + b"".join(
            write(types, inner, each) for each in value
        )
    if key in ("bincode", "remainder"):
        body = write(types, inner, value)
        return (body[:4] + bytes(4) if key == "bincode" else b"") + body[4:]
    if key == "array":
        if inner[0] == "u8":
            return value
        return b"".join(write(types, inner[0], each) for each in value)
    layout = defined(types, raw)
    if layout["kind"] == "struct":
        kinds = kinds_of(layout["fields"])
        return b"".join(write(types, k, v) for k, v in zip(kinds, value, strict=True))
    names = [each["name"] for each in layout["variants"]]
    name, body = (value, ()) if isinstance(value, str) else value
    fields = layout["variants"][names.index(name)].get("fields", [])
    parts = [write(types, k, v) for k, v in zip(kinds_of(fields), body, strict=True)]
    return bytes([names.index(name)]) + b"".join(parts)


def exactly(size: int, width: int) -> int:
    """How many of a width a size is; raises ValueError when it is none."""
    if size % width:
        raise ValueError("torn")
    return size // width


class Reader:
    """Reads values one after the other."""

    def __init__(self, types, data: bytes) -> None:
        self.types, self.data, self.at = types, data, 0

    def take(self, size: int) -> bytes:
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise ValueError("too short")
        self.at += size
        return piece

    def count(self) -> int:
        return int.from_bytes(self.take(4), "little")

    def read(self, raw):
        if isinstance(raw, str):
            if raw in FLOATS:
                return struct.unpack(FLOATS[raw], self.take(int(raw[1:]) // 8))[0]
            if raw == "bool":
                return self.take(1) != b"\0"
            if raw in ("pubkey", "publicKey"):
                return self.take(32)
            if raw == "bytes":
                return self.take(self.count())
            if raw == "string":
                return self.take(self.count()).decode(errors="replace").replace(
                    "\0", "\ufffd"
                )  # fmt: skip
            size = int(raw[1:]) // 8
            return int.from_bytes(self.take(size), "little", signed=raw[0] == "i")
        [(key, inner)] = raw.items()
        if key == "option":
            tag = self.take(1)[0]
            if tag > 1:
                raise ValueError("no option")
            return self.read(inner) if tag else None
        if key == "vec":
            if inner == "u8":
                return self.read("bytes")
            return [self.read(inner) for _ in range(self.count())]
        if key in ("bincode", "remainder"):
            width = 4 if inner == {"vec": "u32"} else 1
            rest = len(self.data) - self.at
            count = (
                int.from_bytes(self.take(8), "little")
                if key == "bincode"
                else exactly(rest, width)
            )
            part = self.take(count * width)
            whole = Reader(self.types, count.to_bytes(4, "little") + part)
            return whole.read(inner)
        if key == "array":
            if inner[0] == "u8":
                return self.take(inner[1])
            return [self.read(inner[0]) for _ in range(inner[1])]
        layout = defined(self.types, raw)
        if layout["kind"] == "struct":
            return tuple(self.read(kind) for kind in kinds_of(layout["fields"]))
        number = self.take(1)[0]
        if number >= len(layout["variants"]):
            raise ValueError("no variant")
        variant = layout["variants"][number]
        fields = kinds_of(variant.get("fields", []))
        if not fields:
            return variant["name"]
        return (variant["name"], tuple(self.read(kind) for kind in fields))
