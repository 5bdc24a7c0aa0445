"""A refund is made once for the entry that asks for it, whatever is answered."""

import pytest
from sqlalchemy import text

from commands.stripe.asking import REQUEST
from commands.stripe.refunds import RefundWorker
from db.journal.append import append
from db.payments import refunds
from db.payments.events import ACTOR
from db.payments.stripe import entries as e
from devnet.stripe.errors import ApiError
from devnet.stripe.faults import Fault
from helpers.stripe_shop import OURS, said


class Till:
    """A shop whose refunds are asked for by entries, and made by a worker."""

    def __init__(self, shop, engine, registry):
        self.shop, self.engine, self.registry = shop, engine, registry
        self.reader = shop.reader(engine, registry)

    def ask(self, charge, amount=0):
        entry = e.RefundAsked(
            charge=charge["id"], domain=OURS["domain"], amount=amount,
            purchase=charge["metadata"]["purchase"], reason="it was paid twice",
        )  # fmt: skip
        with self.engine.begin() as connection:
            append(connection, self.registry, entry, actor=ACTOR, now=self.shop.now())

    def round(self, hours=0.0):
        self.shop.book.clock.move(hours * 3600)
        worker = RefundWorker(
            self.engine, self.registry, self.shop.client, self.shop.now
        )
        return worker.round()

    def made(self):
        return list(self.shop.book.all("refund"))

    def row(self):
        with self.engine.connect() as connection:
            query = text("SELECT * FROM stripe_refunds")
            return connection.execute(query).mappings().one()

    def waits(self):
        with self.engine.connect() as connection:
            return refunds.counts(connection)


@pytest.fixture
def till(shop, migrated_engine, registry):
    return Till(shop, migrated_engine, registry)


def test_a_refund_is_made_once_and_ends_when_stripe_shows_it(till):
    charge = till.shop.paid(1_061)
    till.ask(charge)
    assert till.row()["stage"] == "asked"
    assert [till.round() for _ in range(3)] == [1, 0, 0]
    till.reader.round()

    [refund] = till.made()
    assert (refund["charge"], refund["amount"]) == (charge["id"], 1_061)
    assert refund["metadata"] == {
        **OURS, "purchase": charge["metadata"]["purchase"],
        REQUEST: refund["metadata"][REQUEST],
    }  # fmt: skip
    assert charge["id"] in refund["metadata"][REQUEST]
    row = till.row()
    assert (row["stage"], row["refund"]) == ("made", refund["id"])
    assert till.waits() == refunds.RefundCounts(0, "", 0, "")


@pytest.mark.parametrize("hours", [0.1, 5, 22.9, 23.5, 30, 24 * 20])
@pytest.mark.parametrize("fault", [Fault.CUT_AFTER, Fault.SERVER_ERROR])
@pytest.mark.parametrize("failed", [False, True])
def test_a_lost_answer_makes_no_second_refund(till, fault, hours, failed):
    """Not even of one that the bank has sent back meanwhile: nothing hinders that."""
    till.ask(till.shop.paid(1_061), amount=400)
    till.shop.faults.come_next(fault, "/v1/refunds")
    assert till.round() == 0
    [refund] = till.made()
    if failed:
        till.shop.refunding.fail(refund["id"])

    assert till.round(hours) == 1
    assert till.round(30) == 0
    assert [refund["id"]] == [each["id"] for each in till.made()]


@pytest.mark.parametrize("hours", [0.1, 5, 23.5, 24 * 20])
@pytest.mark.parametrize(
    "fault", [Fault.CUT_BEFORE, Fault.RATE_LIMITED, Fault.UNAVAILABLE]
)
def test_a_request_that_was_lost_is_made_when_it_is_asked_again(till, fault, hours):
    till.ask(till.shop.paid(1_061), amount=400)
    till.shop.faults.come_next(fault, "/v1/refunds")
    assert till.round() == 0
    assert till.made() == []
    assert till.waits().waiting == 1

    assert till.round(hours) == 1
    assert [each["amount"] for each in till.made()] == [400]


def test_answers_that_are_lost_again_and_again(till):
    till.ask(till.shop.paid(1_061), amount=100)
    for hours in (0, 1, 21.5, 7, 40, 3):
        till.shop.faults.come_next(Fault.CUT_AFTER, "/v1/refunds")
        till.round(hours)
    till.round(1)
    assert len(till.made()) == 1


@pytest.mark.parametrize("hours", [22.96, 22.999])
def test_nobody_asks_while_a_key_is_about_to_be_given_up(till, hours):
    till.ask(till.shop.paid(1_061))
    till.shop.faults.come_next(Fault.CUT_BEFORE, "/v1/refunds")
    till.round()
    assert till.round(hours) == 0
    assert till.made() == []
    assert till.round(0.05) == 1


