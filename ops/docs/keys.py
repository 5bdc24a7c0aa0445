"""The page of the settings: every key, where it goes and what it means."""

import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import Path
from typing import Any

from db.proofs import Proof, Verify
from ops.docs.markdown import block, code, page, table
from ops.settings import (
    ApiSettings,
    AuthSettings,
    ChainSettings,
    ContractSettings,
    DatabaseSettings,
    DocumentSettings,
    ExternalSettings,
    Fees,
    Finality,
    LimitSettings,
    Logs,
    RedisSettings,
    Settings,
    SignerKind,
    SignerSettings,
    WalletSettings,
)
from ops.settings.tree import SHORT_NAMES


@dataclass(frozen=True, slots=True)
class Key:
    """What one key takes, and what it means."""

    form: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """One table of `chainfold.toml`: its keys, and what each of them means."""

    name: str
    meaning: str
    model: type | None
    keys: Mapping[str, Key]
    attributes: Mapping[str, str] = field(default_factory=dict)  # when named otherwise

    def default(self, key: str) -> str:
        """What holds when the key is not given, as TOML writes it."""
        if self.model is None:
            return ""
        wanted = self.attributes.get(key, key)
        found = {item.name: item for item in fields(self.model)}[wanted]
        if found.default is not MISSING:
            return _toml(found.default)
        return "" if found.default_factory is not MISSING else "**required**"


def _choices(options: type[enum.Enum]) -> str:
    return ", ".join(code(f'"{option.value}"') for option in options)


