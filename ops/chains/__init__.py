"""From settings to sources, for each kind of chain.

A kind is a module here: `ChainKind` says what it brings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import Engine

from commands.lane import Lane
from db.coverage import Stream
from db.registry import Registry
from db.sources import SourceRow
from indexer.chain import Chain
from indexer.source import Child, Source
from indexer.streams import Wanted
from ops.chains import evm, solana
from ops.settings import SOLANA, ChainSettings, Settings, SignerSettings


class ChainKind(Protocol):
    """The part of a kind of chain that knows the settings."""

    def ordinals(self, chain: ChainSettings, /) -> str:
        """The way in which facts are numbered inside a block (`control.source`)."""
        ...

    def range_blocks(self, settings: Settings, /) -> int:
        """The most blocks that are read in one range."""
        ...

    def open_source(
        self,
        settings: Settings,
        chain: ChainSettings,
        engine: Engine,
        registry: Registry,
        plan: Wanted,
        row: SourceRow,
        children: Sequence[Child],
        /,
    ) -> Source:
        """The source of a chain that is registered as `row`, with known children."""
        ...

    def head_of(self, settings: Settings, chain: ChainSettings, /) -> int:
        """The head of a chain with one endpoint; raises IndexerError."""
        ...

    def endpoint_checks(
        self, settings: Settings, chain: ChainSettings, head: int, /
    ) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield what `doctor` checks of one endpoint, beside its head: name, check."""
        ...

    def address_checks(
        self,
        settings: Settings,
        chain: ChainSettings,
        addresses: Mapping[str, Mapping[bytes, int]],
        engine: Engine | None,
        registry: Registry,
        /,
    ) -> Iterator[tuple[str, Callable[[], str]]]:
        """Yield what `doctor` checks of the followed addresses, at one endpoint."""
        ...

    def open_lane(
        self,
        settings: Settings,
        chain: ChainSettings,
        engine: Engine,
        at_once: Engine,
        registry: Registry,
        plan: Sequence[Stream],
        /,
    ) -> Lane:
        """Return the lane of a chain, which is registered if it was not."""
        ...

    def open_worker(
        self,
        settings: Settings,
        config: SignerSettings,
        chain: ChainSettings,
        engine: Engine,
        registry: Registry,
        clock: Callable[[], datetime],
        /,
    ) -> Callable[[], None]:
        """Return one pass over a signer's commands; the signer is registered.

        Raises OperationError, SigningRefused and NodeAway.
        """
        ...

    def check_signer(
        self, settings: Settings, config: SignerSettings, registry: Registry, /
    ) -> str:
        """Return whose key a signer has.

        Raises OperationError for rules that allow what is not there, and for a key that
        cannot be opened; SigningRefused too.
        """
        ...

    async def begin(
        self, chain: Chain, config: ChainSettings, row: SourceRow, /
    ) -> None:
        """Do what is to be done once a chain is opened and its block 0 is right."""
        ...

    async def keep_listening(self, chain: Chain, config: ChainSettings, /) -> None:
        """Wake the follower when a node says that there may be something new.

        Returns at once where no node is listened to: polling finds everything.
        """
        ...

    async def keep_comparing(
        self,
        settings: Settings,
        chain: ChainSettings,
        engine: Engine,
        registry: Registry,
        streams: Sequence[Stream],
        /,
    ) -> None:
        """Compare what was read with the chain from time to time, and log differences.

        Returns at once where there is nothing to compare.
        """
        ...


KINDS: dict[str, ChainKind] = {"eip155": evm, SOLANA: solana}


def kind_of(chain: ChainSettings) -> ChainKind:
    """The kind of a chain; the settings take no chain of another."""
    return KINDS[chain.namespace]
