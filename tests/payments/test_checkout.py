"""A checkout session is made once for its key, whatever becomes of the answers."""

import threading
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from commands.stripe.asking import REPLAYED_FOR, PaymentRefused, PaymentsAway
from commands.stripe.checkout import (
    SessionRequest,
    create_session,
    expire_session,
    find_session,
)
from db.payments import sessions
from db.payments.sessions import KeyOfAnother
from db.payments.stripe import entries as e
from devnet.stripe.faults import Fault
from helpers.stripe_shop import said


def request(purchase="p-31", amount=1061, **more):
    return SessionRequest(
        domain="crowdfunding", purchase=purchase, title="A chapter", amount=amount,
        currency="usd", success_url="https://example.org/thanks", **more,
    )  # fmt: skip


@pytest.fixture
def ask(shop, migrated_engine):
    def asked(key, wanted=None, hours=0.0):
        shop.book.clock.move(hours * 3600)
        return create_session(
            shop.client, migrated_engine, wanted or request(), key=key, clock=shop.now
        )

    return asked


def made(shop):
    return list(shop.book.all("checkout.session"))


def test_the_same_key_gives_the_same_session(shop, ask, migrated_engine):
    first = ask("k-1")
    again = ask("k-1", hours=50)

    assert first == again
    assert len(made(shop)) == 1
    assert first.url.endswith(first.id)
    with migrated_engine.connect() as connection:
        assert sessions.find(connection, "k-1") == first.id
        assert sessions.find(connection, "k-2") is None


def test_another_key_gives_another_session(shop, ask):
    assert ask("k-1").id != ask("k-2").id


def test_a_key_is_of_one_request(shop, ask):
    ask("k-1")
    with pytest.raises(KeyOfAnother, match="use a new key"):
        ask("k-1", request(amount=1062))
    assert len(made(shop)) == 1


@pytest.mark.parametrize("hours", [0, 5, 22.9, 23.5, 30, 24 * 20])
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.SERVER_ERROR])
def test_a_lost_answer_makes_no_second_session(shop, ask, fault, hours):
    shop.faults.come_next(fault, "/v1/checkout/sessions")
    with pytest.raises(PaymentsAway, match="with the same key"):
        ask("k-1")
    assert len(made(shop)) == 1

    found = ask("k-1", hours=hours)
    assert [found.id] == [each["id"] for each in made(shop)]
    assert ask("k-1", hours=1) == found


@pytest.mark.parametrize("hours", [0, 5, 23.5, 24 * 20])
@pytest.mark.parametrize(
    "fault", [Fault.CUT_BEFORE, Fault.RATE_LIMITED, Fault.UNAVAILABLE]
)
def test_a_request_that_was_lost_is_made_when_it_is_asked_again(
    shop, ask, fault, hours
):
    shop.faults.come_next(fault, "/v1/checkout/sessions")
    with pytest.raises(PaymentsAway):
        ask("k-1")
    assert [] == made(shop)

    found = ask("k-1", hours=hours)
    assert [found.id] == [each["id"] for each in made(shop)]


@pytest.mark.parametrize("hours", [0, 0.3, 0.7, 2, 30])
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.CUT_BEFORE])
def test_a_session_that_is_to_end_soon_is_made_once_too(shop, ask, fault, hours):
    """Its end is counted from when it was asked for, and Stripe takes none too near."""
    wanted = request(expires_seconds=3_600)
    shop.faults.come_next(fault, "/v1/checkout/sessions")
    with pytest.raises(PaymentsAway):
        ask("k-1", wanted)
    found = ask("k-1", wanted, hours=hours)

    assert [found.id] == [each["id"] for each in made(shop)]
    [session] = made(shop)
    assert 0 <= session["expires_at"] - session["created"] <= 3_600


