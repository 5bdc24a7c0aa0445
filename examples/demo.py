"""The demonstration: two chains with business on them, indexed live, served as JSON.

The nodes, the contracts and programs, Postgres and the API are real; Stripe is our own
fakestripe. All of it lives in one folder, which each run begins anew.
"""

import asyncio
import contextlib
import json
import logging
import shutil
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Engine

from abis import load_abi
from db.schema import migrate
from db.sources import find
from db.status import chain_status
from devnet.deploy import Deployment
from devnet.rpc import RpcError, UnreachableError
from devnet.run import up
from devnet.toolchain import ensure_toolchain
from examples.crowdfunding.cast import (
    Staff,
    hire_signers,
    hire_staff,
    signer_section,
    take_tour,
    variable_of,
)
from examples.crowdfunding.traffic import Traffic
from examples.folder import begun_anew
from examples.person import Person
from examples.settlement.shop import Shop, open_shop
from examples.settlement.tour import Sale
from examples.solana_chain import solana_chain
from indexer.verify import run_verification
from ops.api_process import start_api
from ops.command_service import working
from ops.errors import OperationError
from ops.indexing import declared, streams
from ops.ports import HOST, free_port, port_is_free
from ops.running import follow_chains, stop_on_signals
from ops.services import engine as open_engine
from ops.settings import Settings, load_settings

DOMAINS = 'domains = ["crowdfunding", "settlement"]'
CHAIN = "devnet"
HISTORY_STEPS = 150
STEP_SECONDS = 1.0
REPORT_SECONDS = 3.0

log = logging.getLogger(__name__)

Say = Callable[[str], None]

# Contracts that have an ABI and no code of ours, as anyone would add them.
_BARE = """
[contracts.token]
abi = "abis/TestToken.json"
address = "{TestToken}"
chain = "devnet"
meanings = {{ value = "amount 18 TEST" }}

[contracts.dex]
abi = "abis/PairFactory.json"
address = "{PairFactory}"
chain = "devnet"

[contracts.pair]
abi = "abis/Pair.json"
factory = {{ contract = "dex", event = "PairCreated", param = "pair" }}
chain = "devnet"
"""


def run_demo(
    folder: Path, *, port: int, seconds: float | None, seed: int, say: Say
) -> int:
    """Run until Ctrl-C, or for some seconds; returns how many rows `verify` refutes."""
    logging.getLogger().setLevel(logging.WARNING)  # the show is what is said here
    with ExitStack() as stack:
        stack.enter_context(begun_anew(folder))
        say("preparing the development chain (the first time it fetches npm packages)")
        ensure_toolchain()
        anvil, deployment = up(out_dir=folder)
        stack.callback(anvil.stop)
        say(f"a chain is up at {anvil.url} with the contracts on it; playing its past")
        played = Traffic(deployment, seed=seed).play(HISTORY_STEPS)
        say(f"{played.transactions} transactions, {played.logs} logs of business")
        solana = stack.enter_context(solana_chain(seed))
        say(f"a Solana chain is up at {solana.url} with a program that keeps a ledger")
        port = _free(port, say)
        base = f"http://{HOST}:{port}"
        shop = stack.enter_context(open_shop(solana.url, base, seed=seed))
        say(f"a shop is open: its cards are charged at a fakestripe, {shop.stripe_url}")
        keys = hire_signers(deployment)
        more = [
            solana.settings(folder, shop.chain_settings()),
            shop.settings(folder, base),
        ]
        settings = _settle(folder, deployment, keys, port, more, shop.secrets())
        engine = stack.enter_context(open_engine(settings))
        registry = declared(settings)
        migrate(engine, registry)
        staff = hire_staff(engine)
        stop = threading.Event()
        url = engine.url.render_as_string(hide_password=False)
        stack.enter_context(start_api(settings, url))
        stack.enter_context(working(settings, engine))
        show = _Show(settings, folder, deployment, staff, shop, seed, stop, say)
        writing = partial(solana.write, seed, stop)
        stack.enter_context(_Beside(writing, stop))
        asyncio.run(_follow(settings, engine, seconds, show))
        say("stopped; checking every table against its facts")
        wrong = sum(len(v.differences) for v in run_verification(engine, registry))
        say(f"verify: {wrong} differences")
    return wrong


async def _follow(
    settings: Settings,
    engine: Engine,
    seconds: float | None,
    show: "_Show",
) -> None:
    """Follow the chain while the show plays, until a signal or the seconds are over."""
    stop = asyncio.Event()
    stop_on_signals(stop)  # before the show says that there is something to stop
    with _Beside(show.run, show.stop):
        await _follow_until(stop, settings, engine, seconds, show)


async def _follow_until(
    stop: asyncio.Event,
    settings: Settings,
    engine: Engine,
    seconds: float | None,
    show: "_Show",
) -> None:
    registry = declared(settings)
    following = asyncio.create_task(
        follow_chains(
            settings, list(settings.chains.values()), engine, registry, stop=stop
        )
    )
    reporting = asyncio.create_task(_report(settings, engine, show))
    ends = asyncio.create_task(stop.wait())
    await asyncio.wait(
        {following, ends}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
    )
    show.stop.set()
    stop.set()
    reporting.cancel()
    await following


async def _report(settings: Settings, engine: Engine, show: "_Show") -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        if show.over.is_set():
            show.say(await asyncio.to_thread(_line, settings, engine))


