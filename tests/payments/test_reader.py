"""What Stripe shows is said in the journal, once, whatever happens on the way."""

import json

import pytest
import stripe
from sqlalchemy import select, text

from db.control import stripe_event, stripe_waiting, stripe_webhook
from db.errors import LeaseLost
from db.journal.verify import faults
from db.payments import account as accounts
from db.payments import webhooks
from db.payments.stripe import entries as e
from db.payments.stripe.projections import StripePayment, StripePayout
from devnet.stripe.book import DAY
from devnet.stripe.faults import Fault
from helpers.stripe_shop import Shop, counts, said
from indexer.stripe import reader as reading
from indexer.stripe.errors import Away, KeyRefused, RateLimited, WrongAccount


def test_a_payment_is_captured_once_with_its_fee(shop, reader, migrated_engine):
    charge = shop.paid(1061)
    session = shop.buying.session_of(charge)
    reader.round()
    reader.round()

    [found] = said(migrated_engine, e.PaymentCaptured)
    assert found == {
        "charge": charge["id"], "payment_intent": charge["payment_intent"],
        "session": session["id"], "domain": "crowdfunding",
        "purchase": session["metadata"]["purchase"], "method": "card",
        "amount": 1061, "currency": "usd",
        "balance_transaction": charge["balance_transaction"],
        "settlement_currency": "usd", "exchange_rate": "",
        "settled": 1061, "fee": 61, "net": 1000, "charged_at": charge["created"],
    }  # fmt: skip
    assert [] == said(migrated_engine, e.PaymentFeeKnown)
    assert counts(migrated_engine) == {"said": 1, "nothing": 2, "ignored": 1}


def test_a_payment_is_said_after_two_requests(shop, reader, migrated_engine):
    """The list of events, and the session with its charge and its fee."""
    reader.round()
    shop.paid()
    asked = []
    shop.direct.watch = lambda: asked.append(
        len(said(migrated_engine, e.PaymentCaptured))
    )
    reader.round()

    before = asked.index(1)  # it is watched before and after each request
    assert before == 4, asked


def tell(shop, engine, events, change=lambda content: content):
    """Keep webhooks of events, as the API keeps them."""
    for event in events:
        body = json.dumps(change(json.loads(json.dumps(event)))).encode()
        with engine.begin() as connection:
            webhooks.keep(connection, event["id"], body, signed_at=0, now=shop.now())


def test_a_payment_of_a_webhook_is_said_after_one_request(
    shop, reader, migrated_engine
):
    """The object that the webhook names is fetched; the event is noted without it."""
    reader.round()
    charge = shop.paid(7_703)
    [told] = [each.event for each in shop.book.events
              if each.event["type"] == "checkout.session.completed"]  # fmt: skip
    tell(shop, migrated_engine, [told])
    asked = []
    shop.direct.watch = lambda: asked.append(
        len(said(migrated_engine, e.PaymentCaptured))
    )
    reader.round()

    assert asked.index(1) == 2, asked  # it is watched before and after each request
    [found] = said(migrated_engine, e.PaymentCaptured)
    assert (found["charge"], found["amount"]) == (charge["id"], 7_703)
    assert counts(migrated_engine) == {"said": 1, "nothing": 2, "ignored": 1}
    requests = len(asked) // 2
    assert requests == 4, "session, list, and the two objects of other events"
    shop.direct.watch = lambda: asked.append(None)
    reader.round()
    assert len(asked) // 2 == requests + 1, "the webhook is done with"


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it | {"livemode": True},
        lambda it: it | {"account": "acct_other"},
        lambda it: it | {"type": "customer.created"},
        lambda it: it | {"id": "evt_another"},
        lambda it: it | {"data": []},
        lambda it: it | {"data": {"object": {"object": "charge", "id": "ch_nobody"}}},
        lambda it: it | {"data": {"object": {"object": "payout", "id": 7}}},
        lambda it: [it],
        lambda it: None,
    ],
)
def test_what_a_webhook_holds_is_never_trusted(shop, reader, migrated_engine, change):
    charge = shop.paid(8_117)
    tell(shop, migrated_engine, [each.event for each in shop.book.events], change)
    reader.round()

    [found] = said(migrated_engine, e.PaymentCaptured)
    assert (found["charge"], found["amount"]) == (charge["id"], 8_117)
    assert counts(migrated_engine)["said"] == 1


