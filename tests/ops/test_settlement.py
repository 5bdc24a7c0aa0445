"""A card payment at fakestripe becomes a settlement on a Solana node, and a row."""

import asyncio
import hashlib
import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from sqlalchemy import text

from api.auth.passwords import hash_password
from commands.requests import submit_requests
from commands.submit import RulesBroken, Submission, new_id
from db import sources
from db.accounts import accounts
from db.declare import Asker, Role
from db.domains.settlement import money
from db.journal.append import Actor
from db.schema import migrate
from db.sql.verify import differences
from devnet.solana import settlement
from devnet.solana.client import associated
from devnet.solana.run import NodeOptions, SolanaNode
from devnet.stripe.run import FakeStripe
from helpers.door import PASSWORD, Door
from helpers.market import FEE_BPS, Market
from helpers.settling import reference
from idl.base58 import to_base58
from indexer.react import JournalSource, run_reactions
from indexer.timers import run_due
from ops import commanding
from ops.command_service import open_command_service
from ops.doctor import examine
from ops.indexing import declared, streams
from ops.payments import open_reader, payment_options, refund_worker
from ops.running import catch_up
from ops.settings import load_settings

pytestmark = pytest.mark.chain

SETTINGS = """
domains = ["settlement"]

[chains.local]
id = "solana:{genesis}"
rpc = "{url}"
finality = "commitment"
programs.settlement = "{program}"
accounts.usdc = "{usdc}"
accounts.treasury = "{treasury}"
tokens.treasury = "{treasury}"

[signers.treasury]
kind = "env"
env = "TREASURY_KEY"
tokens_per_day = {{ "{usdc}" = 5_000_000_000 }}

[stripe]
secret_key_env = "STRIPE_KEY"
api = "{stripe}"
success_url = "https://shop.example.org/thanks"
"""
TWO_TREASURIES = "two treasuries"
DOCUMENT = json.dumps({"name": "Chapter 7 · « Été »", "symbol": "FOLD"})


