"""The page of the settings: every key, where it goes and what it means."""

from collections.abc import Iterator

from ops.docs.api_keys import API_SECTIONS
from ops.docs.chain_keys import CHAIN_SECTIONS
from ops.docs.domain_keys import domain_sections
from ops.docs.markdown import block, code, page, table
from ops.docs.section import Section, SettingKey
from ops.settings import (
    DatabaseSettings,
    LimitSettings,
    RedisSettings,
    Settings,
)
from ops.settings.tree import SHORT_NAMES
from ops.settings.wallet_model import SolanaWalletSettings, WalletSettings

SECTIONS = (
    Section(
        "",
        "At the top of the file, before any section.",
        Settings,
        {
            "data_dir": SettingKey(
                "path",
                "Where the embedded Postgres and Redis keep their data; relative to "
                "the file.",
            ),
            "domains": SettingKey(
                "names, or a list",
                "The businesses of this deployment: of the product, installed, or in "
                "`declarations`. Absent: all that there are; `[]`: none.",
            ),
            "declarations": SettingKey(
                "paths, or a list",
                "Folders or `.py` files of domains that are not installed "
                "([add a business](../add-a-business.md)); relative to the file.",
            ),
        },
    ),
    Section(
        "database",
        "Without a URL, a Postgres of our own runs under `data_dir`.",
        DatabaseSettings,
        {
            "url": SettingKey(
                "URL", "`postgresql://user:password@host:5432/name`; 14 or up."
            ),
            "read_url": SettingKey(
                "URL",
                "To read from: a replica, or a role that may do no more. `serve` uses "
                "it where there is no `url`.",
            ),
        },
    ),
    Section(
        "redis",
        "The queue of RQ workers.",
        RedisSettings,
        {
            "url": SettingKey(
                "URL",
                '`redis://host:6379/0`, or `"none"`; absent: an embedded one where '
                "one is needed. `backfill --rq` needs a URL, for its workers run "
                "elsewhere.",
            )
        },
    ),
    *CHAIN_SECTIONS,
    Section(
        "limits",
        "How much is done at a time.",
        LimitSettings,
        {
            "batch_facts": SettingKey(
                "integer", "About how many facts are written at a time."
            ),
            "range_blocks": SettingKey("integer", "The most blocks read at a time."),
            "backfill_workers": SettingKey("integer", "Processes of `backfill`."),
            "request_timeout_seconds": SettingKey(
                "number", "For one request to an endpoint."
            ),
            "max_inflight_requests": SettingKey(
                "integer",
                "The most requests to an endpoint at once.",
            ),
        },
    ),
    Section(
        "wallets",
        "Commands that clients sign with their own wallets, and what they relay.",
        WalletSettings,
        {
            "valid_hours": SettingKey(
                "integer",
                "How long one waits to be signed when it was asked for without "
                "`valid_seconds`.",
            ),
            "watch_days": SettingKey(
                "integer",
                "How long a wallet is watched after a command of its was cancelled, "
                "expired or reverted: it may send the call all the same, and the "
                "command then says so. 0: not at all.",
            ),
            "waiting_of_account": SettingKey(
                "integer", "How many may wait for wallets that one account asked for."
            ),
            "waiting_of_wallet": SettingKey(
                "integer", "How many may wait for one wallet."
            ),
        },
    ),
    Section(
        "wallets.solana",
        "What a wallet of Solana may add to the transaction that it is asked to sign, "
        "and what may stand in one that is relayed. Everything else is refused.",
        SolanaWalletSettings,
        {
            "guards": SettingKey(
                "list of text",
                "Programs that only assert, such as Lighthouse. They have no account "
                "written that the command's own instruction, or the calls that are "
                "relayed, do not.",
            ),
            "guards_most": SettingKey(
                "integer", "How many of their instructions a transaction may have."
            ),
            "fees": SettingKey(
                "table",
                "The most lamports of a fee by its recipient, to which the wallet may "
                "add one transfer.",
            ),
            "priority_fee_max": SettingKey(
                "integer", "In micro-lamports for a compute unit: the highest price."
            ),
        },
    ),
    *API_SECTIONS,
    *domain_sections(),
)
EXAMPLE = """\
[chains.edge]
id = "eip155:100"
rpc = "http://10.0.0.5:8545"
finality = "ibft"

[chains.edge.contracts]
IssuerRegistry = "0x5fbdb2315678afecb367f032d93f642f64180aa3\""""


def settings_page() -> str:
    """Every key of the settings."""
    short = [
        (code(name), code(".".join(path)) if path else "the settings file itself")
        for name, path in SHORT_NAMES.items()
    ]
    return page(
        "Settings",
        "Read from `chainfold.toml` in the working directory, or the file that "
        "`--config` or `CHAINFOLD_CONFIG` names. Everything wrong is reported at once; "
        "a key that is not known is an error that names the nearest one that is.",
        block(EXAMPLE, "toml"),
        "Any key may be given by the environment instead, its sections parted by two "
        "underscores: `CHAINFOLD_CHAINS__EDGE__RPC` is `rpc` in `[chains.edge]`. A "
        "list is parted by commas. The environment wins over the file.",
        table(["variable", "is short for"], short),
        *(_section(section) for section in SECTIONS),
    )


def documented() -> Iterator[str]:
    """The full name of every key on the page."""
    for section in SECTIONS:
        for key in section.keys:
            yield f"{section.name}.{key}" if section.name else key


def _section(section: Section) -> str:
    title = f"`[{section.name}]`" if section.name else "Top"
    rows = [
        (code(name), key.form, section.default(name), key.meaning)
        for name, key in section.keys.items()
    ]
    head = ["key", "form", "default", "means"]
    return f"## {title}\n\n{section.meaning}\n\n{table(head, rows)}"
