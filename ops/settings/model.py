"""The settings, as immutable values.

Addresses are raw bytes: 20 of a contract, 32 of a Solana program. Anything that may
hold a secret hides it in its repr.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from db.declare.fields import Encoding
from db.declare.given_meanings import Meanings
from db.declare.settings import SettingsTable
from db.proofs import UNPROVED, Proof, Verify
from idl.model import IdlVersion
from ops.settings.secret import Secret, SecretUrl
from ops.settings.wallet_model import WALLETS, WalletSettings

SOLANA = "solana"  # the namespace of its chains in CAIP-2


def _nothing() -> Mapping[Any, Any]:
    return MappingProxyType({})


class Finality(enum.Enum):
    """The finality of a chain's blocks; there is no default."""

    IBFT = "ibft"
    TAG = "tag"
    DEPTH = "depth"
    COMMITMENT = "commitment"


class LogQuery(enum.Enum):
    """Whether every log of a block is fetched, or only those of our contracts."""

    ALL = "all"
    FILTERED = "filtered"


class FeeModel(enum.Enum):
    """The form of a transaction's fee: one price, or a most and a tip (type 2)."""

    LEGACY = "legacy"
    EIP1559 = "eip1559"


class SignerKind(enum.Enum):
    """The place of a signer's key."""

    KEYSTORE = "keystore"
    ENV = "env"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class Deployment:
    """One address of a contract or program, and the first block worth reading."""

    address: bytes
    start: int | None = None

    def __repr__(self) -> str:
        solana = len(self.address) == 32
        text = (Encoding.BASE58 if solana else Encoding.HEX).text(self.address)
        return f"Deployment({text}, start={self.start})"


@dataclass(frozen=True, slots=True)
class ValidatorKey:
    """A validator of an IBFT chain: its address, and its BLS key if it seals by BLS."""

    address: bytes
    bls_key: bytes = b""

    def __repr__(self) -> str:
        return f"ValidatorKey(0x{self.address.hex()})"


@dataclass(frozen=True, slots=True)
class Factory:
    """A parameter of a contract's event that announces addresses of others."""

    contract: str
    event: str
    param: str