class Shop:
    """A deployment that sells, with all that it stands on."""

    def __init__(self, market, fake, settings, engine, url):
        self.market, self.fake, self.settings = market, fake, settings
        self.engine = engine
        self.registry = declared(settings)
        migrate(engine, self.registry)
        self.index()
        self.worker = commanding.open_worker(settings, engine, "treasury")
        self.service = open_command_service(settings, engine)
        self.reader = open_reader(settings, engine, self.registry)
        self.reader.open()
        self.door = Door(url, self.registry, tuple(self.registry.roles.values()))
        self.door.open(command_service=self.service, payments=payment_options(settings))
        self.token = self.door.token(self.door.account("operator"))

    def index(self):
        chain = self.settings.chains["local"]
        asyncio.run(catch_up(self.settings, chain, self.engine, self.registry))

    def ask(self, slug, asker=None, **arguments):
        command = self.registry.commands[slug]
        asker = asker or Asker(frozenset({Role.OPERATOR}))
        key = f"{slug} {asker.account} {json.dumps(arguments)}"
        asked = Submission(Actor("tests", tenant="tests"), key, arguments, asker=asker)
        return self.service.submit(command, asked)[0]

    def publish(self, content, price, shares, *, asker=None, document=DOCUMENT):
        """Put a content up for sale, with people and their basis points."""
        account = asker.account if asker else "studio-9"
        self.ask(
            "publish-content", asker, content=content, account=account, kind="chapter",
            title="Chapter 7", price=str(price), stock="0", metadata=document,
            metadata_hash="0x" + hashlib.sha256(document.encode()).hexdigest(),
        )  # fmt: skip
        for name, (_, share) in shares.items():
            self.ask(
                "offer-share", asker, content=content, collaborator=name,
                share=str(share),
            )  # fmt: skip

    def accept(self, content, name, wallet, *, asker=None):
        self.ask(
            "accept-share", asker, content=content, collaborator=name,
            wallet=str(wallet),
        )  # fmt: skip

    def buy(self, content, wallet, key):
        body = {"content": content, "wallet": str(wallet)}
        return self.door.post(
            "/api/v1/checkout/session",
            body,
            status=None,
            token=self.token,
            headers={"Idempotency-Key": key},
        )

    def work(self, until, seconds=25):
        """Read the payments, react, submit, sign and index until something is so."""
        deadline = time.monotonic() + seconds
        while not until():
            if time.monotonic() > deadline:
                pytest.fail("\n".join(map(str, self.told())))
            self.turn()

    def turn(self):
        """Let everything that runs beside another run once."""
        self.reader.round()
        refund_worker(self.reader).round()
        run_reactions(JournalSource(self.engine, self.registry))
        for _ in submit_requests(self.service):
            pass
        self.worker()
        self.index()
        run_reactions(self.chain())

    def chain(self):
        """The chain as a source whose events are reacted to."""
        [(_, plan)] = streams(self.settings, self.registry).values()
        with self.engine.connect() as connection:
            row = sources.find(connection, "local")
        return JournalSource(self.engine, self.registry, row.name, row.id, plan)

    def refunds(self):
        return list(self.fake.book.all("refund"))

    def debts(self):
        path = "/api/v1/admin/treasury"
        return self.door.get(path, token=self.token).json["data"]["debts"]

    def purchase(self, session):
        found = {row["purchase"]: row for row in self.rows("public.purchases")}
        return found[session["purchase"]]

    def settling(self):
        found = self.rows("control.command")
        return [each for each in found if each["kind"] == "settle-purchase"]

    def start(self, content, price, account):
        """Begin to buy as another account does; as its session would be."""
        purchase = "0x" + hashlib.sha256(account.encode()).hexdigest()[:32]
        total = money.buyer_total(price)
        self.ask(
            "start-purchase", purchase=purchase, content=content, account=account,
            buyer=str(Keypair().pubkey()), price=str(price), total=str(total),
        )  # fmt: skip
        return {"purchase": purchase, "total": total}

    def pass_time(self, hours):
        """Let hours pass for what waits; how many rows were due."""
        now = datetime.now(UTC) + timedelta(hours=hours)
        return run_due(JournalSource(self.engine, self.registry), now)

    def twin_of(self, session):
        """Another session of the same purchase, as a lost tab would leave it."""
        form = {
            "mode": "payment",
            "line_items": [{"quantity": "1", "price_data": {
                "currency": "usd", "unit_amount": str(session["total"]),
            }}],
            "metadata": (said := {
                "domain": "settlement", "purchase": session["purchase"],
            }),
            "payment_intent_data": {"metadata": said},
        }  # fmt: skip
        return self.fake.routes.answer("POST", "/v1/checkout/sessions", form)["id"]

    def told(self):
        """How far everything is, for whoever reads a failure."""
        commands = [
            (r["kind"], r["state"], r["reason"]) for r in self.rows("control.command")
        ]
        kept = [(r["key"], r["reason"]) for r in self.rows("control.outbox")]
        signers = [(r["name"], r["hold_reason"]) for r in self.rows("control.signer")]
        return commands, kept, signers, self.rows("public.purchases")

    def rows(self, table):
        with self.engine.connect() as connection:
            found = connection.execute(text(f"SELECT * FROM {table}"))
            return [dict(row) for row in found.mappings()]


@pytest.fixture
def shop(tmp_path, db_engine, database_url, monkeypatch, request):
    """A shop; a parameter is more text of its settings."""
    with (
        SolanaNode(NodeOptions(slot_ms=50, finalized_after=3)) as node,
        FakeStripe(live=True) as fake,
    ):
        market = Market(node.url).deployed()
        market.client.send(market.initialize())
        monkeypatch.setenv("TREASURY_KEY", str(market.client.payer))
        monkeypatch.setenv("STRIPE_KEY", fake.key)
        genesis = market.client.call("getGenesisHash")
        said = SETTINGS.format(
            genesis=genesis[:32], url=node.url, program=market.program.pubkey(),
            usdc=market.usdc, treasury=market.treasury, stripe=fake.url,
        )  # fmt: skip
        param = getattr(request, "param", "")
        if param == TWO_TREASURIES:
            param, both = "", [market.treasury, market.second_treasury(10**12)]
            one = f'treasury = "{market.treasury}"'
            said = said.replace(one, f"treasury = {json.dumps(list(map(str, both)))}")
        said += param
        (tmp_path / "chainfold.toml").write_text(said)
        settings = load_settings(str(tmp_path / "chainfold.toml"))
        yield Shop(market, fake, settings, db_engine, database_url)


