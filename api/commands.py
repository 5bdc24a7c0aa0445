"""Routes of accepted commands: read, wait, cancel, release, retry, sign.

GET  /commands?state=&kind=&signer=       one's own; all of them for the staff
GET  /commands/<id>?wait=30&until=final   waits until it is so far, at most `wait` s
GET  /commands/<id>/events                server-sent events, `Last-Event-ID`
POST /commands/<id>/cancel | retry | release | signed
POST /relay                               any signed call of what we follow
"""

import base64
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from flask import Response, request
from flask_smorest import Blueprint  # type: ignore[import-untyped]

from api.auth.principal import Principal, current_principal, require_role
from api.command_answers import (
    command_answer,
    event_object,
    page_of,
    sent_object,
)
from api.command_problems import as_problems
from api.command_schemas import described
from api.errors import Problem
from api.idempotency import alone_with, idempotency_key
from api.parameters import bad_parameter, check_names, number
from api.service import PREFIX, Service
from api.waiting import CLIENT, Hub, Waiter, sleep_until
from api.writes import actor_of, body_of_request, require_command_service, to_sign
from commands.actions import cancel_command, release_command
from commands.lane import SIGNED_BYTES_MAX, NoLane
from commands.submit import CommandService, Submission
from db import reads
from db.commands.accept import CommandRow, find
from db.commands.listing import events_after, list_commands, sent_for
from db.commands.states import TERMINAL, State
from db.commands.watching import RELAY
from db.declare.roles import Role

STAFF = (Role.OPERATOR, Role.COMPLIANCE, Role.AUDITOR)
SIGNED_TEXT_MAX = 2 + 2 * SIGNED_BYTES_MAX
WAIT_MOST = 60.0
STREAM_SECONDS = 300.0
HEARTBEAT_SECONDS = 15.0
# How far a command is, for those who wait until it is so far.
_LEVELS = {
    State.ACCEPTED: 0, State.HELD: 0, State.SLOTTED: 1, State.SIGNED: 2,
    State.CLOSING: 2, State.INCLUDED: 3,
}  # fmt: skip
_UNTIL = {"signed": 2, "included": 3, "final": 4}
_READ_KEYS = ("wait", "until", "units")
ReadAfter = Callable[[int], list[dict[str, Any]]]
_LIST_KEYS = ("state", "kind", "signer", "after", "limit", "units")


def commands_blueprint(service: Service, hub: Hub) -> Blueprint:
    """Every route about commands."""
    blueprint = Blueprint(
        "commands", __name__, url_prefix=PREFIX,
        description="Commands that were taken, and what became of them.",
    )  # fmt: skip
    routes = _Routes(service, hub)
    one = "/commands/<uuid:command_id>"
    for rule, method, view, summary in (
        ("/commands", "GET", routes.list_all, "Commands, newest first"),
        (one, "GET", routes.show, "One command, its history and transactions"),
        (f"{one}/events", "GET", routes.stream, "Its history as server-sent events"),
        (f"{one}/cancel", "POST", routes.cancel, "Ask for its end"),
        (f"{one}/retry", "POST", routes.retry, "Ask for the same once more"),
        (f"{one}/release", "POST", routes.release, "Let a held command go on"),
        (f"{one}/signed", "POST", routes.signed, "Give what the wallet signed"),
        (
            "/relay",
            "POST",
            routes.relay,
            "Relay any signed call of our contracts and programs",
        ),
    ):
        documented = blueprint.doc(
            summary=summary,
            operationId=f"commands_{view.__name__}",
            security=[{"bearer": []}, {"key": []}],
            **described(view.__name__, service.page_size_max),
        )(view)
        blueprint.add_url_rule(
            rule, view.__name__, documented, methods=[method], strict_slashes=False
        )
    return blueprint


