"""Puts the contracts on a development chain and says where they are.

Works on any EVM node: transactions are signed here, legacy (type 0), and sent without
waiting for each other. The keys are the public test keys: never use them where
anything has value.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.hdaccount import key_from_seed, seed_from_mnemonic
from eth_utils.crypto import keccak

from abis import load_artifact
from devnet.anvil import MNEMONIC
from devnet.client import GAS_PRICE, Chain, Contract
from devnet.codec import created_address, interface
from devnet.rpc import Rpc
from ops.errors import OperationError

FEE_BPS = 250
CREATE_GAS = 4_000_000
CALL_GAS = 500_000
TOKEN_SUPPLY = 1_000_000 * 10**18

FOLLOWED = (
    "IssuerRegistry", "CampaignFactory", "NFTShareCertificate", "FundEscrow",
    "AnchorRegistry",
)  # fmt: skip
"""What an indexer is told of; campaigns it finds itself, through the factory."""

KEYS_ARE_PUBLIC = "these keys are public test keys: never send them anything of value"


class DeployError(OperationError):
    """The contracts could not be put on the chain."""


@dataclass(frozen=True, slots=True)
class Deployed:
    """One contract on the chain: its ABI's name, its address, its first block."""

    contract: str
    address: str
    first_block: int


@dataclass(frozen=True, slots=True)
class Deployment:
    """Everything that was put on one chain, and who runs it."""

    network: str
    url: str
    chain_id: int
    contracts: dict[str, Deployed]
    accounts: dict[str, str]

    def contract(self, name: str) -> Contract:
        """Return a deployed contract, ready to be called."""
        deployed = self.contracts[name]
        return Contract(deployed.contract, deployed.address)

    def to_json(self) -> str:
        """Return the text of ``abis/deployments/<network>.json``."""
        content = {"warning": KEYS_ARE_PUBLIC, **asdict(self)}
        return json.dumps(content, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Deployment:
        """Read back what ``to_json`` wrote."""
        content: dict[str, Any] = json.loads(text)
        content.pop("warning", None)
        contracts = {k: Deployed(**v) for k, v in content.pop("contracts").items()}
        return cls(contracts=contracts, **content)

    def to_settings_toml(self) -> str:
        """Return a ``chainfold.toml`` that follows this chain."""
        lines = [
            f"[chains.{self.network}]",
            f'id = "eip155:{self.chain_id}"',
            f'rpc = ["{self.url}"]',
            'finality = "ibft"',
            "start_block = 0",
            "",
            f"[chains.{self.network}.contracts]",
        ]
        for name, deployed in self.contracts.items():
            # Examples are there to be declared by whoever tries that.
            comment = "" if name in FOLLOWED else "# "
            if name != "CampaignImplementation":
                lines.append(f'{comment}{name} = "{deployed.address}"')
        return "\n".join(lines) + "\n"


def dev_key(index: int) -> bytes:
    """Return one of the public test keys."""
    seed = seed_from_mnemonic(MNEMONIC, passphrase="")
    return key_from_seed(seed, f"m/44'/60'/0'/0/{index}")


def dev_account(index: int) -> str:
    """Return the address of one of the public test keys."""
    address: str = Account.from_key(dev_key(index)).address
    return address.lower()


def deploy(
    url: str, *, network: str = "devnet", path: Path | None = None
) -> Deployment:
    """Deploy everything; with a path, also write the deployment there as JSON."""
    deployer = _Deployer(Rpc(url))
    admin, operator, recipient = (dev_account(index) for index in range(3))
    _deploy_crowdfunding(
        deployer, admin=admin, operator=operator, fee_recipient=recipient
    )
    _deploy_examples(deployer)
    deployer.create("AnchorRegistry")
    deployment = Deployment(
        network=network,
        url=url,
        chain_id=deployer.chain_id,
        contracts=deployer.settle(),
        accounts={"admin": admin, "operator": operator, "fee_recipient": recipient},
    )
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(deployment.to_json(), encoding="utf-8")
    return deployment


def _deploy_crowdfunding(
    deployer: _Deployer, *, admin: str, operator: str, fee_recipient: str
) -> None:
    registry = deployer.create("IssuerRegistry", admin)
    implementation = deployer.create("CampaignImplementation")
    factory = deployer.create(
        "CampaignFactory", admin, registry.address, fee_recipient, FEE_BPS
    )
    certificates = deployer.create("NFTShareCertificate", admin, factory.address)
    escrow = deployer.create("FundEscrow", admin)
    deployer.call(factory, "setImplementation", implementation.address)
    deployer.grant(registry, "LOCKER_ROLE", factory.address)
    for contract, role in (
        (registry, "REGISTRAR_ROLE"),
        (factory, "OPERATOR_ROLE"),
        (certificates, "MINTER_ROLE"),
        (escrow, "CAMPAIGN_ROLE"),
    ):
        deployer.grant(contract, role, operator)


def _deploy_examples(deployer: _Deployer) -> None:
    first = deployer.create("TestToken", "Test Birr", "TBIRR", TOKEN_SUPPLY)
    second = deployer.create(
        "TestToken", "Test Gold", "TGOLD", TOKEN_SUPPLY, key="TestTokenB"
    )
    pairs = deployer.create("PairFactory")
    deployer.call(pairs, "createPair", first.address, second.address, gas=CREATE_GAS)


class _Deployer:
    """Sends from the first test key, counting nonces itself."""

    def __init__(self, rpc: Rpc) -> None:
        self._chain = Chain(rpc)
        self._key = dev_key(0)
        self._sender = dev_account(0)
        self._nonce = int(
            rpc.call("eth_getTransactionCount", self._sender, "latest"), 16
        )
        self.chain_id = int(rpc.call("eth_chainId"), 16)
        block = rpc.call("eth_getBlockByNumber", "latest", False)
        self._room = self._block_gas = int(block["gasLimit"], 16)
        self._created: dict[str, tuple[Contract, str]] = {}
        self._called: list[tuple[str, str]] = []
        self._waiting: list[str] = []

    def create(
        self, contract: str, *arguments: object, key: str | None = None
    ) -> Contract:
        code = bytes.fromhex(load_artifact(contract)["bytecode"].removeprefix("0x"))
        data = code + interface(contract).encode_constructor(*arguments)
        made = Contract(contract, created_address(self._sender, self._nonce))
        self._created[key or contract] = (made, self._send(None, data, CREATE_GAS))
        return made

    def call(
        self, to: Contract, function: str, *arguments: object, gas: int = CALL_GAS
    ) -> None:
        encoded = to.interface.encode_call(function, *arguments)
        data = bytes.fromhex(encoded.removeprefix("0x"))
        self._called.append((f"{to.name}.{function}", self._send(to, data, gas)))

    def grant(self, on: Contract, role: str, account: str) -> None:
        self.call(on, "grantRole", keccak(text=role), account)

    def settle(self) -> dict[str, Deployed]:
        """Wait for everything sent, and say where each contract is."""
        contracts = {}
        for key, (made, transaction) in self._created.items():
            receipt = self._chain.receipt(transaction)
            if (
                not receipt.succeeded
                or (receipt.contract or "").lower() != made.address
            ):
                raise DeployError(
                    f"{key} was not created ({receipt.gas_used} gas used): "
                    "does the chain accept contracts of 10 kB, without PUSH0?"
                )
            contracts[key] = Deployed(made.name, made.address, receipt.block)
        for what, transaction in self._called:
            if not self._chain.receipt(transaction).succeeded:
                raise DeployError(f"{what} was refused: redeploy on a fresh chain")
        return contracts

    def _send(self, to: Contract | None, data: bytes, gas: int) -> str:
        """Send, but never more at once than one block holds.

        Anvil forgets what a sender has waiting behind a transaction that did not fit.
        """
        if gas > self._room:
            self._chain.receipts(self._waiting)
            self._waiting, self._room = [], self._block_gas
        self._room -= gas
        name = self._sign_and_send(to, data, gas)
        self._waiting.append(name)
        return name

    def _sign_and_send(self, to: Contract | None, data: bytes, gas: int) -> str:
        transaction: dict[str, object] = {
            "nonce": self._nonce,
            "gasPrice": GAS_PRICE,
            "gas": gas,
            "value": 0,
            "data": data,
            "chainId": self.chain_id,
        }
        if to is not None:
            transaction["to"] = bytes.fromhex(to.address.removeprefix("0x"))
        self._nonce += 1
        signed = Account.sign_transaction(transaction, self._key)
        raw = "0x" + bytes(signed.raw_transaction).hex()
        name: str = self._chain.rpc.call("eth_sendRawTransaction", raw)
        return name
