"""`serve` and `run`: the API, alone or beside the indexer."""

import asyncio
import sys
import threading
from contextlib import ExitStack

import click

from ops.api_process import start_api
from ops.cli.context import MIGRATE_FIRST, CliState, pass_state
from ops.command_service import working
from ops.ports import claimed_port
from ops.running import follow_chains, stop_on_signals
from ops.serve import serve_api

WATCH_SECONDS = 0.5


@click.command()
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True)
@pass_state
def serve(state: CliState, workers: int) -> None:
    """Serve the API: the indexed state over HTTP.

    The database is not changed but by what people ask for. On a replica, or as a role
    that may only read, nobody can sign in, and the tables are served all the same.
    """
    api = state.settings.api
    with claimed_port(api.host, api.port), state.serving() as (engine, writable):
        url = engine.url.render_as_string(hide_password=False)
        if not writable:
            click.echo("the database may only be read here: nobody can sign in")
        click.echo(_where(state))
        serve_api(state.settings, url, workers=workers, read_only=not writable)


@click.command()
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Indexer metrics on 127.0.0.1.",
)
@MIGRATE_FIRST
@pass_state
def run(state: CliState, metrics_port: int | None, migrate_first: bool) -> None:
    """Follow all chains, serve the API and work for the signers, in one command."""
    chains = state.chains(())
    with state.database(migrate_first=migrate_first) as engine:
        url = engine.url.render_as_string(hide_password=False)

        without_api = threading.Event()

        async def loop() -> int:
            stop = asyncio.Event()
            stop_on_signals(stop)
            watching = asyncio.create_task(_stop_when(without_api, stop))
            failed = await follow_chains(
                state.settings, chains, engine, state.registry,
                stop=stop, again=True, metrics_port=metrics_port,
            )  # fmt: skip
            if failed and not stop.is_set():
                click.echo("no chain is followed any more; the API goes on", err=True)
                await stop.wait()
            watching.cancel()
            return failed

        with ExitStack() as stack:
            stack.enter_context(start_api(state.settings, url, without_api.set))
            if state.settings.signers:
                stack.enter_context(working(state.settings, engine))
            click.echo(_where(state))
            failed = asyncio.run(loop())
    sys.exit(1 if failed else 0)


async def _stop_when(over: threading.Event, stop: asyncio.Event) -> None:
    while not over.is_set():
        await asyncio.sleep(WATCH_SECONDS)
    stop.set()


def _where(state: CliState) -> str:
    api = state.settings.api
    return f"API at http://{api.host}:{api.port}/api/v1/"