def test_a_card_payment_mints_and_splits_once(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shares = {"ada": (market.people[0], 5_000), "béa": (market.people[1], 3_000),
              "cy": (market.people[2], 2_000)}  # fmt: skip
    shop.publish("chapter-7", 300, shares)
    for name, (wallet, _) in shares.items():
        shop.accept("chapter-7", name, wallet)

    asked = shop.buy("chapter-7", buyer, "k-1")
    assert asked.status_code == 201, asked.json
    session = asked.json["data"]
    assert (session["price"], session["total"]) == (300, 340)
    assert shop.buy("chapter-7", buyer, "k-1").json["data"] == session
    again = shop.buy("chapter-7", buyer, "k-2")
    assert (again.status_code, "open purchase" in again.text) == (422, True)
    shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.rows("public.settlements"))

    [row] = shop.rows("public.settlements")
    fee, parts, dust = reference(2_974_000, FEE_BPS, [5_000, 3_000, 2_000])
    assert row["purchase"] == session["purchase"]
    assert (row["buyer"], row["amount"]) == (str(buyer), 2_974_000)
    assert (row["platform_fee"], row["dust"]) == (fee, dust)
    assert row["outflow"] == sum(parts)
    assert [market.held(w) for w, _ in shares.values()] == parts
    assert market.held(market.key) == 10**12 - sum(parts)
    identity = bytes.fromhex(session["purchase"][2:])
    mint = settlement.mint_address(identity, market.program.pubkey())
    assert row["mint"] == str(mint)
    nft = settlement.nft_account(buyer, mint)
    held = market.client.call("getTokenAccountBalance", str(nft))
    assert held["value"]["amount"] == "1"
    with shop.engine.connect() as connection:
        for projection in shop.registry.projections.values():
            assert list(differences(connection, projection.spec)) == []


def test_the_console_shows_the_treasury(shop):
    market = shop.market
    shop.publish("chapter-3", 1_000, {"ada": (market.people[0], 10_000)})
    shop.accept("chapter-3", "ada", market.people[0])
    session = shop.buy("chapter-3", Keypair().pubkey(), "k-9").json["data"]
    shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.rows("public.settlements"))
    _, parts, _ = reference(9_974_000, FEE_BPS, [10_000])
    left = 10**12 - sum(parts)
    client = shop.door.app.test_client()
    assert client.get("/console/treasury").headers["Location"] == (
        "/console/login?after=/console/treasury"
    )

    with shop.engine.begin() as connection:
        accounts.create_account(
            connection, "aud@example.org", account_id=new_id(), now=shop.door.clock(),
            roles=[Role.AUDITOR], password_hash=hash_password(PASSWORD),
        )  # fmt: skip
    form = {"login": "aud@example.org", "password": PASSWORD}
    client.post("/console/login", data=form, headers={"Origin": "http://localhost"})
    page = client.get("/console/treasury")

    assert page.status_code == 200, page.text
    assert f"{left // 10**6:,}.{left % 10**6:06d} USDC" in page.text
    assert page.text.count("<svg") == 3  # balance, runway, weeks
    held = [each["balance"] for each in shop.rows("public.account_days")
            if each["account"] == str(market.treasury)]  # fmt: skip
    assert held == [left]
    told = shop.door.get("/api/v1/admin/treasury", token=shop.token).json["data"]
    assert told["balance"] == str(left)
    assert client.get("/console/").text.count("/console/treasury") == 1
    metrics = shop.door.app.extensions["chainfold_metrics"].text().decode()
    assert f"chainfold_treasury_balance_usdc {left / 10**6}\n" in metrics
    assert 'chainfold_treasury_health{level="healthy"} 1.0' in metrics


