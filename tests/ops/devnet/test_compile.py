"""What lies in ``abis/`` is what the sources say."""

from __future__ import annotations

from pathlib import Path

import pytest

import abis
from devnet import compile as compiler
from devnet import describe
from devnet.codec import Interface

pytestmark = [pytest.mark.chain, pytest.mark.slow]

PUSH0, PUSH1, PUSH32 = 0x5F, 0x60, 0x7F


@pytest.fixture(scope="module")
def artifacts() -> dict[Path, compiler.Artifact]:
    return compiler.compile_contracts()


def test_artifacts_are_rebuilt_byte_for_byte(
    artifacts: dict[Path, compiler.Artifact],
) -> None:
    rebuilt = {path: compiler.render(a) for path, a in artifacts.items()}
    kept = {
        path.relative_to(compiler.ABIS): path.read_text()
        for domain in compiler.DOMAINS.values()
        for path in (compiler.ABIS / domain).glob("*.json")
    }

    assert set(kept) == set(rebuilt)
    for path, text in rebuilt.items():
        assert kept[path] == text, f"{path}: run python -m devnet.compile"


def test_code_runs_on_a_chain_without_push0() -> None:
    """Polygon Edge knows no PUSH0."""
    names = [path.stem for path in compiler.ABIS.glob("*/*.json")]
    compiled = [name for name in names if "bytecode" in abis.load_artifact(name)]
    assert {"CampaignFactory", "FundEscrow"} <= set(compiled)
    for name in compiled:
        code = bytes.fromhex(abis.load_artifact(name)["bytecode"].removeprefix("0x"))
        position = 0
        while position < len(code):
            opcode = code[position]
            assert opcode != PUSH0, name
            data = opcode - PUSH1 + 1 if PUSH1 <= opcode <= PUSH32 else 0
            position += 1 + data


def test_contracts_page_says_what_the_abis_say(
    artifacts: dict[Path, compiler.Artifact],
) -> None:
    page = describe.PAGE.read_text()

    assert page == compiler.render_page(artifacts, page)
    assert "FundsReleased(uint256 grossRaised," in page


def test_reverts_carry_custom_errors_not_strings() -> None:
    for source in compiler.CONTRACTS.rglob("*.sol"):
        text = source.read_text()
        assert "require(" not in text, source
        assert 'revert("' not in text, source


def test_sources_that_do_not_compile_say_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "Broken.sol").write_text("pragma solidity ^0.8.0; contract Broken {")
    monkeypatch.setattr(compiler, "CONTRACTS", tmp_path)

    with pytest.raises(compiler.CompileError, match="Broken.sol:1"):
        compiler.compile_contracts()


@pytest.mark.parametrize(
    ("contract", "event", "topic"),
    [
        (
            "IssuerRegistry",
            "IssuerRegistered",
            "0xb90fab3f509b58e3f490dae1e5c582e8fde219064c5b98889d1a22f99fd38e84",
        ),
        (
            "CampaignFactory",
            "CampaignCompleted",
            "0x98daf57b74203c9ac8a332f2411cd5aeabdf57af81d9b456ad54674a33c04aa9",
        ),
        (
            "CampaignImplementation",
            "CampaignCompleted",
            "0x859d518b65d31d8989ffc91d888650afea53e2a43dff5b6594f67e8a438a29c9",
        ),
        (
            "NFTShareCertificate",
            "Transfer",
            "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef",
        ),
        (
            "NFTShareCertificate",
            "CertificateRevoked",
            "0x65032d3cc955c731f4c2a4178f663dbcc6c08e5163bad5a3149773f3894548d3",
        ),
    ],
)
def test_unchanged_events_keep_their_topics(
    contract: str, event: str, topic: str
) -> None:
    interface = Interface(contract, abis.load_abi(contract))
    assert interface.topic(event) == topic


def test_unknown_contract_lists_those_that_exist() -> None:
    with pytest.raises(abis.UnknownContract, match="CampaignFactory"):
        abis.load_abi("CampaignFactori")