@dataclass(frozen=True, slots=True)
class DatabaseSettings:
    """The database; without a URL the embedded Postgres is used.

    `read_url` is where verbs that only read look: a replica, or a role that may only
    read. Without `url` beside it nothing is written with these settings.
    """

    url: SecretUrl | None = None
    read_url: SecretUrl | None = None

    @property
    def embedded(self) -> bool:
        """Whether a Postgres of our own is used."""
        return self.url is None and self.read_url is None


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The queue; without a URL the embedded one is used, unless it is not wanted."""

    url: SecretUrl | None = None
    wanted: bool = True


@dataclass(frozen=True, slots=True)
class ChainSettings:
    """One chain to follow."""

    name: str
    id: str
    rpc: tuple[SecretUrl, ...]
    finality: Finality
    finality_depth: int | None = None
    start_block: int = 0
    logs: LogQuery = LogQuery.ALL
    genesis: bytes | None = None
    poll_seconds: float = 1.0
    stall_seconds: float = 30.0
    watch_senders: tuple[bytes, ...] = ()
    fees: FeeModel = FeeModel.LEGACY
    verify_bloom: Verify = Verify.AUTO
    verify_receipts: Verify = Verify.AUTO
    require: Proof = UNPROVED
    validators: tuple[ValidatorKey, ...] = ()
    validators_block: int | None = None
    audit_blocks: int = 20
    contracts: Mapping[str, tuple[Deployment, ...]] = field(default_factory=_nothing)
    programs: Mapping[str, tuple[Deployment, ...]] = field(default_factory=_nothing)
    tokens: Mapping[str, tuple[Deployment, ...]] = field(default_factory=_nothing)
    wallets: Mapping[str, tuple[Deployment, ...]] = field(default_factory=_nothing)
    payers: Mapping[str, tuple[Deployment, ...]] = field(default_factory=_nothing)
    accounts: Mapping[str, tuple[bytes, ...]] = field(default_factory=_nothing)
    compare_seconds: float = 600.0
    ws: tuple[SecretUrl, ...] = ()

    @property
    def namespace(self) -> str:
        """The kind of the chain, as CAIP-2 has it: `eip155` or `solana`."""
        return self.id.partition(":")[0]

    @property
    def encoding(self) -> Encoding:
        """The text form of its addresses and hashes."""
        return Encoding.of_chain(self.id)


@dataclass(frozen=True, slots=True)
class ContractCommand:
    """A function of a contract that may be asked for: by whom, signed by whom."""

    name: str
    function: str
    roles: tuple[str, ...]
    signer: str
    proof: str | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class ContractSettings:
    """A contract declared by its ABI alone, with no code of ours.

    `abi` is the union of its files; addresses and first blocks are by chain.
    `meanings` are of its values, by what `db.declare.given_meanings` takes as keys.
    """

    name: str
    chains: tuple[str, ...]
    abi: tuple[Mapping[str, Any], ...] = field(repr=False)  # Any: JSON as compiled
    addresses: Mapping[str, tuple[bytes, ...]] = field(default_factory=_nothing)
    factories: tuple[Factory, ...] = ()
    starts: Mapping[str, int] = field(default_factory=_nothing)
    commands: tuple[ContractCommand, ...] = ()
    tagged: bool = True
    meanings: Meanings = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class ProgramSettings:
    """A Solana program declared by its IDL alone; addresses and slots are by chain.

    With `accounts`, only transactions that name one of these are read. `idl` has its
    versions, each with the first slot that it describes.
    """

    name: str
    chains: tuple[str, ...]
    idl: tuple[IdlVersion, ...] = field(repr=False)  # none: they could not be read
    addresses: Mapping[str, tuple[bytes, ...]] = field(default_factory=_nothing)
    starts: Mapping[str, int] = field(default_factory=_nothing)
    accounts: Mapping[str, tuple[bytes, ...]] = field(default_factory=_nothing)
    meanings: Meanings = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class TableSettings:
    """A projection declared as text: one line a column (`db.declare.text`)."""

    name: str
    columns: Mapping[str, str]
    index: tuple[str, ...] = ()
    doc: str = ""


@dataclass(frozen=True, slots=True)
class SignerSettings:
    """A named key: where to find it, never the key.

    Amounts are in wei for EVM chains, in lamports and the tokens' smallest units for
    Solana; `priority_fee_max` is in micro-lamports for a compute unit.
    """

    name: str
    kind: SignerKind
    chain: str = ""
    path: Path | None = None
    env: str | None = None
    password_env: str | None = None
    url: SecretUrl | None = None
    address: bytes | None = None
    allow: tuple[str, ...] | None = None
    value_per_transaction: int | None = None
    value_per_day: int | None = None
    gas_per_day: int | None = None
    gas_price_max: int = 10**12
    bump_most_times: float = 2.0
    max_in_flight: int = 64
    lamports_per_day: int | None = None
    tokens_per_day: Mapping[bytes, int] = field(default_factory=_nothing)
    priority_fee_max: int = 1_000_000
    secret: Secret | None = None  # of `env` or `password_env`; None when not set


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """Limits on how much is done at a time."""

    batch_facts: int = 50_000
    range_blocks: int = 1_000
    backfill_workers: int = 2
    request_timeout_seconds: float = 10.0
    max_inflight_requests: int = 32


@dataclass(frozen=True, slots=True)
class ApiSettings:
    """The API's address, page sizes and rate limits."""

    host: str = "127.0.0.1"
    port: int = 8080
    page_size: int = 20
    limit: str = "600/minute"
    sign_in_limit: str = "30/minute"
    cors: tuple[str, ...] = ()
    https: bool = False
    proxies: int = 0
    max_body_bytes: int = 1 << 20
    max_document_bytes: int = 10 << 20


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """The address of the API's metrics; `explicit`: the port is not the default."""

    host: str = "127.0.0.1"
    port: int = 9464
    explicit: bool = False


