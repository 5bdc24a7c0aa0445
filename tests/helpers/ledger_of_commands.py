"""Commands in several states, made by the functions that make them in earnest."""

from __future__ import annotations

from datetime import timedelta

from commands.submit import new_id
from db import sources
from db.commands.accept import Request, accept
from db.commands.evm.closing import cancel
from db.commands.evm.slots import register_signer
from db.commands.held import hold_command
from db.commands.signers import pause
from db.control import slot

MARKUP = "<script>alert(1)</script>"


def fill(engine, now, *, many=0):
    """Two signers, one of them halted; commands waiting, held, ended; their ids."""
    with engine.begin() as connection:
        source = sources.register(
            connection, name="edge", chain_id="eip155:100", ordinals="rank"
        ).id
        for number, name in enumerate(("registrar", "treasury"), start=1):
            register_signer(
                connection, name=name, source_id=source, address=bytes([number]) * 20,
                next_nonce=7, gate_height=0,
            )  # fmt: skip
        pause(connection, "treasury", paused=True, reason="a nonce went elsewhere")
        found = {}
        for name in ("waiting", "held", "ended", *(f"n{n}" for n in range(many))):
            found[name] = new_id()
            accept(
                connection, _request(source, name), now - timedelta(minutes=5),
                command_id=found[name],
            )  # fmt: skip
        hold_command(
            connection, found["held"], "<b>gas price</b> over the ceiling", now,
            again_at=now + timedelta(minutes=1),
        )  # fmt: skip
        cancel(connection, found["ended"], now)
        connection.execute(
            slot.insert().values(
                signer="treasury",
                nonce=6,
                taken_at=now - timedelta(hours=2),
                next_action_at=now,
            )
        )
    return found


def _request(source, name):
    return Request(
        tenant="t", idempotency_key=name, kind="register-issuer",
        arguments={"issuer": "0x" + "ab" * 20, "memorandum": MARKUP}, source=source,
        signer="registrar", target=b"\3" * 20, data=b"\4" * 36,
        gas_limit=21_000,
    )  # fmt: skip
