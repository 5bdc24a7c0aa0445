"""Solana clusters: their sources, as the settings describe them."""

import itertools
from collections.abc import Sequence

from sqlalchemy import Engine

from db.declare import Program
from db.declare.solana.tokens import TOKENS
from db.registry import Registry
from db.sources import SourceRow
from indexer.chain import Chain
from indexer.solana.assemble import FollowedProgram
from indexer.solana.listing import Listing
from indexer.solana.source import SolanaSource
from indexer.solana.waking import Waker
from indexer.source import Child
from indexer.streams import Wanted
from ops.chains.solana.client import solana_client
from ops.settings import ChainSettings, Settings

# A final range costs a request or two beside its transactions, however long it is.
SLOTS_A_BLOCK = 50


def ordinals(chain: ChainSettings) -> str:
    """Return the way in which facts are numbered: by transaction, then inside it."""
    return "transaction"


def narrowed_to(
    settings: Settings, chain: ChainSettings, name: str
) -> tuple[bytes, ...]:
    """Return where a program is that is followed by accounts; nothing for another."""
    program = settings.programs.get(name)
    if program is None or not program.accounts.get(chain.name):
        return ()
    return program.addresses.get(chain.name, ())


def followed_wallets(chain: ChainSettings) -> dict[bytes, int]:
    """Return the wallets that are followed, each with its first slot."""
    return {
        each.address: chain.start_block if each.start is None else each.start
        for each in itertools.chain(*chain.wallets.values())
    }


def range_blocks(settings: Settings) -> int:
    """The most slots that are read in one range: most have nothing that is followed."""
    return SLOTS_A_BLOCK * settings.limits.range_blocks


def open_source(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    plan: Wanted,
    row: SourceRow,
    children: Sequence[Child],
) -> SolanaSource:
    """The source of a cluster that is registered as `row`."""
    followed = [
        FollowedProgram(
            emitter,
            plan.addresses.get(name, {}),
            registry.events_of(name),
            narrowed_to(settings, chain, name),
            plan.wallets if name == TOKENS else {},
        )
        for name, emitter in registry.emitters.items()
        if isinstance(emitter, Program) and name not in plan.absent
    ]
    client = solana_client(settings, chain, engine)
    return SolanaSource(chain.name, client, followed, Listing(engine, row.id))


async def keep_listening(chain: Chain, config: ChainSettings) -> None:
    """Wake the follower by notifications, where the settings name a WebSocket."""
    if config.ws and isinstance(chain.source, SolanaSource):
        addresses = chain.source.addresses()
        await Waker(chain.name, config.ws, addresses, chain.woken).run()


async def begin(chain: Chain, config: ChainSettings, row: SourceRow) -> None:
    """Do nothing: a cluster's positions never need to be looked at."""