@pytest.mark.parametrize("currency", ["eur", "jpy", "kwd"])
def test_other_currencies_have_both_amounts(shop, reader, migrated_engine, currency):
    charge = shop.paid(20_477, currency)
    reader.round()

    [found] = said(migrated_engine, e.PaymentCaptured)
    moved = shop.book.objects[charge["balance_transaction"]]
    assert (found["amount"], found["currency"]) == (20_477, currency)
    assert found["settlement_currency"] == "usd"
    assert found["settled"] == moved["amount"]
    assert found["net"] == moved["net"] == moved["amount"] - moved["fee"]
    assert float(found["exchange_rate"]) == moved["exchange_rate"]


@pytest.mark.parametrize("told", [True, False])
def test_a_late_fee_is_said_when_it_is_known(shop, reader, migrated_engine, told):
    charge = shop.paid(5_433, late_fee=True)
    reader.round()
    [captured] = said(migrated_engine, e.PaymentCaptured)
    assert (captured["balance_transaction"], captured["net"]) == ("", 0)
    assert [] == said(migrated_engine, e.PaymentFeeKnown)

    shop.book.clock.move(7 * 3600)
    shop.buying.settle_fee(charge["id"], told=told)
    reader.round()
    reader.round()

    [fee] = said(migrated_engine, e.PaymentFeeKnown)
    assert fee["balance_transaction"] == charge["balance_transaction"]
    assert (fee["settled"], fee["fee"], fee["net"]) == (5_433, 188, 5_245)
    assert [captured] == said(migrated_engine, e.PaymentCaptured)
    with migrated_engine.connect() as connection:
        assert connection.execute(select(stripe_waiting)).all() == []


def test_a_completed_session_settles_nothing_while_it_is_unpaid(
    shop, reader, migrated_engine
):
    charge = shop.buying.pay_slowly(shop.session(8_837))
    reader.round()
    assert [] == said(migrated_engine, e.PaymentCaptured)

    shop.book.clock.move(4 * DAY)
    shop.buying.bank_pays(charge["id"])
    reader.round()
    reader.round()
    [found] = said(migrated_engine, e.PaymentCaptured)
    assert (found["amount"], found["method"]) == (8_837, "us_bank_account")


def test_a_slow_payment_that_fails_is_said_once(shop, reader, migrated_engine):
    session = shop.session()
    charge = shop.buying.pay_slowly(session)
    reader.round()
    shop.book.clock.move(4 * DAY)
    shop.buying.bank_refuses(charge["id"])
    reader.round()

    [found] = said(migrated_engine, e.PaymentFailed)
    assert found["session"] == session
    assert [] == said(migrated_engine, e.PaymentCaptured)


def test_declined_cards_and_expired_sessions(shop, reader, migrated_engine):
    session = shop.session(3_019)
    shop.buying.decline(session)
    expired = shop.session()
    shop.buying.expire(expired)
    reader.round()
    assert [] == said(migrated_engine, e.PaymentCaptured)
    assert [expired] == [x["session"] for x in said(migrated_engine, e.PaymentExpired)]

    second = shop.buying.pay(session)
    reader.round()
    [found] = said(migrated_engine, e.PaymentCaptured)
    assert found["charge"] == second["id"]


def test_held_money_is_not_captured_money(shop, reader, migrated_engine):
    charge = shop.paid(7_001, capture="manual")
    reader.round()
    assert [] == said(migrated_engine, e.PaymentCaptured)

    shop.buying.capture(charge["payment_intent"], 4_003)
    reader.round()
    [found] = said(migrated_engine, e.PaymentCaptured)
    assert (found["amount"], found["settled"]) == (4_003, 4_003)


def test_each_refund_is_said_with_its_own_amount(shop, reader, migrated_engine):
    """`amount_refunded` of a charge is the sum of all."""
    charge = shop.paid(9_973)
    refunds = [shop.refund(charge, 1_009), shop.refund(charge, 2_017)]
    reader.round()
    refunds.append(shop.refund(charge, 3_001))
    reader.round()

    found = said(migrated_engine, e.RefundMade)
    assert sorted((x["refund"], x["amount"], x["settled"]) for x in found) == sorted(
        (x["id"], x["amount"], -x["amount"]) for x in refunds
    )


