"""The simulation of payments finds mistakes that are put into the reader."""

import logging
from dataclasses import replace

import pytest

from commands.stripe.refunds import RefundWorker
from db.engine import connect
from db.payments import events as noted
from db.payments import refunds
from db.registry import Registry
from helpers import servers, stripe_year
from indexer.stripe import look, reader, saying
from indexer.stripe.values import Moved

SEEDS = range(9, 21)


@pytest.fixture
def found(postgres_url, migrated_template):
    """Play seeds until one shows a difference; which kinds of it."""
    registry = Registry.load()

    def run():
        for seed in SEEDS:
            with servers.fresh_database(postgres_url, migrated_template) as url:
                engine = connect(url)
                year = stripe_year.Year(engine, registry, seed)
                year.play()
                wrong = stripe_year.differences(year)
                engine.dispose()
            if wrong:
                return set(wrong)
        return set()

    logging.disable(logging.CRITICAL)
    yield run
    logging.disable(logging.NOTSET)


@pytest.mark.slow
@pytest.mark.timeout(900)
class TestPlanted:
    def test_names_that_are_not_kept(self, found, monkeypatch):
        monkeypatch.setattr(noted, "_take", lambda *_: True)

        assert {"captured", "moves"} <= found()

    def test_fees_that_nobody_waits_for(self, found, monkeypatch):
        monkeypatch.setattr(look, "FEE_LATE", "")

        assert found() == {"moves", "books"}

    def test_events_that_are_noted_before_what_they_say(self, found, monkeypatch):
        """In a transaction of their own: a reader killed in between loses it."""
        note = reader.StripeReader._note

        def twice(self, group, outcome, done, seen=None, waiting=None):
            note(self, group, outcome, done)
            note(self, [], outcome, done, seen, waiting)

        monkeypatch.setattr(reader.StripeReader, "_note", twice)

        assert {"moves", "disputes", "captured"} & found()

    def test_a_fee_that_is_left_out(self, found, monkeypatch):
        moved_by = saying.moved_by

        def without_fee(item):
            moved = moved_by(item)
            return Moved(
                moved.id, moved.currency, moved.rate, moved.settled, 0, moved.net
            )

        monkeypatch.setattr(saying, "moved_by", without_fee)

        assert found() == {"moves", "books"}

    def test_completed_sessions_taken_for_paid_ones(self, found, monkeypatch):
        monkeypatch.setattr(saying, "is_captured", lambda charge: True)
        captured = found()

        assert "captured" in captured

    def test_refunds_that_are_not_looked_for_after_a_kill(self, found, monkeypatch):
        """Another attempt has another key, and Stripe makes another refund."""
        monkeypatch.setattr(RefundWorker, "_listed", lambda self, row: None)
        monkeypatch.setattr(
            RefundWorker, "_made",
            lambda self, row: self._create(self._begin(row)),
        )  # fmt: skip

        assert "refunds" in found()

    def test_refunds_whose_key_is_used_for_ever(self, found, monkeypatch):
        """Stripe forgets it after a day, and the refund is not looked for."""
        monkeypatch.setattr(RefundWorker, "_listed", lambda self, row: None)
        monkeypatch.setattr(
            RefundWorker, "_made",
            lambda self, row: self._create(row if row.attempt else self._begin(row)),
        )  # fmt: skip

        assert "refunds" in found()

    def test_refunds_whose_attempts_are_not_written_down(self, found, monkeypatch):
        """Whoever comes after a lost answer knows of no attempt, and looks for none."""
        monkeypatch.setattr(
            refunds, "begin",
            lambda connection, row, now: replace(row, attempt=1, asked_at=now),
        )  # fmt: skip

        assert "refunds" in found()

    def test_events_that_are_late_and_never_looked_for(self, found, monkeypatch):
        monkeypatch.setattr(reader, "LISTED_SECONDS", 2 * reader.DAY)
        monkeypatch.setattr(
            reader.StripeReader, "_fetch_announced", lambda self, done: None
        )
        monkeypatch.setattr(reader.StripeReader, "sweep", lambda self, done=None: 0)
        monkeypatch.setattr(
            reader.StripeReader, "_recover", lambda self, since, done: None
        )

        assert found()