@dataclass(frozen=True, slots=True)
class DocumentSettings:
    """The storage of files: a bucket; without one, a folder of `data_dir`."""

    bucket: str | None = None
    endpoint: SecretUrl | None = None
    region: str | None = None
    prefix: str = ""
    of_account: int = 200
    mb_of_account: int = 500


@dataclass(frozen=True, slots=True)
class ExternalSettings:
    """An identity provider that is trusted."""

    name: str
    issuer: str
    jwks_url: str
    audience: str
    algorithms: tuple[str, ...] = ("ES256",)
    solana_wallets: bool = False


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Accounts: who may open one, how long a sign-in holds, how often one may fail."""

    registration: bool = True
    secret_env: str | None = None
    access_minutes: int = 15
    refresh_days: int = 7
    session_days: int = 30
    origins: tuple[str, ...] = ()
    attempts: int = 10
    attempts_of_login: int = 100
    attempts_from_address: int = 100
    attempt_minutes: int = 15
    external: Mapping[str, ExternalSettings] = field(default_factory=_nothing)
    secret: Secret | None = None  # of `secret_env`; None when not set


@dataclass(frozen=True, slots=True)
class StripeSettings:
    """An account of Stripe whose payments are read; `given` is whether it is said.

    A key or secret is None when its variable or file is not there.
    """

    given: bool = False
    secret_key_env: str | None = None
    secret_key_file: Path | None = None
    webhook_secret_env: str | None = None
    webhook_secret_file: Path | None = None
    account: str = ""
    live: bool = False
    domains: tuple[str, ...] | None = None  # None: all of this deployment
    api: SecretUrl | None = None
    success_url: SecretUrl | None = None
    cancel_url: SecretUrl | None = None
    poll_seconds: float = 15.0
    overlap_seconds: int = 900
    timeout_seconds: float = 30.0
    secret_key: Secret | None = None
    webhook_secrets: tuple[Secret, ...] = ()


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """A channel that notices go to; `url` is None when its variable is not set."""

    url_env: str = ""
    language: str = "en"
    url: Secret | None = None


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """The mail server and channels of notices; `given` is whether they are said."""

    given: bool = False
    language: str = "en"
    mail_env: str | None = None
    mail: Secret | None = None
    channels: Mapping[str, ChannelSettings] = field(default_factory=_nothing)


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked."""

    path: Path | None = None
    data_dir: Path = Path(".chainfold")
    domains: tuple[str, ...] | None = None  # None: all that there are
    declarations: tuple[Path, ...] = ()
    database: DatabaseSettings = DatabaseSettings()
    redis: RedisSettings = RedisSettings()
    chains: Mapping[str, ChainSettings] = field(default_factory=_nothing)
    contracts: Mapping[str, ContractSettings] = field(default_factory=_nothing)
    programs: Mapping[str, ProgramSettings] = field(default_factory=_nothing)
    tables: Mapping[str, TableSettings] = field(default_factory=_nothing)
    signers: Mapping[str, SignerSettings] = field(default_factory=_nothing)
    limits: LimitSettings = LimitSettings()
    wallets: WalletSettings = WALLETS
    api: ApiSettings = ApiSettings()
    auth: AuthSettings = AuthSettings()
    metrics: MetricsSettings = MetricsSettings()
    documents: DocumentSettings = DocumentSettings()
    stripe: StripeSettings = StripeSettings()
    notifications: NotificationSettings = NotificationSettings()
    of_domains: tuple[SettingsTable, ...] = ()
    notes: tuple[str, ...] = ()
