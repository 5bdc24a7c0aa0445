"""The whole product on a real Polygon Edge network: what the API is asked is done."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from eth_account import Account
from eth_utils.crypto import keccak

from api.auth.passwords import hash_password
from commands.evm.work import work_once
from commands.submit import Submission
from db.accounts.accounts import create_account
from db.commands.accept import find
from db.commands.evm.attempts import attempts_of
from db.commands.states import State
from db.declare import Role
from db.domains.crowdfunding.commands import DeactivateIssuer, RegisterIssuer
from db.domains.crowdfunding.roles import INVESTOR
from db.journal.append import Actor
from db.schema import migrate
from devnet.client import GAS_PRICE
from devnet.deploy import dev_key
from examples.crowdfunding.cast import ROLES
from examples.crowdfunding.tour import Tour, Wallet
from examples.person import Person
from helpers.edge import CHAIN_ID, Sender, receipts_of, send_all, wait_until
from helpers.processes import Group
from helpers.servers import engine_on, fresh_database
from indexer.follow import Behind, CaughtUp, step
from ops.chains.evm.commanding import open_signer_context
from ops.command_service import open_command_service
from ops.commanding import now
from ops.indexing import declared, open_chain
from ops.ports import free_port
from ops.settings import load_settings

pytestmark = [pytest.mark.chain, pytest.mark.edge]

PASSWORD = "a password of a test"

SETTINGS = """
[database]
url = "{database}"
[api]
port = {port}
[redis]
url = "none"
[metrics]
port = {metrics}

[chains.edge]
id = "eip155:100"
rpc = {urls}
finality = "ibft"
poll_seconds = 0.2
[chains.edge.contracts]
IssuerRegistry = "{IssuerRegistry}"
CampaignFactory = "{CampaignFactory}"
NFTShareCertificate = "{NFTShareCertificate}"
FundEscrow = "{FundEscrow}"
"""
SIGNER = """
[signers.{name}]
kind = "env"
env = "EDGE_{upper}_KEY"
"""


@pytest.fixture(scope="module")
def keys(network, deployment):
    """Keys of the three signers and of an investor; they have money and their roles."""
    rpc = network.nodes[0].rpc
    admin, bank = Sender(0, rpc), Sender(19, rpc)
    made = {name: Account.create().key for name in (*ROLES, "investor")}
    hashes = []
    for nonce, (name, key) in enumerate(made.items(), bank.nonce):
        address = Account.from_key(key).address
        gift = Account.sign_transaction(
            {
                "nonce": nonce, "gasPrice": GAS_PRICE, "gas": 21_000, "to": address,
                "value": 5_000 * 10**18 + nonce, "data": b"", "chainId": CHAIN_ID,
            },
            dev_key(19),
        )  # fmt: skip
        hashes += send_all(rpc, ["0x" + bytes(gift.raw_transaction).hex()])
        for contract, role in ROLES.get(name, ()):
            to = deployment.contract(contract)
            hashes.append(admin.send(to, "grantRole", keccak(text=role), address))
    assert all(int(each["status"], 16) for each in receipts_of(rpc, hashes))
    return made


@pytest.fixture
def house(tmp_path, network, deployment, keys, postgres_url, monkeypatch):
    """Settings of a deployment with signers, and a database of its own."""
    for name in ROLES:
        monkeypatch.setenv(f"EDGE_{name.upper()}_KEY", "0x" + bytes(keys[name]).hex())
    addresses = {name: each.address for name, each in deployment.contracts.items()}
    with fresh_database(postgres_url) as url, engine_on(url) as engine:
        text = SETTINGS.format(
            database=url, port=free_port(), metrics=free_port(),
            urls=json.dumps(network.urls), **addresses,
        )  # fmt: skip
        text += "".join(SIGNER.format(name=n, upper=n.upper()) for n in ROLES)
        file = tmp_path / "chainfold.toml"
        file.write_text(text)
        settings = load_settings(str(file))
        migrate(engine, declared(settings))
        yield settings, engine


def test_a_campaign_is_funded_by_the_api_alone(house, network, keys, tmp_path):
    """From registration to release; its shares would be minted after its deadline."""
    settings, engine = house
    hashed = hash_password(PASSWORD)
    people = {"operator": {Role.OPERATOR}, "compliance": {Role.COMPLIANCE}}
    people["investor"] = {INVESTOR}
    with engine.begin() as connection:
        for name, roles in people.items():
            create_account(
                connection, name, account_id=uuid.uuid4(), now=now(),
                password_hash=hashed, roles=roles,
            )  # fmt: skip
    said = []
    group = Group(tmp_path, "run")
    try:
        base = f"http://127.0.0.1:{settings.api.port}"
        cast = [Person(base, name) for name in people]
        wait_until(lambda: _signed_in(cast), group.log.read_text())
        wallet = Wallet(bytes(keys["investor"]))
        rpc = network.nodes[0].rpc
        Tour(*cast, wallet, rpc, CHAIN_ID, said.append).fund()
    finally:
        group.end()

    assert "4500 ETB raised" in said[-1], said


def _signed_in(cast):
    try:
        for person in cast:
            person.sign_in(PASSWORD)
    except OSError:
        return False
    return True


def test_a_halted_chain_drives_no_price_up(house, network):
    """Two of four validators die: bytes wait for blocks, and wait at one price."""
    settings, engine = house
    command_service = open_command_service(settings, engine)
    index(settings, engine)
    said = settings.signers["registrar"]
    chain = settings.chains[said.chain]
    context = open_signer_context(
        settings, said, chain, engine, declared(settings), now
    )
    quick = replace(
        context.policy, bump_after=timedelta(seconds=0.3),
        rebroadcast_after=timedelta(seconds=0.2),
    )  # fmt: skip
    context = replace(context, policy=quick)
    issuer = Account.create().address.lower()
    arguments = {"issuer": issuer, "credential": "vc-é", "memorandum": "ipfs://m"}

    def ask(kind, **arguments):
        asked = Submission(Actor("tests"), str(uuid.uuid4()), arguments)
        return command_service.submit(kind, asked)[0]

    def until(command, state, seconds=60):
        def reached():
            index(settings, engine)
            work_once(context)
            with engine.connect() as connection:
                return find(connection, command.id).state is state

        wait_until(reached, f"the command is not {state}", seconds)

    try:
        until(ask(RegisterIssuer, **arguments), State.SUCCEEDED)
        network.kill(2)
        network.kill(3)
        halted = network.height()
        time.sleep(2)
        waiting = ask(DeactivateIssuer, issuer=issuer)
        until(waiting, State.SIGNED)
        begun = time.monotonic()
        while time.monotonic() - begun < 6:
            index(settings, engine)
            work_once(context)
        assert network.height() <= halted + 1
        assert len(attempts(engine, waiting)) == 1
    finally:
        for at in (2, 3):
            if network.nodes[at].process is None:
                network.start(at)
    until(waiting, State.SUCCEEDED, 120)
    assert len(attempts(engine, waiting)) == 1


def attempts(engine, command):
    with engine.connect() as connection:
        nonce = connection.exec_driver_sql(
            "SELECT nonce FROM control.slot WHERE command = %s", (str(command.id),)
        ).scalar_one()
        return attempts_of(connection, "registrar", nonce)


def index(settings, engine):
    """Read the chain as far as it goes."""

    async def go():
        async with open_chain(settings, "edge", engine, declared(settings)) as chain:
            while not isinstance(await step(chain), (CaughtUp, Behind)):
                pass

    asyncio.run(go())
