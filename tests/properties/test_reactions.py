"""Reactions happen once: whatever is repeated, killed or undone on the way.

Campaigns end on a chain that is reorganised above its final blocks, while reactions
run, requests are accepted, and any of it dies between two steps. In the end there is
exactly one command for each holding of a campaign that succeeded, and none else.
"""

import contextlib
import random
import uuid
from dataclasses import replace
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from commands.errors import NodeAway
from commands.requests import _key, submit_requests
from db import outbox, sources
from db.commands.accept import Request, accept
from db.domains.crowdfunding import events as e
from db.position import BlockRange
from helpers import servers
from helpers.history import rounds
from helpers.office import REGISTRY, Office
from helpers.tables import streams
from indexer.chain import Chain
from indexer.react import run_reactions
from indexer.writer import rewind, write_batch

DEPTH = 3  # blocks that may be undone
INVESTORS = [bytes([number]) * 20 for number in range(1, 6)]


class Killed(Exception):
    """The process died here."""


class World:
    """An office, a chain that forks, and whoever works on it."""

    def __init__(self, office, seed):
        self.office, self.rng = office, random.Random(seed)
        self.chain = Chain(
            office.writer,
            REGISTRY,
            SimpleNamespace(name="devnet"),
            office.source,
            streams(REGISTRY),
        )
        self.campaigns = self.final = 0

    def live(self):
        """A block with something in it."""
        story, rng = self.office.story, self.rng
        for _ in range(rng.randrange(3)):
            self.campaigns += 1
            campaign = self.campaigns.to_bytes(20)
            story.emit(e.CampaignCreated, campaign=campaign, campaign_id="c")
            story.emit(e.CampaignStatusChanged, campaign=campaign, new=1)
            for investor in rng.sample(INVESTORS, rng.randrange(4)):
                story.emit(
                    e.InvestmentMade, campaign=campaign, investor=investor, amount=9
                )
                if rng.random() < 0.3:
                    story.emit(
                        e.RefundIssued, campaign=campaign, investor=investor,
                        principal=9,
                    )  # fmt: skip
            good = rng.random() < 0.7
            story.emit(
                e.CampaignStatusChanged, campaign=campaign, old=1, new=3 if good else 4
            )
            story.emit(e.CampaignCompleted, campaign=campaign, successful=good)
        self.write(story.height)
        story.mine()

    def write(self, height):
        story, office = self.office.story, self.office
        batch = story.batch(BlockRange(story.written + 1, height))
        write_batch(office.writer, REGISTRY, office.source, batch, streams(REGISTRY))
        story.written = height
        self.final = max(height - DEPTH, self.final)
        self.observe()

    def observe(self):
        story, office = self.office.story, self.office
        with office.writer.begin() as connection:
            sources.observe(
                connection, office.source, head=story.height, head_time=story.now,
                final=self.final,
            )  # fmt: skip

    def fork(self):
        """The blocks above the final ones are replaced."""
        story, office = self.office.story, self.office
        first = max(story.written - self.rng.randrange(DEPTH), self.final + 1)
        rewind(office.writer, REGISTRY, office.source, first)
        story.facts = [f for f in story.facts if f.position >> 32 < first]
        story.times = story.times[:first]
        story.written = first - 1
        story.mine()

    def react(self):
        run_reactions(self.chain)

    def react_and_die(self):
        """Die with everything of this run undone."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("indexer.react.outbox.move_reaction", die)
            self.quietly(self.react)

    def grant(self):
        list(submit_requests(self.office.command_service))

    def grant_and_die(self):
        """Die between the command and the note of it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("commands.requests.outbox.note_accepted", die)
            self.quietly(self.grant)

    def grant_without_a_node(self):
        self.office.node.away = NodeAway("no answer")
        self.grant()
        self.office.node.away = None
        self.office.clock.forward(seconds=11)

    def forget(self):
        """A reaction's place is lost, as when a backup is restored."""
        with self.office.writer.begin() as connection:
            connection.execute(text("DELETE FROM control.reaction"))

    def quietly(self, work):
        with contextlib.suppress(Killed):
            work()

    def settle(self):
        for _ in range(DEPTH + 1):
            self.live_quietly()
        self.react()
        self.office.clock.forward(seconds=11)
        self.grant()
        self.grant()

    def live_quietly(self):
        self.write(self.office.story.height)
        self.office.story.mine()

    def expected(self):
        """What the final chain asks for, folded by hand."""
        wanted = []
        story = self.office.story
        facts = [f for f in story.facts if f.position >> 32 <= self.final]
        for done in facts:
            if done.event is not e.CampaignCompleted or not done.values["successful"]:
                continue
            campaign = done.values["campaign"]
            held = {}
            for fact in facts:
                if fact.values.get("campaign") != campaign:
                    continue
                investor = fact.values.get("investor")
                if fact.event is e.InvestmentMade:
                    held[investor] = held.get(investor, 0) + fact.values["amount"]
                if fact.event is e.RefundIssued:
                    held[investor] -= fact.values["principal"]
            wanted += [(campaign, who) for who, amount in held.items() if amount > 0]
        return sorted(wanted)

    def commands(self):
        with self.office.writer.connect() as connection:
            rows = connection.execute(
                text("SELECT arguments FROM control.command WHERE kind = :kind"),
                {"kind": "mint-certificate"},
            ).scalars()
            return sorted(
                tuple(bytes.fromhex(row[name][2:]) for name in ("campaign", "investor"))
                for row in rows
            )


