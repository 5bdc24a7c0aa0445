"""From a request to a stored command: checked, simulated, and only then accepted."""

import secrets
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Engine

from commands.encode import as_json, calldata, check_arguments, explain_revert
from commands.errors import CommandError, Refused
from commands.node import Node, Reverted
from db.commands.accept import CommandRow, Request, accept, known
from db.commands.slots import SignerRow
from db.declare.commands import CommandSpec

GAS_MARGIN_PERCENT = 20


class NoContract(CommandError):
    """The contract that a command calls has no address in the settings."""


@dataclass(frozen=True, slots=True)
class Submission:
    """Who asks for what, under which idempotency key."""

    tenant: str
    idempotency_key: str
    arguments: Mapping[str, Any]
    valid_until: datetime | None = None


def submit(
    engine: Engine,
    spec: CommandSpec,
    submission: Submission,
    *,
    signer: SignerRow,
    node: Node,
    addresses: Mapping[str, bytes],
    now: datetime,
) -> tuple[CommandRow, bool]:
    """Accept a command, or return the one its key stands for; whether it is new.

    Raises BadArguments, NoContract, Refused (the chain would revert it, with the
    contract's own reason), KeyReused, TooManyWaiting, NodeAway. No nonce is taken here.
    """
    arguments = check_arguments(spec, submission.arguments)
    command_id = new_id()
    data = calldata(spec, arguments, command_id)
    target = _target(spec, arguments, addresses)
    value = 0 if spec.value is None else int(arguments[spec.value])
    request = Request(
        tenant=submission.tenant,
        idempotency_key=submission.idempotency_key,
        kind=spec.slug,
        arguments=as_json(arguments),
        source=signer.source,
        signer=signer.name,
        target=target,
        data=data,
        value=value,
        gas_limit=0,
        valid_until=submission.valid_until,
    )
    with engine.connect() as connection:
        if (before := known(connection, request)) is not None:
            return before, False
    gas = _simulate(spec, node, signer.address, target, value, data)
    request = replace(request, gas_limit=gas + gas * GAS_MARGIN_PERCENT // 100)
    with engine.begin() as connection:
        return accept(connection, request, now, command_id=command_id)


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): ids sort by the time they were made."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62)


def _target(
    spec: CommandSpec, arguments: Mapping[str, Any], addresses: Mapping[str, bytes]
) -> bytes:
    if spec.at is not None:
        return bytes(arguments[spec.at])
    if spec.contract not in addresses:
        raise NoContract(
            f"{spec.contract} has no address: write it under [chains.<name>.contracts]"
        )
    return addresses[spec.contract]


def _simulate(
    spec: CommandSpec,
    node: Node,
    sender: bytes,
    target: bytes,
    value: int,
    data: bytes,
) -> int:
    try:
        return node.simulate(sender, target, value, data)
    except Reverted as error:
        reason = explain_revert(spec.contract, error.data, str(error))
        raise Refused(
            f"{spec.contract} would refuse it: {reason}. Nothing was sent."
        ) from error
