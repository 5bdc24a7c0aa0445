"""The write side's door over a database of its own, a chain story and a made-up node.

office = Office(url)
office.story.emit(e.IssuerRegistered, issuer=A, …); office.index()
answer = office.ask("deactivate-issuer", issuer=A, by=office.compliance)
"""

import itertools
import uuid
from dataclasses import replace

from eth_account import Account
from sqlalchemy import select, text

from commands.evm.lane import EvmLane
from commands.evm.node import Answer, Reverted
from commands.submit import CommandService
from db import sources
from db.commands.evm.slots import register_signer
from db.control import source as source_table
from db.declare.roles import Role
from db.engine import connect_at_once
from db.registry import Registry
from helpers import stories
from helpers.door import ROLES, Door
from helpers.tables import streams

REGISTRY = Registry.load()
CHAIN_ID = 100
CONTRACTS = {
    name: bytes([number]) * 20
    for number, name in enumerate(
        ("IssuerRegistry", "CampaignFactory", "NFTShareCertificate", "FundEscrow"), 0xC0
    )
}
SIGNERS = {
    name: bytes([number]) * 20
    for number, name in enumerate(("registrar", "operator", "admin"), 0xA0)
}
SIGNERS_DECLARED = {each.spec.signer for each in REGISTRY.commands.values()}
KEY = "0x" + "11" * 32  # nobody's: for tests only
WALLET = bytes.fromhex(Account.from_key(KEY).address[2:])


class Node:
    """A node that takes everything, unless it is told otherwise."""

    def __init__(self):
        self.sent, self.reverts, self.away = [], None, None
        self.simulated, self.height = [], 10**6

    def gas_price(self):
        return self._answer(10**9)

    def send(self, raw):
        self.sent.append(raw)
        return self._answer(Answer("taken", b"\xaa" * 32))

    def replay(self, mined):
        return self._answer(None)

    def simulate(self, sender, to, value, data):
        self.simulated.append((sender, to, value, data))
        if self.reverts is not None:
            raise Reverted(self.reverts, "execution reverted")
        return self._answer(50_000)

    def head(self):
        return self._answer(self.height)

    def nonce(self, address, height=None):
        return self._answer(7)

    def balance(self, address):
        return self._answer(3 * 10**18)

    def _answer(self, value):
        if self.away is not None:
            raise self.away
        return value


class Office(Door):
    """An app that takes commands, with people of every role to ask for them."""

    def __init__(self, url):
        self.node, self.story = Node(), stories.StoryChain()
        self.command_service = None
        super().__init__(url, REGISTRY)
        self.people = {role: self.account(role) for role in ROLES}
        with self.writer.begin() as connection:
            row = sources.register(
                connection, name="devnet", chain_id=f"eip155:{CHAIN_ID}",
                ordinals="rank",
            )  # fmt: skip
            self.source = row.id
            for name, address in SIGNERS.items():
                register_signer(
                    connection, name=name, source_id=row.id, address=address,
                    next_nonce=0, gate_height=0,
                )  # fmt: skip
        self.command_service = CommandService(
            engine=self.writer, at_once=connect_at_once(url),
            registry=REGISTRY, clock=self.clock, lanes=(
                EvmLane(
                    name="devnet", source=self.source, chain_id=CHAIN_ID,
                    node=self.node, addresses=CONTRACTS,
                    signers=frozenset(filter(None, SIGNERS_DECLARED)),
                    untagged=REGISTRY.untagged, plan=streams(REGISTRY),
                ),
            ),
        )  # fmt: skip
        self.open(command_service=self.command_service)
        self.index()

    def with_lane(self, **changes):
        """The command service with another lane: other nodes, or other addresses."""
        return replace(self.command_service, lanes=(replace(self.lane, **changes),))

    @property
    def lane(self):
        """The lane of its only chain."""
        (lane,) = self.command_service.lanes
        return lane

    def index(self):
        """Index the story so far, and begin its next block."""
        rows = stories.write(self.writer, REGISTRY, self.source, self.story)
        with self.writer.begin() as connection:
            sources.observe(
                connection, self.source, head=self.story.height,
                head_time=self.story.now, final=self.story.height,
            )  # fmt: skip
        self.story.mine()
        return rows

    def by(self, role):
        """An access token of the account with this role."""
        return self.token(self.people[role])

    def ask(self, kind, status=202, *, by=Role.OPERATOR, key=None, path=None, **body):
        """Ask for a command; the answer."""
        return self.post(
            path or f"/api/v1/commands/{kind}", body, status,
            token=self.by(by) if isinstance(by, Role) else by,
            headers={"Idempotency-Key": key or str(uuid.uuid4())},
        )  # fmt: skip

    def transaction(self, *, to, data, value=0, sender=WALLET, nonce=7, good=True):
        """The index sees a transaction in the block that the story fills."""
        ordinal = next(ORDINALS)
        with self.writer.begin() as connection:
            connection.execute(
                text(
                    "INSERT INTO control.sender_transaction (source, position,"
                    " block_time, hash, sender, recipient, nonce, value, data,"
                    " succeeded, gas_used) VALUES (:source, :position, 0, :hash,"
                    " :sender, :to, :nonce, :value, :data, :good, 21000)"
                ),
                {
                    "source": self.source,
                    "position": self.story.height << 32 | ordinal,
                    "hash": ordinal.to_bytes(32),
                    "sender": sender, "to": to, "nonce": nonce, "value": value,
                    "data": data, "good": good,
                },
            )  # fmt: skip

    def close(self):
        self.app.extensions["chainfold_hub"].close()
        self.command_service.at_once.dispose()
        super().close()

    def scalar(self, query, **binds):
        with self.writer.connect() as connection:
            return connection.scalar(text(query), binds)

    def final(self, height):
        """What is final now."""
        with self.writer.begin() as connection:
            connection.execute(
                source_table.update()
                .where(source_table.c.id == self.source)
                .values(final=height)
            )
            return connection.scalar(select(source_table.c.final))


ORDINALS = itertools.count(1)
