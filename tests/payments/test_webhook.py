"""The webhook: what is signed is kept once and believed in nothing."""

import json
import time

import pytest
from sqlalchemy import text

from api.app import create_app
from api.payments import BODY_BYTES_MAX, PaymentOptions
from db.listen import Listener
from db.payments.webhooks import CHANNEL
from db.reads import read_engine
from devnet.stripe.webhooks import sign

SECRET, OLD = "whsec_for_tests_only", "whsec_for_tests_before"  # nobody's
PATHS = ("/api/v1/checkout/webhook", "/api/checkout/webhook/")


@pytest.fixture
def open_app(migrated_url, migrated_engine, registry):
    engines = []

    def opened(secrets=(SECRET,), writer=True):
        engines.append(read_engine(migrated_url))
        app = create_app(
            engines[-1], registry, writer=migrated_engine if writer else None,
            payments=PaymentOptions(secrets),
        )  # fmt: skip
        return app.test_client()

    yield opened
    for each in engines:
        each.dispose()


@pytest.fixture
def client(open_app):
    return open_app()


def event(id_="evt_1Qz7", **more):
    said = {"id": id_, "object": "event", "type": "charge.succeeded", **more}
    return json.dumps(said, indent=2).encode()


def post(client, body, path=PATHS[0], secret=SECRET, at=None, header=None):
    now = int(time.time())
    signature = sign(body, secret, now if at is None else now + at)
    headers = {"Stripe-Signature": signature if header is None else header}
    if header == "":
        headers = {}
    return client.post(
        path, data=body, headers=headers, content_type="application/json"
    )


def kept(engine):
    with engine.connect() as connection:
        query = "SELECT event, body, fetched FROM control.stripe_webhook ORDER BY event"
        return connection.execute(text(query)).all()


@pytest.mark.parametrize("path", PATHS)
def test_a_webhook_is_kept_raw_and_once(client, migrated_engine, path):
    body = event()
    for _ in range(3):
        answer = post(client, body, path)
        assert (answer.status_code, answer.json) == (200, {"received": True})

    [row] = kept(migrated_engine)
    assert (row.event, bytes(row.body), row.fetched) == ("evt_1Qz7", body, False)


def test_whoever_reads_is_woken(client, migrated_engine):
    heard = []
    listener = Listener(migrated_engine, CHANNEL, heard.append).start()
    deadline = time.monotonic() + 20
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    post(client, event("evt_1woken"))
    while "evt_1woken" not in heard and time.monotonic() < deadline:
        time.sleep(0.01)
    listener.stop()
    assert "evt_1woken" in heard


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"secret": "whsec_of_somebody_else"}, "not of this body"),
        ({"header": ""}, "not of this body"),
        ({"header": "t=,v1="}, "not of this body"),
        ({"header": "v1=" + "0" * 64}, "not of this body"),
        ({"header": "t=99999999999999999999,v1=00"}, "not of this body"),
        ({"header": f"t={int(time.time())},v0=" + "0" * 64}, "not of this body"),
        ({"at": -301}, "s ago"),
        ({"at": 320}, "ahead of our clock"),
    ],
)
def test_what_is_not_signed_now_is_refused(client, migrated_engine, change, told):
    answer = post(client, event(), **change)

    assert answer.status_code == 400
    assert answer.json["type"] == "/docs#bad_signature"
    assert told in answer.json["detail"]
    assert kept(migrated_engine) == []


def test_the_signature_is_of_the_raw_bytes(client, migrated_engine):
    """The same JSON in another form is another body."""
    body = event()
    header = sign(body, SECRET, int(time.time()))
    answer = post(client, json.dumps(json.loads(body)).encode(), header=header)
    assert answer.status_code == 400
    assert post(client, body, header=header).status_code == 200


def test_bytes_that_are_no_text_are_refused(client, migrated_engine):
    assert post(client, b"\xff\xfe\x00", header="t=1,v1=00").status_code == 400
    assert kept(migrated_engine) == []


@pytest.mark.parametrize(
    "body",
    [b"[]", b"{}", b'{"id": 7}', b'{"id": ""}', b"{", b'{"id": "%s"}' % (b"x" * 300)],
)
def test_what_is_signed_and_no_event_is_refused(client, migrated_engine, body):
    answer = post(client, body)
    assert answer.status_code == 400
    assert answer.json["type"] == "/docs#bad_body"
    assert kept(migrated_engine) == []


def test_bodies_are_bounded(client, migrated_engine):
    body = event(pad="x" * BODY_BYTES_MAX)
    assert post(client, body).status_code == 413
    assert kept(migrated_engine) == []


def test_two_secrets_while_one_replaces_another(open_app, migrated_engine):
    client = open_app((SECRET, OLD))
    assert post(client, event("evt_1a"), secret=OLD).status_code == 200
    assert post(client, event("evt_1b")).status_code == 200
    assert len(kept(migrated_engine)) == 2


def test_thin_events_are_kept_by_their_snapshot_or_not_fetched(client, migrated_engine):
    thin = {"id": "evt_test_65thin", "object": "v2.core.event", "type": "v1.thing"}
    assert post(client, json.dumps(thin).encode()).status_code == 200
    named = {**thin, "id": "evt_test_65b", "snapshot_event": "evt_1snapshot"}
    assert post(client, json.dumps(named).encode()).status_code == 200

    found = {(row.event, row.fetched) for row in kept(migrated_engine)}
    assert found == {("evt_test_65thin", True), ("evt_1snapshot", False)}


def test_without_a_secret_the_remedy_is_told(open_app, migrated_engine):
    answer = post(open_app(()), event())
    assert answer.status_code == 503
    assert "webhook_secret_env" in answer.json["detail"]
    answer = post(open_app(writer=False), event())
    assert answer.status_code == 503
    assert kept(migrated_engine) == []


@pytest.mark.parametrize("method", ["get", "put", "delete"])
def test_other_methods_are_refused(client, method):
    assert getattr(client, method)(PATHS[0]).status_code == 405