@pytest.mark.parametrize("hours", [22.96, 22.999])
def test_nobody_asks_while_a_key_is_about_to_be_given_up(shop, ask, hours):
    """Whoever asked just before would make a second session, unseen by the list."""
    shop.faults.come_next(Fault.CUT_BEFORE, "/v1/checkout/sessions")
    with pytest.raises(PaymentsAway):
        ask("k-1")
    with pytest.raises(PaymentsAway, match="in three minutes"):
        ask("k-1", hours=hours)
    assert [] == made(shop)
    ask("k-1", hours=0.05)
    assert len(made(shop)) == 1


def test_answers_that_are_lost_again_and_again(shop, ask):
    for hours in (0, 1, 21.5, 7, 40, 3):
        shop.faults.come_next(Fault.CUT_AFTER, "/v1/checkout/sessions")
        with pytest.raises(PaymentsAway):
            ask("k-1", hours=hours)
    ask("k-1")
    assert len(made(shop)) == 1


def test_a_process_that_ended_before_it_remembered(shop, ask, migrated_engine):
    first = ask("k-1")
    with migrated_engine.begin() as connection:
        connection.execute(text("UPDATE control.stripe_session SET session = ''"))
    assert ask("k-1").id == first.id
    with migrated_engine.begin() as connection:
        connection.execute(text("UPDATE control.stripe_session SET session = ''"))
    for number in range(210):
        shop.session(amount=number + 100)
    assert ask("k-1", hours=48).id == first.id


def test_two_that_ask_at_once_get_one(shop, ask):
    found, start = [], threading.Barrier(4)

    def run():
        start.wait()
        found.append(ask("k-1").id)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 4
    assert len(set(found)) == 1 == len(made(shop))


def test_what_stripe_refuses_is_told(shop, ask, monkeypatch):
    """As after a change of its API."""
    answer = shop.routes.answer
    monkeypatch.setattr(
        shop.routes, "answer",
        lambda method, path, form: answer(method, path, {**form, "mode": "gift"}),
    )  # fmt: skip
    with pytest.raises(PaymentRefused, match="Correct what is asked for"):
        ask("k-1")
    assert [] == made(shop)
    monkeypatch.undo()
    assert ask("k-1").status == "open"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0}, {"amount": -5}, {"amount": 10.61}, {"amount": True},
        {"amount": 10**9}, {"currency": "USD"}, {"currency": "us"},
        {"purchase": ""}, {"title": "x" * 501}, {"expires_seconds": 60},
    ],
)  # fmt: skip
def test_requests_are_checked(change):
    values = {"domain": "d", "purchase": "p", "title": "t", "amount": 5,
              "currency": "usd", "success_url": "https://example.org"}  # fmt: skip
    with pytest.raises(ValueError, match=next(iter(change))):
        SessionRequest(**{**values, **change})


def test_a_session_can_be_ended_and_its_payment_is_said(
    shop, ask, reader, migrated_engine
):
    open_, paid = ask("k-1"), ask("k-2", request("p-32", 2_063))
    assert expire_session(shop.client, open_.id).status == "expired"
    shop.buying.pay(paid.id)
    with pytest.raises(PaymentRefused):
        expire_session(shop.client, paid.id)
    reader.round()

    [captured] = said(migrated_engine, e.PaymentCaptured)
    [expired] = said(migrated_engine, e.PaymentExpired)
    assert (captured["session"], captured["purchase"]) == (paid.id, "p-32")
    assert (expired["session"], expired["purchase"]) == (open_.id, "p-31")
    assert find_session(shop.client, paid.id).payment_status == "paid"


def test_the_clock_of_requests_is_the_wall_s_by_default(shop, migrated_engine):
    session = create_session(shop.client, migrated_engine, request(), key="k-9")
    with migrated_engine.connect() as connection:
        asked = connection.scalar(text("SELECT asked_at FROM control.stripe_session"))
    assert session.status == "open"
    assert abs((datetime.now(UTC) - asked).total_seconds()) < 60
    assert REPLAYED_FOR.total_seconds() < 86_400
