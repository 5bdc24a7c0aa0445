"""fakestripe is what the unpatched `stripe` package expects of Stripe."""

import json
import random
import time
import urllib.request

import pytest
import stripe

from devnet.stripe.book import DAY
from devnet.stripe.faults import Fault, Webhook
from devnet.stripe.run import FakeStripe
from helpers import stripe_shapes


@pytest.fixture
def fake():
    with FakeStripe(seed=71) as running:
        yield running


@pytest.fixture
def client(fake):
    return client_of(fake)


def client_of(fake, timeout=10):
    return stripe.StripeClient(
        fake.key, base_addresses={"api": fake.url},
        http_client=stripe.RequestsClient(timeout=timeout),
    )  # fmt: skip


def open_session(client, amount=1061, currency="usd", key=None, capture="automatic"):
    parameters = {
        "mode": "payment",
        "success_url": "https://example.org/thanks",
        "client_reference_id": "purchase-61",
        "metadata": {"domain": "settlement", "purchase": "p-61"},
        "line_items": [{
            "quantity": 1,
            "price_data": {
                "currency": currency, "unit_amount": amount,
                "product_data": {"name": "A chapter"},
            },
        }],
        "payment_intent_data": {
            "metadata": {"domain": "settlement", "purchase": "p-61"},
            "capture_method": capture,
        },
    }  # fmt: skip
    options = {} if key is None else {"idempotency_key": key}
    return client.v1.checkout.sessions.create(parameters, options)


def events(client, **params):
    found = client.v1.events.list({"limit": 100, **params})
    return [each.type for each in reversed(found.data)]


def test_every_answer_is_what_the_package_annotates(fake, client):
    """All that there is, in every state that it has: by the package's own source."""
    seen = []
    answer = fake.service.answer

    def watched(*request):
        found = answer(*request)
        seen.append(json.loads(found.content))
        return found

    fake.service.answer = watched
    buying, refunding = fake.routes.buying, fake.routes.refunding
    disputing, payouts = fake.routes.disputing, fake.routes.paying_out
    paid = buying.pay(open_session(client).id)
    converted = buying.pay(open_session(client, 2_317, "eur").id)
    without_decimals = buying.pay(open_session(client, 1_499, "jpy").id)
    late = buying.pay(open_session(client, 877).id, late_fee=True)
    slow = buying.pay_slowly(open_session(client, 4_401).id)
    refused = buying.pay_slowly(open_session(client, 4_403).id)
    buying.decline(open_session(client, 555).id)
    buying.expire(open_session(client, 556).id)
    held = buying.pay(open_session(client, 3_307, capture="manual").id)
    client.v1.payment_intents.capture(
        held["payment_intent"], {"amount_to_capture": 3001}
    )
    buying.bank_pays(slow["id"])
    buying.bank_refuses(refused["id"])
    buying.settle_fee(late["id"])
    buying.warn(paid["id"])
    client.v1.refunds.create(
        {"charge": paid["id"], "amount": 311, "reason": "duplicate"}
    )
    for end in (refunding.succeed, refunding.fail, refunding.cancel):
        refunding.next_status = "pending"
        refunding.funded = end is not refunding.cancel
        refund = client.v1.refunds.create({"charge": converted["id"], "amount": 101})
        end(refund.id)
    won = disputing.open(without_decimals["id"])
    disputing.close(won["id"], won=True)
    disputing.close(disputing.open(late["id"])["id"], won=False)
    disputing.close(disputing.open(paid["id"], 17, inquiry=True)["id"], won=False)
    fake.book.clock.move(3 * DAY)
    arrived = payouts.run()
    payouts.arrive(arrived["id"])
    client.v1.payouts.create({"amount": 419, "currency": "usd"})
    for kind in ("charges", "payment_intents", "refunds", "disputes", "payouts",
                 "balance_transactions", "events"):  # fmt: skip
        service = getattr(client.v1, kind)
        for each in service.list({"limit": 100}).data:
            service.retrieve(each.id)
    for each in client.v1.radar.early_fraud_warnings.list().data:
        client.v1.radar.early_fraud_warnings.retrieve(each.id)
    for each in client.v1.checkout.sessions.list({"limit": 50}).data:
        client.v1.checkout.sessions.retrieve(
            each.id, {"expand": ["payment_intent.latest_charge.balance_transaction"]}
        )
    client.v1.balance_transactions.list(
        {"payout": arrived["id"], "expand": ["data.source"]}
    )
    client.v1.accounts.retrieve_current()
    client.v1.balance.retrieve()

    assert len(seen) > 100
    kinds = {each["object"] for each in seen}
    assert kinds >= {"checkout.session", "charge", "refund", "dispute", "payout",
                     "event", "account", "radar.early_fraud_warning"}  # fmt: skip
    snapshots = [each["data"]["object"] for each in seen if each["object"] == "event"]
    assert len(snapshots) > 30
    wrong = [
        told
        for each in [*seen, *snapshots]
        for told in (
            stripe_shapes.differences_of_list(each)
            if each["object"] == "list"
            else stripe_shapes.differences(each)
        )
    ]
    assert [] == sorted(set(wrong))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"ammount": 4}, "has no such field"),
        ({"amount": "4"}, "is no int"),
        ({"amount": None}, "null, which it never is"),
        ({"currency": True}, "is no str"),
        ({"object": "chargeback"}, "knows no 'chargeback'"),
    ],
)
def test_the_comparison_finds_what_differs(fake, client, change, told):
    charge = fake.routes.buying.pay(open_session(client).id)

    assert any(told in each for each in stripe_shapes.differences({**charge, **change}))