def test_a_purchase_waits_for_a_collaborators_wallet_and_goes_on(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shares = {"ada": (market.people[3], 7_500), "béa": (market.people[4], 2_500)}
    shop.publish("chapter-8", 1_000, shares)
    session = shop.buy("chapter-8", buyer, "k-3").json["data"]
    shop.fake.panel.pay(session["session"])

    shop.work(lambda: shop.purchase(session)["stage"] == "blocked")
    assert shop.purchase(session)["blocked_because"].startswith("ada, béa of chapter-8")
    shop.accept("chapter-8", "ada", market.people[3])
    shop.work(
        lambda: shop.purchase(session)["blocked_because"].startswith("béa of chapter-8")
    )
    assert shop.rows("public.settlements") == []
    shop.accept("chapter-8", "béa", market.people[4])
    shop.work(lambda: shop.rows("public.settlements"))

    fee, parts, _ = reference(9_974_000, FEE_BPS, [7_500, 2_500])
    assert [market.held(each) for each in market.people[3:5]] == parts
    assert shop.purchase(session)["stage"] in ("paid", "settled")  # when it is final
    assert fee > 0


def test_a_treasury_that_is_short_queues_payments_and_goes_on_when_filled(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-9", 2_000, {"cy": (market.people[5], 10_000)})
    shop.accept("chapter-9", "cy", market.people[5])
    market.drain()
    session = shop.buy("chapter-9", buyer, "k-4").json["data"]
    shop.fake.panel.pay(session["session"])

    shop.work(lambda: shop.settling() and shop.settling()[0]["state"] == "held")
    assert shop.settling()[0]["reason"].startswith("TreasuryTooLow")
    _, [waits], _ = reference(19_974_000, FEE_BPS, [10_000])
    told = shop.door.get("/api/v1/admin/treasury", token=shop.token).json["data"]
    assert {each: told[each] for each in ("balance", "posted", "pending")} == {
        "balance": "0", "posted": "0", "pending": str(waits),
    }  # fmt: skip
    assert told["available"] == str(-waits)
    market.client.mint_to(market.usdc, market.treasury, 50_000_000)
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE control.command SET next_action_at = now()"
                                " WHERE state = 'held'"))  # fmt: skip
    shop.work(lambda: shop.rows("public.settlements"))

    _, parts, _ = reference(19_974_000, FEE_BPS, [10_000])
    assert market.held(market.people[5]) == parts[0]
    shop.work(lambda: shop.settling()[0]["state"] == "succeeded")
    told = shop.door.get("/api/v1/admin/treasury", token=shop.token).json["data"]
    left = str(50_000_000 - parts[0])
    assert (told["pending"], told["available"], told["posted"]) == ("0", left, left)


def test_a_purchase_that_is_paid_twice_is_settled_once_and_refunded_once(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-10", 500, {"ada": (market.people[6], 10_000)})
    shop.accept("chapter-10", "ada", market.people[6])
    session = shop.buy("chapter-10", buyer, "k-5").json["data"]
    first = shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.purchase(session)["stage"] == "settled")
    twin = shop.fake.panel.pay(shop.twin_of(session))
    shop.work(lambda: shop.purchase(session)["refunded"])
    shop.turn()

    [refund] = shop.refunds()
    assert (refund["charge"], refund["amount"]) == (twin["id"], session["total"])
    [row] = shop.rows("public.stripe_refunds")
    assert (row["charge"], row["stage"]) == (twin["id"], "made")
    assert row["asked_because"] == "it was paid before"
    assert len(shop.settling()) == 1
    _, parts, _ = reference(4_974_000, FEE_BPS, [10_000])
    assert market.held(market.people[6]) == parts[0]
    assert shop.debts() == {"number": 0, "owed": 0, "payments": []}
    assert first["id"] == shop.purchase(session)["charge"]


def test_payments_that_nobody_asked_for_are_refunded_and_block_nothing_else(shop):
    """Metadata is whatever somebody wrote there: it is told, and the rest goes on."""
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-12", 700, {"ada": (market.people[8], 10_000)})
    shop.accept("chapter-12", "ada", market.people[8])
    session = shop.buy("chapter-12", buyer, "k-7").json["data"]
    for purchase in ("nobody's", "0x" + "zz" * 16, "x" * 500):
        shop.fake.panel.pay(shop.twin_of({"purchase": purchase, "total": 746}))
    shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.rows("public.settlements") and len(shop.refunds()) == 3)
    shop.turn()

    found = {row["purchase"]: row["stage"] for row in shop.rows("public.purchases")}
    assert found.pop(session["purchase"]) == "settled"
    assert list(found.values()) == ["blocked"] * 3
    assert [each["amount"] for each in shop.refunds()] == [746] * 3
    with pytest.raises(RulesBroken, match="0x and 32 hex digits"):
        shop.ask(
            "start-purchase", purchase="zz", content="chapter-12", account="a",
            buyer=str(buyer), price="700", total="752",
        )  # fmt: skip