def test_refunds_that_wait_fail_or_are_called_back(shop, reader, migrated_engine):
    charge = shop.paid(50_021)
    long_made = shop.refund(charge, 1_117)
    funded = shop.refund(charge, 2_221, "pending")
    unfunded = shop.refund(charge, 3_331, "pending", funded=False)
    called_back = shop.refund(charge, 4_447, "pending")
    reader.round()
    made = {x["refund"] for x in said(migrated_engine, e.RefundMade)}
    assert made == {long_made["id"], funded["id"], called_back["id"]}

    shop.book.clock.move(9 * DAY)
    shop.refunding.fail(long_made["id"])
    shop.refunding.succeed(funded["id"])
    shop.refunding.fail(unfunded["id"])
    shop.refunding.cancel(called_back["id"])
    reader.round()
    reader.round()

    assert len(said(migrated_engine, e.RefundMade)) == 3
    failed = {x["refund"]: (x["status"], x["net"]) for x in
              said(migrated_engine, e.RefundFailed)}  # fmt: skip
    assert failed == {
        long_made["id"]: ("failed", 1_117), unfunded["id"]: ("failed", 0),
        called_back["id"]: ("canceled", 4_447),
    }  # fmt: skip


def test_disputes_with_their_money(shop, reader, migrated_engine):
    won, lost, asked = (shop.paid(amount) for amount in (6_007, 7_013, 8_017))
    disputes = [shop.disputing.open(each["id"]) for each in (won, lost)]
    inquiry = shop.disputing.open(asked["id"], inquiry=True)
    reader.round()
    shop.book.clock.move(20 * DAY)
    shop.disputing.close(disputes[0]["id"], won=True)
    shop.disputing.close(disputes[1]["id"], won=False)
    shop.disputing.close(inquiry["id"], won=False)
    reader.round()
    reader.round()

    opened = {
        x["dispute"]: x["inquiry"] for x in said(migrated_engine, e.DisputeOpened)
    }
    assert opened == {
        disputes[0]["id"]: False, disputes[1]["id"]: False, inquiry["id"]: True
    }  # fmt: skip
    funds = [(x["charge"], x["settled"], x["fee"], x["net"]) for x in
             said(migrated_engine, e.DisputeFundsMoved)]  # fmt: skip
    assert sorted(funds) == sorted([
        (won["id"], -6_007, 1_500, -7_507), (won["id"], 6_007, 0, 6_007),
        (lost["id"], -7_013, 1_500, -8_513),
    ])  # fmt: skip
    closed = {x["dispute"]: x["status"] for x in said(migrated_engine, e.DisputeClosed)}
    assert list(closed.values()).count("warning_closed") == 1
    assert closed[disputes[0]["id"]] == "won"


def test_warnings_and_payouts(shop, reader, migrated_engine):
    charge = shop.paid(12_011)
    shop.buying.warn(charge["id"])
    shop.book.clock.move(3 * DAY)
    arrived = shop.paying_out.run()
    by_hand = shop.paying_out.by_hand(1_777)
    reader.round()
    shop.book.clock.move(DAY)
    shop.paying_out.arrive(arrived["id"])
    shop.paying_out.fail(by_hand["id"])
    reader.round()

    [warning] = said(migrated_engine, e.EarlyFraudWarning)
    assert warning["charge"] == charge["id"]
    made = {x["payout"]: (x["net"], x["automatic"]) for x in
            said(migrated_engine, e.PayoutMade)}  # fmt: skip
    assert made == {
        arrived["id"]: (-arrived["amount"], True), by_hand["id"]: (-1_777, False)
    }  # fmt: skip
    [paid] = said(migrated_engine, e.PayoutPaid)
    [failed] = said(migrated_engine, e.PayoutFailed)
    assert (paid["payout"], failed["net"]) == (arrived["id"], 1_777)


