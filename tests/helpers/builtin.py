"""Instructions of programs that everybody uses, read as the index reads them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from solders.instruction import Instruction

from db.declare import Program
from idl import load_builtin
from idl.codec import DecodeError, Decoder
from idl.encode import encode
from idl.plain import plainer
from idl.types import INTEGERS, Primitive
from indexer.solana.decode import ProgramDecoder


@dataclass(frozen=True)
class Called:
    """An instruction as it was read: keys as text, integers as numbers."""

    name: str
    accounts: dict[str, Any]
    arguments: dict[str, Any]


@cache
def decoder_of(program: str) -> ProgramDecoder:
    return ProgramDecoder(Program(program, load_builtin(program)), [])


def called(program: str, instruction: Instruction) -> Called | None:
    """The instruction; None for bytes or accounts that are none."""
    decoder = decoder_of(program)
    body = bytes(instruction.data) or decoder.at(0).bare
    found = decoder.at(0).find(body, instruction=True)
    if found is None:
        return None
    layout, keys = found.layout, [str(each.pubkey) for each in instruction.accounts]
    try:
        values, _ = Decoder(layout.fields, {}).decode(body, len(layout.discriminator))
    except DecodeError:
        return None
    accounts: dict[str, Any] = {}
    for at, ref in enumerate(layout.accounts):
        if at >= len(keys) and not ref.optional and not ref.remaining:
            return None
        name = layout.account_fields[at]
        one = keys[at] if at < len(keys) else None
        accounts[name] = keys[at:] if ref.remaining else one
    arguments = {
        field.name: value
        if isinstance(field.type, Primitive) and field.type.name in INTEGERS
        else plainer(field.type, {})(value)
        for field, value in zip(layout.fields, values, strict=True)
    }
    return Called(layout.name, accounts, arguments)


def encoded(program: str, found: Called) -> bytes:
    """The bytes of an instruction that was read."""
    layout = load_builtin(program).instruction(found.name)
    return layout.discriminator + encode(layout.fields, found.arguments, {})