def test_the_comparison_misses_what_is_always_there(fake, client):
    charge = fake.routes.buying.pay(open_session(client).id)
    del charge["billing_details"]

    [found] = stripe_shapes.differences(charge)
    assert "always there" in found


def test_a_payment_by_card_says_what_stripe_says(fake, client):
    session = open_session(client)
    fake.routes.buying.pay(session.id)

    assert events(client) == [
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded",
        "checkout.session.completed",
    ]  # fmt: skip
    found = client.v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge.balance_transaction"]}
    )
    moved = found.payment_intent.latest_charge.balance_transaction
    assert (found.payment_status, found.status) == ("paid", "complete")
    assert (moved.amount, moved.fee, moved.net) == (1061, 61, 1000)
    assert moved.net == 1000


def test_a_slow_payment_is_complete_and_unpaid_for_days(fake, client):
    session = open_session(client, 7_919)
    charge = fake.routes.buying.pay_slowly(session.id)

    found = client.v1.checkout.sessions.retrieve(session.id)
    assert (found.status, found.payment_status) == ("complete", "unpaid")
    fake.book.clock.move(3 * DAY)
    fake.routes.buying.bank_pays(charge["id"])
    assert "checkout.session.async_payment_succeeded" == events(client)[-1]
    assert client.v1.checkout.sessions.retrieve(session.id).payment_status == "paid"


def test_events_are_paged_both_ways_filtered_and_forgotten(fake, client):
    for amount in range(401, 424):
        fake.routes.buying.pay(open_session(client, amount).id)
        fake.book.clock.move(37)
    found = [each.id for each in client.v1.events.list({"limit": 7}).auto_paging_iter()]
    assert len(found) == 23 * 4 == len(set(found))

    middle = client.v1.events.retrieve(found[40])
    newer = client.v1.events.list({"limit": 100, "ending_before": middle.id})
    assert [each.id for each in newer.data] == found[:40]
    nearest = client.v1.events.list({"limit": 7, "ending_before": middle.id})
    assert [each.id for each in nearest.data] == found[33:40]
    assert nearest.has_more
    since = client.v1.events.list({"limit": 100, "created": {"gte": middle.created}})
    assert {each.id for each in since.data} >= set(found[:41])
    types = client.v1.events.list({"types": ["charge.*"], "limit": 100})
    assert {each.type for each in types.data} == {"charge.succeeded"}

    fake.book.clock.move(30 * DAY - 37 * 20)
    assert 0 < len(client.v1.events.list({"limit": 100}).data) < len(found)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.events.list({"starting_after": found[-1]})
    assert refused.value.code == "resource_missing"


def test_events_may_be_seen_late(fake, client):
    fake.faults.late_events, fake.faults.late_seconds = 1.0, 300
    fake.routes.buying.pay(open_session(client).id)

    assert events(client) != [
        "payment_intent.created", "charge.succeeded", "payment_intent.succeeded",
        "checkout.session.completed",
    ]  # fmt: skip
    fake.book.clock.move(300)
    assert len(events(client)) == 4


