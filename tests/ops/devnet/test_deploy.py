"""Deploying: everything in its place, owned by whom it should be."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from eth_utils.crypto import keccak

from devnet.anvil import Anvil, AnvilOptions
from devnet.deploy import Deployment, deploy, dev_account
from devnet.run import up
from examples.crowdfunding.traffic import Traffic
from helpers.anvil import ETHER, World

pytestmark = pytest.mark.chain


def test_up_writes_what_is_needed_to_follow_the_chain(tmp_path: Path) -> None:
    anvil, deployment = up(chain_id=4242, out_dir=tmp_path)
    anvil.stop()

    settings = tomllib.loads((tmp_path / "chainfold.toml").read_text())
    chain = settings["chains"]["devnet"]
    assert chain["id"] == "eip155:4242"
    assert chain["rpc"] == [anvil.url]
    assert (chain["finality"], chain["start_block"]) == ("ibft", 0)
    assert set(chain["contracts"]) == {
        "IssuerRegistry",
        "CampaignFactory",
        "NFTShareCertificate",
        "FundEscrow",
        "AnchorRegistry",
    }
    written = (tmp_path / "devnet.json").read_text()
    assert Deployment.from_json(written) == deployment
    assert "never send them anything of value" in written


@pytest.mark.parametrize("block_time", [None, 0.1])
def test_blocks_of_ten_million_gas_are_enough(block_time: float | None) -> None:
    """Polygon Edge's. Anvil loses what a sender has waiting behind a full block."""
    with Anvil(AnvilOptions(gas_limit=10_000_000, block_time=block_time)) as anvil:
        deployment = deploy(anvil.url)

        played = Traffic(deployment, 1, transactions_max=100).play(5)

    assert len(deployment.contracts) == 9
    assert played.transactions > 0


def test_failed_deployment_leaves_no_node(monkeypatch: pytest.MonkeyPatch) -> None:
    started = []

    def fail(url: str, **_: object) -> Deployment:
        started.append(url)
        raise RuntimeError("no")

    monkeypatch.setattr("devnet.run.deploy", fail)
    with pytest.raises(RuntimeError, match="no"):
        up()

    with pytest.raises(ConnectionError):
        deploy(started[0])


def test_accounts_are_the_public_test_accounts(deployed: World) -> None:
    accounts = deployed.chain.accounts()

    assert [dev_account(index) for index in range(3)] == accounts[:3]
    assert list(deployed.deployment.accounts.values()) == accounts[:3]


def test_every_contract_has_code_from_its_first_block(deployed: World) -> None:
    for contract in deployed.deployment.contracts.values():
        before, then = (
            deployed.anvil.rpc("eth_getCode", contract.address, hex(block))
            for block in (contract.first_block - 1, contract.first_block)
        )
        assert before == "0x"
        assert len(then) > 1000


def test_transactions_are_legacy(deployed: World) -> None:
    block = deployed.anvil.rpc("eth_getBlockByNumber", "0x1", True)
    (transaction,) = block["transactions"]
    assert transaction["type"] == "0x0"
    assert "maxFeePerGas" not in transaction


@pytest.mark.parametrize(
    ("contract", "role"),
    [
        ("IssuerRegistry", "REGISTRAR_ROLE"),
        ("CampaignFactory", "OPERATOR_ROLE"),
        ("NFTShareCertificate", "MINTER_ROLE"),
        ("FundEscrow", "CAMPAIGN_ROLE"),
    ],
)
def test_operator_has_its_role(deployed: World, contract: str, role: str) -> None:
    target = deployed.deployment.contract(contract)
    holds = (target, "hasRole", keccak(text=role))

    assert deployed.call(*holds, deployed.operator)
    assert not deployed.call(*holds, deployed.stranger)


def test_second_deployment_stands_beside_the_first(world: World) -> None:
    second = deploy(world.anvil.url)

    first = world.deployment
    addresses = {c.address for d in (first, second) for c in d.contracts.values()}
    assert len(addresses) == 2 * len(first.contracts)


def test_platform_fee_starts_at_two_and_a_half_percent(deployed: World) -> None:
    assert deployed.call(deployed.factory, "platformFeeBps") == 250
    assert deployed.call(deployed.factory, "feeRecipient") == deployed.treasury
    assert deployed.chain.balance(deployed.stranger) == 10**9 * ETHER