def test_what_a_price_means_the_document_and_the_treasury_are_served(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-11", 500, {"ada": (market.people[7], 10_000)})
    shop.accept("chapter-11", "ada", market.people[7])
    told = shop.door.get("/api/checkout/fee-breakdown/?price=500").json["data"]
    assert (told["total"], told["card_fee"], told["distributable"]) == (
        546, 46, "4974000",
    )  # fmt: skip
    assert (told["platform_fee"], told["creator_pool"]) == ("497400", "4476600")
    shop.door.get("/api/v1/checkout/fee-breakdown?price=2", 400)
    session = shop.buy("chapter-11", buyer, "k-6").json["data"]
    shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.rows("public.settlements"))

    [row] = shop.rows("public.settlements")
    served = shop.door.get(f"/metadata/{row['metadata_hash'].removeprefix('0x')}.json")
    assert served.data == DOCUMENT.encode()
    assert "0x" + hashlib.sha256(served.data).hexdigest() == row["metadata_hash"]
    shop.door.get(f"/metadata/{'ab' * 32}.json", 404)
    shop.door.get("/api/v1/admin/treasury", 401)
    for path in ("/api/v1/admin/treasury", "/api/staff/treasury/"):
        treasury = shop.door.get(path, token=shop.token).json["data"]
        assert treasury["purchases"] == 1
        assert treasury["balance"] == str(market.held(market.key))
        assert treasury["outflow"] == str(row["outflow"])
        assert treasury["health"] == "healthy"


def test_creators_change_what_is_theirs_alone(shop):
    """Whoever takes the role of a creator could else have others' payouts."""
    people = shop.market.people
    ada, eve = (
        Asker(frozenset({shop.registry.roles["creator"]}), account=name)
        for name in ("ada", "eve")
    )
    shares = {"ada": (people[9], 6_000), "béa": (people[10], 4_000)}
    shop.publish("chapter-13", 300, shares, asker=ada)

    with pytest.raises(RulesBroken, match="of another account"):
        shop.publish("chapter-13", 50, {}, asker=eve)
    with pytest.raises(RulesBroken, match="of another account"):
        shop.ask(
            "offer-share", eve, content="chapter-13", collaborator="eve", share="1"
        )
    with pytest.raises(RulesBroken, match="offered to another account"):
        shop.accept("chapter-13", "béa", people[11], asker=eve)
    with pytest.raises(RulesBroken, match="of another account"):
        shop.ask(
            "publish-content", eve, content="x", account="ada", kind="chapter",
            title="t", price="300", stock="0", metadata=DOCUMENT,
            metadata_hash="0x" + hashlib.sha256(DOCUMENT.encode()).hexdigest(),
        )  # fmt: skip
    shop.accept("chapter-13", "ada", people[9], asker=ada)
    shop.publish("chapter-13", 400, {}, asker=ada)


def test_a_document_is_served_as_it_was_when_its_nft_was_minted(shop):
    shop.publish("chapter-14", 300, {})
    later = json.dumps({"name": "Chapter 14, corrected"})
    shop.publish("chapter-14", 300, {}, document=later)

    for document in (DOCUMENT, later):
        digest = hashlib.sha256(document.encode()).hexdigest()
        assert shop.door.get(f"/metadata/{digest}.json").data == document.encode()


def test_what_was_refunded_is_not_settled_when_its_wallet_comes(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-15", 900, {"cy": (market.people[1], 10_000)})
    session = shop.buy("chapter-15", buyer, "k-8").json["data"]
    charge = shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.purchase(session)["stage"] == "blocked")
    shop.fake.panel.refund(charge["id"])
    shop.work(lambda: shop.purchase(session)["refunded"] == session["total"])

    shop.accept("chapter-15", "cy", market.people[1])
    for _ in range(3):
        shop.turn()

    assert shop.settling() == []
    assert shop.purchase(session)["stage"] == "blocked"
    assert shop.buy("chapter-15", buyer, "k-9").status_code == 201