class _Routes:
    """The views, with what they need."""

    def __init__(self, service: Service, hub: Hub) -> None:
        self._service, self._hub = service, hub

    def list_all(self) -> Response:
        principal = current_principal(self._service)
        check_names(_LIST_KEYS)
        limit = number("limit", self._service.page_size_max) or self._service.page_size
        states = [_state(text) for text in request.args.getlist("state")]
        before = request.args.get("after")
        rows = reads.read(
            self._service.engine,
            lambda connection: list_commands(
                connection,
                tenant=None if _is_staff(principal) else principal.tenant,
                states=states,
                kind=request.args.get("kind"),
                signer=request.args.get("signer"),
                before=None if before is None else _uuid(before),
                limit=limit + 1,
            ),
        )
        more = len(rows) > limit
        return page_of(
            self._service, rows[:limit], str(rows[limit - 1].id) if more else None
        )

    def show(self, command_id: uuid.UUID) -> Response:
        check_names(_READ_KEYS)
        principal = current_principal(self._service)
        row = self._row(principal, command_id)
        wait, until = _wait(), _until()
        if wait and _level(row) < until:
            row = self._await(principal, command_id, wait, until)
        events, sent = reads.read(
            self._service.engine,
            lambda connection: (
                events_after(connection, command_id),
                sent_for(connection, command_id),
            ),
        )
        return command_answer(
            self._service,
            row,
            events=[event_object(each) for each in events],
            sent=[sent_object(each) for each in sent],
            **to_sign(self._service, row),
        )

    def stream(self, command_id: uuid.UUID) -> Response:
        principal = current_principal(self._service)
        self._row(principal, command_id)
        given = request.headers.get("Last-Event-ID", "0")
        last = int(given) if re.fullmatch(r"[0-9]{1,18}", given) else 0
        waiter = self._waiter(principal, command_id)
        woken = waiter.__enter__()  # now, so that a refusal is an answer
        lines = _stream(self._read_events(command_id), woken, last)
        answer = Response(lines, mimetype="text/event-stream")
        answer.call_on_close(lambda: waiter.__exit__(None, None, None))
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["X-Accel-Buffering"] = "no"
        return answer

    def cancel(self, command_id: uuid.UUID) -> Response:
        principal = current_principal(self._service)
        self._row(principal, command_id, to_change=True)
        command_service = require_command_service(self._service)
        with as_problems(), command_service.engine.begin() as connection:
            row = cancel_command(
                connection, command_service.registry, command_id,
                actor=actor_of(principal), now=command_service.clock(),
            )  # fmt: skip
        return command_answer(self._service, row)

    def release(self, command_id: uuid.UUID) -> Response:
        principal = current_principal(self._service)
        require_role(principal, Role.OPERATOR)
        self._row(principal, command_id)
        command_service = require_command_service(self._service)
        with command_service.engine.begin() as connection:
            row = release_command(
                connection, command_service.registry, command_id,
                actor=actor_of(principal), now=command_service.clock(),
            )  # fmt: skip
        return command_answer(self._service, row)

    def retry(self, command_id: uuid.UUID) -> Response:
        principal = current_principal(self._service)
        old = self._row(principal, command_id, to_change=True)
        if old.kind == RELAY:
            raise Problem(
                "not_retryable",
                "It was relayed as its wallet signed it: have the wallet sign it anew, "
                "and give that to POST /relay.",
            )
        command = self._service.registry.commands.get(old.kind)
        done = State.SUCCEEDED in (old.state, old.late_outcome)
        if command is None or old.state not in TERMINAL or done:
            raise Problem(
                "not_retryable",
                f"The command is {old.state}{_executed_late(old)}. Only a command that "
                "ended without success can be retried.",
            )
        require_role(principal, *command.spec.roles)
        if old.sender is not None and old.sender not in principal.wallets:
            raise Problem(
                "not_allowed", "Another's wallet signed it: ask that account."
            )
        command_service = require_command_service(self._service)
        asked = Submission(
            actor=actor_of(principal),
            idempotency_key=idempotency_key(),
            arguments=old.arguments,
            sender=old.sender,
            cause=f"retry:{old.id}",
            chain=_name_of_chain(command_service, old),
            asker=principal.asker,
        )
        with alone_with(principal.tenant, asked.idempotency_key), as_problems():
            row, fresh = command_service.submit(command, asked)
        return command_answer(self._service, row, fresh=fresh)

    def signed(self, command_id: uuid.UUID) -> Response:
        principal = current_principal(self._service)
        row = self._row(principal, command_id, to_change=True)
        if row.sender is None:
            raise Problem(
                "bad_transaction", "Our own signers sign this command: nothing to send."
            )
        command_service = require_command_service(self._service)
        with as_problems():
            row = command_service.lane_of(row.source).relay_signed(
                command_service, row, _raw()
            )
        return command_answer(self._service, row, fresh=True)

    def relay(self) -> Response:
        principal = current_principal(self._service)
        command_service = require_command_service(self._service)
        asked = Submission(
            actor_of(principal), idempotency_key(), {}, chain=request.args.get("chain")
        )
        with alone_with(principal.tenant, asked.idempotency_key), as_problems():
            row, fresh = command_service.relay(_raw(), asked)
        return command_answer(self._service, row, fresh=fresh)

    def _row(
        self, principal: Principal, command_id: uuid.UUID, *, to_change: bool = False
    ) -> CommandRow:
        """Return a command the principal may see or change; else `no_such_command`."""
        row = reads.read(
            self._service.engine, lambda connection: find(connection, command_id)
        )
        may = _is_staff(principal)
        if to_change:
            may = Role.OPERATOR in principal.roles
        if row is None or (row.tenant != principal.tenant and not may):
            raise Problem(
                "no_such_command", f"There is no command {command_id} of yours."
            )
        return row

    def _await(
        self, principal: Principal, command_id: uuid.UUID, wait: float, until: int
    ) -> CommandRow:
        deadline = time.monotonic() + wait
        with self._waiter(principal, command_id) as woken:
            row = self._row(principal, command_id)
            while _level(row) < until and sleep_until(woken, deadline):
                row = self._row(principal, command_id)
        return row

    @contextmanager
    def _waiter(self, principal: Principal, command_id: uuid.UUID) -> Iterator[Waiter]:
        """Return a waiter that ends when its client disconnects."""
        client, staff = request.environ.get(CLIENT), _is_staff(principal)
        with self._hub.waiter(str(command_id), principal.tenant, staff=staff) as woken:
            if client is not None:
                client.when_gone(woken.hang_up)
            yield woken

    def _read_events(self, command_id: uuid.UUID) -> ReadAfter:
        def read_after(after: int) -> list[dict[str, Any]]:
            found = reads.read(
                self._service.engine,
                lambda connection: events_after(connection, command_id, after),
            )
            return [event_object(each) for each in found]

        return read_after