def test_an_idempotency_key_gives_the_first_answer_again(fake, client):
    first = open_session(client, key="k-17")
    again = open_session(client, key="k-17")
    assert first.id == again.id
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    with pytest.raises(stripe.IdempotencyError):
        open_session(client, 1062, key="k-17")
    fake.book.clock.move(DAY)
    assert open_session(client, key="k-17").id != first.id


def test_a_lost_answer_is_had_again_by_its_key(fake, client):
    fake.faults.come_next(Fault.CUT_AFTER, "/v1/checkout/sessions")
    with pytest.raises(stripe.APIConnectionError):
        open_session(client, key="k-19")
    open_session(client, key="k-19")
    assert len(client.v1.checkout.sessions.list().data) == 1


def test_a_server_error_stays_with_its_key(fake, client):
    fake.faults.come_next(Fault.SERVER_ERROR, "/v1/checkout/sessions")
    for _ in range(2):
        with pytest.raises(stripe.APIError):
            open_session(client, key="k-23")
    assert len(client.v1.checkout.sessions.list().data) == 1


def test_the_other_faults_of_requests(fake, client):
    fake.faults.retry_after = 7
    fake.faults.come_next(Fault.RATE_LIMITED)
    with pytest.raises(stripe.RateLimitError) as limited:
        open_session(client)
    assert limited.value.headers["Retry-After"] == "7"
    for fault in (Fault.UNAVAILABLE, Fault.CUT_BEFORE):
        fake.faults.come_next(fault)
        with pytest.raises((stripe.APIError, stripe.APIConnectionError)):
            open_session(client)
    assert client.v1.checkout.sessions.list().data == []
    fake.faults.slow_seconds = 1.0
    fake.faults.come_next(Fault.SLOW)
    with pytest.raises(stripe.APIConnectionError):
        client_of(fake, timeout=0.2).v1.events.list()
    with pytest.raises(stripe.AuthenticationError):
        stripe.StripeClient(
            "sk_test_other", base_addresses={"api": fake.url}
        ).v1.events.list()


def test_what_is_not_known_is_refused(fake, client):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.events.list({"tpye": "charge.*"})
    assert refused.value.code == "parameter_unknown"
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.charges.retrieve("ch_3nothing")
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.charges.list({"limit": 101})


def test_refunds_are_cumulative_on_the_charge_and_may_come_back(fake, client):
    charge = fake.routes.buying.pay(open_session(client, 9_973).id)
    client.v1.refunds.create({"charge": charge["id"], "amount": 1_001})
    second = client.v1.refunds.create({"charge": charge["id"], "amount": 2_003})
    assert client.v1.charges.retrieve(charge["id"]).amount_refunded == 3_004

    fake.book.clock.move(11 * DAY)
    fake.routes.refunding.fail(second.id)
    found = client.v1.refunds.retrieve(
        second.id, {"expand": ["failure_balance_transaction"]}
    )
    assert found.status == "failed"
    assert found.failure_balance_transaction.amount == 2_003
    assert client.v1.charges.retrieve(charge["id"]).amount_refunded == 1_001
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.refunds.create({"charge": charge["id"], "amount": 8_973})


@pytest.mark.parametrize("end", [None, True, False])
def test_what_is_charged_back_cannot_be_refunded(fake, client, end):
    """Code `charge_disputed` of Stripe's manual; an inquiry and what was won can."""
    charge = fake.act("pay", {"session": open_session(client, 2_003).id})["id"]
    inquiry = fake.act("dispute", {"charge": charge, "inquiry": True})
    assert inquiry["status"] == "warning_needs_response"
    client.v1.refunds.create({"charge": charge, "amount": 3})
    dispute = fake.act("dispute", {"charge": charge})
    if end is not None:
        fake.act("close_dispute", {"dispute": dispute["id"], "won": end})

    if end:
        assert client.v1.refunds.create({"charge": charge}).amount == 2_000
        return
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge})
    assert refused.value.code == "charge_disputed"
    assert charge in refused.value.user_message


def test_the_panel_refunds_and_warns(fake, client):
    charge = fake.act("pay", {"session": open_session(client, 2_003).id})["id"]
    assert fake.act("refund", {"charge": charge, "amount": 3})["amount"] == 3
    assert fake.act("refund", {"charge": charge})["amount"] == 2_000
    warning = fake.act("warn", {"charge": charge})
    assert (warning["charge"], warning["actionable"]) == (charge, False)
    [found] = client.v1.radar.early_fraud_warnings.list({"charge": charge}).data
    assert found.id == warning["id"]


