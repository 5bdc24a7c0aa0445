"""The journal over HTTP: read like a chain, by those who may."""

import pytest

from db import sources
from db.declare.roles import Role
from db.documents.compliance.entries import DocumentRead
from db.domains.crowdfunding.roles import INVESTOR, ISSUER
from db.journal import merkle
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
    [*ledger.REGISTRY.events.values(), *REGISTRY.events.values(), DocumentRead],
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
    return door.token(door.account(INVESTOR, ISSUER))


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
    metrics = door.app.extensions["chainfold_metrics"].text().decode()
    assert 'chain="journal"' not in metrics
    assert 'projection="applications"' not in metrics
    assert "chainfold_journal_entries 3.0" in metrics
    assert "chainfold_journal_last_entry_timestamp_seconds 1.7" in metrics


def test_documents_say_who_may_read(door):
    index = door.get("/api/v1/").json
    said = {each["name"]: each["readable_by"] for each in index["projections"]}
    assert ["auditor"] == said["turnouts"]
    assert said[next(iter(ledger.REGISTRY.projections))] is None
    paths = door.get("/api/v1/openapi.json").json["paths"]
    assert paths["/api/v1/turnouts"]["get"]["security"]
    assert not paths["/api/v1/events/club_decided"]["get"]["security"]
    assert "An entry of the journal, for everyone." in door.get("/docs").text


def test_who_said_what(door, auditor):
    answer = door.get("/api/v1/journal", token=auditor).json

    assert [3, 2, 1] == [entry["seq"] for entry in answer["data"]]
    first = answer["data"][-1]
    assert ("officer", "club", "192.0.2.1", "browser", ANNA) == (
        first["actor"], first["tenant"], first["address"], first["agent"],
        first["subject"],
    )  # fmt: skip
    assert {"applicant": ANNA, "amount": "10", "wishes": {"seat": "window"}} == (
        first["body"]
    )
    assert NOW.isoformat() == first["at"]
    assert answer["data"][0]["previous"] == answer["data"][1]["hash"]
    assert answer["next"] is None
    assert "A. Person" not in str(answer)


def test_the_journal_in_pages_and_narrowed(door, auditor):
    def seqs(query):
        found = door.get(f"/api/v1/journal?{query}", token=auditor).json
        return [entry["seq"] for entry in found["data"]], found["next"]

    assert ([3, 2], "2") == seqs("limit=2")
    assert ([1], None) == seqs("limit=2&after=2")
    assert ([2], None) == seqs("kind=club.Decided")
    assert ([3], None) == seqs(f"subject={BEN}")
    assert ([3, 2, 1], None) == seqs("actor=officer")
    assert ([], None) == seqs("actor=nobody")
    for wrong in ("kind=x", "limit=0", "limit=9999", "after=x", "nonsense=1"):
        door.get(f"/api/v1/journal?{wrong}", 400, token=auditor)


def test_an_entry_comes_with_its_proof(door, auditor):
    data = door.get("/api/v1/journal/2", token=auditor).json["data"]

    proof = data["proof"]
    steps = [
        merkle.ProofStep(bytes.fromhex(step["hash"][2:]), step["side"] == "left")
        for step in proof["steps"]
    ]
    content = (2).to_bytes(8, "big") + bytes.fromhex(data["hash"][2:])
    assert merkle.proves(content, steps, bytes.fromhex(proof["root"][2:]))
    assert ("2026-03-01", 1, 3) == (proof["day"], proof["first"], proof["last"])
    for seq in (4, 0, 99999999999):
        door.get(f"/api/v1/journal/{seq}", 404, token=auditor)


def test_the_journal_is_for_staff_and_each_kind_for_its_readers(
    door, auditor, stranger
):
    operator = door.token(door.account(Role.OPERATOR))
    for path in ("/api/v1/journal", "/api/v1/journal/2"):
        door.get(path, 401)
        door.get(path, 403, token=stranger)
        door.get(path, token=operator)
    secret = "/api/v1/journal?kind=compliance.DocumentRead"
    door.get(secret, token=auditor)
    door.get(secret, 400, token=operator)
