"""Choose the number of blocks of a question for answers of one to two megabytes.

Parsing is two to three times slower on answers ten times that size, and smaller ones
cost round trips. The density of logs is learnt from each answer and forgotten slowly.
"""

TARGET_BYTES = 1_500_000
FIRST_SPAN = 64
MAX_SPAN = 10_000


class SpanControl:
    """The span of the next question."""

    def __init__(
        self, *, target_bytes: int = TARGET_BYTES, first_span: int = FIRST_SPAN
    ) -> None:
        self._target_bytes = target_bytes
        self._bytes_per_block: float | None = None
        self._logs_per_block = 0.0
        self._span = first_span
        self._answer_bytes: float | None = None

    def next(self, *, max_range: int | None, max_results: int | None) -> int:
        """Blocks to ask for, within what the endpoint gives."""
        span = self._span
        if max_range is not None:
            span = min(span, max_range)
        if max_results is not None and self._logs_per_block > 0:
            span = min(span, int(0.8 * max_results / self._logs_per_block))
        return max(span, 1)

    def parts_in(self, memory_bytes: int) -> int:
        """Return how many answers fit into the memory; one until a size is known."""
        if self._answer_bytes is None:
            return 1
        size = max(self._answer_bytes, self._target_bytes / 4)
        return max(int(memory_bytes / size), 1)

    def observe(self, *, blocks: int, logs: int, size_bytes: int) -> None:
        """An answer came: go half way to its density, and at most fourfold the span."""
        faded = 0.9 * (self._answer_bytes or 0.0)
        self._answer_bytes = max(size_bytes, faded)
        density = size_bytes / blocks
        if self._bytes_per_block is None or density > self._bytes_per_block:
            self._bytes_per_block = density
            self._logs_per_block = logs / blocks
        else:
            self._bytes_per_block = (self._bytes_per_block + density) / 2
            self._logs_per_block = (self._logs_per_block + logs / blocks) / 2
        wanted = int(self._target_bytes / max(self._bytes_per_block, 1.0))
        self._span = max(1, min(wanted, 4 * max(self._span, blocks), MAX_SPAN))

    def shrink(self, blocks: int) -> None:
        """A question about so many blocks was too large."""
        self._span = max(1, min(self._span, blocks // 2))
