"""Options of accounts, sign-in, limits and browsers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

SECRET_BYTES = 32
# How far the clocks of two hosts may be apart when a token or message says a time.
CLOCKS_APART = timedelta(seconds=30)
# Signatures only: with a shared secret, whoever can check a token can make one.
ALGORITHMS = ("ES256", "RS256", "EdDSA")

# Asks a contract on a chain, by number: call(1, address, data) -> what it returned.
ContractCall = Callable[[int, bytes, bytes], bytes]


def utc_now() -> datetime:
    """The time, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class ExternalIssuer:
    """An external identity provider, whose tokens we accept.

    With `solana_wallets` an ed25519 key in the `wallets` of its tokens is believed to
    be the person's wallet of Solana; without, only those of Ethereum are.
    """

    name: str
    issuer: str
    jwks_url: str
    audience: str
    algorithms: tuple[str, ...] = ("ES256",)
    solana_wallets: bool = False

    def __post_init__(self) -> None:
        for algorithm in self.algorithms:
            if algorithm not in ALGORITHMS:
                raise ValueError(
                    f"tokens of {self.name} cannot be signed with {algorithm}: use "
                    f"one of {', '.join(ALGORITHMS)}"
                )


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """The signing of tokens and their lifetimes; every worker has the same.

    `origins` are the sites that may ask a wallet to sign, `chain_ids` the EVM chains
    that its message may name, `clusters` those of Solana, by CAIP-2 id. Failed sign-ins
    are counted for `attempt_window`: for one login from one address, for one login from
    anywhere, for one address.
    """

    secret: bytes = field(repr=False)
    registration: bool = True
    access_lifetime: timedelta = timedelta(minutes=15)
    refresh_lifetime: timedelta = timedelta(days=7)
    session_lifetime: timedelta = timedelta(days=30)
    origins: tuple[str, ...] = ()
    chain_ids: frozenset[int] = frozenset()
    clusters: frozenset[str] = frozenset()
    external: tuple[ExternalIssuer, ...] = ()
    attempts: int = 10
    attempts_of_login: int = 100
    attempts_from_address: int = 100
    attempt_window: timedelta = timedelta(minutes=15)
    clock: Callable[[], datetime] = utc_now
    contract_call: ContractCall | None = None

    def __post_init__(self) -> None:
        if len(self.secret) < SECRET_BYTES:
            raise ValueError(
                f"the secret has {len(self.secret)} bytes: give {SECRET_BYTES} or more"
            )


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Options towards the network: rate limits, and the sites that may read answers.

    `limit` and `sign_in_limit` are as flask-limiter reads them, "" for none; they are
    counted in Redis when there is a URL, else in each process.
    """

    limit: str = ""
    sign_in_limit: str = ""
    redis_url: str | None = field(default=None, repr=False)
    cors: tuple[str, ...] = ()
    https: bool = False
    proxies: int = 0
    max_body_bytes: int = 1 << 20
