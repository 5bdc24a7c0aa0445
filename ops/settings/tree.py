"""The file's tree with the environment laid over it, and each setting's origin.

`CHAINFOLD_CHAINS__DEVNET__RPC` is `rpc` in `[chains.devnet]`. A part is matched to an
existing key whatever its case and dashes; a new one is taken in lower case unless it
is written in mixed case (contract names are).
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "CHAINFOLD_"
IGNORED_PREFIX = "CHAINFOLD_TEST_"
SHORT_NAMES = {
    "CHAINFOLD_DATABASE_URL": ("database", "url"),
    "CHAINFOLD_REDIS_URL": ("redis", "url"),
    "CHAINFOLD_DATA_DIR": ("data_dir",),
    "CHAINFOLD_DOMAINS": ("domains",),
    "CHAINFOLD_DECLARATIONS": ("declarations",),
    "CHAINFOLD_CONFIG": (),
}
OBSOLETE_NAMES = {
    "BLOCKCHAIN_DEPLOYER_PRIVATE_KEY": 'name a signer: [signers.<name>] kind = "env"',
    "BLOCKCHAIN_RPC_URL": "set rpc under [chains.<name>]",
    "CHAINFOLD_CHAIN_ID": "set id under [chains.<name>]",
    "CHAINFOLD_RPC_URL": "set rpc under [chains.<name>]",
    "CONTRACT_CAMPAIGN_FACTORY": "set CampaignFactory under [chains.<name>.contracts]",
    "CONTRACT_FUND_ESCROW": "set FundEscrow under [chains.<name>.contracts]",
    "CONTRACT_ISSUER_REGISTRY": "set IssuerRegistry under [chains.<name>.contracts]",
    "CONTRACT_NFT_CERTIFICATE": (
        "set NFTShareCertificate under [chains.<name>.contracts]"
    ),
}
# The keys that name a variable with a secret.
SECRET_KEYS = (
    "env", "password_env", "secret_env", "secret_key_env", "webhook_secret_env",
)  # fmt: skip
# Other programs on the machine may want these, so they are mentioned, not refused.
NOT_READ = {
    "DATABASE_URL": "CHAINFOLD_DATABASE_URL",
    "REDIS_URL": "CHAINFOLD_REDIS_URL",
}


@dataclass(frozen=True, slots=True)
class Found:
    """A value and the file or variable that gave it."""

    value: Any  # whatever TOML can hold
    origin: str

    @property
    def from_environment(self) -> bool:
        """Whether a text names an environment variable."""
        return self.origin.startswith(PREFIX)


Tree = dict[str, "Found | Tree"]


def plant(document: Mapping[str, Any], origin: str) -> Tree:
    """Return a TOML document as a tree of found values."""
    return {
        key: plant(value, origin) if isinstance(value, dict) else Found(value, origin)
        for key, value in document.items()
    }


def lay_environment(
    tree: Tree, environ: Mapping[str, str], problems: list[str]
) -> None:
    """Write the environment's settings over the file's."""
    exempt = names_of_secrets(tree)
    for name in sorted(environ):
        if name in OBSOLETE_NAMES and environ[name]:
            problems.append(f"{name} is no longer read: {OBSOLETE_NAMES[name]}")
        elif (
            name.startswith(PREFIX)
            and not name.startswith(IGNORED_PREFIX)
            and name not in exempt
            and environ[name]
        ):
            _lay_one(tree, name, environ[name], problems)


def names_of_secrets(tree: Tree) -> set[str]:
    """Return the variables that hold secrets: they are no settings of their own."""
    signers = tree.get("signers")
    holders = [*signers.values()] if isinstance(signers, dict) else []
    given: set[str] = set()
    for holder in [*holders, tree.get("auth"), tree.get("stripe")]:
        for key in SECRET_KEYS:
            found = holder.get(key) if isinstance(holder, dict) else None
            if isinstance(found, Found) and isinstance(found.value, str):
                given.add(found.value)
    return given


def nearest(word: str, known: list[str]) -> str:
    """Return a hint: the known word most like this one, or all of them."""
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"did you mean {close[0]}?"
    return (
        f"known here: {', '.join(sorted(known))}" if known else "nothing is known here"
    )


def _lay_one(tree: Tree, name: str, value: str, problems: list[str]) -> None:
    path = SHORT_NAMES.get(name)
    if path == ():
        return
    if path is None:
        path = tuple(name.removeprefix(PREFIX).split("__"))
        if len(path) < 2 or "" in path:
            known = [*SHORT_NAMES, "CHAINFOLD_<SECTION>__<KEY>"]
            problems.append(f"{name}: unknown variable; {nearest(name, known)}")
            return
    for part in path[:-1]:
        below = tree.setdefault(_match(tree, part), {})
        if isinstance(below, Found):
            problems.append(f"{name}: {part.lower()} is a value, not a section")
            return
        tree = below
    tree[_match(tree, path[-1])] = Found(value, name)


def _match(tree: Tree, part: str) -> str:
    wanted = part.lower()
    for key in tree:
        if key.lower().replace("-", "_") == wanted:
            return key
    return wanted if part.isupper() else part
