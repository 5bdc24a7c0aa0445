"""Commands of contracts that have an ABI and no code of ours."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from abis import load_artifact
from db.declare import Address, Blob, DeclarationError, Uint
from db.declare.evm.call import EvmCallSpec
from devnet.deploy import dev_account, dev_key
from devnet.run import up
from ops.indexing import declared
from ops.ports import free_port
from ops.settings import SettingsError, load_settings

HERE = '"0x' + "11" * 20 + '"'
TWO = f"[{HERE}, " + '"0x' + "22" * 20 + '"]'
ABI = [
    *load_artifact("TestToken")["abi"],
    {
        "type": "function", "name": "buy", "stateMutability": "payable", "outputs": [],
        "inputs": [{"name": "signer", "type": "bytes"}, {"name": "", "type": "uint8"}],
    },
    *(
        {
            "type": "function", "name": "twice", "stateMutability": "nonpayable",
            "inputs": [{"name": "a", "type": kind}], "outputs": [],
        }
        for kind in ("uint256", "address")
    ),
    {
        "type": "function", "name": "odd", "stateMutability": "nonpayable",
        "inputs": [{"name": "a", "type": "fixed128x18"}], "outputs": [],
    },
]  # fmt: skip
SETTINGS = """
domains = []

[chains.local]
id = "eip155:31337"
rpc = "{url}"
finality = "ibft"

[signers.treasurer]
kind = "env"
env = "TREASURER_KEY"
address = "{treasurer}"

[contracts.token]
abi = "token.json"
address = {address}
"""
MINT = """
[contracts.token.commands.mint]
role = ["operator", "auditor"]
signer = "treasurer"
proof = "Transfer"
doc = "Give somebody tokens."
"""


def write(folder, commands, address=HERE, url="http://127.0.0.1:1"):
    (folder / "token.json").write_text(json.dumps(ABI))
    text = SETTINGS.format(url=url, treasurer=dev_account(0), address=address)
    path = folder / "chainfold.toml"
    path.write_text(text + commands)
    return path


def read(folder, commands, **options):
    settings = load_settings(write(folder, commands, **options), {})
    return declared(settings).commands


def test_a_function_becomes_a_command(tmp_path):
    spec = read(tmp_path, MINT)["token-mint"].spec

    assert isinstance(spec.call, EvmCallSpec)
    assert "mint(address,uint256)" == spec.call.signature
    assert {"to": "to_", "amount": "amount"} == spec.call.arguments
    assert None is spec.call.at is spec.call.value
    assert [Address, Uint] == [type(field) for field in spec.fields.values()]
    assert ("operator", "auditor") == spec.roles
    assert "treasurer" == spec.signer
    assert "token.Transfer" == spec.proof.spec.id
    assert "Give somebody tokens." == spec.doc
    assert "token" == spec.domain


def test_what_is_paid_and_which_contract_are_fields(tmp_path):
    text = '[contracts.token.commands.buy]\nrole = "operator"\nsigner = "caller"\n'

    spec = read(tmp_path, text, address=TWO)["token-buy"].spec

    assert ["signer_", "arg1", "wei", "contract"] == list(spec.fields)
    assert isinstance(spec.fields["signer_"], Blob)
    assert ("contract", "wei") == (spec.call.at, spec.call.value)
    assert spec.by_caller
    assert None is spec.proof
    assert "Call buy(bytes,uint8) of token." == spec.doc


def test_a_contract_whose_calls_carry_no_id_says_so(tmp_path):
    path = write(tmp_path, "tagged = false\n" + MINT)

    registry = declared(load_settings(path, {}))

    assert {"token"} == registry.untagged


def test_overloads_are_told_apart_by_their_signature(tmp_path):
    text = (
        '[contracts.token.commands.again]\nfunction = "twice(address)"\n'
        'role = "operator"\nsigner = "treasurer"\n'
    )

    spec = read(tmp_path, text)["token-again"].spec

    assert "twice(address)" == spec.call.signature


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('function = "mnt"', "no function mnt.*write function = .mint"),
        ('function = "zzzzzz"', "call one of approve, burn"),
        ('function = "twice"', r"2 functions twice.*\"twice\(uint256\)\" or"),
        ('function = "balanceOf"', "changes nothing"),
        ('function = "odd"', "is not known.*call another function"),
        ('function = "mint"\nproof = "Transfr"', "no event 'Transfr'.*'Transfer'"),
        ('function = "mint"\nrole = "operater"', "no role 'operater'.*'operator'"),
        ('function = "mint"\nrole = "zz"', "use one of auditor, compliance_officer"),
    ],
)
def test_what_cannot_be_called_is_refused(tmp_path, line, told):
    role = "" if "role" in line else 'role = "operator"\n'
    text = f'[contracts.token.commands.x]\n{role}signer = "treasurer"\n{line}\n'

    with pytest.raises(DeclarationError, match=told) as caught:
        read(tmp_path, text)

    assert str(caught.value).startswith("[contracts.token.commands.x]: ")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "commands.x.role"),
        ('role = "operator"', "commands.x.signer"),
        ('role = []\nsigner = "caller"', "at least one role"),
        ('role = "operator"\nsigner = "tresurer"', "did you mean treasurer"),
        ('role = "operator"\nsigner = "caller"\nfunktion = "mint"', "mean function"),
    ],
)
def test_what_a_command_lacks_is_named(tmp_path, text, told):
    with pytest.raises(SettingsError, match=told):
        read(tmp_path, f"[contracts.token.commands.x]\n{text}\n")


@pytest.mark.chain
@pytest.mark.slow
def test_a_token_is_minted_by_a_command_without_code(tmp_path):
    """From settings alone to a transaction, its event, and the row of a table."""
    tables = (
        '[tables.balances]\nholder = "Key()"\n'
        "received = \"Sum(token.Transfer.keyed(holder='to_').value)\"\n"
    )
    anvil, deployment = up()
    try:
        address = f'"{deployment.contracts["TestToken"].address}"'
        burn = MINT.replace("mint]", "burn]")
        write(tmp_path, MINT + burn + tables, address=address, url=anvil.url)
        holder = "0x" + "ab" * 20

        run(tmp_path, "migrate")
        run(tmp_path, "index", "--once")
        working = subprocess.Popen(
            [COMMAND, "--log-level", "warning", "run"], cwd=tmp_path, env=ENVIRONMENT,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            said = run(
                tmp_path, "command", "submit", "token-mint", f"to_={holder}",
                "amount=12", "--wait", "60",
            )  # fmt: skip
            assert "succeeded" in said
            assert "balances: 0 differences" in run(tmp_path, "verify")
            refused = run(
                tmp_path, "command", "submit", "token-burn", f"amount={10**40}", code=2
            )
            assert "token would refuse it: ERC20InsufficientBalance(" in refused
        finally:
            working.terminate()
            working.wait(30)
    finally:
        anvil.stop()


COMMAND = Path(sys.executable).parent / "chainfold"
ENVIRONMENT = {
    "PATH": "/usr/bin:/bin", "TREASURER_KEY": dev_key(0).hex(),
    "CHAINFOLD_API__PORT": str(free_port()),
    "CHAINFOLD_METRICS__PORT": str(free_port()),
}  # fmt: skip


def run(folder, *arguments, code=0):
    done = subprocess.run(
        [COMMAND, "--log-level", "warning", *arguments], cwd=folder, env=ENVIRONMENT,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr
