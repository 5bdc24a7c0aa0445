"""A command is stored with its entry in the audit log, or neither is."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from commands.lane import ChainRequired, NoSigner, OtherChain
from commands.submit import Submission
from db.coverage import Stream
from db.declare import Count, Key, Projection
from db.domains.crowdfunding.commands import DepositEscrow, Invest, RegisterIssuer
from db.errors import StaleDeclarations
from db.journal.append import Actor
from db.journal.audit.entries import CommandAccepted
from db.journal.verify import faults
from db.registry import Registry
from db.schema import migrate
from helpers.office import REGISTRY, Office

ACTOR = Actor("account:1", "tenant", "192.0.2.1", 'a "browser" é\n')


class Wanted(Projection):
    """How often each kind of command was taken."""

    kind = Key()

    times = Count(CommandAccepted)


WITH_ROWS = Registry.of(
    REGISTRY.events.values(),
    [*REGISTRY.projections.values(), Wanted],
    REGISTRY.commands.values(),
    REGISTRY.reactions.values(),
)


@pytest.fixture
def office(migrated_url):
    found = Office(migrated_url)
    yield found
    found.close()


def submit(command_service, number=1, key=None):
    return command_service.submit(
        RegisterIssuer,
        Submission(
            ACTOR, key or str(number),
            {"issuer": number.to_bytes(20), "credential": "vc", "memorandum": "é"},
        ),
    )  # fmt: skip


def counted(office):
    """How many commands there are, and how many entries that say so."""
    return office.scalar("SELECT count(*) FROM control.command"), office.scalar(
        "SELECT count(*) FROM facts.audit_command_accepted"
    )


def well(office, registry=REGISTRY):
    assert [] == list(faults(office.writer, registry))


def declared_otherwise(office, event_print=None):
    """The tables are those of another version, which knows more than this one."""
    with office.writer.begin() as connection:
        connection.execute(text("UPDATE control.journal_head SET declared = 'newer'"))
        if event_print is not None:
            connection.execute(
                text(
                    "UPDATE control.declaration SET fingerprint = :print"
                    " WHERE name = 'audit.CommandAccepted'"
                ),
                {"print": event_print},
            )


def test_a_command_and_its_entry_are_one_statement(office):
    submit(office.command_service)  # what is asked once is asked
    said = []
    event.listen(
        office.command_service.at_once, "before_cursor_execute",
        lambda c, cursor, statement, *_: said.append(statement),
    )  # fmt: skip
    begun = []
    event.listen(office.writer, "begin", begun.append)

    row, fresh = submit(office.command_service, 2)

    assert fresh
    assert 1 == sum("INSERT INTO control.command" in each for each in said)
    assert "append_entry" in said[-1]
    assert [] == begun
    assert str(row.id) == office.scalar(
        "SELECT command FROM facts.audit_command_accepted ORDER BY position DESC"
    )
    well(office)


def test_one_key_has_one_entry_whoever_is_first(office):
    with ThreadPoolExecutor(8) as pool:
        found = list(
            pool.map(
                lambda number: submit(office.command_service, number % 5 + 1), range(40)
            )
        )

    assert 5 == sum(fresh for _, fresh in found)
    assert (5, 5) == counted(office)
    well(office)


def test_many_at_once_are_chained_without_a_gap(office):
    with ThreadPoolExecutor(8) as pool:
        list(
            pool.map(
                lambda number: submit(office.command_service, number), range(1, 101)
            )
        )

    assert (100, 100) == counted(office)
    assert 100 == office.scalar("SELECT seq FROM control.journal_head")
    well(office)


def test_another_version_that_says_the_same_hinders_nobody(office):
    declared_otherwise(office)

    _, fresh = submit(office.command_service)

    assert fresh
    assert (1, 1) == counted(office)
    well(office)


def test_a_version_with_another_entry_stores_nothing(office):
    declared_otherwise(office, "0" * 12)

    with pytest.raises(StaleDeclarations, match="CommandAccepted"):
        submit(office.command_service)

    assert (0, 0) == counted(office)
    assert 0 == office.scalar("SELECT seq FROM control.journal_head")


def test_rows_are_folded_with_the_command(office):
    migrate(office.writer, WITH_ROWS)
    command_service = replace(office.command_service, registry=WITH_ROWS)

    submit(command_service)
    submit(command_service, 2)
    submit(command_service, 2)

    assert 2 == office.scalar(
        "SELECT times FROM public.wanteds WHERE kind = 'register-issuer'"
    )
    well(office, WITH_ROWS)


def test_a_full_queue_takes_nothing(office):
    office.command_service._queues._most = 1
    submit(office.command_service)

    with pytest.raises(Exception, match="1 commands waiting"):
        submit(office.command_service, 2)

    assert (1, 1) == counted(office)
    again, fresh = submit(office.command_service)
    assert not fresh
    assert "accepted" == again.state


class TestWhichChain:
    """Two chains; our signers sign for the first alone."""

    @pytest.fixture
    def both(self, office):
        other = replace(office.lane, name="south", source=77, signers=frozenset())
        return replace(office.command_service, lanes=(office.lane, other))

    def test_a_command_of_our_signer_goes_to_the_signers_chain(self, both, office):
        assert office.lane is both.lane_for(RegisterIssuer.spec)
        assert office.lane is both.lane_for(RegisterIssuer.spec, "devnet")
        with pytest.raises(OtherChain, match="not go to chain 'south', but to devnet"):
            both.lane_for(RegisterIssuer.spec, "south")

    def test_one_that_a_wallet_signs_must_say_where(self, both):
        with pytest.raises(ChainRequired, match="devnet, south"):
            both.lane_for(Invest.spec)
        assert "south" == both.lane_for(Invest.spec, "south").name

    def test_one_whose_contract_is_on_one_chain_goes_there(self, both, office):
        empty = replace(both.lanes[1], addresses={})
        found = replace(both, lanes=(office.lane, empty)).lane_for(DepositEscrow.spec)
        assert office.lane is found

    def test_one_of_the_journal_is_judged_where_its_domain_is(self, both, office):
        """A chain of another kind beside it changes nothing."""
        other = replace(both.lanes[1], plan=[Stream("ledger.Recorded", "x", 0)])
        command = REGISTRY.commands["draft-campaign"]

        found = replace(both, lanes=(other, office.lane)).lane_for(command.spec)

        assert found is office.lane

    def test_one_whose_signer_nobody_is_tells_so(self, both):
        with pytest.raises(NoSigner, match=r"write \[signers.registrar\]"):
            replace(both, lanes=both.lanes[1:]).lane_for(RegisterIssuer.spec)