def test_rows_add_up_to_the_balance(shop, reader, migrated_engine, registry):
    charge = shop.paid(30_011)
    shop.refund(charge, 5_003)
    shop.disputing.open(shop.paid(2_003)["id"])
    shop.paid(4_001, late_fee=True)
    shop.book.clock.move(3 * DAY)
    payout = shop.paying_out.run()
    reader.round()

    with migrated_engine.connect() as connection:
        balance = connection.scalar(
            text("SELECT sum(balance) FROM stripe_payments")
        ) + connection.scalar(text("SELECT sum(balance) FROM stripe_payouts"))
        row = connection.execute(
            text("SELECT * FROM stripe_payments WHERE charge = :it"),
            {"it": charge["id"]},
        ).one()
    moved = shop.book.all("balance_transaction")
    assert balance == sum(each["net"] for each in moved)
    assert (row.amount, row.refunded, row.refunds) == (30_011, 5_003, 1)
    assert payout["amount"] > 0
    assert {StripePayment.spec.plural, StripePayout.spec.plural} == {
        "stripe_payments", "stripe_payouts"
    }  # fmt: skip


def test_payments_of_others_are_counted_and_left_alone(shop, reader, migrated_engine):
    shop.buying.stranger_pays(4_441, "usd")
    other = shop.buying.stranger_pays(5_557, "usd", {"domain": "library"})
    shop.refund(other)
    shop.disputing.open(other["id"])
    shop.paid(metadata={"purchase": "p-without-domain"})
    reader.round()

    with migrated_engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM control.stripe_said")) == 0
    found = counts(migrated_engine)
    assert found["foreign"] == 2 + 2 + 2 + 2 + 3
    assert "said" not in found


def test_events_of_other_accounts_and_modes_are_left_alone(
    shop, reader, migrated_engine
):
    charge = shop.paid()
    shop.book.events.clear()
    shop.book.emit("charge.succeeded", charge, account="acct_1somebodyelse")
    shop.book.livemode = True
    shop.book.emit("charge.succeeded", charge)
    shop.book.livemode = False
    reader.round()

    assert [] == said(migrated_engine, e.PaymentCaptured)
    assert counts(migrated_engine) == {"other_account": 1, "other_mode": 1}


def test_the_content_of_events_is_never_trusted(shop, reader, migrated_engine):
    """A snapshot is of another version of the API, old, or simply wrong."""
    charge = shop.paid(6_101)
    for each in shop.book.events:
        content = each.event["data"]["object"]
        each.event["api_version"] = "2015-10-16"
        each.event["data"]["object"] = {
            "id": content["id"], "object": content["object"], "amount": 1,
            "amount_captured": 1, "status": "failed", "metadata": {"domain": "evil"},
        }  # fmt: skip
    reader.round()

    [found] = said(migrated_engine, e.PaymentCaptured)
    assert (found["charge"], found["amount"]) == (charge["id"], 6_101)


def test_objects_that_are_gone_or_odd_are_in_nobodys_way(
    shop, reader, migrated_engine, caplog
):
    gone, odd = shop.paid(), shop.paid()
    good = shop.paid(2_221)
    del shop.book.objects[gone["id"]]
    odd["amount_captured"] = "2221"
    reader.round()

    captured = {x["charge"] for x in said(migrated_engine, e.PaymentCaptured)}
    assert captured == {good["id"]}
    found = counts(migrated_engine)
    assert found["gone"] >= 1
    assert found["odd"] >= 1
    odd["amount_captured"] = odd["amount"]
    shop.book.clock.move(3600)
    reader.round()
    captured = {x["charge"] for x in said(migrated_engine, e.PaymentCaptured)}
    assert captured == {good["id"], odd["id"]}


def test_a_balance_transaction_must_add_up(shop, reader, migrated_engine):
    charge = shop.paid(8_081)
    shop.book.objects[charge["balance_transaction"]]["net"] += 1
    reader.round()

    assert [] == said(migrated_engine, e.PaymentCaptured)
    assert counts(migrated_engine)["odd"] == 3


