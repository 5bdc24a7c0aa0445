"""Solana programs that others wrote, with their IDLs, from npm.

Instructions are made from the JSON of the IDL by `helpers.borsh`: nothing of the
product's own reading of IDLs is in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from helpers import borsh, npm

HOME = Path(__file__).parents[1] / "solana" / "programs"
NODE_MODULES = HOME / "node_modules"


@dataclass(frozen=True)
class Stranger:
    """A program by the folder of its package, its IDL and its file there."""

    package: str
    idl_file: str
    binary_file: str

    @property
    def idl_path(self) -> Path:
        return NODE_MODULES / self.package / self.idl_file

    @property
    def binary(self) -> Path:
        return NODE_MODULES / self.package / self.binary_file

    @property
    def idl(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.idl_path.read_bytes())
        return found

    @property
    def address(self) -> Pubkey:
        return Pubkey.from_string(self.idl["address"])

    def derived(self, *seeds: bytes) -> Pubkey:
        """An account that only the program can sign for."""
        return Pubkey.find_program_address(list(seeds), self.address)[0]

    def call(
        self, name: str, accounts: Mapping[str, Pubkey], arguments: Sequence[Any] = ()
    ) -> Instruction:
        """An instruction as its IDL says; accounts that have one address are known."""
        idl = self.idl
        [told] = [each for each in idl["instructions"] if each["name"] == name]
        kinds = borsh.kinds_of(told["args"])
        body = [
            borsh.write(idl["types"], kind, value)
            for kind, value in zip(kinds, arguments, strict=True)
        ]
        metas = [
            AccountMeta(
                Pubkey.from_string(each["address"])
                if "address" in each
                else accounts[each["name"]],
                bool(each.get("signer")),
                bool(each.get("writable")),
            )
            for each in told["accounts"]
        ]
        data = bytes(told["discriminator"]) + b"".join(body)
        return Instruction(self.address, data, metas)


GATEWAY = Stranger(
    "@zetachain/protocol-contracts-solana", "dev/idl/gateway.json", "dev/lib/gateway.so"
)
VRF = Stranger(
    "@orao-network/solana-vrf", "dist/types/orao_vrf.json", "dist/orao_vrf.so"
)
ALL = {"gateway": GATEWAY, "vrf": VRF}


# IDLs alone, of both forms, some of the largest that are published.
IDLS = {
    "drift": "@drift-labs/sdk/src/idl/drift.json",
    "openbook": "@drift-labs/sdk/src/idl/openbook.json",
    "pyth": "@drift-labs/sdk/src/idl/pyth_solana_receiver.json",
    "switchboard": "@drift-labs/sdk/src/idl/switchboard.json",
    "ondemand": "@drift-labs/sdk/src/idl/switchboard_on_demand_30.json",
    "marinade": "@drift-labs/sdk/src/marinade/idl/idl.json",
    "faucet": "@drift-labs/sdk/lib/node/idl/token_faucet.json",
    "marginfi": "@mrgnlabs/marginfi-client-v2/src/idl/marginfi_0.1.7.json",
    "pull": "@mrgnlabs/marginfi-client-v2/src/vendor/switchboard_pull/idl.json",
    "whirlpool": "@orca-so/whirlpools-sdk/dist/artifacts/whirlpool.json",
    "squads": "@sqds/multisig/idl/squads_multisig_program.json",
    "gateway": "@zetachain/protocol-contracts-solana/prod/idl/gateway.json",
    "vrf": "@orao-network/solana-vrf/dist/types/orao_vrf.json",
}


def install() -> None:
    """Fetch all of it; raises NpmUnavailable with the reason."""
    npm.install(HOME)
