"""Hashes and seals of recorded Polygon Edge blocks, and votes on real networks."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from db.proofs import HeaderProof, Proof
from helpers.recorded import VERSIONS, block_of, header_of, recorded, vectors, votes
from indexer.errors import Retryable
from indexer.evm import ibft
from indexer.evm.headers import HeaderHash, form_of, hash_of
from indexer.evm.ibft import BadSeal, Validator, ValidatorState, check_seals, quorum
from indexer.evm.messages import unhex
from indexer.evm.sealing import PINNED, Sealing
from indexer.rpc.messages import Malformed

HASHED = (
    "parentHash sha3Uncles stateRoot transactionsRoot receiptsRoot logsBloom"
    " difficulty number gasLimit gasUsed timestamp miner"
).split()


def all_vectors():
    return [
        pytest.param(vector, id=f"{version}-{int(vector['block']['number'], 16)}")
        for version in VERSIONS
        for vector in vectors(version)
    ]


def sealed_vectors():
    return [p for p in all_vectors() if int(p.values[0]["block"]["number"], 16)]


def hashed(block):
    return block.with_proof(Proof(HeaderProof.HASH))


@pytest.mark.parametrize("vector", all_vectors())
def test_the_hash_of_a_recorded_header_is_recomputed(vector):
    header = header_of(vector["block"])

    assert hash_of(header, HeaderHash.IBFT).hex() == vector["headerHash"]
    assert form_of(header) is HeaderHash.IBFT
    assert hash_of(header, HeaderHash.ETHEREUM).hex() != vector["headerHash"]


@pytest.mark.parametrize("vector", sealed_vectors())
def test_the_seals_of_a_recorded_block_are_those_of_its_validators(vector):
    header = header_of(vector["block"])
    extra = ibft.read_extra(unhex(header.extra_data))

    assert check_seals(unhex(header.hash), extra).hex() == vector["proposer"]


def changed(text, at):
    """The hex text with another byte at a place."""
    data = bytearray(unhex(text))
    data[at] ^= 0x01 + at % 0xFF
    return "0x" + data.hex()


def refuses(block, due):
    """Whether a block is refused, by its hash or by its seals."""
    try:
        header = header_of(block)
        right = hash_of(header, HeaderHash.IBFT) == unhex(header.hash)
    except Malformed:
        return True
    if not right:
        return True
    state = ValidatorState(int(block["number"], 16) - 1, PINNED, due)
    sealing = Sealing(state, required=True)
    try:
        found = sealing.prove([hashed(block_of(block))])
    except Retryable:
        return True
    return found[0].header.proof.header is not HeaderProof.SEALS


@pytest.mark.parametrize("version", VERSIONS)
def test_every_changed_byte_of_a_header_or_its_seals_is_refused(version):
    vector = vectors(version)[-1]["block"]
    due = ibft.read_extra(unhex(vector["extraData"])).validators
    plain = {key: value for key, value in vector.items() if key != "transactions"}

    assert not refuses(plain, due)
    for key in (*HASHED, "hash", "mixHash", "nonce"):
        text = plain[key] if len(plain[key]) % 2 == 0 else "0x0" + plain[key][2:]
        for at in range(len(unhex(text))):
            altered = plain | {key: changed(text, at)}
            assert refuses(altered, due), (key, at)
    for at in range(len(unhex(plain["extraData"]))):
        altered = plain | {"extraData": changed(plain["extraData"], at)}
        assert refuses(altered, due), ("extraData", at)


def test_two_nodes_tell_other_seals_for_one_block_and_both_are_right():
    """Each node stores the seals that it heard of, so `extraData` is never compared."""
    one = recorded("v090_ecdsa_block_2")
    other = recorded("v090_ecdsa_block_2_node2")

    assert one["hash"] == other["hash"]
    assert one["extraData"] != other["extraData"]
    due = ibft.read_extra(unhex(one["extraData"])).validators
    assert not refuses(one, due)
    assert not refuses(other, due)


@pytest.mark.parametrize("validators", [4, 5, 7])
def test_a_set_changed_by_votes_is_followed_from_block_0(validators):
    blocks = [hashed(block) for block in votes(validators)]
    sets = [len(ibft.read_extra(unhex(b.sealed.extra_data)).validators) for b in blocks]

    assert {validators, validators + 1} == set(sets)
    sealing = Sealing(None, required=True)
    for block in blocks:  # one at a time, as near the head
        (proved,) = sealing.prove([block])
        assert proved.header.proof.header is HeaderProof.SEALS
    assert len(sealing.after(blocks[-1].height).validators) == sets[-1]


@pytest.mark.parametrize("validators", [4, 5, 7])
def test_a_set_that_too_few_votes_made_is_refused(validators):
    """Each vote that made the change is taken away: then nothing explains the set."""
    blocks = [hashed(block) for block in votes(validators)]
    sets = [ibft.read_extra(unhex(b.sealed.extra_data)).validators for b in blocks]
    change = next(at for at, (a, b) in enumerate(pairwise(sets), 1) if a != b)
    deciding = blocks[change - 1]
    state = ValidatorState(change - 2, PINNED, sets[change - 1])
    with_vote = state.next(
        deciding.header.hash,
        ibft.read_extra(unhex(deciding.sealed.extra_data)),
        unhex(deciding.sealed.miner),
        unhex(deciding.sealed.nonce),
    )

    assert len(with_vote.votes) == 1
    sealing = Sealing(with_vote, required=True)
    with pytest.raises(Retryable, match="`validators_block`"):
        sealing.prove([blocks[change]])


def test_where_no_votes_explain_a_set_the_proof_ends_at_the_hash(caplog):
    blocks = [hashed(block) for block in votes(4)]
    named = ibft.read_extra(unhex(blocks[17].sealed.extra_data)).validators
    other = (*named[:3], Validator(b"\x05" * 20))
    state = ValidatorState(16, PINNED, other)

    found = Sealing(state, required=False).prove(blocks[17:20])

    assert [b.header.proof.header for b in found] == [HeaderProof.HASH] * 3
    assert "validator_change_unexplained block=17" in caplog.text


def test_a_pinned_set_goes_on_as_one_followed_from_block_0():
    blocks = [hashed(block) for block in votes(5)]
    sets = [ibft.read_extra(unhex(b.sealed.extra_data)).validators for b in blocks]
    sealing = Sealing(ValidatorState(19, PINNED, sets[20]), required=False)

    found = sealing.prove(blocks[20:])

    assert {b.header.proof.header for b in found} == {HeaderProof.SEALS}


def test_the_state_survives_its_json():
    blocks = [hashed(block) for block in votes(4)]
    sealing = Sealing(None, required=True)
    sealing.prove(blocks[:14])
    state = sealing.after(13)

    assert state.votes
    assert ValidatorState.from_json(state.height, state.hash, state.as_json()) == state


def test_a_block_that_does_not_follow_on_the_state_is_not_proved_by_seals():
    blocks = [hashed(block) for block in votes(4)]
    sealing = Sealing(None, required=False)
    sealing.prove(blocks[:5])

    (gap,) = sealing.prove(blocks[6:7])
    other = replace(blocks[5], header=replace(blocks[5].header, parent_hash=b"x" * 32))
    (fork,) = sealing.prove([other])

    assert gap.header.proof.header is HeaderProof.HASH
    assert fork.header.proof.header is HeaderProof.HASH


def test_the_audit_of_history_keeps_its_state_beside_those_of_the_head(monkeypatch):
    """The head's states are the higher ones; those of the audit are as new."""
    monkeypatch.setattr("indexer.evm.sealing.KEPT_STATES", 3)
    blocks = [hashed(block) for block in votes(5)]
    named = ibft.read_extra(unhex(blocks[20].sealed.extra_data)).validators
    sealing = Sealing(ValidatorState(19, PINNED, named), required=False)

    for at in range(10):  # the head from block 20 on, history from block 0 on
        for block in (blocks[20 + at], blocks[at]):
            (proved,) = sealing.prove([block])
            assert proved.header.proof.header is HeaderProof.SEALS


def test_seals_of_too_few_are_refused():
    header = header_of(vectors("v090_ecdsa")[-1]["block"])
    extra = ibft.read_extra(unhex(header.extra_data))
    few = replace(extra, committed=list(extra.committed)[:2])
    twice = replace(extra, committed=[extra.committed[0]] * 3)

    with pytest.raises(BadSeal, match="2 of 4 validators sealed it, 3 must"):
        check_seals(unhex(header.hash), few)
    with pytest.raises(BadSeal, match="counted twice"):
        check_seals(unhex(header.hash), twice)


@pytest.mark.parametrize(
    ("validators", "needed"),
    [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 4), (7, 5), (10, 7), (100, 67)],
)
def test_a_quorum_is_two_thirds_rounded_up(validators, needed):
    assert quorum(validators) == needed


@pytest.mark.parametrize(
    "extra",
    [b"", bytes(32), bytes(32) + b"\xc0", bytes(32) + b"\xc3\x80\x80\x80",
     bytes(32) + b"\xf8" * 9, bytes(32) + b"\xc1" * 5000],
)  # fmt: skip
def test_what_is_no_extra_data_is_refused_in_words(extra):
    with pytest.raises(ibft.NotIbft):
        ibft.read_extra(extra)
