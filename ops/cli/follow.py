"""`index` and `backfill`: reading chains."""

import asyncio
import sys
from collections.abc import Callable
from functools import partial

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy import Engine

from db.position import MAX_HEIGHT
from indexer.backfill import Progress as Done
from indexer.backfill import run_backfill
from ops.cli.context import MIGRATE_FIRST, CliState, pass_state
from ops.errors import OperationError
from ops.indexing import reopen_chain
from ops.jobs import QUEUE, NobodyWorks, backfill_by_jobs, has_workers
from ops.running import catch_up, follow_chains, stop_on_signals
from ops.settings import ChainSettings


@click.command()
@click.option("--chain", "names", multiple=True, help="Only this chain; repeatable.")
@click.option("--once", is_flag=True, help="Stop when the head is reached.")
@click.option(
    "--no-wait",
    is_flag=True,
    help="Fail when another process follows the chain, instead of waiting for it.",
)
@click.option(
    "--metrics-port",
    type=click.IntRange(1, 65535),
    help="Serve Prometheus metrics on this port of 127.0.0.1.",
)
@MIGRATE_FIRST
@pass_state
def index(
    state: CliState,
    names: tuple[str, ...],
    once: bool,
    no_wait: bool,
    metrics_port: int | None,
    migrate_first: bool,
) -> None:
    """Follow the chains of the settings, block by block, until stopped.

    With --once: exit code 1 when blocks are left to another worker that reads them.
    """
    chains = state.chains(names)
    with state.database(migrate_first=migrate_first) as engine:
        if once:
            left = [each for each in chains if not _read_once(state, each, engine)]
            sys.exit(1 if left else 0)

        async def loop() -> int:
            stop = asyncio.Event()
            stop_on_signals(stop)
            return await follow_chains(
                state.settings, chains, engine, state.registry,
                stop=stop, wait=not no_wait, metrics_port=metrics_port,
            )  # fmt: skip

        sys.exit(1 if asyncio.run(loop()) else 0)


def _read_once(state: CliState, chain: ChainSettings, engine: Engine) -> bool:
    """Read a chain up to its head; whether nothing is missing now."""
    left = asyncio.run(catch_up(state.settings, chain, engine, state.registry))
    if left is None:
        click.echo(f"{chain.name}: caught up")
    else:
        click.echo(
            f"{chain.name}: not caught up: blocks from {left} on are leased to another "
            "process, such as `chainfold backfill`. Run this again when it has ended.",
            err=True,
        )
    return left is None


@click.command()
@click.option("--chain", "name", help="Which chain; needed when there are several.")
@click.option(
    "--from", "first", type=click.IntRange(0, MAX_HEIGHT), default=0, show_default=True
)
@click.option(
    "--to",
    "last",
    type=click.IntRange(0, MAX_HEIGHT),
    help="Last block; default: the last final.",
)
@click.option("--workers", type=click.IntRange(1, 64), help="Processes; see [limits].")
@click.option(
    "--rq/--no-rq",
    default=None,
    help="RQ jobs instead of processes; default: when RQ workers are listening.",
)
@pass_state
def backfill(
    state: CliState, name: str | None, first: int, last: int | None,
    workers: int | None, rq: bool | None,
) -> None:  # fmt: skip
    """Write every missing block of a range; what is written is not read again."""
    if last is not None and last < first:
        raise OperationError(f"--to {last} is below --from {first}: swap them.")
    chains = state.chains((name,) if name else ())
    if len(chains) > 1:
        raise OperationError(
            f"several chains are configured: add --chain with one of "
            f"{', '.join(chain.name for chain in chains)}."
        )
    chain = chains[0]
    count = workers or state.settings.limits.backfill_workers
    with state.database() as engine:
        path = None if state.settings.path is None else str(state.settings.path)
        url = engine.url.render_as_string(hide_password=False)
        opener = partial(reopen_chain, path, url, chain.name)
        redis_url = state.settings.redis.url
        if rq and redis_url is None:
            raise OperationError(
                "--rq needs workers on a Redis of their own: set [redis] url, and "
                f"start `rq worker {QUEUE}` on it."
            )
        use_jobs = redis_url is not None and (
            rq or (rq is None and has_workers(str(redis_url)))
        )
        with _Display() as report:
            by_processes = partial(
                run_backfill,
                opener, first=first, last=last, workers=count, report=report,
            )  # fmt: skip
            by_jobs = partial(
                backfill_by_jobs,
                state.settings, chain.name, engine, state.registry,
                url=str(redis_url), first=first, last=last, report=report,
            )  # fmt: skip
            try:
                done = asyncio.run(by_jobs() if use_jobs else by_processes())
            except NobodyWorks:
                if rq:
                    raise
                click.echo("the RQ workers have left: going on without them", err=True)
                done = asyncio.run(by_processes())
    click.echo(_summary(chain.name, done))


class _Display:
    """A bar with rates and time left on a terminal, plain lines elsewhere."""

    def __enter__(self) -> Callable[[Done], None]:
        self.bar: Progress | None = None
        self.printed = 0.0
        if not sys.stderr.isatty():
            return self.line
        from rich.console import Console

        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:,}/{task.total:,} blocks"),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )
        self.bar.start()
        self.task = self.bar.add_task("backfill", total=None, rate="")
        return self.update

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.stop()

    def update(self, done: Done) -> None:
        """Move the bar."""
        assert self.bar is not None
        blocks, facts = done.blocks_per_second, done.facts_per_second
        rate = f"{blocks:,.0f} blocks/s {facts:,.0f} events/s"
        self.bar.update(
            self.task, total=done.missing_blocks, completed=done.done_blocks, rate=rate
        )

    def line(self, done: Done) -> None:
        """Print a line, at most every two seconds."""
        if done.seconds - self.printed < 2:
            return
        self.printed = done.seconds
        eta = "unknown" if done.eta_seconds is None else f"{done.eta_seconds:.0f}s"
        click.echo(
            f"backfill blocks={done.done_blocks}/{done.missing_blocks} "
            f"events={done.facts} blocks_per_second={done.blocks_per_second:.0f} "
            f"events_per_second={done.facts_per_second:.0f} eta={eta}",
            err=True,
        )


def _summary(name: str, done: Done) -> str:
    if not done.missing_blocks:
        return f"{name}: nothing was missing in blocks {done.window}"
    rate = f"{done.facts_per_second:,.0f} events/s"
    return (
        f"{name}: wrote {done.done_blocks:,} blocks and {done.facts:,} events "
        f"of blocks {done.window} in {done.seconds:.1f} s ({rate})"
    )
