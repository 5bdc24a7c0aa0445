"""Live, ready, and what is measured."""

from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from api.app import create_app
from db import proofs, sources
from db.leases import acquire_follower_lease
from db.proofs import HeaderProof, LogsProof, Proof
from db.reads import read_engine
from helpers.ledger import REGISTRY
from helpers.tables import streams


def set_state(ledger, source, state, cause=""):
    with ledger.writer.begin() as connection:
        sources.set_state(connection, source, state, cause)


def causes(ledger):
    answer = ledger.get("/health/ready", 503)
    assert answer.mimetype == "application/problem+json"
    assert answer.json["type"] == "/docs#not_ready"
    return answer.json["causes"]


def test_it_lives_whatever_the_database_does():
    client = away().test_client()

    assert client.get("/health/live").json == {"status": "live"}


def test_it_is_ready_when_every_chain_is_followed(own_ledger):
    assert "No chain has ever been followed" in causes(own_ledger)[0]
    one = own_ledger.register("one")
    assert "one is new" in causes(own_ledger)[0]
    set_state(own_ledger, one, "following")
    assert "one: not_followed: no process follows it" in causes(own_ledger)[0]
    acquire_follower_lease(own_ledger.writer, one)
    assert own_ledger.get("/health/ready").json == {"status": "ready"}

    two = own_ledger.register("two")
    set_state(own_ledger, two, "stopped", "block 3 changed")

    (cause,) = causes(own_ledger)
    assert cause.startswith("Chain two: stopped: block 3 changed. ")


def test_a_follower_that_went_silent_is_missed(own_ledger):
    source = own_ledger.register("one")
    set_state(own_ledger, source, "following")
    acquire_follower_lease(own_ledger.writer, source)
    with own_ledger.writer.begin() as connection:
        connection.execute(
            text("UPDATE control.follower SET seen_at = now() - interval '40 s'")
        )

    assert "indexer_stuck: its indexer was not heard of" in causes(own_ledger)[0]


def test_planned_chains_are_awaited(database_url, ledger_on):
    ledger = ledger_on(database_url, plans={"devnet": streams(REGISTRY)})

    assert causes(ledger) == [
        "Chain devnet has never been followed. Start the indexer."
    ]


def test_tables_of_other_declarations_are_named(own_ledger):
    source = own_ledger.register("one")
    set_state(own_ledger, source, "following")
    acquire_follower_lease(own_ledger.writer, source)
    with own_ledger.writer.begin() as connection:
        connection.execute(
            text("UPDATE control.declaration SET fingerprint = '' WHERE name = 'deals'")
        )

    (cause,) = causes(own_ledger)

    assert "deals" in cause
    assert "chainfold migrate" in cause


def test_a_database_that_is_away_is_a_cause():
    answer = away().test_client().get("/health/ready")

    assert answer.status_code == 503
    assert answer.json["causes"] == [
        "database_down: The database does not answer. Ask again in a moment."
    ]


def samples(client):
    """Every sample of an app: (name, labels) to value."""
    text = client.application.extensions["chainfold_metrics"].text().decode()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_tell_of_requests_and_chains(own_ledger):
    source = own_ledger.register("devnet")
    own_ledger.write(source, last=10)
    own_ledger.write(source, first=15, last=20)
    with own_ledger.writer.begin() as connection:
        sources.observe(connection, source, head=25, head_time=1, final=9)
        sources.set_state(connection, source, "reading", "")
        proved = Proof(HeaderProof.HASH, LogsProof.RECEIPTS)
        proofs.record(connection, source, ((height, proved) for height in range(11)))
    own_ledger.get("/api/v1/deals")
    own_ledger.get("/api/v1/deals?x=1", 400)
    own_ledger.get("/nowhere", 404)
    own_ledger.get("/elsewhere", 404)

    found = samples(own_ledger.client)

    def requests(route, status):
        labels = (("method", "GET"), ("route", route), ("status", str(status)))
        return found["chainfold_api_requests_total", labels]

    def chain(name):
        return found[f"chainfold_chain_{name}", (("chain", "devnet"),)]

    assert (requests("/api/v1/deals", 200), requests("/api/v1/deals", 400)) == (1, 1)
    assert requests("unmatched", 404) == 2
    timed = found["chainfold_api_request_seconds_count", (("route", "/api/v1/deals"),)]
    assert timed == 2
    assert found["chainfold_database_up", ()] == 1
    assert (chain("head_block"), chain("checkpoint_block")) == (25, 10)
    assert (chain("final_block"), chain("lag_blocks")) == (9, 15)
    assert (chain("gaps"), chain("incidents"), chain("followed")) == (1, 0, 0)
    assert chain("polled_timestamp_seconds") > 1_700_000_000
    assert chain("unread_logs") == 0
    level = "chainfold_chain_proof_level"
    assert found[level, (("chain", "devnet"), ("of", "header"))] == 1
    assert found[level, (("chain", "devnet"), ("of", "logs"))] == 2
    state = "chainfold_chain_state"
    assert found[state, (("chain", "devnet"), ("state", "reading"))] == 1
    assert found[state, (("chain", "devnet"), ("state", "stopped"))] == 0
    labels = (("chain", "devnet"), ("projection", "deals"))
    assert found["chainfold_projection_checkpoint_block", labels] == 10


def test_no_label_takes_a_value_from_a_request(own_ledger):
    names = set(samples(own_ledger.client))
    for number in range(50):
        own_ledger.client.open("/api/v1/deals", method=f"FOO{number}")
        own_ledger.get(f"/nowhere/{number}", 404)
        own_ledger.get(f"/api/v1/deals?x{number}=1", 400)
        own_ledger.get("/api/v1/deals", 503, headers={f"X-{number}": str(number)})

    new = set(samples(own_ledger.client)) - names
    said = {value for _, labels in new for _, value in labels}
    assert not any(f"FOO{n}" in value or f"{n}=" in value
                   for n in range(50) for value in said)  # fmt: skip
    assert len(new) < 60


def test_refusals_are_counted_by_their_problem(own_ledger):
    for _ in range(3):
        own_ledger.get("/api/v1/deals?x=1", 400)

    labels = (("problem", "unknown_parameter"),)
    assert 3 == samples(own_ledger.client)["chainfold_api_problems_total", labels]


def test_metrics_without_a_database():
    assert samples(away().test_client())["chainfold_database_up", ()] == 0


def away():
    return create_app(read_engine("postgresql://u:secret@127.0.0.1:1/none"), REGISTRY)
