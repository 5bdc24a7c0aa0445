"""Children that are announced in the range that is being read."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from indexer.evm.reader import ReadPlan


@dataclass(slots=True)
class NewChildren:
    """The children found while a range is read, where questions name addresses."""

    asked: set[str] | None  # addresses that were or will be asked for; None: all
    contracts: Collection[str]  # the contracts whose logs are wanted
    addresses: list[str] = field(default_factory=list)

    @classmethod
    def under(cls, plan: ReadPlan, contracts: Collection[str]) -> "NewChildren":
        """Return the collector for a range read by this plan."""
        named = plan.filter.addresses
        return cls(None if named is None else set(named), contracts)

    def add(self, addresses: Iterable[str]) -> None:
        """Ask for these too, where they were not followed yet when it was planned."""
        asked = self.asked or set()
        new = [address for address in addresses if address not in asked]
        asked.update(new)
        self.addresses += new
