"""An investor whose wallet signs: asks, signs, gives, relays."""

import uuid

from eth_account import Account
from eth_utils.address import to_checksum_address

from db.commands.evm.wallets import settle_wallet_command
from db.declare.roles import Role
from db.domains.crowdfunding import events as e
from db.domains.crowdfunding.roles import INVESTOR
from helpers.office import CHAIN_ID, CONTRACTS, KEY, WALLET

A, B = b"\xaa" * 20, b"\xbb" * 20
ETB = 10**18


def hexed(value):
    return "0x" + value.hex()


def shown(office, command, query="", status=200, by=Role.OPERATOR):
    path = f"/api/v1/commands/{command}{query}"
    return office.get(path, status, token=office.by(by)).json.get("data")


def invested(office, status=202, **changes):
    """An investor whose wallet is linked asks to invest."""
    office.story.emit(e.IssuerRegistered, issuer=A)
    office.story.emit(
        e.CampaignCreated, campaign=B, beneficiary=A, goal=5000 * ETB,
        deadline=office.story.now + 10**7,
    )  # fmt: skip
    office.story.emit(e.CampaignStatusChanged, campaign=B, new=1)
    office.index()
    with office.writer.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO control.wallet (kind, address, account, linked_at)"
            " VALUES ('evm', %s, %s, now())",
            (WALLET, office.people[INVESTOR]),
        )
    body = {"amount": "200", **changes}
    path = f"/api/v1/campaigns/{hexed(B)}/invest"
    return office.ask("", status, path=path, by=INVESTOR, **body).json.get("data")


def sign(unsigned, by=KEY, **changes):
    wanted = {**unsigned, **changes}
    wanted.pop("from")
    wanted["to"] = to_checksum_address(wanted["to"])
    return hexed(bytes(Account.sign_transaction(wanted, by).raw_transaction))


def give(office, command, raw, status=202):
    path = f"/api/v1/commands/{command}/signed"
    return office.post(path, {"raw": raw}, status, token=office.by(INVESTOR)).json


def settled(office, command, *, final):
    with office.writer.begin() as connection:
        return settle_wallet_command(
            connection, uuid.UUID(command), final=final, now=office.clock()
        )


def relayed(office, raw, status=202, key="relay"):
    return office.post(
        "/api/v1/relay", {"raw": raw}, status, token=office.by(INVESTOR),
        headers={"Idempotency-Key": key},
    ).json  # fmt: skip


def any_call(**changes):
    return sign(
        {
            "chainId": hex(CHAIN_ID), "from": "", "nonce": "0x9", "gas": "0x5208",
            "gasPrice": "0x1", "value": "0x0", "data": "0x1234",
            "to": hexed(CONTRACTS["FundEscrow"]), **changes,
        }
    )  # fmt: skip
