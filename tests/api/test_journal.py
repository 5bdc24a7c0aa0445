"""The journal over HTTP: read like a chain, by those who may."""

import pytest

from db import sources
from db.declare.roles import Role
from db.journal.append import append
from db.position import BlockRange
from db.registry import Registry
from helpers import ledger, servers
from helpers.door import Door
from helpers.history import History
from helpers.journal import ANNA, BEN, NOW, OFFICER, REGISTRY, Decided, apply_
from helpers.tables import streams
from indexer.writer import write_batch

BOTH = Registry.of(
    [*ledger.REGISTRY.events.values(), *REGISTRY.events.values()],
    [*ledger.REGISTRY.projections.values(), *REGISTRY.projections.values()],
)
HISTORY = History.of(3, 10)


@pytest.fixture(scope="module")
def door(postgres_url):
    with servers.fresh_database(postgres_url) as url:
        found = Door(url, BOTH)
        for name in ("one", "two"):
            with found.writer.begin() as connection:
                row = sources.register(
                    connection, name=name, chain_id=f"eip155:{name}", ordinals="rank"
                )
            batch = HISTORY.batch(BlockRange(0, 10))
            write_batch(found.writer, BOTH, row.id, batch, streams(ledger.REGISTRY))
        with found.writer.begin() as connection:
            for entry in (
                apply_(ANNA, 10),
                Decided(applicant=ANNA, amount=4, reason="half"),
                apply_(BEN, 5),
            ):
                append(connection, BOTH, entry, actor=OFFICER, now=NOW)
        yield found
        found.close()


@pytest.fixture(scope="module")
def auditor(door):
    return door.token(door.account(Role.AUDITOR))


@pytest.fixture(scope="module")
def stranger(door):
    return door.token(door.account(Role.INVESTOR, Role.ISSUER))


RESTRICTED = [
    "/api/v1/events/club_applied",
    "/api/v1/applications",
    f"/api/v1/applications/{ANNA}",
    "/api/v1/turnouts",
    "/api/v1/turnouts/10",
    "/api/v1/events/audit_subject_erased",
]


@pytest.mark.parametrize("path", RESTRICTED)
def test_who_may_not_read_is_told_nothing(door, stranger, auditor, path):
    assert door.get(path, 401).json["type"] == "/docs#not_signed_in"
    assert door.get(path, 403, token=stranger).json["type"] == "/docs#not_allowed"
    answer = door.get(path, 200, token=auditor)
    assert "private, no-cache" == answer.headers["Cache-Control"]
    tag = answer.headers["ETag"]
    assert door.get(path, 401, headers={"If-None-Match": tag})
    assert door.get(path, 304, headers={"If-None-Match": tag}, token=auditor)
    for more in ("?nonsense=1", "?chain=one", "?as_of=99"):
        assert door.get(path + more, 401)


def test_a_projection_is_for_its_own_readers(door):
    compliance = door.token(door.account(Role.COMPLIANCE))

    assert door.get("/api/v1/applications", token=compliance)
    assert door.get("/api/v1/turnouts", 403, token=compliance)


def test_what_everyone_may_read_needs_no_account_and_no_chain(door):
    answer = door.get("/api/v1/events/club_decided").json

    assert ["half"] == [fact["reason"] for fact in answer["data"]]
    assert {"chain": "journal", "height": 3, "final": True, "exact": True} == {
        name: answer["block"][name] for name in ("chain", "height", "final", "exact")
    }
    assert door.get("/api/v1/events/club_decided?chain=journal").json == answer
    wrong = door.get("/api/v1/events/club_decided?chain=one", 400).json
    assert ("/docs#unknown_chain", ["journal"]) == (wrong["type"], wrong["choices"])


def test_chains_are_asked_for_as_before(door):
    path = f"/api/v1/{next(iter(ledger.REGISTRY.projections))}"

    wrong = door.get(path, 400).json
    assert ("/docs#chain_required", ["one", "two"]) == (wrong["type"], wrong["choices"])
    assert door.get(f"{path}?chain=one").json["data"]
    assert door.get(f"{path}?chain=journal", 400).json["choices"] == ["one", "two"]


def test_rows_as_of_an_entry(door, auditor):
    def status(as_of):
        path = f"/api/v1/applications/{ANNA}?as_of={as_of}"
        return door.get(path, token=auditor).json["data"]["status"]

    assert ["applied", "decided", "decided"] == [status(seq) for seq in (1, 2, 3)]
    above = door.get("/api/v1/applications?as_of=4", 422, token=auditor).json
    assert 3 == above["checkpoint"]


def test_personal_values_are_not_read(door, auditor):
    for path in RESTRICTED:
        assert "A. Person" not in door.get(path, token=auditor).text


def test_the_journal_is_no_chain_that_must_be_followed(door):
    assert ["one", "two"] == [
        c["name"] for c in door.get("/api/v1/chains").json["data"]
    ]
    causes = door.get("/health/ready", 503).json["causes"]
    assert not any("journal" in cause for cause in causes)
    metrics = door.get("/metrics").text
    assert 'chain="journal"' not in metrics
    assert 'projection="applications"' not in metrics
    assert "chainfold_journal_entries 3.0" in metrics
    assert "chainfold_journal_last_entry_seconds 1.7" in metrics


def test_documents_say_who_may_read(door):
    index = door.get("/api/v1/").json
    said = {each["name"]: each["readable_by"] for each in index["projections"]}
    assert ["auditor"] == said["turnouts"]
    assert said[next(iter(ledger.REGISTRY.projections))] is None
    paths = door.get("/api/v1/openapi.json").json["paths"]
    assert paths["/api/v1/turnouts"]["get"]["security"]
    assert not paths["/api/v1/events/club_decided"]["get"]["security"]
    assert "An entry of the journal, for everyone." in door.get("/docs").text