def _stream(read_after: ReadAfter, woken: Waiter, last: int) -> Iterator[bytes]:
    """Events as they come, a comment now and then; ends with the command."""
    ends = time.monotonic() + STREAM_SECONDS
    beat = time.monotonic()
    ended = False
    yield b"retry: 2000\n\n"
    while time.monotonic() < ends:
        for event in read_after(last):
            last = event["id"]
            data = orjson.dumps(event, option=orjson.OPT_UTC_Z)
            yield f"id: {last}\nevent: {event['state']}\ndata: ".encode() + data
            yield b"\n\n"
            ended = event["state"] in TERMINAL
        if ended:
            return
        if time.monotonic() - beat >= HEARTBEAT_SECONDS:
            beat = time.monotonic()
            yield b": still here\n\n"
        if not sleep_until(woken, ends):
            return


def _executed_late(row: CommandRow) -> str:
    executed = ", but its transaction was executed afterwards"
    return executed if row.late_outcome else ""


def _is_staff(principal: Principal) -> bool:
    return not principal.roles.isdisjoint(STAFF)


def _level(row: CommandRow) -> int:
    return _LEVELS.get(row.state, 4)


def _wait() -> float:
    given = request.args.get("wait", "0")
    if re.fullmatch(r"[0-9]{1,4}(\.[0-9]+)?", given) is None:
        raise bad_parameter("wait", f"wait: {given!r} is not a number of seconds.")
    return min(float(given), WAIT_MOST)


def _until() -> int:
    given = request.args.get("until", "final")
    if given not in _UNTIL:
        raise bad_parameter(
            "until", f"until: {given!r} is not one of {', '.join(_UNTIL)}."
        )
    return _UNTIL[given]


def _state(given: str) -> State:
    try:
        return State(given)
    except ValueError:
        choices = ", ".join(State)
        raise bad_parameter(
            "state", f"state: {given!r} is not one of {choices}."
        ) from None


def _uuid(given: str) -> uuid.UUID:
    try:
        return uuid.UUID(given)
    except ValueError:
        raise bad_parameter(
            "after", "after: it is not `next` of another page."
        ) from None


def _raw() -> bytes:
    """The signed bytes of the body: `{"raw": "0x…"}`, or in base64.

    No transaction begins so that its base64 would be read as hex.
    """
    given = body_of_request().get("raw")
    how = 'Send {"raw": "0x…"}, what the wallet has signed; for Solana in base64.'
    if not isinstance(given, str) or not 0 < len(given) <= SIGNED_TEXT_MAX:
        raise Problem("bad_transaction", how)
    if re.fullmatch(r"0x([0-9a-fA-F]{2})+", given):
        return bytes.fromhex(given[2:])
    try:
        found = base64.b64decode(given.encode("ascii"), validate=True)
    except ValueError:
        found = b""
    if not found or base64.b64encode(found).decode() != given:
        raise Problem("bad_transaction", how)
    return found


def _name_of_chain(command_service: CommandService, old: CommandRow) -> str | None:
    """Name the chain that a command went to, if it is one that commands go to."""
    try:
        return command_service.lane_of(old.source).name
    except NoLane:
        return None