def test_a_refund_before_it_is_sent_cancels_a_settlement_and_its_failure_does_not(shop):
    """It waits for the treasury, is refunded, and the bank sends the refund back."""
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-16", 2_000, {"cy": (market.people[2], 10_000)})
    shop.accept("chapter-16", "cy", market.people[2])
    market.drain()
    session = shop.buy("chapter-16", buyer, "k-10").json["data"]
    charge = shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.settling() and shop.settling()[0]["state"] == "held")
    refund = shop.fake.panel.refund(charge["id"])
    shop.work(lambda: shop.settling()[0]["state"] == "cancelled")
    assert f"were refunded: {refund['id']}" in shop.purchase(session)["blocked_because"]
    market.client.mint_to(market.usdc, market.treasury, 50_000_000)
    shop.turn()
    assert [each["state"] for each in shop.settling()] == ["cancelled"]
    assert shop.debts()["number"] == 0

    shop.fake.panel.fail_refund(refund["id"])
    shop.work(lambda: shop.purchase(session)["stage"] == "settled")
    ended = ["cancelled", "succeeded"]
    shop.work(lambda: sorted(each["state"] for each in shop.settling()) == ended)
    assert (shop.debts()["number"], shop.purchase(session)["refunded"]) == (0, 0)


def test_money_that_goes_back_after_a_settlement_is_owed(shop):
    market, buyer = shop.market, Keypair().pubkey()
    shop.publish("chapter-17", 500, {"cy": (market.people[3], 10_000)})
    shop.accept("chapter-17", "cy", market.people[3])
    session = shop.buy("chapter-17", buyer, "k-11").json["data"]
    charge = shop.fake.panel.pay(session["session"])
    shop.work(lambda: shop.purchase(session)["stage"] == "settled")
    parts = [shop.fake.panel.refund(charge["id"], amount) for amount in (100, 46)]
    shop.work(lambda: shop.debts()["owed"] == 146)
    dispute = shop.fake.panel.dispute(charge["id"])
    inquiry = shop.fake.panel.dispute(charge["id"], inquiry=True)
    shop.work(lambda: shop.debts()["owed"] > 146)

    [debt] = shop.debts()["payments"]
    assert (debt["purchase"], debt["charge"]) == (session["purchase"], charge["id"])
    assert debt["owed_for"] == {
        f"refund {parts[0]['id']}": 100, f"refund {parts[1]['id']}": 46,
        f"dispute {dispute['id']}": dispute["amount"],
    }  # fmt: skip
    shop.fake.panel.close_dispute(dispute["id"], won=True)
    shop.fake.panel.close_dispute(inquiry["id"], won=False)
    shop.fake.panel.fail_refund(parts[0]["id"])
    shop.work(lambda: shop.debts()["owed"] == 46)
    path = f"/api/v1/debts/{session['purchase']}/{charge['id']}/write-off"
    for cents, status in ((47, 422), (0, 422), (30, 202), (17, 422)):
        body = {"cents": str(cents), "reason": "ours to bear"}
        key = {"Idempotency-Key": f"off-{cents}"}
        shop.door.post(path, body, status, token=shop.token, headers=key)
    assert shop.debts()["owed"] == 16
    shop.fake.panel.fail_refund(parts[1]["id"])
    shop.work(lambda: shop.debts()["number"] == 0)
    [settled] = shop.rows("public.settlements")
    [row] = shop.rows("public.debts")
    assert (row["stage"], row["outflow"]) == ("debt", settled["outflow"])
    with shop.engine.connect() as connection:
        for projection in shop.registry.projections.values():
            assert list(differences(connection, projection.spec)) == []