def test_late_events_are_found_by_the_overlap(shop, reader, migrated_engine):
    shop.faults.late_events, shop.faults.late_seconds = 0.5, 600
    charges = []
    for _ in range(25):
        charges.append(shop.paid()["id"])
        shop.book.clock.move(shop.chance.randint(1, 400))
        reader.round()
    shop.book.clock.move(600)
    reader.round()

    found = [x["charge"] for x in said(migrated_engine, e.PaymentCaptured)]
    assert sorted(found) == sorted(charges)
    assert reader.sweep() == 0


def test_the_sweep_finds_what_was_too_late_for_the_overlap(
    shop, reader, migrated_engine
):
    reader.round()
    shop.faults.late_events, shop.faults.late_seconds = 1.0, 3 * 3600
    late = shop.paid()
    for each in shop.book.events:
        each.visible_at = each.event["created"] + 2 * 3600
    shop.faults.late_events = 0.0
    shop.book.clock.move(3600)
    shop.paid()
    reader.round()
    shop.book.clock.move(3 * 3600)
    shop.paid()
    reader.round()
    found = [x["charge"] for x in said(migrated_engine, e.PaymentCaptured)]
    assert late["id"] not in found

    shop.book.clock.move(DAY)
    shop.paid()
    reader.round()
    found = [x["charge"] for x in said(migrated_engine, e.PaymentCaptured)]
    assert late["id"] in found
    with migrated_engine.connect() as connection:
        assert accounts.find(connection).swept_added == 1


def test_many_events_are_read_in_windows(shop, reader, migrated_engine, monkeypatch):
    monkeypatch.setattr(reading, "PAGES_MOST", 1)
    monkeypatch.setattr("indexer.stripe.asking.PAGE", 7)
    charges = []
    for _ in range(40):
        charges.append(shop.paid()["id"])
        shop.book.clock.move(shop.chance.randint(0, 5_000))
    reader.round()

    found = [x["charge"] for x in said(migrated_engine, e.PaymentCaptured)]
    assert sorted(found) == sorted(charges)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault.RATE_LIMITED, RateLimited), (Fault.UNAVAILABLE, Away),
        (Fault.SERVER_ERROR, Away), (Fault.CUT_BEFORE, Away), (Fault.CUT_AFTER, Away),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/v1/events", "/v1/charges", "/v1/checkout/sessions"])
def test_a_failure_ends_the_round_and_loses_nothing(
    shop, reader, migrated_engine, fault, error, path
):
    shop.faults.retry_after = 17
    charge = shop.paid()
    reader.open()
    shop.faults.come_next(fault, path)
    with pytest.raises(error) as failed:
        reader.round()
    if error is RateLimited:
        assert failed.value.seconds == 17
    reader.round()
    reader.round()

    assert [charge["id"]] == [x["charge"] for x in
                              said(migrated_engine, e.PaymentCaptured)]  # fmt: skip


def test_a_webhook_is_a_hint_about_an_event_that_no_list_shows(
    shop, reader, migrated_engine
):
    reader.round()
    shop.faults.late_events, shop.faults.late_seconds = 1.0, 10**6
    shop.paid(3_331)
    ids = [each.event["id"] for each in shop.book.events]
    for each in shop.book.events:
        each.visible_at = shop.book.clock.now() + 5_000
    for id_ in [*ids, "evt_1madeup"]:
        with migrated_engine.begin() as connection:
            hint = {"event": id_, "received_at": shop.now(), "signed_at": 0}
            connection.execute(stripe_webhook.insert().values(**hint, body=b"{}"))
    reader.round()

    assert len(said(migrated_engine, e.PaymentCaptured)) == 1
    with migrated_engine.connect() as connection:
        waiting = select(stripe_webhook.c.event).where(~stripe_webhook.c.fetched)
        assert connection.execute(waiting).all() == []


def test_after_a_long_absence_objects_are_looked_at(shop, reader, migrated_engine):
    old = shop.paid()
    reader.round()
    shop.book.clock.move(DAY)
    missed = shop.paid()
    shop.refund(old, 103)
    dispute = shop.disputing.open(missed["id"])
    shop.book.clock.move(45 * DAY)
    reader.round()

    captured = {x["charge"] for x in said(migrated_engine, e.PaymentCaptured)}
    assert captured == {old["id"], missed["id"]}
    assert len(said(migrated_engine, e.RefundMade)) == 1
    assert [dispute["id"]] == [x["dispute"] for x in
                               said(migrated_engine, e.DisputeOpened)]  # fmt: skip


