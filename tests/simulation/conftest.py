"""Where the schedules of wallets and of the follower are played."""

import asyncio
import gc
import logging
from contextlib import contextmanager

import pytest

import commands.evm.wallets as lanes
from db.commands import watching
from db.engine import connect
from db.schema import migrate
from helpers import (
    node_schedules,
    schedules,
    servers,
    wallet_chain,
    wallet_schedules,
)


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


@pytest.fixture
def prepared_stage(wallet_engine):
    """Make the stage of schedules of Solana's commands, which a function prepares."""
    logging.disable(logging.CRITICAL)
    stage = schedules.Stage(wallet_engine)

    def prepared(prepare):
        stage.source = prepare(stage)
        gc.disable()
        return stage

    yield prepared
    gc.enable()
    stage.close()
    logging.disable(logging.NOTSET)


@pytest.fixture
def open_stage(postgres_url, monkeypatch):
    """Open a database in which schedules of followers have a chain each."""
    logging.disable(logging.CRITICAL)

    async def at_once(function, *arguments):
        return function(*arguments)

    @contextmanager
    def opened(registry):
        monkeypatch.setattr(asyncio, "to_thread", at_once)
        with servers.fresh_database(postgres_url) as url:
            with servers.engine_on(url) as engine:
                migrate(engine, registry)
            stage = node_schedules.Stage(url)
            gc.disable()
            try:
                yield stage
            finally:
                gc.enable()
                stage.close()

    yield opened
    logging.disable(logging.NOTSET)


@pytest.fixture
def node_stage(open_stage):
    """The stage of schedules over the conformance node."""
    with open_stage(node_schedules.REGISTRY) as stage:
        yield stage