def test_a_process_that_ended_before_it_remembered(till):
    till.ask(till.shop.paid(1_061), amount=100)
    till.round()
    with till.engine.begin() as connection:
        connection.execute(
            text("UPDATE control.stripe_refund SET state = 'open', refund = ''")
        )
    till.round(48)
    assert len(till.made()) == 1


def test_a_part_is_refunded_for_each_entry(till):
    charge = till.shop.paid(1_000)
    till.ask(charge, amount=300)
    till.ask(charge, amount=300)
    assert till.round() + till.round() == 2
    assert [each["amount"] for each in till.made()] == [300, 300]


def test_what_is_left_is_refunded_and_nothing_after_it(till):
    """Somebody refunded a part by hand, and two entries ask for the rest."""
    charge = till.shop.paid(1_000)
    till.shop.refund(charge, 250)
    till.reader.round()
    till.ask(charge)
    till.ask(charge)
    till.round()
    till.reader.round()
    till.round()

    assert sorted(each["amount"] for each in till.made()) == [250, 750]
    [refusal] = said(till.engine, e.RefundRefused)
    assert refusal["code"] == "charge_already_refunded"
    assert till.row()["stage"] == "made"


def test_nothing_is_refunded_while_a_dispute_is_open(till):
    charge = till.shop.paid(1_061)
    dispute = till.shop.disputing.open(charge["id"])
    till.ask(charge)
    assert till.round() == 0
    assert till.round(5) == 0
    assert f"the dispute {dispute['id']} is open" in till.waits().waits_because
    till.shop.disputing.close(dispute["id"], won=True)
    assert till.round(5) == 1
    assert [each["amount"] for each in till.made()] == [1_061]


def test_a_dispute_that_comes_just_before_the_refund_is_waited_for(till, monkeypatch):
    """It was not listed yet: Stripe refuses, and keeps that for the key."""
    charge = till.shop.paid(1_061)
    dispute = till.shop.disputing.open(charge["id"])
    till.ask(charge)
    monkeypatch.setattr(RefundWorker, "_is_disputed", lambda *_: False)
    assert till.round() == 0
    monkeypatch.undo()
    assert "has been charged back" in till.waits().waits_because
    till.shop.disputing.close(dispute["id"], won=True)
    assert till.round(2) == 1


def test_what_the_bank_has_taken_is_not_refunded_besides(till):
    charge = till.shop.paid(1_061)
    dispute = till.shop.disputing.open(charge["id"])
    till.shop.disputing.close(dispute["id"], won=False)
    till.ask(charge)
    assert till.round() == till.round(30) == 0
    assert till.made() == []
    assert till.row()["stage"] == "refused"
    assert dispute["id"] in till.row()["refused_because"]


def test_an_inquiry_is_not_in_the_way(till):
    charge = till.shop.paid(1_061)
    till.shop.disputing.open(charge["id"], inquiry=True)
    till.ask(charge)
    assert till.round() == 1


def test_a_refund_that_stripe_refuses_is_shown_in_its_words_and_asked_for_again(
    till, monkeypatch
):
    charge = till.shop.paid(1_061)
    till.ask(charge)
    with monkeypatch.context() as patch:
        patch.setattr(till.shop.refunding, "create", _closed)
        assert till.round() == till.round(30) == 0

    assert (till.row()["stage"], till.row()["refused_because"]) == (
        "refused", "Refunds are closed for this account."
    )  # fmt: skip
    counts = till.waits()
    assert (counts.waiting, counts.refused) == (0, 1)
    assert (
        counts.refused_because
        == f"{charge['id']}: Refunds are closed for this account."
    )
    till.ask(charge)
    assert till.row()["stage"] == "asked"
    assert till.round() == 1
    assert till.waits().refused == 0


def _closed(*_):
    raise ApiError(400, "Refunds are closed for this account.", code="refunds_closed")


def test_a_key_that_may_not_refund_is_told_and_nothing_is_given_up(till, monkeypatch):
    till.ask(till.shop.paid(1_061))

    def forbid(*_):
        raise ApiError(403, "The provided key does not have the required permissions.")

    with monkeypatch.context() as patch:
        patch.setattr(till.shop.refunding, "create", forbid)
        assert till.round() == 0
    assert "right to write refunds" in till.waits().waits_because
    assert till.round(1) == 1


def test_a_refund_that_the_bank_sends_back_is_not_made_again_by_itself(till):
    charge = till.shop.paid(1_061)
    till.ask(charge)
    till.round()
    till.reader.round()
    till.shop.refunding.fail(till.made()[0]["id"])
    till.shop.book.clock.move(3_600)
    till.reader.round()
    assert till.round(30) == 0
    row = till.row()
    assert (row["stage"], row["failed_because"]) == (
        "failed",
        "expired_or_canceled_card",
    )

    till.ask(charge)
    assert till.round() == 1
    till.reader.round()
    assert till.row()["stage"] == "made"
    assert len(till.made()) == 2
