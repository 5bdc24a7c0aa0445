from __future__ import annotations

from indexer.evm.spans import FIRST_SPAN, MAX_SPAN, TARGET_BYTES, SpanControl


def test_dense_blocks_are_asked_for_a_few_at_a_time():
    spans = SpanControl()
    assert spans.next(max_range=None, max_results=None) == FIRST_SPAN

    spans.observe(blocks=64, logs=16_000, size_bytes=64 * 170_000)

    assert spans.next(max_range=None, max_results=None) == TARGET_BYTES // 170_000


def test_empty_blocks_are_asked_for_in_ever_longer_ranges():
    spans = SpanControl()
    found = []
    for _ in range(6):
        blocks = spans.next(max_range=None, max_results=None)
        found.append(blocks)
        spans.observe(blocks=blocks, logs=0, size_bytes=40)

    assert found == [64, 256, 1024, 4096, MAX_SPAN, MAX_SPAN]


def test_what_the_endpoint_gives_is_never_passed():
    spans = SpanControl()
    spans.observe(blocks=1000, logs=50_000, size_bytes=1000)

    assert spans.next(max_range=1001, max_results=None) == 1001
    assert spans.next(max_range=None, max_results=10_000) == 160
    assert spans.next(max_range=None, max_results=1) == 1


def test_a_refused_range_is_halved():
    spans = SpanControl()
    spans.shrink(64)

    assert spans.next(max_range=None, max_results=None) == 32
