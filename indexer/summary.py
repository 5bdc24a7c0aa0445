"""Log what was written in one line now and then instead of one for each block."""

import logging
import time
from dataclasses import dataclass, field

from indexer.writer import Written

SUMMARY_SECONDS = 60.0

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Summary:
    """The counts of what was written of a chain since the last line."""

    ranges: int = 0
    blocks: int = 0
    facts: int = 0
    last: int = -1
    write_seconds: float = 0.0
    began_at: float = field(default_factory=time.monotonic)
    reported: bool = False  # the first range is told at once: it shows that it works

    def add(self, name: str, written: Written, lag: int) -> None:
        """Count a range, and log a summary periodically."""
        log.debug(
            "range_written chain=%s blocks=%s facts=%d seconds=%.3f",
            name, written.blocks, written.facts, written.seconds,
        )  # fmt: skip
        self.ranges += 1
        self.blocks += written.blocks.blocks
        self.facts += written.facts
        self.last = written.blocks.last
        self.write_seconds += written.seconds
        if not self.reported or time.monotonic() - self.began_at >= SUMMARY_SECONDS:
            self.tell(name, lag)

    def tell(self, name: str, lag: int) -> None:
        """Log what was written since the last line, if anything was."""
        if self.ranges:
            log.info(
                "blocks_written chain=%s blocks=%d facts=%d last=%d lag=%d ranges=%d "
                "write_seconds=%.3f",
                name, self.blocks, self.facts, self.last, lag, self.ranges,
                self.write_seconds,
            )  # fmt: skip
        self.ranges = self.blocks = self.facts = 0
        self.write_seconds = 0.0
        self.began_at, self.reported = time.monotonic(), True
