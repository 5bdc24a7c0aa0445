"""EVM chains: their sources, as the settings describe them."""

import logging
from collections.abc import Sequence

from sqlalchemy import Engine

from db import validators
from db.coverage import Stream
from db.registry import Registry
from db.sources import SourceRow
from db.validators import ValidatorSet
from indexer.chain import Chain
from indexer.errors import IndexerError
from indexer.evm.filters import FollowedContract
from indexer.evm.finality import Depth, Ibft, Tag
from indexer.evm.finality import Finality as EvmFinality
from indexer.evm.ibft import Validator, ValidatorState
from indexer.evm.proofs import ProofPolicy
from indexer.evm.sealing import PINNED
from indexer.evm.source import EvmSource
from indexer.renumber import MIXED, POSITIONS, sample_positions
from indexer.source import Child
from indexer.streams import Wanted
from ops.chains.evm.client import evm_client
from ops.errors import OperationError
from ops.settings import ChainSettings, Finality, LogQuery, Settings

log = logging.getLogger(__name__)
REFETCH = "chainfold migrate --refetch"


def range_blocks(settings: Settings) -> int:
    """The most blocks that are read in one range: as the settings say."""
    return settings.limits.range_blocks


def open_source(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    plan: Wanted,
    row: SourceRow,
    children: Sequence[Child],
) -> EvmSource:
    """The source of a chain that is registered as `row`, with its known children."""
    with engine.connect() as connection:
        proved = validators.load(connection, row.id)
    followed = [
        FollowedContract(
            contract, plan.addresses.get(contract.name, {}), registry.events_of(name)
        )
        for name, contract in registry.contracts.items()
        if name not in plan.absent
    ]
    return EvmSource(
        chain.name,
        chain.id,
        evm_client(settings, chain, engine),
        followed,
        _finality(chain),
        mode="all" if chain.logs is LogQuery.ALL else "filtered",
        policy=ProofPolicy(chain.verify_bloom, chain.verify_receipts, chain.require),
        traits=row.traits,
        validators=_validators(chain, proved),
        watch_senders=plan.watch_senders,
        known_children=children,
    )


async def keep_comparing(
    settings: Settings,
    chain: ChainSettings,
    engine: Engine,
    registry: Registry,
    streams: Sequence[Stream],
) -> None:
    """Do nothing: blocks of EVM chains are proved (`indexer.audit`), not compared."""


async def keep_listening(chain: Chain, config: ChainSettings) -> None:
    """Do nothing: the blocks of EVM chains are polled for."""


async def begin(chain: Chain, settings: ChainSettings, row: SourceRow) -> None:
    """See once whether facts were numbered before the chain kept one way of counting.

    When no node tells it is left to the next start.
    """
    if settings.logs is not LogQuery.FILTERED or POSITIONS in row.traits:
        return
    try:
        if await sample_positions(chain) == MIXED:
            log.warning("positions_mixed chain=%s remedy=%s", chain.name, REFETCH)
    except IndexerError as error:
        log.warning("positions_unknown chain=%s cause=%s", chain.name, error)


def ordinals(chain: ChainSettings) -> str:
    """Return how a chain's facts are numbered inside a block."""
    return "rank" if chain.logs is LogQuery.ALL else "log_index"


def _validators(
    chain: ChainSettings, proved: ValidatorSet | None
) -> ValidatorState | None:
    """Return the validators to continue from: the pinned set, or a later proved one.

    Where block 0 is read and nothing is pinned, the source finds its anchor there.
    """
    pinned = chain.validators_block
    if pinned is not None and (proved is None or proved.height < pinned):
        due = tuple(Validator(key.address, key.bls_key) for key in chain.validators)
        return ValidatorState(pinned, PINNED, due)
    if proved is None:
        return None
    return ValidatorState.from_json(proved.height, proved.hash, proved.state)


def _finality(chain: ChainSettings) -> EvmFinality:
    if chain.finality is Finality.IBFT:
        return Ibft()
    if chain.finality is Finality.TAG:
        return Tag()
    if chain.finality is Finality.DEPTH and chain.finality_depth is not None:
        return Depth(chain.finality_depth)
    raise OperationError(
        f'[chains.{chain.name}] finality = "{chain.finality.value}" is not for EVM '
        'chains: write "ibft", "tag" or "depth"'
    )