def _line(settings: Settings, engine: Engine) -> str:
    plan = streams(settings, declared(settings))[CHAIN][1]
    with engine.connect() as connection:
        row = find(connection, CHAIN)
        if row is None:
            return "not followed yet"
        now = chain_status(connection, row.id, plan)
        counts = connection.exec_driver_sql(
            "SELECT (SELECT count(*) FROM campaigns),"
            " (SELECT count(*) FROM investments), (SELECT count(*) FROM certificates),"
            " (SELECT count(*) FROM token_transfer),"
            " (SELECT count(*) FROM ledger_recorded),"
            " (SELECT count(*) FROM settlements)"
        ).one()
    return (
        f"head {now.head}, indexed {now.checkpoint}: {counts[0]} campaigns, "
        f"{counts[1]} investments, {counts[2]} certificates, {counts[3]} transfers; "
        f"{counts[4]} ledger entries and {counts[5]} settled purchases on Solana"
    )


@dataclass(frozen=True, slots=True)
class _Show:
    """The demonstration: the tours, then business as usual until the end."""

    settings: Settings
    folder: Path
    deployment: Deployment
    staff: Staff
    shop: Shop
    seed: int
    stop: threading.Event
    say: Say
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Play both tours by the API alone, then one step of business a second."""
        base = f"http://{self.settings.api.host}:{self.settings.api.port}"
        operator = Person(base, self.staff.operator)
        sale = Sale(base, self.shop, operator, self.stop, self.say)
        self.say("")
        self.say("one campaign by the API alone, seconds after it was asked:")
        try:
            take_tour(base, self.deployment, self.staff, self.say)
            operator.sign_in(self.staff.password)
            self.say("")
            self.say("one card payment, settled on Solana:")
            sale.run()
        except (OperationError, OSError) as error:
            if not self.stop.is_set():
                self.say(f"the tour ended early: {error}")
        if self.stop.is_set():
            return
        _explain(self.settings, self.folder, self.staff, sale.metadata_hash, self.say)
        self.over.set()
        with _Beside(sale.go_on, self.stop):
            do_business(self.deployment, self.seed + 1, self.stop)


def do_business(
    deployment: Deployment,
    seed: int,
    stop: threading.Event,
    *,
    seconds: float = STEP_SECONDS,
) -> None:
    """Play a step of business now and then, until told to stop.

    Visitors do business too: where they have changed what the next step relies on, it
    begins anew from what is on the chain.
    """
    while not stop.is_set():
        # What reactions and timers do would be done twice.
        traffic = Traffic(deployment, seed=seed, automated=True)
        seed += 1
        try:
            with contextlib.closing(traffic.stream()) as steps:
                while not stop.is_set() and traffic.alone():
                    next(steps)
                    stop.wait(seconds)
        except UnreachableError:
            raise  # the chain has ended
        except (OperationError, RpcError) as surprise:
            log.info("business_begun_anew cause=%s", surprise)
            stop.wait(seconds)


class _Beside:
    """Does something in a thread beside, until it is told to stop."""

    def __init__(self, work: Callable[[], None], stop: threading.Event) -> None:
        self.work, self.stop = work, stop
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        """Do it; the chain's end is also an end."""
        try:
            self.work()
        except Exception:
            if not self.stop.is_set():
                log.exception("demo_thread_ended")

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join(10)


def _settle(
    folder: Path,
    deployment: Deployment,
    keys: Mapping[str, bytes],
    port: int,
    more: list[str],
    more_secrets: Mapping[str, str],
) -> Settings:
    """Write the demo's settings and read them as any others."""
    addresses = {
        name: contract.address for name, contract in deployment.contracts.items()
    }
    (folder / "abis").mkdir()
    for name in ("TestToken", "PairFactory", "Pair"):
        (folder / "abis" / f"{name}.json").write_text(json.dumps(load_abi(name)))
    path = folder / "chainfold.toml"
    content = [
        f'data_dir = "{folder.resolve()}"',
        DOMAINS,
        deployment.to_settings_toml(),
        _BARE.format(**addresses),
        *more,
        f"[api]\nport = {port}",
        '[redis]\nurl = "none"',
        *(signer_section(name, key) for name, key in keys.items()),
    ]
    path.write_text("\n".join(content) + "\n")
    secrets = {variable_of(name): "0x" + key.hex() for name, key in keys.items()}
    return load_settings(path, {**secrets, **more_secrets})


def _free(port: int, say: Say) -> int:
    if port_is_free(port):
        return port
    say(f"port {port} is taken; using another")
    return free_port()


def _explain(
    settings: Settings, folder: Path, staff: Staff, metadata_hash: str, say: Say
) -> None:
    base = f"http://{settings.api.host}:{settings.api.port}"
    say("")
    say("indexing live. In another terminal:")
    say(f"  curl -s '{base}/api/v1/campaigns?limit=3'")
    say(f"  curl -s '{base}/api/v1/campaigns?stage=funded'")
    say(f"  curl -s '{base}/api/v1/campaigns?as_of=60'")
    say(
        f"  curl -s '{base}/api/v1/events/token_transfer?limit=3'   (ABI only, no code)"
    )
    say(f"  curl -s '{base}/api/v1/authors'   (a Solana program, IDL only, no code)")
    say(f"  curl -s '{base}/api/v1/events/ledger_recorded?limit=3'")
    say(f"  curl -s '{base}/api/v1/settlements?limit=3'   (paid by card)")
    if metadata_hash:
        say(f"  curl -s {base}/metadata/{metadata_hash}.json")
    say(f"  curl -s {base}/health/ready")
    # Out of `make demo` it is in a virtual environment that no shell looks into.
    command = "chainfold" if shutil.which("chainfold") else sys.argv[0]
    say(f"  {command} --config {folder / 'chainfold.toml'} status")
    say(f"  a page of all routes: {base}/docs")
    say(f"  the console, and its page of the treasury: {base}/console/treasury")
    say(f"  sign in as {staff.operator} with the password {staff.password}")
    say("Ctrl-C ends it.")
    say("")
