"""Thousands of declared events, ten to a contract, and verbs that look at all."""

from contextlib import contextmanager

from sqlalchemy import event as engine_events

from db import coverage, sources
from db.fit import examine
from db.position import BlockRange
from db.schema import migrate
from db.status import chain_status
from helpers.bare import chain_text, event, named, settings_of, write_abis
from helpers.rpc import FakeTx
from indexer.verify import run_verification
from ops.indexing import declared, streams

EACH = 10


def many_settings(folder, count, url="http://127.0.0.1:9"):
    """Settings with so many events."""
    abi = [
        event(f"Event{n}", "address indexed who", "uint256 amount") for n in range(EACH)
    ]
    write_abis(folder, {"many": abi})
    contracts = [
        f'[contracts.c{n}]\nabi = "many.json"\naddress = "0x{n + 1:040x}"\n'
        for n in range(count // EACH)
    ]
    return settings_of(folder, chain_text("main", url) + "".join(contracts))


def mine_each(fake, settings):
    """Mine a block with a log of every event."""
    logs = [
        named(abi, contract.addresses["main"][0], b"\x01" * 20, 5)
        for contract in settings.contracts.values()
        for abi in contract.abi
    ]
    fake.mine(*(FakeTx(logs[at : at + 50]) for at in range(0, len(logs), 50)))


class Many:
    """A database with the tables of so many events, all read up to block 100."""

    def __init__(self, folder, engine, count):
        self.engine = engine
        self.settings = many_settings(folder, count)
        self.registry = declared(self.settings)

    def migrate(self):
        migrate(self.engine, self.registry)

    def fill(self):
        plan = self.plan()
        with self.engine.begin() as connection:
            row = sources.register(
                connection, name="main", chain_id="eip155:31337", ordinals="rank"
            )
            coverage.record(connection, row.id, plan, BlockRange(0, 100))

    def plan(self):
        return streams(self.settings, self.registry)["main"][1]

    def status(self):
        with self.engine.connect() as connection:
            assert chain_status(connection, 1, self.plan()).checkpoint == 100
            assert not examine(connection, self.registry).message

    def verify(self):
        assert not any(
            each.differences for each in run_verification(self.engine, self.registry)
        )


@contextmanager
def counted(engine):
    """The statements that are sent to the database within the block."""
    sent = []

    def note(connection, cursor, statement, *rest):
        sent.append(statement)

    engine_events.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        engine_events.remove(engine, "before_cursor_execute", note)