@pytest.fixture(scope="session")
def fresh_office(postgres_url, migrated_template):
    """Makes an office on a database of its own."""

    @contextlib.contextmanager
    def make():
        with servers.fresh_database(postgres_url, migrated_template) as url:
            office = Office(url)
            try:
                yield office
            finally:
                office.close()

    return make


def die(*_, **__):
    raise Killed


STEPS = [
    "live", "live", "live", "fork", "react", "react", "react_and_die", "grant",
    "grant_and_die", "grant_without_a_node", "forget",
]  # fmt: skip


@pytest.mark.slow
@given(seed=st.integers(0, 2**32))
@rounds(25)
def test_there_is_one_certificate_for_each_holding(fresh_office, seed):
    with fresh_office() as office:
        world = World(office, seed)
        for step in world.rng.choices(STEPS, k=40):
            getattr(world, step)()
        world.settle()

        assert world.expected() == world.commands()
        left = "SELECT count(*) FROM control.outbox WHERE command IS NULL"
        assert 0 == office.scalar(left)


def test_reactions_wait_for_final_blocks(fresh_office):
    with fresh_office() as office:
        world = World(office, 7)
        while not office.story.facts:
            world.live()
        world.react()
        early = office.scalar("SELECT count(*) FROM control.outbox")
        world.settle()

        assert 0 == early
        assert world.expected() == world.commands() != []


def test_a_request_waits_for_a_node_that_lacks_what_it_follows_from(fresh_office):
    """Such a node would refuse the call, and a request is rejected for ever."""
    with fresh_office() as office:
        with office.writer.begin() as connection:
            outbox.request_command(
                connection, office.source, key="a", kind="register-issuer",
                arguments={"issuer": "0x" + "aa" * 20, "credential": "v",
                    "memorandum": "m"},
                cause="test", now=office.clock(),
            )  # fmt: skip
        office.final(5)
        office.node.height, office.node.reverts = 4, b""
        early = list(submit_requests(office.command_service))
        office.node.height, office.node.reverts = 5, None

        assert [] == early
        assert ["accepted"] == list(submit_requests(office.command_service))


def test_a_request_whose_key_means_something_else_by_now_stops_no_other(fresh_office):
    """As when the settings name another contract since its command was made."""
    with fresh_office() as office:
        with office.writer.begin() as connection:
            for key, address in (("a", "aa"), ("b", "bb")):
                outbox.request_command(
                    connection, office.source, key=key, kind="register-issuer",
                    arguments={"issuer": "0x" + address * 20, "credential": "v",
                        "memorandum": "m"},
                    cause="test", now=office.clock(),
                )  # fmt: skip
            accept(
                connection,
                Request("reactions", "a", "register-issuer", {}, office.source),
                office.clock(), command_id=uuid.uuid4(),
            )  # fmt: skip

        assert ["rejected", "accepted"] == list(submit_requests(office.command_service))
        assert [] == list(submit_requests(office.command_service))


def test_facts_of_two_chains_ask_for_the_same_each_on_its_own(fresh_office):
    """A request for a signer of another chain than its fact's is refused, and told."""
    with fresh_office() as office:
        with office.writer.begin() as connection:
            south = sources.register(
                connection, name="south", chain_id="eip155:7", ordinals="rank"
            )
            for source in (office.source, south.id):
                outbox.request_command(
                    connection, source, key="a", kind="register-issuer",
                    arguments={"issuer": "0x" + "aa" * 20, "credential": "v",
                        "memorandum": "m"},
                    cause="test", now=office.clock(),
                )  # fmt: skip
        other = replace(office.lane, name="south", source=south.id, chain_id=7)
        elsewhere = replace(other, signers=frozenset())
        both = replace(office.command_service, lanes=(office.lane, elsewhere))

        assert ["accepted", "rejected"] == list(submit_requests(both))
        assert "does not go to chain 'south'" in office.scalar(
            "SELECT refusal FROM control.outbox WHERE source <> :here",
            here=office.source,
        )
        assert "south:a" == _key(both, elsewhere, SimpleNamespace(key="a"))
        assert "a" == _key(both, office.lane, SimpleNamespace(key="a"))
