from __future__ import annotations

import pytest

from indexer.rpc.limits import RateControl, lowered
from indexer.rpc.refusals import ErrorClass, ErrorKind, classify

TEXTS = [
    (-32600, "block range too high", ErrorKind.RANGE, 1001),
    (-32600, "Batch request length too long", ErrorKind.BATCH, 20),
    (-32600, "incorrect range", ErrorKind.OTHER, None),
    (-32602, "exceed maximum block range: 5000", ErrorKind.RANGE, 5000),
    (-32614, "eth_getLogs is limited to a 10,000 range", ErrorKind.RANGE, 10_000),
    (-32000, "query exceeds max block range 100000", ErrorKind.RANGE, 100_000),
    (-32602, "block range is too wide", ErrorKind.RANGE, None),
    (-32005, "block range too large: maximum allowed is 2000 blocks",
     ErrorKind.RANGE, 2000),
    (-32602, ("You can make eth_getLogs requests with up to a 2K block range and no "
     "limit on the response size"), ErrorKind.BYTES, None),
    (-32600, ("Under the Free tier plan, you can make eth_getLogs requests with up to "
     "a 10 block range."), ErrorKind.RANGE, 10),
    (-32602, ("Log response size exceeded. this block range should work: "
     "[0x1, 0x3e8]"), ErrorKind.RESULTS, None),
    (-32000, "requested too many blocks from 0 to 9999, maximum is set to 2048",
     ErrorKind.RANGE, 2048),
    (-32005, "query returned more than 10000 results", ErrorKind.RESULTS, 10_000),
    (-32005, ("query returned more than 10000 results. Try with this block range "
     "[0x1, 0x2]."), ErrorKind.RESULTS, 10_000),
    (-32602, "query exceeds max results 20000, retry with the range 100-599",
     ErrorKind.RESULTS, 20_000),
    (-32000, "logs matched by query exceeds limit of 10000", ErrorKind.RESULTS, 10_000),
    (-32003, "response too large", ErrorKind.BYTES, None),
    (-32008, "Response is too big", ErrorKind.BYTES, None),
    (-32600, "batch too large", ErrorKind.BATCH, None),
    (-32000, "batch limit 100 exceeded (can increase by --rpc.batch.limit)",
     ErrorKind.BATCH, 100),
    (-32010, "The batch request exceeds the limit of 10 requests", ErrorKind.BATCH, 10),
    (429, "Too Many Requests", ErrorKind.RATE, None),
    (-32005, "daily request count exceeded, request rate limited",
     ErrorKind.RATE, None),
    (429, "Your app has exceeded its compute units per second capacity.",
     ErrorKind.RATE, None),
    (-32005, "limit exceeded", ErrorKind.RATE, None),
    (-32000, "header not found", ErrorKind.MISSING, None),
    (-32000, "block out of range", ErrorKind.MISSING, None),
    (-32000, ("One of the blocks specified in filter (fromBlock, toBlock or blockHash) "
     "cannot be found."), ErrorKind.MISSING, None),
    (-32000, "block range extends beyond current head block", ErrorKind.MISSING, None),
    (-39001, "Unknown block", ErrorKind.MISSING, None),
    (-32601, "the method eth_getProof does not exist/is not available",
     ErrorKind.METHOD, None),
    (3, "execution reverted: NotIssuer()", ErrorKind.REVERTED, None),
    (-32002, "request timed out", ErrorKind.TIMEOUT, None),
    (-32603, "internal error", ErrorKind.OTHER, None),
    (-32602, "exceed max addresses or topics per search position",
     ErrorKind.TERMS, None),
    (-32005, "exceed max topics", ErrorKind.TERMS, None),
    (-32602, "please specify less number of address", ErrorKind.TERMS, None),
    (-32602, "number of addresses exceeds the limit of 50", ErrorKind.TERMS, 50),
    (-32600, "eth_getLogs supports up to 100 addresses", ErrorKind.TERMS, 100),
    (-32001, "Unauthorized, invalid api key", ErrorKind.DENIED, None),
    (-32002, "invalid project id", ErrorKind.DENIED, None),
    (-32000, "project ID does not exist", ErrorKind.DENIED, None),
    (-32600, "Must be authenticated!", ErrorKind.DENIED, None),
    (-32052, "API key is not allowed to access blockchain", ErrorKind.DENIED, None),
    (3, "execution reverted: Unauthorized()", ErrorKind.REVERTED, None),
]  # fmt: skip


@pytest.mark.parametrize(("code", "text", "refusal", "limit"), TEXTS)
def test_a_refusal_is_read_from_its_words(code, text, refusal, limit):
    assert ErrorClass(refusal, limit) == classify(code, text)


def test_a_limit_without_a_number_is_half_of_what_was_tried():
    assert lowered(None, tried=1000, named=None) == 500
    assert lowered(None, tried=1, named=None) == 1


def test_a_named_limit_that_explains_nothing_is_not_believed():
    assert lowered(None, tried=1000, named=5000) == 500
    assert lowered(300, tried=1000, named=900) == 300


def test_there_is_no_rate_until_one_is_refused_and_then_it_recovers_slowly():
    now = [100.0]
    rate = RateControl(lambda: now[0])
    assert {rate.reserve() for _ in range(50)} == {0.0}

    now[0] += 0.5
    rate.refused()
    slowed = rate.per_second
    waits = [rate.reserve() for _ in range(3)]
    for _ in range(200):
        rate.succeeded()

    assert slowed == 50.0
    assert waits == [0.0, pytest.approx(0.02), pytest.approx(0.04)]
    assert 50 < rate.per_second < 80
