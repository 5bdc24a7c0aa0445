"""From settings to sources, for each kind of chain.

A kind is a module here: `ChainKind` says what it brings.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from sqlalchemy import Engine

from db.registry import Registry
from db.sources import SourceRow
from indexer.chain import Chain
from indexer.source import Child, Source
from indexer.streams import Wanted
from ops.chains import evm, solana
from ops.settings import SOLANA, ChainSettings, Settings


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

    async def begin(self, chain: Chain, said: ChainSettings, row: SourceRow, /) -> None:
        """Do what is to be done once a chain is opened and its block 0 is right."""
        ...


KINDS: dict[str, ChainKind] = {"eip155": evm, SOLANA: solana}


def kind_of(chain: ChainSettings) -> ChainKind:
    """The kind of a chain; the settings take no chain of another."""
    return KINDS[chain.namespace]