def test_a_payout_is_the_sum_of_its_lines(fake, client):
    chance = random.Random(5)
    charges = [
        fake.routes.buying.pay(open_session(client, chance.randint(300, 90_000)).id)
        for _ in range(13)
    ]
    client.v1.refunds.create({"charge": charges[3]["id"]})
    fake.book.clock.move(3 * DAY)
    payout = fake.routes.paying_out.run()

    lines = client.v1.balance_transactions.list({"payout": payout["id"], "limit": 100})
    others = [line.net for line in lines.data if line.type != "payout"]
    assert len(others) == 14
    assert sum(others) == payout["amount"]
    by_hand = client.v1.payouts.create({"amount": 331, "currency": "usd"})
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.balance_transactions.list({"payout": by_hand.id})


def test_a_balance_below_zero_is_taken_from_the_bank(fake, client):
    charge = fake.routes.buying.pay(open_session(client, 2_711).id)
    fake.book.clock.move(3 * DAY)
    first = fake.routes.paying_out.run()
    fake.routes.disputing.open(charge["id"])
    second = fake.routes.paying_out.run()
    assert first["amount"] > 0
    assert second["amount"] == -2_711 - 1_500
    fake.routes.paying_out.fail(first["id"])
    third = fake.routes.paying_out.run()
    assert third["amount"] == first["amount"]


def test_the_clock_is_ours_and_ids_follow_from_the_seed():
    def told():
        with FakeStripe(seed=29) as fake:
            session = open_session(client_of(fake))
            fake.book.clock.move(61)
            return session.id, session.created, fake.routes.buying.pay(session.id)["id"]

    assert told() == told()


def test_webhooks_are_signed_on_raw_bytes_and_meet_faults(fake, client, monkeypatch):
    fake.webhooks.url = "http://127.0.0.1:9/hook"
    got = []
    monkeypatch.setattr(
        urllib.request, "urlopen", lambda request, timeout: _taken(got, request)
    )
    fake.faults.webhooks = {
        Webhook.DROP: 0.3,
        Webhook.DUPLICATE: 0.4,
        Webhook.DELAY: 0.3,
    }
    fake.faults.reorder = True
    for _ in range(10):
        fake.routes.buying.pay(open_session(client).id)
    fake.webhooks.deliver()
    at_once = len(got)
    fake.book.clock.move(3_600)
    fake.webhooks.deliver()

    assert 0 < at_once < len(got)
    for body, header in got:
        signed = stripe.WebhookSignature.verify_header(body, header, "whsec_fakestripe")
        assert signed
    ids = [json.loads(body)["id"] for body, _ in got]
    assert len(set(ids)) < len(ids)  # some came twice
    assert len(set(ids)) < 40  # some never
    created = [json.loads(body)["created"] for body, _ in got[:at_once]]
    made = {each.event["id"]: at for at, each in enumerate(fake.book.events)}
    assert [made[id_] for id_ in ids[:at_once]] != sorted(
        made[id_] for id_ in ids[:at_once]
    )
    assert created


class _Answered:
    status = 200

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def _taken(got, request):
    got.append((request.data, request.get_header("Stripe-signature")))
    return _Answered()


def test_the_panel_plays_over_http(fake, client):
    session = open_session(client)
    with urllib.request.urlopen(f"{fake.url}/pay/{session.id}") as answer:
        charge = json.load(answer)
    assert charge["paid"]
    request = urllib.request.Request(
        f"{fake.url}/panel/dispute", json.dumps({"charge": charge["id"]}).encode()
    )
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer)["status"] == "needs_response"
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{fake.url}/pay/{session.id}")


def test_a_live_server_settles_late_fees_by_itself():
    with FakeStripe(live=True) as fake:
        fake.faults.late_fees = 1.0
        session = open_session(client_of(fake))
        charge = fake.act("pay", {"session": session.id})
        assert charge["balance_transaction"] is None
        fake.act("move", {"seconds": 60})
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = client_of(fake).v1.charges.retrieve(charge["id"])
            if found.balance_transaction is not None:
                return
            time.sleep(0.05)
        pytest.fail("the fee never came")
