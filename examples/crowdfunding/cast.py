"""The cast of the demonstration: signers' keys, and people with accounts."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field

from eth_account import Account
from eth_utils.crypto import keccak
from sqlalchemy import Engine

from api.auth.passwords import hash_password
from commands.submit import new_id
from db.accounts.accounts import create_account
from db.declare import Role
from devnet.client import Chain
from devnet.deploy import Deployment
from devnet.rpc import Rpc
from examples.crowdfunding.tour import Tour, Wallet
from examples.person import Person
from ops.commanding import now

BALANCE = 10**6 * 10**18
# What each signer may do on the contracts.
ROLES = {
    "registrar": (("IssuerRegistry", "REGISTRAR_ROLE"),),
    "operator": (
        ("CampaignFactory", "OPERATOR_ROLE"),
        ("NFTShareCertificate", "MINTER_ROLE"),
        ("FundEscrow", "CAMPAIGN_ROLE"),
    ),
    "admin": (
        ("CampaignFactory", "ADMIN_ROLE"),
        ("NFTShareCertificate", "ADMIN_ROLE"),
    ),
}


@dataclass(frozen=True, slots=True)
class Staff:
    """Accounts of the demonstration; all have the same password, made for it."""

    operator: str
    compliance: str
    password: str = field(repr=False)


def hire_signers(deployment: Deployment) -> dict[str, bytes]:
    """New keys with money, allowed what their commands need; by signer."""
    rpc = Rpc(deployment.url)
    keys = {name: secrets.token_bytes(32) for name in ROLES}
    for name, key in keys.items():
        address = Account.from_key(key).address
        rpc.call("anvil_setBalance", address, hex(BALANCE))
        for contract, role in ROLES[name]:
            Chain(rpc).send(
                deployment.accounts["admin"], deployment.contract(contract),
                "grantRole", keccak(text=role), address,
            )  # fmt: skip
    return keys


def variable_of(signer: str) -> str:
    """The environment variable that a signer's key would be in."""
    return f"DEMO_{signer.upper()}_KEY"


def signer_section(name: str, key: bytes) -> str:
    """A signer in `chainfold.toml`; its key is in no file."""
    return "\n".join(
        [
            f"[signers.{name}]",
            'kind = "env"',
            f'env = "{variable_of(name)}"',
            f'address = "{Account.from_key(key).address.lower()}"',
        ]
    )


def hire_staff(engine: Engine) -> Staff:
    """The accounts of those who run the platform, as `account create` makes them."""
    staff = Staff(
        "operator@example.org", "compliance@example.org", secrets.token_urlsafe(12)
    )
    hashed = hash_password(staff.password)
    with engine.begin() as connection:
        for login, roles in (
            (staff.operator, {Role.OPERATOR}),
            (staff.compliance, {Role.COMPLIANCE, Role.AUDITOR}),
        ):
            create_account(
                connection, login, account_id=new_id(), now=now(),
                password_hash=hashed, roles=roles,
            )  # fmt: skip
    return staff


def take_tour(
    base: str, deployment: Deployment, staff: Staff, say: Callable[[str], None]
) -> None:
    """Play the tour with the staff, and an investor who comes by."""
    rpc = Rpc(deployment.url)
    wallet = Wallet(secrets.token_bytes(32))
    rpc.call("anvil_setBalance", wallet.address, hex(BALANCE))
    operator, compliance = Person(base, staff.operator), Person(base, staff.compliance)
    investor = Person(base, f"investor-{secrets.token_hex(4)}@example.org")
    for each in (operator, compliance):
        each.sign_in(staff.password)
    investor.register("investor", secrets.token_urlsafe(12))
    Tour(operator, compliance, investor, wallet, rpc, deployment.chain_id, say).run()
