"""From a request to a stored command: checked, ruled on, simulated, then accepted."""

import secrets
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine

from commands.arguments import check_arguments
from commands.errors import BadTransaction, CommandError, Refused
from commands.lane import ChainRequired, Lane, NoLane, NoSigner, OtherChain
from commands.refusals import refusal_entry
from db.commands.accept import CommandRow, Request, accept, known, move
from db.commands.queue import Queues, check_room
from db.commands.states import State
from db.commands.watching import RELAY
from db.declare import Asker, Command, Entry, Event, Refusal
from db.declare.commands import CommandSpec, as_json
from db.folding import is_folded
from db.journal.append import (
    Actor,
    Appended,
    OtherDeclarations,
    append,
    append_arguments,
)
from db.journal.audit.entries import CommandAccepted
from db.journal.head import lock_head
from db.reads import read
from db.reads.tables import NOBODY, ReadTables
from db.registry import Registry


class NoWallet(CommandError):
    """The command is signed by the caller's wallet, and none is named."""


class RulesBroken(CommandError):
    """The indexed state breaks rules of the command; the error lists all of them."""

    def __init__(self, refusals: Sequence[Refusal]) -> None:
        self.refusals = tuple(refusals)
        reasons = "; ".join(each.reason for each in refusals)
        super().__init__(f"{reasons}. Nothing was sent.")


@dataclass(frozen=True, slots=True)
class Submission:
    """A request for a command, with its author and idempotency key.

    `sender` is the wallet that signs a command of the caller's. `chain` is needed for a
    command that could go to several.
    """

    actor: Actor
    idempotency_key: str
    arguments: Mapping[str, Any]
    valid_until: datetime | None = None
    sender: bytes | None = None
    cause: str = ""
    asker: Asker = NOBODY
    chain: str | None = None


@dataclass(frozen=True, slots=True)
class WalletTerms:
    """The terms of commands that clients sign with their own wallets.

    `valid` is how long one waits for its wallet unless it says so itself, `afterwards`
    how long the wallet is watched after it ended; so many may wait at a time.
    """

    valid: timedelta = timedelta(days=1)
    afterwards: timedelta = timedelta(days=7)
    of_account: int = 100
    of_wallet: int = 20


def no_notify(command: uuid.UUID) -> None:
    """Wake nobody: workers are woken by LISTEN, and poll every second in any case."""