def test_a_first_round_that_did_not_end_leaves_no_gap(
    shop, reader, migrated_engine, monkeypatch
):
    old = shop.paid()
    with monkeypatch.context() as ended:
        ended.setattr(type(reader), "_fetch_announced", _ends)
        with pytest.raises(Away):
            reader.round()
    shop.book.clock.move(2 * DAY)
    missed = shop.paid()
    shop.book.clock.move(45 * DAY)
    reader.round()

    captured = {x["charge"] for x in said(migrated_engine, e.PaymentCaptured)}
    assert captured == {old["id"], missed["id"]}


def test_after_an_absence_failures_do_not_begin_it_anew(shop, reader, migrated_engine):
    reader.round()
    charges = {shop.paid()["id"] for _ in range(25)}
    shop.book.clock.move(45 * DAY)
    shop.faults.shares = {Fault.UNAVAILABLE: 0.15}
    failures = 0
    while failures < 60:
        try:
            reader.round()
            break
        except Away:
            failures += 1

    assert 3 < failures < 60
    assert {x["charge"] for x in said(migrated_engine, e.PaymentCaptured)} == charges


def _ends(reader, done):
    raise Away("the process ends here")


def test_what_is_old_is_forgotten_and_never_said_again(shop, reader, migrated_engine):
    shop.paid()
    reader.round()
    for _ in range(5):
        shop.book.clock.move(10 * DAY)
        shop.paid()
        reader.round()
    with migrated_engine.connect() as connection:
        kept = connection.scalar(select(stripe_event.c.created).order_by(
            stripe_event.c.created).limit(1))  # fmt: skip
    assert kept > shop.book.clock.now() - 41 * DAY
    assert len(said(migrated_engine, e.PaymentCaptured)) == 6


def test_one_reader_has_the_lease(shop, reader, migrated_engine, registry):
    row = reader.open()
    lease = accounts.acquire_lease(migrated_engine, row.account)
    assert accounts.acquire_lease(migrated_engine, row.account) is None
    reader.lease = lease
    shop.paid()
    reader.round()
    with migrated_engine.begin() as connection:
        connection.execute(text("UPDATE control.stripe_account SET token = 'another'"))
    shop.paid()
    with pytest.raises(LeaseLost):
        reader.round()
    assert len(said(migrated_engine, e.PaymentCaptured)) == 1


def test_a_dead_reader_is_replaced_at_once(shop, reader, migrated_engine):
    row = reader.open()
    assert accounts.acquire_lease(migrated_engine, row.account)
    with migrated_engine.begin() as connection:
        held = connection.scalar(text("SELECT process FROM control.stripe_account"))
        gone = "/".join([*held.split("/")[:-2], "999999", "1"])
        connection.execute(
            text("UPDATE control.stripe_account SET process = :gone"), {"gone": gone}
        )
    assert accounts.acquire_lease(migrated_engine, row.account)


def test_the_key_of_another_account_reads_nothing(
    shop, reader, migrated_engine, registry
):
    shop.paid()
    reader.round()
    other = Shop(seed=4)
    other.paid()
    with pytest.raises(accounts.OtherAccount, match="another database"):
        other.reader(migrated_engine, registry).round()
    with pytest.raises(WrongAccount, match="give the key of that account"):
        shop.reader(migrated_engine, registry, account="acct_1pinned").round()
    assert len(said(migrated_engine, e.PaymentCaptured)) == 1


def test_a_key_that_is_not_taken_is_told_without_it(shop, migrated_engine, registry):
    shop.client = stripe.StripeClient(
        "sk_test_wrongsecret", base_addresses={"api": "http://127.0.0.1:9"},
        http_client=shop.direct,
    )  # fmt: skip
    with pytest.raises(KeyRefused) as refused:
        shop.reader(migrated_engine, registry).round()
    assert "wrongsecret" not in str(refused.value)


def test_the_journal_holds(shop, reader, migrated_engine, registry):
    for _ in range(5):
        shop.paid()
    reader.round()
    assert list(faults(migrated_engine, registry)) == []
