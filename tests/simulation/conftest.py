"""Where the schedules of wallets are played."""

import gc
import logging

import pytest

import commands.evm.wallets as lanes
from db.commands.evm import watching
from db.engine import connect
from helpers import servers, wallet_chain, wallet_schedules


@pytest.fixture(scope="module")
def wallet_engine(postgres_url, migrated_template):
    with servers.fresh_database(postgres_url, migrated_template) as url:
        engine = connect(url)
        yield engine
        engine.dispose()


@pytest.fixture
def wallet_stage(wallet_engine, monkeypatch):
    """A connection with the rows that every schedule starts from; nothing is kept."""
    logging.disable(logging.CRITICAL)  # alarms are what these schedules are made of
    monkeypatch.setattr(lanes, "read_raw", wallet_chain.read)
    monkeypatch.setattr(lanes, "new_id", lanes.new_id)
    monkeypatch.setattr(watching, "WATCHED_MOST", watching.WATCHED_MOST)
    stage = wallet_schedules.WalletStage(wallet_engine)
    stage.source = wallet_schedules.prepare(stage)
    gc.disable()  # nothing here is made in circles, and looking for them takes a tenth
    yield stage
    gc.enable()
    stage.close()
    logging.disable(logging.NOTSET)