def test_a_warning_of_fraud_holds_a_purchase_until_a_person_decides(shop):
    market = shop.market
    shop.publish("chapter-18", 2_000, {"cy": (market.people[4], 10_000)})
    market.drain()
    sessions = [
        shop.buy("chapter-18", Keypair().pubkey(), f"k-{number}").json["data"]
        for number in (12, 13)
    ]
    paid = [shop.fake.panel.pay(each["session"]) for each in sessions]
    shop.accept("chapter-18", "cy", market.people[4])
    shop.work(lambda: len(shop.settling()) == 2)
    for each in paid:
        shop.fake.panel.warn(each["id"])
    shop.work(lambda: {x["state"] for x in shop.settling()} == {"cancelled"})
    why = shop.purchase(sessions[0])["blocked_because"]
    assert "warns of fraud (made_with_stolen_card)" in why
    assert "Release the purchase, or refund it" in why
    market.client.mint_to(market.usdc, market.treasury, 50_000_000)

    good, bad = (
        {"purchase": each["purchase"], "charge": charge["id"]}
        for each, charge in zip(sessions, paid, strict=True)
    )
    path = f"/api/v1/purchases/{good['purchase']}/release"
    answer = shop.door.post(
        path, {"note": "an old customer"}, status=None, token=shop.token,
        headers={"Idempotency-Key": "r-1"},
    )  # fmt: skip
    assert answer.status_code in (200, 201, 202), answer.text
    assert answer.json["data"]["arguments"]["charge"] == paid[0]["id"]
    shop.ask("refund-purchase", **bad, reason="nobody we know")
    with pytest.raises(RulesBroken, match="is not held"):
        shop.ask("release-purchase", **good, note="again")
    shop.work(lambda: shop.purchase(sessions[0])["stage"] == "settled")
    shop.work(lambda: shop.purchase(sessions[1])["refunded"])
    with pytest.raises(RulesBroken, match="nothing is left"):
        shop.ask("refund-purchase", **bad, reason="again")
    with pytest.raises(RulesBroken, match="no such payment"):
        shop.ask("refund-purchase", **{**bad, "charge": "ch_0"}, reason="?")

    assert [each["charge"] for each in shop.refunds()] == [paid[1]["id"]]
    assert len(shop.rows("public.settlements")) == 1
    assert shop.purchase(sessions[1])["stage"] == "blocked"


@pytest.mark.parametrize(
    "shop", ["\n[settlement]\nnew_buyer_wait_hours = 24\n"], indirect=True
)
def test_a_new_buyer_waits_and_goes_on_by_itself_or_by_a_person(shop):
    market = shop.market
    shop.publish("chapter-19", 500, {"cy": (market.people[5], 10_000)})
    shop.accept("chapter-19", "cy", market.people[5])
    first = shop.buy("chapter-19", Keypair().pubkey(), "k-14").json["data"]
    shop.fake.panel.pay(first["session"])
    others = [shop.start("chapter-19", 500, f"newcomer-{n}") for n in (1, 2)]
    paid = [shop.fake.panel.pay(shop.twin_of(each)) for each in others]
    everyone = (first, *others)
    shop.work(lambda: all(shop.purchase(each)["waits_because"] for each in everyone))

    assert {shop.purchase(each)["stage"] for each in everyone} == {"paid"}
    assert "its buyer is new" in shop.purchase(first)["waits_because"]
    assert "waits for 24 hours, until 20" in shop.purchase(first)["waits_because"]
    shop.ask("release-purchase", purchase=others[0]["purchase"],
             charge=paid[0]["id"], note="my neighbour")  # fmt: skip
    shop.fake.panel.refund(paid[1]["id"])
    shop.work(lambda: shop.purchase(others[0])["stage"] == "settled")
    shop.work(lambda: shop.purchase(others[1])["stage"] == "blocked")
    assert shop.purchase(others[0])["waits_because"] == ""
    assert shop.pass_time(hours=23) == 0
    shop.turn()
    assert len(shop.settling()) == 1

    assert shop.pass_time(hours=25) == 2
    shop.work(lambda: shop.purchase(first)["stage"] == "settled")
    shop.turn()
    assert shop.purchase(others[1])["stage"] == "blocked"
    second = shop.buy("chapter-19", Keypair().pubkey(), "k-15").json["data"]
    shop.fake.panel.pay(second["session"])
    shop.work(lambda: shop.purchase(second)["stage"] == "settled")
    assert shop.purchase(second)["waits_because"] is None
    assert len(shop.rows("public.settlements")) == 3
    with shop.engine.connect() as connection:
        for projection in shop.registry.projections.values():
            assert list(differences(connection, projection.spec)) == []