ADDRESSES = "address, or a list"
RATE = '`"<number>/minute"`, or `"none"`'
AMOUNT = '`"1000"` (wei), `"30 gwei"`, `"1.5 ether"`'
SECTIONS = (
    Section(
        "",
        "At the top of the file, before any section.",
        Settings,
        {
            "data_dir": Key(
                "path",
                "Where the embedded Postgres and Redis keep their data; relative to "
                "the file.",
            )
        },
    ),
    Section(
        "database",
        "Without a URL, a Postgres of our own runs under `data_dir`.",
        DatabaseSettings,
        {
            "url": Key(
                "URL", "`postgresql://user:password@host:5432/name`; 14 or newer."
            )
        },
    ),
    Section(
        "redis",
        "The queue of RQ workers.",
        RedisSettings,
        {
            "url": Key(
                "URL",
                '`redis://host:6379/0`, or `"none"`; absent: an embedded one where '
                "one is needed. `backfill --rq` needs a URL, for its workers run "
                "elsewhere.",
            )
        },
    ),
    Section(
        "chains.<name>",
        "A chain to follow; the name is yours, and stays with what was read.",
        ChainSettings,
        {
            "id": Key("CAIP-2 id", "`eip155:<chain id>`; checked at every endpoint."),
            "rpc": Key("URL, or a list", "The endpoints; all of one chain."),
            "finality": Key(
                _choices(Finality),
                "How blocks become final: at once, as the node's `finalized` tag "
                "says, or after `finality_depth` blocks (`commitment`: Solana).",
            ),
            "finality_depth": Key("integer", 'Goes with `finality = "depth"` only.'),
            "start_block": Key("integer", "The first block worth reading."),
            "logs": Key(
                _choices(Logs),
                "Every log of a block, or only those of our contracts; a chain keeps "
                "its way, for it numbers the facts.",
            ),
            "genesis": Key("block hash", "Of block 0; another chain is refused."),
            "poll_seconds": Key("number", "How often the head is asked for."),
            "stall_seconds": Key("number", "A head unchanged for longer is a stall."),
            "watch_senders": Key(
                ADDRESSES, "Accounts whose transactions are kept too."
            ),
            "fees": Key(
                _choices(Fees),
                "What our own transactions offer for gas: one price, or, of type 2, a "
                "most and a tip.",
            ),
            "verify_bloom": Key(
                _choices(Verify),
                "Compare logs with the headers' blooms: near the head on chains that "
                "write them (a chain that had true ones is not let off them), of every "
                "block, or not at all.",
            ),
            "verify_receipts": Key(
                _choices(Verify),
                "Read receipts and compare their trie with the header's root, which "
                "proves that no log is missing: near the head while those of a block "
                "fit one request, of every block, or not at all.",
            ),
            "require": Key(
                "`{ header, logs }`",
                "The least that must be proved of a block before it is written: "
                '`header = "parent" | "hash" | "seals"`, '
                '`logs = "none" | "bloom" | "receipts"`.',
            ),
            "validators": Key(
                "address, or a list",
                "The IBFT validators due after `validators_block`, in the order of the "
                "headers; on BLS chains `address:key`. Needed for seals where block 0 "
                "is not read, and where no votes explain a new set (PoS).",
            ),
            "validators_block": Key("integer", "Goes with `validators`."),
            "contracts": Key("section", "See below."),
            "programs": Key("section", "See below."),
        },
    ),
    Section(
        "chains.<name>.contracts",
        "Where the declared contracts are, by the name of their declaration; those "
        "that a factory makes are found by themselves.",
        None,
        {
            "<contract>": Key(
                f"{ADDRESSES}; or `{{ address, start }}`",
                "Its address, and the first block worth reading for it.",
            )
        },
    ),
    Section(
        "chains.<name>.programs",
        "The programs of a Solana chain, by the name of their declaration.",
        None,
        {"<program>": Key("address in base58", "The program's address.")},
    ),
    Section(
        "contracts.<name>",
        "A contract declared by its ABI alone; its events become tables whose names "
        "begin with the name. Either `address` or `factory` is needed.",
        ContractSettings,
        {
            "abi": Key("path", "A JSON list, or `{abi: [...]}`; relative to the file."),
            "address": Key(ADDRESSES, "Where it is."),
            "factory": Key(
                "`{ contract, event, param }`",
                "The contract and the event parameter that announce its addresses.",
            ),
            "chain": Key(
                "text", "The chain it is on; not needed when there is only one."
            ),
            "start": Key("integer", "The first block worth reading for it."),
        },
        {"abi": "abi_path", "address": "addresses"},
    ),
    Section(
        "signers.<name>",
        "A key, by where it is kept; never the key itself.",
        SignerSettings,
        {
            "kind": Key(_choices(SignerKind), "Where the key is kept."),
            "path": Key("path", 'The keystore file; with `"keystore"`.'),
            "password_env": Key("text", "The variable with the keystore's password."),
            "env": Key("text", 'The variable with the key; with `"env"`.'),
            "url": Key(
                "URL",
                'With `"remote"`: where `chainfold sign serve`, or a web3signer, '
                "listens; `unix:/path/to/sign.sock` or `http://127.0.0.1:9000`.",
            ),
            "address": Key("address", "The account that is expected."),
            "allow": Key(
                "list",
                "What it signs: `IssuerRegistry.registerIssuer`, or "
                "`CampaignImplementation.*` for every function; at the addresses of "
                "`[chains.<name>.contracts]` and wherever the contract's factory made "
                "one. Absent: what the declared commands of the signer call.",
            ),
            "value_per_transaction": Key(AMOUNT, "The most that is sent at a time."),
            "value_per_day": Key(AMOUNT, "The most that is sent in a day (UTC)."),
            "gas_per_day": Key(
                AMOUNT,
                "The most that gas may cost in a day (UTC), counted by what each "
                "transaction could cost.",
            ),
            "gas_price_max": Key(AMOUNT, "The most that is paid for a unit of gas."),
            "max_in_flight": Key(
                "integer",
                "How many nonces are open at once; less than the node keeps for an "
                "account (Polygon Edge: 128).",
            ),
        },
    ),
    Section(
        "limits",
        "How much is done at a time.",
        LimitSettings,
        {
            "batch_facts": Key(
                "integer", "About how many facts are written at a time."
            ),
            "range_blocks": Key("integer", "The most blocks read at a time."),
            "backfill_workers": Key("integer", "Processes of `backfill`."),
            "request_timeout_seconds": Key("number", "For one request to an endpoint."),
            "max_inflight_requests": Key("integer", "Requests to an endpoint at once."),
        },
    ),
    Section(
        "wallets",
        "Commands that clients sign with their own wallets, and what they relay.",
        WalletSettings,
        {
            "valid_hours": Key(
                "integer",
                "How long one waits to be signed when it was asked for without "
                "`valid_seconds`.",
            ),
            "watch_days": Key(
                "integer",
                "How long a wallet is watched after a command of its was cancelled, "
                "expired or reverted: it may send the call all the same, and the "
                "command then says so. 0: not at all.",
            ),
            "waiting_of_account": Key(
                "integer", "How many may wait for wallets that one account asked for."
            ),
            "waiting_of_wallet": Key("integer", "How many may wait for one wallet."),
        },
    ),
    Section(
        "api",
        "Where the API listens, and whom it lets ask how often.",
        ApiSettings,
        {
            "host": Key("text", "The address to listen at; `0.0.0.0` for all."),
            "port": Key("integer", "The port; 0: one that is free."),
            "page_size": Key("integer", "Rows of a page when `limit` is not given."),
            "limit": Key(
                RATE,
                "Requests of one account, or from one address without a good "
                "credential. Counted in Redis when `[redis] url` is given, else in "
                "each process; also in each process while Redis is away.",
            ),
            "sign_in_limit": Key(
                RATE, "Requests from one address that change something under `/auth`."
            ),
            "cors": Key(
                "origin, or a list",
                "Sites whose pages may read answers: `https://app.example`. None "
                "when it is not given.",
            ),
            "https": Key(
                "true or false",
                "Whether people reach it by HTTPS only; browsers are then told so.",
            ),
            "proxies": Key(
                "integer",
                "How many proxies of yours are in front: so many `X-Forwarded-For` "
                "are believed. They must pass `Host` on as it is, for `/console`.",
            ),
            "max_body_bytes": Key("integer", "Larger requests are refused."),
            "max_document_bytes": Key(
                "integer", "Larger documents are refused. They are kept in memory once."
            ),
        },
    ),
    Section(
        "documents",
        "Where the files of documents are kept, encrypted. Without a bucket: in "
        "`data_dir/documents`; what is in there may be copied to the bucket as it is. "
        "It needs `pip install 'chainfold[s3]'`. Credentials are `AWS_ACCESS_KEY_ID` "
        "and `AWS_SECRET_ACCESS_KEY`, a profile, or the machine's role.",
        DocumentSettings,
        {
            "bucket": Key("text", "A bucket of S3, or of what speaks as it does."),
            "endpoint": Key("URL", "`https://minio.example:9000`; absent: Amazon's."),
            "region": Key("text", "`eu-central-1`; absent: as the environment says."),
            "prefix": Key("text", "The place in the bucket: `kyc/live`."),
        },
    ),
    Section(
        "auth",
        "Accounts. Failed sign-ins are counted in the database, for "
        "`attempt_minutes` at a time.",
        AuthSettings,
        {
            "registration": Key(
                "true or false",
                "Whether anybody may open an account, as investor or issuer.",
            ),
            "secret_env": Key(
                "text",
                "The variable with the secret that signs tokens, 32 bytes or more. "
                "Absent: one made at the first start, in `data_dir`; processes that "
                "share no `data_dir` need the variable.",
            ),
            "access_minutes": Key("integer", "How long an access token holds."),
            "refresh_days": Key("integer", "How long a refresh token waits."),
            "session_days": Key("integer", "When to sign in again at the latest."),
            "origins": Key(
                "origin, or a list",
                "Sites that may ask a wallet to sign in; absent: the API's own.",
            ),
            "attempts": Key("integer", "Failures of one login from one address."),
            "attempts_of_login": Key("integer", "Failures of one login altogether."),
            "attempts_from_address": Key("integer", "Failures from one address."),
            "attempt_minutes": Key("integer", "For how long failures count."),
            "external": Key("section", "See below."),
        },
    ),
    Section(
        "auth.external.<name>",
        "A service that signs people in, such as Web3Auth; clients say the name as "
        "`kind`.",
        ExternalSettings,
        {
            "issuer": Key("text", "The `iss` of its tokens."),
            "jwks_url": Key("URL", "Its public keys."),
            "audience": Key("text", "The `aud` of those for us: our client id there."),
            "algorithms": Key("text, or a list", "`ES256`, `RS256`, `EdDSA`."),
        },
    ),
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


def _toml(value: Any) -> str:
    """A default as one would write it."""
    if value is None or value == ():
        return ""
    if isinstance(value, bool | tuple):
        return code(json.dumps(value))
    if isinstance(value, Proof):
        members = ", ".join(f'{k} = "{v}"' for k, v in value.as_json().items())
        return code(f"{{ {members} }}")
    if isinstance(value, enum.Enum):
        value = value.value
    return code(f'"{value}"' if isinstance(value, (str, Path)) else f"{value}")
