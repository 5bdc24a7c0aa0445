"""The names that IPFS gives files, as other implementations give them."""

import pytest

from commands.cid import CHUNK, LINKS, cid_of

THREE = b"".join(bytes([number]) * CHUNK for number in (1, 2, 3))
FRAMES = b"".join(
    bytes([n]) * min(14418, 144177 - (n - 1) * 14418) for n in range(1, 11)
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
        (
            "rasen 螺旋\n".encode(),
            "bafkreielxn6z4bf6xlhfe3q57dd6tvgjl6yycsvzifm55lhie4ueup3ova",
        ),
    ],
)
def test_a_file_of_one_chunk_is_a_raw_block(content, expected):
    assert expected == cid_of(content)


@pytest.mark.parametrize(
    ("content", "chunk", "expected"),
    [
        (THREE, CHUNK, "bafybeiegda62p2cdi5sono3h3hqjnxwc56z4nocynrj44rz7rtc2p246cy"),
        (FRAMES, 65535, "bafybeiduffmtppi4cwa6olo3ggmoehvtdtcd47y6ddoodhyvcv7y3zvgnq"),
        (
            b"this file does not have much content\n",
            CHUNK,
            "bafybeidequ5soq6smzafv4lb76i5dkvl5fzgvrxz4bmlc2k4dkikklv2j4",
        ),
    ],
)
def test_nodes_are_encoded_as_others_encode_them(content, chunk, expected):
    """The vectors of another implementation, which wraps its leaves in nodes too."""
    assert expected == cid_of(content, chunk=chunk, raw_leaves=False)


def test_the_tree_grows_by_levels():
    """One chunk more than a node may link to makes another level and another name."""
    full, more = bytes(LINKS), bytes(LINKS + 1)
    names = {cid_of(each, chunk=1) for each in (full, more, bytes(LINKS * LINKS + 1))}

    assert 3 == len(names)
    assert all(name.startswith("bafybei") for name in names)


def test_one_byte_more_than_a_chunk_makes_a_tree():
    assert cid_of(bytes(CHUNK)).startswith("bafkrei")
    assert cid_of(bytes(CHUNK + 1)).startswith("bafybei")