@dataclass(frozen=True, slots=True)
class CommandService:
    """Everything that taking commands needs; `lanes` are the chains they may go to."""

    engine: Engine
    at_once: Engine  # the same database by `db.engine.connect_at_once`
    registry: Registry
    lanes: Sequence[Lane]
    clock: Callable[[], datetime]
    terms: WalletTerms = WalletTerms()
    # Told of each command that one of our signers has to send, after it is stored.
    notify: Callable[[uuid.UUID], None] = no_notify
    _queues: Queues = field(default_factory=Queues)

    def submit(
        self, command: type[Command], submission: Submission
    ) -> tuple[CommandRow, bool]:
        """Accept a command, or return the one its key stands for; whether it is new.

        Raises BadArguments, ChainRequired, OtherChain, NoContract, NoSigner, NoWallet,
        RulesBroken, Refused (the chain would revert it, with the contract's own
        reason), KeyReused, TooManyWaiting, NodeAway. No nonce is taken here.
        """
        spec = command.spec
        arguments = check_arguments(spec, submission.arguments)
        lane = self.lane_for(spec, submission.chain)
        command_id = new_id()
        request = self._request(spec, submission, arguments, command_id, lane)
        before, sender = read(self.at_once, lambda c: self._before(c, request, lane))
        if before is not None:
            return before, False
        try:
            refusals = self._refusals(command, arguments, submission.asker, lane)
            if spec.rules and (found := read(self.at_once, refusals)):
                raise RulesBroken(found)
            if spec.call is not None:
                request = lane.simulate(spec, request, sender)
            if spec.record is None:
                row, fresh = self._take(request, submission.actor, command_id)
            else:
                row, fresh = self._take_entry(
                    spec.record, request, arguments, submission.actor, command_id,
                    refusals,
                )  # fmt: skip
        except (RulesBroken, Refused) as error:
            self.note_refusal(spec, submission, str(error), request.arguments)
            raise
        if fresh and row.signer is not None:
            self.notify(row.id)
        return row, fresh

    def lane_for(self, spec: CommandSpec, chain: str | None = None) -> Lane:
        """Return the chain that a command goes to: its signer's, or its contract's.

        What only the journal takes is judged by the tables of a chain of its domain.
        Raises NoSigner, ChainRequired, OtherChain.
        """
        found = [each for each in self.lanes if _goes_to(spec, each)]
        if spec.call is None and chain is None:
            found = self.lanes_of(spec.domain)
        if not found and spec.signer is not None:
            raise NoSigner(
                f"signer {spec.signer!r} is not in the settings: write "
                f"[signers.{spec.signer}]"
            )
        found = found or [
            each for each in self.lanes if spec.call is None or each.takes(spec.call)
        ]
        fitting = [each for each in found if chain in (None, each.name)]
        names = [each.name for each in found]
        if not fitting:
            raise OtherChain(spec.slug, str(chain), names)
        if len(fitting) > 1:
            raise ChainRequired(spec.slug, names)
        return fitting[0]

    def lanes_of(self, domain: str) -> list[Lane]:
        """Return the chains with events of a domain; all where none has any."""
        found = [
            lane
            for lane in self.lanes
            if any(each.event.startswith(f"{domain}.") for each in lane.plan or ())
        ]
        return found or list(self.lanes)

    def lane_of(self, source: int) -> Lane:
        """Return the lane of a chain by its number; raises NoLane without one."""
        for each in self.lanes:
            if each.source == source:
                return each
        raise NoLane(source)

    def relay(self, raw: bytes, asked: Submission) -> tuple[CommandRow, bool]:
        """Keep and send a signed transaction on the chain that it is signed for.

        Returns its command, and whether it is new; raises what `Lane.relay_any` does,
        OtherChain, and ChainRequired where it could be for several.
        """
        names = [each.name for each in self.lanes]
        asked_of = [each for each in self.lanes if asked.chain in (None, each.name)]
        if not asked_of:
            raise OtherChain(RELAY, str(asked.chain), names)
        fitting, others = list[Lane](), list[Lane]()
        words: dict[str, str] = {}  # why it cannot be read, and by whom
        for lane in asked_of:
            try:
                (fitting if lane.is_for(raw) else others).append(lane)
            except BadTransaction as error:
                words.setdefault(str(error), lane.name)
        if len(fitting) > 1:
            raise ChainRequired(RELAY, [each.name for each in fitting])
        if fitting or others:
            # What is for none of them is told why by the first.
            return (fitting or others)[0].relay_any(self, raw, asked)
        if len(words) == 1:
            raise BadTransaction(next(iter(words)))
        told = (f"as one of {lane}: {text}" for text, lane in words.items())
        raise BadTransaction("; ".join(told))

    def check_room(self, connection: Connection, request: Request) -> None:
        """Raise TooManyWaiting where another command of a wallet would be too many."""
        if request.sender is not None:
            check_room(
                connection, request.tenant, request.source, request.sender,
                of_account=self.terms.of_account, of_wallet=self.terms.of_wallet,
            )  # fmt: skip

    def note_refusal(
        self,
        spec: CommandSpec,
        submission: Submission,
        reason: str,
        arguments: Mapping[str, Any],
    ) -> None:
        """Write a refusal into the audit log."""
        entry = refusal_entry(spec.slug, reason, arguments)
        with self.engine.begin() as connection:
            self._append(connection, entry, submission.actor)

    def note_accepted(
        self, connection: Connection, actor: Actor, row: CommandRow
    ) -> None:
        """Write a command that was taken into the audit log."""
        entry = _accepted(row.id, row.kind, row.arguments)
        self._append(connection, entry, actor)

    def _before(
        self, connection: Connection, request: Request, lane: Lane
    ) -> tuple[CommandRow | None, bytes]:
        """The command that was asked for already, or else who is to send it."""
        if (row := known(connection, request)) is not None:
            return row, b""
        self.check_room(connection, request)
        sender = lane.sender(connection, request)
        if request.signer is not None:
            self._queues.enter(connection, request.signer)
        return None, sender

    def _take(
        self, request: Request, actor: Actor, command_id: uuid.UUID
    ) -> tuple[CommandRow, bool]:
        """Store a command and its entry in the audit log, in one statement if possible.

        It cannot when the tables were built from other declarations than ours, or when
        something is folded from the entry.
        """
        now = self.clock()
        if not is_folded(self.registry, CommandAccepted.spec.id):
            entry = _accepted(command_id, request.kind, request.arguments)
            try:
                with self.at_once.connect() as connection:
                    entry_arguments = append_arguments(
                        connection, self.registry, entry, actor=actor, now=now,
                        expected=self.registry.journal_print,
                    )  # fmt: skip
                    return accept(
                        connection,
                        request,
                        now,
                        command_id=command_id,
                        entry_arguments=entry_arguments,
                    )
            except OtherDeclarations:
                pass  # it may be that this entry is the same in both
        with self.engine.begin() as connection:
            row, fresh = accept(connection, request, now, command_id=command_id)
            if fresh:
                self.note_accepted(connection, actor, row)
            return row, fresh

    def _take_entry(
        self,
        record: type[Event],
        request: Request,
        arguments: Mapping[str, Any],
        actor: Actor,
        command_id: uuid.UUID,
        refusals: Callable[[Connection], list[Refusal]],
    ) -> tuple[CommandRow, bool]:
        """Store a command that is done with its entry in the journal."""
        now = self.clock()
        with self.engine.begin() as connection:
            row, fresh = accept(connection, request, now, command_id=command_id)
            if not fresh:
                return row, False
            # Others' entries of this moment may speak against it by now.
            lock_head(connection)
            if found := refusals(connection):
                raise RulesBroken(found)
            assert issubclass(record, Entry)  # checked at import
            names = {*record.spec.fields, *record.spec.personal}
            entry = record(**{name: arguments[name] for name in names})
            appended = self._append(connection, entry, actor)
            done = move(
                connection, row, State.SUCCEEDED, now,
                transaction=appended.hash, height=appended.seq,
            )  # fmt: skip
            return done, True

    def _append(self, connection: Connection, entry: Entry, actor: Actor) -> Appended:
        return append(connection, self.registry, entry, actor=actor, now=self.clock())

    def _request(
        self,
        spec: CommandSpec,
        submission: Submission,
        arguments: Mapping[str, Any],
        command_id: uuid.UUID,
        lane: Lane,
    ) -> Request:
        request = Request(
            tenant=submission.actor.tenant,
            idempotency_key=submission.idempotency_key,
            kind=spec.slug,
            arguments=as_json(spec.fields, _public(spec, arguments)),
            source=lane.source,
            signer=spec.signer,
            valid_until=submission.valid_until,
            asked_by=submission.actor.name,
            cause=submission.cause,
        )
        if spec.call is None:
            return request
        if spec.by_caller and submission.sender is None:
            raise NoWallet(
                f"{spec.slug} is signed by your own wallet: name it in `wallet`, "
                "one that is linked to your account"
            )
        if spec.by_caller:
            until = submission.valid_until or self.clock() + self.terms.valid
            request = replace(request, sender=submission.sender, valid_until=until)
        return lane.prepare(spec, arguments, request, command_id)

    def _refusals(
        self,
        command: type[Command],
        arguments: Mapping[str, Any],
        asker: Asker,
        lane: Lane,
    ) -> Callable[[Connection], list[Refusal]]:
        """Return a function that evaluates a command's rules on a connection."""
        asked = command(**arguments)

        def look(connection: Connection) -> list[Refusal]:
            tables = ReadTables(
                connection, lane.source, plan=lane.plan, asker=asker,
                settings=self.registry.settings,
            )  # fmt: skip
            return [each for rule in command.spec.rules for each in rule(asked, tables)]

        return look


def _goes_to(spec: CommandSpec, lane: Lane) -> bool:
    """Whether a command's declaration allows a chain."""
    if spec.call is not None and not lane.takes(spec.call):
        return False
    if spec.signer is not None:
        return spec.signer in lane.signers
    if spec.call is not None and spec.call.at is None:
        return spec.call.contract in lane.addresses
    return True


def _accepted(
    command_id: uuid.UUID, kind: str, arguments: Mapping[str, Any]
) -> CommandAccepted:
    return CommandAccepted(
        command=str(command_id), kind=kind, arguments=dict(arguments)
    )


def _public(spec: CommandSpec, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments without personal values, which are stored apart."""
    personal = () if spec.record is None else spec.record.spec.personal
    return {name: v for name, v in arguments.items() if name not in personal}


def new_id() -> uuid.UUID:
    """A UUIDv7 (RFC 9562): ids sort by the time they were made."""
    milliseconds = time.time_ns() // 1_000_000
    number = milliseconds << 80 | secrets.randbits(80)
    number = number & ~(0xF << 76) | 0x7 << 76
    return uuid.UUID(int=number & ~(0x3 << 62) | 0x2 << 62)