def metrics_of(shop):
    said = shop.door.app.extensions["chainfold_metrics"].text().decode()
    lines = [line for line in said.splitlines() if not line.startswith("#")]
    return {
        name: float(value) for name, value in (each.rsplit(" ", 1) for each in lines)
    }


@pytest.mark.parametrize("shop", [TWO_TREASURIES], indirect=True)
def test_two_accounts_of_the_treasury_pay_beside_each_other(shop):
    market = shop.market
    accounts = [
        to_base58(x) for x in shop.settings.chains["local"].accounts["treasury"]
    ]
    shop.publish("chapter-20", 500, {"cy": (market.people[6], 10_000)})
    shop.accept("chapter-20", "cy", market.people[6])
    _, [part], _ = reference(4_974_000, FEE_BPS, [10_000])

    def sell(count, name):
        sold = [shop.start("chapter-20", 500, f"{name}-{n}") for n in range(count)]
        for each in sold:
            shop.fake.panel.pay(shop.twin_of(each))
        return [each["purchase"] for each in sold]

    def paid_by():
        return {x["purchase"]: x["treasury"] for x in shop.rows("public.settlements")}

    def finish(sold):
        shop.work(lambda: set(sold) <= paid_by().keys())
        return [paid_by()[each] for each in sold]

    def told():
        return shop.door.get("/api/v1/admin/treasury", token=shop.token).json["data"]

    by = finish(sell(6, "early"))
    while set(by) != set(accounts) and len(by) < 24:  # chance may choose one six times
        by += finish(sell(1, f"more-{len(by)}"))
    assert set(by) == set(accounts)
    left = {each: 10**12 - part * by.count(each) for each in accounts}
    assert {x["account"]: x["balance"] for x in told()["accounts"]} == {
        name: str(held) for name, held in left.items()
    }
    assert told()["balance"] == str(sum(left.values()))
    assert told()["outflow"] == str(len(by) * part)
    gauges = metrics_of(shop)
    for name, held in left.items():
        gauge = f'chainfold_treasury_account_balance_usdc{{account="{name}"}}'
        assert gauges[gauge] == held / 10**6
    assert gauges["chainfold_treasury_balance_usdc"] == sum(left.values()) / 10**6

    market.drain(Pubkey.from_string(accounts[0]))
    assert set(finish(sell(4, "later"))) == {accounts[1]}
    market.drain(Pubkey.from_string(accounts[1]))
    waiting = sell(2, "last")
    shop.work(
        lambda: (
            [x["reason"][:14] for x in shop.settling() if x["state"] == "held"]
            == ["TreasuryTooLow"] * 2
        )
    )
    assert told()["health"] == "critical"
    market.client.mint_to(market.usdc, Pubkey.from_string(accounts[0]), 50_000_000)
    with shop.engine.begin() as connection:
        connection.execute(text("UPDATE control.command SET next_action_at = now()"
                                " WHERE state = 'held'"))  # fmt: skip
    assert set(finish(waiting)) == {accounts[0]}
    assert market.held(market.people[6]) == (len(by) + 6) * part


def test_doctor_looks_at_each_account_of_the_treasury(shop):
    market, chain = shop.market, shop.settings.chains["local"]
    good = chain.accounts["treasury"][0]

    def found(*keys):
        accounts = {**chain.accounts, "treasury": tuple(map(bytes, keys))}
        changed = replace(shop.settings, chains={
            "local": replace(chain, accounts=accounts),
        })  # fmt: skip
        [said] = [
            each for each in examine(changed, shop.registry, None)
            if each.check == "chain local treasury"
        ]  # fmt: skip
        return said

    second = market.second_treasury(1)
    assert found(good, second).well, found(good, second).detail
    assert f"2 token accounts of {market.key}" in found(good, second).detail
    other_mint = market.client.make_mint(6)
    for key, words in (
        (Keypair().pubkey(), "is not there"),
        (market.program.pubkey(), "is no token account"),
        (associated(market.people[0], market.usdc), f"is of {market.people[0]}, not"),
        (market.client.make_account(other_mint, market.key), "holds tokens of"),
    ):
        said = found(good, key)
        assert not said.well
        assert f"{key} {words}" in said.detail
        assert "Correct treasury in [chains.local.accounts]" in said.detail
