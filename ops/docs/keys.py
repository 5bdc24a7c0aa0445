"""The page of the settings: every key, where it goes and what it means."""

from collections.abc import Iterator

from ops.docs.chain_keys import CHAIN_SECTIONS
from ops.docs.markdown import block, code, page, table
from ops.docs.section import RATE, Key, Section
from ops.settings import (
    ApiSettings,
    AuthSettings,
    DatabaseSettings,
    DocumentSettings,
    ExternalSettings,
    LimitSettings,
    RedisSettings,
    Settings,
    WalletSettings,
)
from ops.settings.tree import SHORT_NAMES

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
            "url": Key("URL", "`postgresql://user:password@host:5432/name`; 14 or up."),
            "read_url": Key(
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
            "url": Key(
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
